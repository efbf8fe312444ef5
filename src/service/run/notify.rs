//! Notifications to the service manager (systemd): readiness, watchdog, reload and stop.

use crate::escape::Escaped;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::Reactor;
use crate::net::os::notify::{NotifySocket, monotonic_microseconds, watchdog_period};

/// Connection to the service manager, if there is one. Clones share it.
#[derive(Clone)]
pub(in crate::service) struct Manager(Option<Rc<RefCell<Notifier>>>);

struct Notifier {
    socket: NotifySocket,
    /// Messages that the full socket has not accepted yet.
    queue: VecDeque<String>,
}

impl Manager {
    /// Connects to the manager named by the environment.
    pub(in crate::service) fn from_environment() -> Manager {
        let socket = NotifySocket::from_environment().unwrap_or_else(|error| {
            log_warn!("cannot notify the service manager: NOTIFY_SOCKET: {}", Escaped(error));
            None
        });
        Manager(socket.map(|socket| Rc::new(RefCell::new(Notifier { socket, queue: VecDeque::new() }))))
    }

    pub(in crate::service) fn ready(&self, reactor: &mut Reactor) {
        self.notify(reactor, "READY=1\nSTATUS=running");
    }

    pub(in crate::service) fn reloading(&self, reactor: &mut Reactor) {
        if self.0.is_some() {
            let now = monotonic_microseconds();
            self.notify(reactor, &format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"));
        }
    }

    pub(in crate::service) fn stopping(&self, reactor: &mut Reactor) {
        self.notify(reactor, "STOPPING=1\nSTATUS=stopping");
    }

    /// Sends watchdog messages from now on, twice per period.
    pub(in crate::service) fn start_watchdog(&self, reactor: &mut Reactor) {
        if let (Some(_), Some(period)) = (&self.0, watchdog_period()) {
            self.clone().send_watchdog(reactor, (period / 2).max(MIN_INTERVAL));
        }
    }

    fn send_watchdog(self, reactor: &mut Reactor, wait: Duration) {
        // Skipped while messages are queued, since the manager is not reading.
        if self.0.as_ref().is_some_and(|notifier| notifier.borrow().queue.is_empty()) {
            self.notify(reactor, "WATCHDOG=1");
        }
        reactor.call_later(wait, move |reactor| self.send_watchdog(reactor, wait));
    }

    fn notify(&self, reactor: &mut Reactor, text: &str) {
        let Some(notifier) = &self.0 else { return };
        let mut notifier = notifier.borrow_mut();
        if notifier.queue.len() >= MAX_QUEUED {
            log_warn!("the service manager does not read its notifications; dropped \"{}\"", Escaped(text));
            return;
        }
        notifier.queue.push_back(text.to_owned());
        // Otherwise a retry is scheduled already.
        if notifier.queue.len() == 1 {
            drop(notifier);
            self.send_queued(reactor);
        }
    }

    fn send_queued(&self, reactor: &mut Reactor) {
        let Some(notifier) = &self.0 else { return };
        let mut notifier = notifier.borrow_mut();
        while let Some(text) = notifier.queue.front() {
            match notifier.socket.send(text) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let this = self.clone();
                    reactor.call_later(RETRY_DELAY, move |reactor| this.send_queued(reactor));
                    return;
                }
                Err(error) => {
                    log_warn!("notifying the service manager of \"{}\": {}", Escaped(text), Escaped(error));
                }
                Ok(()) => {}
            }
            notifier.queue.pop_front();
        }
    }
}

/// Reports the program's status to the service manager, if there is one, as one line. `systemctl
/// status` shows it. Can be called at any time and from any thread.
///
/// # Errors
/// The I/O error of sending the message.
pub fn notify_status(text: &str) -> io::Result<()> {
    match NotifySocket::from_environment()? {
        // A line break would start another assignment.
        Some(socket) => socket.send(&format!("STATUS={}", text.replace(['\n', '\r'], " "))),
        None => Ok(()),
    }
}

/// Delay before sending to a full socket again.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Minimum interval. Shorter watchdog periods would keep the loop busy.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Maximum number of queued messages.
const MAX_QUEUED: usize = 64;
