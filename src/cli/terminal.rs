//! The terminal while a live page is on it: single keys, and what it was before, given back in every way out.
//!
//! A page has the terminal only while its process group is in the foreground. In the background it draws nothing, reads
//! nothing and changes nothing there, until the shell brings it back.

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

/// A handle to the terminal; a clone is another one.
#[derive(Clone)]
pub(super) struct Terminal(Rc<RefCell<Shared>>);

type OnKey = dyn Fn(&mut Reactor, Key);

struct Shared {
    view: View,
    out: Out,
    call: Rc<OnKey>,
    /// Taken, and not given back.
    ours: bool,
    /// How it was, when it was changed.
    before: Option<Termios>,
    keys: Option<ConnectionId>,
}

impl Terminal {
    /// The terminal of `view`; `call` is called for each key, when stdin is a terminal. Nothing is changed before the
    /// first [`Terminal::is_ours`].
    ///
    /// Call it before other threads are started: to the background the system sends signals that stop a process, and
    /// they are blocked in this thread and in those that it starts.
    pub(super) fn new(view: View, call: impl Fn(&mut Reactor, Key) + 'static) -> Terminal {
        let mut stops = SigSet::empty();
        stops.add(Signal::SIGTTOU);
        stops.add(Signal::SIGTTIN);
        // It fails for no valid set; the process would stop in the background, as others do.
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

    /// Whether the page may draw: takes the terminal when it has come to the foreground, and lets go of it when another
    /// has it now.
    pub(super) fn is_ours(&self, reactor: &mut Reactor) -> bool {
        let (foreground, ours) = (is_foreground(), self.0.borrow().ours);
        match (foreground, ours) {
            (true, false) => self.take(reactor),
            (false, true) => {
                // Its modes are another's now.
                self.0.borrow_mut().before = None;
                self.give_back(reactor);
            }
            _ => {}
        }
        foreground
    }

    /// It was stopped and goes on: whoever had the terminal meanwhile has changed it.
    pub(super) fn resumed(&self, reactor: &mut Reactor) {
        self.0.borrow_mut().ours = false;
        self.is_ours(reactor);
    }

    /// Gives the terminal back and stops the process, as Ctrl-Z asks for. Returns when it goes on.
    pub(super) fn suspend(&self, reactor: &mut Reactor) {
        self.give_back(reactor);
        writer::settle(SETTLING);
        // As the signal's default action: this one cannot be caught.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }

    /// Gives the terminal back, and waits until it has shown all: a signal may end this process at any time after that.
    pub(super) fn give_back_for_good(&self, reactor: &mut Reactor) {
        self.give_back(reactor);
        writer::settle(SETTLING);
    }

    /// Gives the terminal back as it was before.
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
            // Without them signals end it still.
            shared.keys = reactor.standard_streams(Keys::new(move |reactor, key| call(reactor, key))).ok();
        }
    }
}

impl Shared {
    /// Each key comes at once, and is not shown. Signals are still made of Ctrl-C and Ctrl-Z.
    fn set_modes(&mut self) -> bool {
        let Ok(before) = tcgetattr(stdin()) else { return false };
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        if tcsetattr(stdin(), OptionalActions::Now, &modes).is_err() {
            return false;
        }
        // After SIGSTOP they may be this page's own still.
        self.before.get_or_insert(before);
        true
    }

    fn restore(&mut self) {
        if self.ours {
            // Stopped by Ctrl-S, the terminal would not take the sequence. It goes on by itself at Ctrl-C, for other ways
            // out it has to be told. TCOON alone lifts only a stop by TCOOFF; after one it lifts both.
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

/// Whether this process may use the terminal. Of one that does not control it nobody else has a part.
fn is_foreground() -> bool {
    tcgetpgrp(stdout()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// A terminal whose other side does not read takes nothing.
const SETTLING: Duration = Duration::from_millis(300);
