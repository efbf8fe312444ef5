//! Signals for tasks.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use super::Notify;
use crate::reactor::{Handle, Reactor, Result, Signal, TurnHook};

/// Receives a signal of the operating system on the current task's reactor. Any number of tasks can
/// receive the same signal: each gets all deliveries. (tokio: [`signal::unix::signal`][tokio];
/// asyncio: `add_signal_handler`.)
///
/// The signal is handled from this call on, as by [`Reactor::on_signal`], until the reactor
/// finishes:
///
/// - While a [`Signals`] of SIGINT or SIGTERM exists, that signal does not stop the reactor. Once
///   all are dropped, each delivery stops it gracefully; a second one does not end the process, as
///   it would without this call. [`stopping`](super::stopping()) is simpler for a program that only
///   has to clean up.
/// - Other signals have no effect once all their `Signals` are dropped.
///
/// ```no_run
/// use twistor::Signal;
/// use twistor::task::signals;
///
/// twistor::block_on(async {
///     let mut hangups = signals(Signal::Hangup)?;
///     while let Some(()) = hangups.recv().await {
///         println!("reading the configuration again");
///     }
///     Ok::<_, twistor::Error>(())
/// })??;
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # Errors
/// - [`Error::ReactorUnavailable`](crate::Error::ReactorUnavailable) outside of a task.
/// - [`Error::System`](crate::Error::System) when the system does not allow the signal to be
///   handled.
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/signal/unix/fn.signal.html
pub fn signals(signal: Signal) -> Result<Signals> {
    let handle = Handle::current()?;
    let handlers = handle.turn_hook(Handlers::default);
    let known = handlers.deliveries.borrow().iter().find_map(|known| known.of(signal));
    let deliveries = match known {
        Some(deliveries) => deliveries,
        None => {
            let deliveries = Rc::new(Deliveries {
                signal,
                count: Cell::new(0),
                receivers: Cell::new(0),
                arrived: Notify::new(),
            });
            let theirs = Rc::clone(&deliveries);
            handle.with_reactor(|reactor| {
                reactor.on_signal(signal, move |reactor| theirs.delivered(reactor))
            })??;
            handlers.deliveries.borrow_mut().push(Rc::clone(&deliveries));
            deliveries
        }
    };
    deliveries.receivers.set(deliveries.receivers.get() + 1);
    Ok(Signals { seen: deliveries.count.get(), deliveries, handle })
}

/// Deliveries of one signal, from [`signals`].
pub struct Signals {
    deliveries: Rc<Deliveries>,
    /// `Deliveries::count` at the last delivery received.
    seen: u64,
    handle: Handle,
}

impl Signals {
    /// Waits for a delivery. Several deliveries since the last call count as one, as in the system.
    /// Returns `None` when the reactor has finished. Dropping the future loses none.
    pub async fn recv(&mut self) -> Option<()> {
        loop {
            let count = self.deliveries.count.get();
            if count != self.seen {
                self.seen = count;
                return Some(());
            }
            if self.handle.finished() {
                return None;
            }
            self.deliveries.arrived.notified().await;
        }
    }

    /// The signal.
    pub fn signal(&self) -> Signal {
        self.deliveries.signal
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.deliveries.receivers.set(self.deliveries.receivers.get() - 1);
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("signal", &self.signal()).finish_non_exhaustive()
    }
}

/// The signals that tasks of one reactor receive. A hook, because those belong to a reactor; it has
/// no work of its own.
#[derive(Default)]
struct Handlers {
    deliveries: RefCell<Vec<Rc<Deliveries>>>,
}

struct Deliveries {
    signal: Signal,
    count: Cell<u64>,
    receivers: Cell<usize>,
    arrived: Notify,
}

impl Deliveries {
    fn of(self: &Rc<Deliveries>, signal: Signal) -> Option<Rc<Deliveries>> {
        (self.signal == signal).then(|| Rc::clone(self))
    }

    fn delivered(&self, reactor: &mut Reactor) {
        self.count.set(self.count.get() + 1);
        if self.receivers.get() > 0 {
            self.arrived.notify_waiters();
        } else if matches!(self.signal, Signal::Interrupt | Signal::Terminate) {
            reactor.stop_gracefully();
        }
    }
}

impl TurnHook for Handlers {
    fn has_work(&self) -> bool {
        false
    }

    fn run(&self, _: &mut Reactor) {}

    /// Wakes tasks of other reactors, which the end of this one leaves waiting.
    fn finish(&self, _: &mut Reactor) {
        for deliveries in self.deliveries.take() {
            deliveries.arrived.notify_waiters();
        }
    }
}
