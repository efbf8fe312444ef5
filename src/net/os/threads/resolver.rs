//! Host name look-ups on threads.
//!
//! Threads start when look-ups wait, up to a limit. They end after an idle time, or with the
//! resolver. A look-up that runs when the resolver is dropped is not waited for, and its outcome is
//! discarded.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::net::lookups::{LookupId, LookupProgress, Lookups};
use crate::net::os::clock::clock;
use crate::net::{Answer, LookedUp, NameError, NotAsked};

pub(in crate::net::os) struct Resolver {
    shared: Arc<Shared>,
    max_threads: usize,
}

/// Looks up a name, blocking. Returns its addresses, with any port.
pub(crate) type LookUp = dyn Fn(&str) -> Result<Vec<SocketAddr>, NameError> + Send + Sync;

struct Shared {
    state: Mutex<State>,
    /// Signalled when a look-up waits or the resolver is dropped.
    work: Condvar,
    look_up: Box<LookUp>,
    /// Max time that an idle thread waits for work.
    idle_limit: Duration,
}

struct State {
    lookups: Lookups,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Resolver {
    pub(in crate::net::os) fn new(max_threads: usize, max_asked: usize, look_up: Box<LookUp>) -> Resolver {
        Resolver::with_idle_limit(max_threads, max_asked, look_up, IDLE_LIMIT)
    }

    fn with_idle_limit(
        max_threads: usize,
        max_asked: usize,
        look_up: Box<LookUp>,
        idle_limit: Duration,
    ) -> Resolver {
        let max_threads = max_threads.max(1);
        let lookups = Lookups::new(max_threads, max_asked);
        let state = Mutex::new(State { lookups, threads: 0, idle: 0, closed: false });
        let shared = Shared { state, work: Condvar::new(), look_up, idle_limit };
        Resolver { shared: Arc::new(shared), max_threads }
    }

    /// Queues a look-up. Its outcome is passed to `answer` on a thread.
    pub(in crate::net::os) fn ask(
        &self,
        host: &str,
        port: u16,
        answer: Answer,
    ) -> Result<LookupId, NotAsked> {
        let mut state = self.shared.lock();
        let id = state.lookups.ask(host, port, answer).map_err(|_| NotAsked::QueueFull)?;
        if state.lookups.waiting() > state.idle && state.threads < self.max_threads {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name("twistor-name".into()).spawn(move || shared.serve());
            match started {
                Ok(_) => state.threads += 1,
                // A running thread will process it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    let back = state.lookups.cancel(id);
                    drop(state);
                    drop(back);
                    return Err(NotAsked::NoThread(error));
                }
            }
        }
        self.shared.work.notify_one();
        Ok(id)
    }

    /// Cancels a request. Its answer is dropped without a call.
    pub(in crate::net::os) fn cancel(&self, id: LookupId) {
        let answer = self.shared.lock().lookups.cancel(id);
        drop(answer);
    }

    pub(in crate::net::os) fn progress(&self, id: LookupId) -> LookupProgress {
        self.shared.lock().lookups.progress(id)
    }
}

impl Shared {
    /// Locks the state. A poisoned lock means that a statement ran out of memory; the state is
    /// consistent after each one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        while !state.closed {
            if let Some((number, name)) = state.lookups.begin(clock()) {
                drop(state);
                self.look_up(number, &name);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let (woken, waited) =
                self.work.wait_timeout(state, self.idle_limit).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.lookups.waiting() == 0 {
                break;
            }
        }
        state.threads -= 1;
    }

    fn look_up(&self, number: u64, name: &str) {
        let found = catch_unwind(AssertUnwindSafe(|| (self.look_up)(name)))
            .unwrap_or_else(|_| Err(NameError::Failed("the look-up panicked".to_owned())));
        let finished = self.lock().lookups.finish(number);
        let Some((began, askers)) = finished else { return };
        for (port, answer) in askers {
            answer(LookedUp::new(began, &found, port));
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let unanswered = std::mem::replace(&mut state.lookups, Lookups::new(1, 0));
        drop(state);
        drop(unanswered);
        self.shared.work.notify_all();
    }
}

/// Idle time before a thread ends. A thread costs memory, and starting one takes tens of
/// microseconds.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    /// A resolver whose look-ups of "hangs*" block until the sender is dropped; others answer
    /// 192.0.2.1 at once.
    fn resolver(threads: usize, asked: usize, idle: Duration) -> (Resolver, Gate) {
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        let running = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&running);
        let look_up = move |name: &str| {
            if name.starts_with("hangs") {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            if name == "panics" {
                panic!("it panics");
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))])
        };
        (Resolver::with_idle_limit(threads, asked, Box::new(look_up), idle), Gate { sender, running })
    }

    struct Gate {
        sender: mpsc::Sender<()>,
        running: Arc<AtomicUsize>,
    }

    fn ask(resolver: &Resolver, host: &str) -> (LookupId, mpsc::Receiver<LookedUp>) {
        let (answered, answers) = mpsc::channel();
        let answer = move |found| answered.send(found).unwrap_or_default();
        let id = resolver.ask(host, 80, Box::new(answer)).unwrap();
        (id, answers)
    }

    fn threads(resolver: &Resolver) -> usize {
        resolver.shared.lock().threads
    }

    #[test]
    fn names_that_hang_hold_up_no_others() {
        let (resolver, gate) = resolver(64, 5000, IDLE_LIMIT);
        let hanging: Vec<_> = (0..4).map(|number| ask(&resolver, &format!("hangs{number}"))).collect();
        let healthy: Vec<_> = (0..2000).map(|number| ask(&resolver, &format!("healthy{number}"))).collect();
        for (_, answer) in healthy {
            assert_eq!(answer.recv().unwrap().found.unwrap(), ["192.0.2.1:80".parse().unwrap()]);
        }
        assert!(threads(&resolver) <= 64);
        drop(gate.sender);
        for (_, answer) in hanging {
            assert!(answer.recv().unwrap().found.is_ok());
        }
    }

    #[test]
    fn a_hanging_name_uses_one_thread_for_any_number_of_lookups() {
        let (resolver, gate) = resolver(64, 10, IDLE_LIMIT);
        for _ in 0..100 {
            let (id, _) = ask(&resolver, "hangs");
            resolver.cancel(id);
            assert_eq!(resolver.progress(id), LookupProgress::Over);
        }
        let (_, answer) = ask(&resolver, "hangs");
        drop(gate.sender);
        assert!(answer.recv().unwrap().found.is_ok());
        // A request that was cancelled before its thread had started left the queue.
        assert_eq!(gate.running.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_look_up_that_panics_is_answered_and_its_thread_goes_on() {
        let (resolver, _gate) = resolver(1, 10, IDLE_LIMIT);
        let (_, failed) = ask(&resolver, "panics");
        assert!(matches!(failed.recv().unwrap().found, Err(NameError::Failed(_))));
        let (_, found) = ask(&resolver, "healthy");
        assert!(found.recv().unwrap().found.is_ok());
    }

    #[test]
    fn an_idle_thread_takes_the_next_name_and_no_other_is_started() {
        let (resolver, _gate) = resolver(4, 10, IDLE_LIMIT);
        for name in ["a", "b", "c"] {
            assert!(ask(&resolver, name).1.recv().unwrap().found.is_ok());
            while resolver.shared.lock().idle == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(threads(&resolver), 1);
    }

    #[test]
    fn threads_without_work_end() {
        let (resolver, _gate) = resolver(4, 10, Duration::from_millis(1));
        let answers = ["a", "b", "c"].map(|name| ask(&resolver, name).1);
        assert!(answers.iter().all(|answer| answer.recv().unwrap().found.is_ok()));
        while threads(&resolver) > 0 {
            thread::yield_now();
        }
        let (_, again) = ask(&resolver, "d");
        assert!(again.recv().unwrap().found.is_ok());
    }

    #[test]
    fn dropping_the_resolver_drops_answers_and_awaits_no_lookup() {
        let (resolver, gate) = resolver(1, 10, IDLE_LIMIT);
        let (_, hangs) = ask(&resolver, "hangs");
        let (_, waits) = ask(&resolver, "waits");
        drop(resolver);
        assert_eq!(hangs.recv().err(), Some(mpsc::RecvError));
        assert_eq!(waits.recv().err(), Some(mpsc::RecvError));
        drop(gate.sender);
    }
}
