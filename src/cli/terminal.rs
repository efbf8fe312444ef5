//! The terminal while a live table is shown: single keys, and restoring it on every exit.
//!
//! The table uses the terminal only while its process group is in the foreground. In the background
//! it draws nothing, reads nothing and changes nothing, until the shell brings it back.

use super::keys::{Key, Keys};
use super::writer::{self, Out};
use crate::monitor::View;
use crate::{ConnectionId, Reactor};
use nix::sys::signal::{SigSet, Signal};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    Action, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcflow, tcgetattr, tcgetpgrp,
    tcsetattr,
};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// A handle to the terminal. A clone is another handle to the same terminal.
#[derive(Clone)]
pub(super) struct Terminal(Rc<RefCell<Shared>>);

type OnKey = dyn Fn(&mut Reactor, Key);

struct Shared {
    view: View,
    out: Out,
    call: Rc<OnKey>,
    /// Whether the terminal was taken and not given back.
    ours: bool,
    /// The original modes, if they were changed.
    before: Option<Termios>,
    keys: Option<ConnectionId>,
}

impl Terminal {
    /// Creates the terminal of `view`. `call` is called for each key if stdin is a terminal.
    /// Nothing is changed before the first [`Terminal::is_ours`].
    ///
    /// Call it before other threads are started. In the background the system sends signals that
    /// stop a process; they are blocked in this thread and in those that it starts.
    pub(super) fn new(view: View, call: impl Fn(&mut Reactor, Key) + 'static) -> Terminal {
        let mut stops = SigSet::empty();
        stops.add(Signal::SIGTTOU);
        stops.add(Signal::SIGTTIN);
        // A failure (not possible with a valid set) only means that the process stops in the
        // background.
        let _ = stops.thread_block();
        let shared = Shared {
            view,
            out: writer::stdout(),
            call: Rc::new(call),
            ours: false,
            before: None,
            keys: None,
        };
        Terminal(Rc::new(RefCell::new(shared)))
    }

    /// Whether the table may draw. Takes the terminal when the process has come to the foreground,
    /// and lets go of it when the process is in the background.
    pub(super) fn is_ours(&self, reactor: &mut Reactor) -> bool {
        let (foreground, ours) = (is_foreground(), self.0.borrow().ours);
        match (foreground, ours) {
            (true, false) => self.take(reactor),
            (false, true) => {
                // The modes now belong to the foreground process.
                self.0.borrow_mut().before = None;
                self.give_back(reactor);
            }
            _ => {}
        }
        foreground
    }

    /// Takes the terminal again after a stop, because other processes may have changed it.
    pub(super) fn resumed(&self, reactor: &mut Reactor) {
        self.0.borrow_mut().ours = false;
        self.is_ours(reactor);
    }

    /// Gives the terminal back and stops the process, as Ctrl-Z does. Returns when it continues.
    pub(super) fn suspend(&self, reactor: &mut Reactor) {
        self.give_back(reactor);
        writer::wait_until_written(MAX_WRITE_WAIT);
        // Same as the signal's default action, but SIGSTOP cannot be caught.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }

    /// Gives the terminal back, and waits until all output is shown. A signal may end this process
    /// at any time after that.
    pub(super) fn give_back_for_good(&self, reactor: &mut Reactor) {
        self.give_back(reactor);
        writer::wait_until_written(MAX_WRITE_WAIT);
    }

    /// Restores the terminal.
    pub(super) fn give_back(&self, reactor: &mut Reactor) {
        let keys = self.0.borrow_mut().keys.take();
        if let Some(mut keys) = keys.and_then(|keys| reactor.transport(keys)) {
            keys.abort_connection();
        }
        self.0.borrow_mut().restore();
    }

    fn take(&self, reactor: &mut Reactor) {
        let mut shared = self.0.borrow_mut();
        shared.ours = true;
        writer::hold_stderr(true);
        let with_keys = isatty(stdin()) && shared.set_modes();
        shared.view.set_keys(with_keys);
        let open = shared.keys.is_some_and(|keys| reactor.transport(keys).is_some());
        if with_keys && !open {
            let call = Rc::clone(&shared.call);
            // Without keys, signals can still end it.
            shared.keys = reactor.standard_streams(Keys::new(move |reactor, key| call(reactor, key))).ok();
        }
    }
}

impl Shared {
    /// Turns on single keys without echo. Ctrl-C and Ctrl-Z still make signals.
    fn set_modes(&mut self) -> bool {
        let Ok(before) = tcgetattr(stdin()) else { return false };
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        if tcsetattr(stdin(), OptionalActions::Now, &modes).is_err() {
            return false;
        }
        // After SIGSTOP the current modes may be those set here.
        self.before.get_or_insert(before);
        true
    }

    fn restore(&mut self) {
        if self.ours {
            // A terminal stopped by Ctrl-S would not take the sequence. Ctrl-C resumes it, but
            // other ways out have to. TCOON alone lifts only a stop by TCOOFF; after a TCOOFF it
            // lifts both.
            let _ = tcflow(stdout(), Action::OOff).and_then(|()| tcflow(stdout(), Action::OOn));
        }
        if let Some(before) = self.before.take() {
            // A terminal that is gone has no modes.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
        }
        if let Some(leave) = self.view.leave() {
            let _ = self.out.write_all(leave.as_bytes()).and_then(|()| self.out.flush());
        }
        self.ours = false;
        writer::hold_stderr(false);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Whether this process may use the terminal. Without a controlling terminal it may.
fn is_foreground() -> bool {
    tcgetpgrp(stdout()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Maximum wait for a terminal whose other side does not read.
const MAX_WRITE_WAIT: Duration = Duration::from_millis(300);
