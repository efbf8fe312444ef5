//! Signals as poll events.
//!
//! A signal handler belongs to the process, and a process can have several reactors. Every reactor
//! that watches a signal receives it. A signal that no reactor watches any more has its default
//! action again, so that Ctrl-C ends a program whose reactor has finished.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::signal::SigSet;
use signal_hook::consts::signal as number;
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::net::{Signal, Watch};

/// The signals that one reactor watches.
pub(super) struct Watched {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    signals: Vec<Watch>,
}

impl Watched {
    pub(super) fn new(registry: &Registry, token: Token, signals: &[Watch]) -> io::Result<Watched> {
        unblock(signals)?;
        let numbers = signals.iter().map(|watch| to_number(watch.signal));
        // The handler writes a byte for each signal. If there is no room, the poll has an event.
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        registry.register(&mut SourceFd(&read.as_raw_fd()), token, Interest::READABLE)?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?;
        let mut watched = Watched { delivery, signals: Vec::new() };
        for watch in signals {
            process_wide(watch.signal, |handling| handling.begin(*watch))?;
            watched.signals.push(*watch);
        }
        Ok(watched)
    }

    /// The signals received since the last call.
    pub(super) fn pending(&mut self) -> impl Iterator<Item = Signal> + '_ {
        self.delivery.pending().filter_map(from_number)
    }

    pub(super) fn unregister(self, registry: &Registry) {
        // The descriptor is closed next, so an error has no consequence.
        let _ = registry.deregister(&mut SourceFd(&self.delivery.get_read().as_raw_fd()));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for watch in &self.signals {
            // Cannot fail: `new` has installed the handling.
            let _ = process_wide(watch.signal, |handling| {
                handling.end(*watch);
                Ok(())
            });
        }
    }
}

/// Process-wide handling of one signal.
struct Handling {
    watchers: usize,
    /// Number of watchers with `once`.
    once: usize,
    /// While true, the signal has its default action at once.
    default_now: Arc<AtomicBool>,
    /// Handler that sets `default_now` when the signal arrives.
    then_default: Option<signal_hook::SigId>,
}

impl Handling {
    fn install(signal: Signal) -> io::Result<Handling> {
        let default_now = Arc::new(AtomicBool::new(false));
        // These are ignored by default and need no handler for that.
        if !matches!(signal, Signal::WindowChange | Signal::Child | Signal::Continue) {
            flag::register_conditional_default(to_number(signal), Arc::clone(&default_now))?;
        }
        Ok(Handling { watchers: 0, once: 0, default_now, then_default: None })
    }

    fn begin(&mut self, watch: Watch) -> io::Result<()> {
        if watch.once && self.then_default.is_none() {
            let id = flag::register(to_number(watch.signal), Arc::clone(&self.default_now))?;
            self.then_default = Some(id);
        }
        if self.watchers == 0 {
            self.default_now.store(false, Ordering::SeqCst);
        }
        self.watchers += 1;
        self.once += usize::from(watch.once);
        Ok(())
    }

    fn end(&mut self, watch: Watch) {
        self.watchers -= 1;
        self.once -= usize::from(watch.once);
        if self.once == 0
            && let Some(id) = self.then_default.take()
        {
            signal_hook::low_level::unregister(id);
            self.default_now.store(false, Ordering::SeqCst);
        }
        if self.watchers == 0 {
            self.default_now.store(true, Ordering::SeqCst);
        }
    }
}

fn process_wide<R>(signal: Signal, change: impl FnOnce(&mut Handling) -> io::Result<R>) -> io::Result<R> {
    static HANDLING: Mutex<Vec<(Signal, Handling)>> = Mutex::new(Vec::new());
    let mut all = HANDLING.lock().unwrap_or_else(PoisonError::into_inner);
    match all.iter_mut().find(|(known, _)| *known == signal) {
        Some((_, handling)) => change(handling),
        None => {
            let mut handling = Handling::install(signal)?;
            let changed = change(&mut handling);
            all.push((signal, handling));
            changed
        }
    }
}

/// Unblocks the signals. A program can be started with signals blocked, and would then neither
/// receive them nor pass them to its children.
fn unblock(signals: &[Watch]) -> io::Result<()> {
    let mut set = SigSet::empty();
    for watch in signals {
        set.add(nix::sys::signal::Signal::try_from(to_number(watch.signal))?);
    }
    Ok(set.thread_unblock()?)
}

fn to_number(signal: Signal) -> i32 {
    match signal {
        Signal::Interrupt => number::SIGINT,
        Signal::Terminate => number::SIGTERM,
        Signal::Hangup => number::SIGHUP,
        Signal::User1 => number::SIGUSR1,
        Signal::User2 => number::SIGUSR2,
        Signal::WindowChange => number::SIGWINCH,
        Signal::Child => number::SIGCHLD,
        Signal::Quit => number::SIGQUIT,
        Signal::Suspend => number::SIGTSTP,
        Signal::Continue => number::SIGCONT,
    }
}

fn from_number(raw: i32) -> Option<Signal> {
    Some(match raw {
        number::SIGINT => Signal::Interrupt,
        number::SIGTERM => Signal::Terminate,
        number::SIGHUP => Signal::Hangup,
        number::SIGUSR1 => Signal::User1,
        number::SIGUSR2 => Signal::User2,
        number::SIGWINCH => Signal::WindowChange,
        number::SIGCHLD => Signal::Child,
        number::SIGQUIT => Signal::Quit,
        number::SIGTSTP => Signal::Suspend,
        number::SIGCONT => Signal::Continue,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_was_blocked_is_heard_of() {
        let blocks = || SigSet::thread_get_mask().unwrap().contains(nix::sys::signal::SIGWINCH);
        let mut set = SigSet::empty();
        set.add(nix::sys::signal::SIGWINCH);
        set.thread_block().unwrap();
        assert!(blocks());
        let poll = mio::Poll::new().unwrap();
        let watch = Watch { signal: Signal::WindowChange, once: false };
        let watched = Watched::new(poll.registry(), Token(1), &[watch]).unwrap();
        assert!(!blocks());
        watched.unregister(poll.registry());
    }
}
