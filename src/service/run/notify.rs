//! What the service manager (systemd) is told: that the program is ready, lives, reads its configuration, stops.

use crate::escape::Escaped;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::Reactor;
use crate::net::os::notify::{NotifySocket, monotonic_microseconds, watchdog_period};

/// The manager that started this process, or nobody. Clones are the same.
#[derive(Clone)]
pub(in crate::service) struct Manager(Option<Rc<RefCell<Told>>>);

struct Told {
    socket: NotifySocket,
    /// What the manager was too busy to take.
    waiting: VecDeque<String>,
}

impl Manager {
    /// The manager that the environment names.
    pub(in crate::service) fn from_environment() -> Manager {
        let socket = NotifySocket::from_environment().unwrap_or_else(|error| {
            log_warn!("the service manager cannot be told anything: NOTIFY_SOCKET: {}", Escaped(error));
            None
        });
        Manager(socket.map(|socket| Rc::new(RefCell::new(Told { socket, waiting: VecDeque::new() }))))
    }

    pub(in crate::service) fn ready(&self, reactor: &mut Reactor) {
        self.tell(reactor, "READY=1\nSTATUS=running");
    }

    pub(in crate::service) fn reloading(&self, reactor: &mut Reactor) {
        if self.0.is_some() {
            let now = monotonic_microseconds();
            self.tell(
                reactor,
                &format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading its configuration"),
            );
        }
    }

    pub(in crate::service) fn stopping(&self, reactor: &mut Reactor) {
        self.tell(reactor, "STOPPING=1\nSTATUS=stopping");
    }

    /// From now on, twice in each period in which the manager wants to hear something.
    pub(in crate::service) fn keep_telling(&self, reactor: &mut Reactor) {
        if let (Some(_), Some(period)) = (&self.0, watchdog_period()) {
            self.clone().still_alive(reactor, (period / 2).max(OFTEN));
        }
    }

    fn still_alive(self, reactor: &mut Reactor, wait: Duration) {
        // One that has not taken the last word has enough of them.
        if self.0.as_ref().is_some_and(|told| told.borrow().waiting.is_empty()) {
            self.tell(reactor, "WATCHDOG=1");
        }
        reactor.call_later(wait, move |reactor| self.still_alive(reactor, wait));
    }

    fn tell(&self, reactor: &mut Reactor, text: &str) {
        let Some(told) = &self.0 else { return };
        let mut told = told.borrow_mut();
        if told.waiting.len() >= MOST {
            log_warn!("the service manager takes nothing: it is not told \"{}\"", Escaped(text));
            return;
        }
        told.waiting.push_back(text.to_owned());
        // Else somebody comes back for it.
        if told.waiting.len() == 1 {
            drop(told);
            self.send_waiting(reactor);
        }
    }

    fn send_waiting(&self, reactor: &mut Reactor) {
        let Some(told) = &self.0 else { return };
        let mut told = told.borrow_mut();
        while let Some(text) = told.waiting.front() {
            match told.socket.send(text) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let this = self.clone();
                    reactor.call_later(AGAIN, move |reactor| this.send_waiting(reactor));
                    return;
                }
                Err(error) => {
                    log_warn!("telling the service manager \"{}\": {}", Escaped(text), Escaped(error));
                }
                Ok(()) => {}
            }
            told.waiting.pop_front();
        }
    }
}

/// Tells the service manager, if there is one, in one line how the program is: `systemctl status` shows it. It may be told
/// at any time, from any thread.
///
/// # Errors
/// What the system says when the manager cannot be told.
pub fn notify_status(text: &str) -> io::Result<()> {
    match NotifySocket::from_environment()? {
        // A second line would be another word to the manager.
        Some(socket) => socket.send(&format!("STATUS={}", text.replace(['\n', '\r'], " "))),
        None => Ok(()),
    }
}

/// When a manager that was too busy is told again.
const AGAIN: Duration = Duration::from_millis(50);

/// A shorter watchdog would be all that the program does.
const OFTEN: Duration = Duration::from_millis(1);

/// How many words wait for a manager that is too busy.
const MOST: usize = 64;
