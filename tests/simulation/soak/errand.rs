//! Tasks that wait in all ways, spawn others, and are dropped anywhere.

use std::time::Duration;

use twistor::task::{self, Task, TaskError, channel, select, sleep, stopping, timeout, yield_now};
use twistor::{Handle, Reactor};

use super::ledger::Ledger;
use crate::world::with_reactor;

/// Spawns a task, and may cancel it later.
pub fn begin(ledger: &Ledger, reactor: &mut Reactor) {
    ledger.acts("Reactor::handle");
    let handle = reactor.handle();
    let task = reactor.spawn(errand(ledger.clone(), 2)).named("errand");
    let (kept, delay) = (ledger.clone(), Duration::from_millis(ledger.below(600)));
    match ledger.below(4) {
        0 => task.detach(),
        1 => drop(task),
        _ => {
            reactor.call_later(delay, move |reactor| {
                assert!(
                    task.is_finished()
                        || reactor.tasks().iter().any(|info| info.name.as_deref() == Some("errand"))
                );
                drop(task);
            });
        }
    }
    ledger.acts("Handle::cancel");
    let late = reactor.call_later(Duration::from_secs(1), |_| unreachable!("it is cancelled"));
    handle.cancel(late);
    ledger.acts("Handle::call");
    let same = handle.clone();
    handle.call(move |reactor| {
        kept.acts("Handle::is_same");
        kept.acts("Handle::finished");
        kept.acts("Handle::is_stopping");
        assert!(reactor.handle().is_same(&same) && !same.finished());
        assert!(!same.is_stopping() || !reactor.running() || !reactor.stop());
        assert!(same.with_reactor(|_| ()).is_err(), "this is no task");
    });
}

/// Waits several times, and spawns a task of its own, which it may drop.
async fn errand(ledger: Ledger, depth: u64) -> u64 {
    ledger.acts("Handle::current");
    assert!(Handle::current().is_ok_and(|current| current.with_reactor(|_| ()).is_ok()));
    let mut waits = 0;
    for _ in 0..1 + ledger.below(4) {
        waits += 1;
        match ledger.below(5) {
            0 => yield_now().await,
            1 => nap(&ledger).await,
            2 => {
                let limit = Duration::from_millis(ledger.below(100));
                let _ = timeout(limit, nap(&ledger)).await;
            }
            3 => {
                let _ = select(select(nap(&ledger), stopping()), nap(&ledger)).await;
            }
            _ if depth > 0 => waits += with_another(&ledger, depth - 1).await,
            _ => {}
        }
    }
    waits
}

async fn nap(ledger: &Ledger) {
    ledger.acts("Handle::with_reactor");
    let now = || with_reactor(|reactor| reactor.now());
    let (delay, began) = (Duration::from_millis(ledger.below(200)), now());
    sleep(delay).await;
    assert!(now() - began >= delay, "early");
}

async fn with_another(ledger: &Ledger, depth: u64) -> u64 {
    let (sender, mut receiver) = channel(1);
    let own = ledger.clone();
    let helper: Task<u64> = task::spawn(async move {
        for number in 0..4 {
            if sender.send(number).await.is_err() {
                break;
            }
        }
        Box::pin(errand(own, depth)).await
    });
    let mut next = 0;
    for _ in 0..ledger.below(6) {
        match receiver.recv().await {
            Some(number) => {
                assert_eq!(number, next);
                next += 1;
            }
            None => assert_eq!(next, 4, "all that was sent has come"),
        }
    }
    drop(receiver);
    match ledger.below(3) {
        0 => 0,
        1 => {
            helper.cancel();
            helper.await.unwrap_or_else(|error| {
                assert_eq!(error, TaskError::Cancelled);
                0
            })
        }
        _ => helper.await.expect("it was not cancelled"),
    }
}
