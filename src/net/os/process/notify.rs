//! The notification socket of the service manager. (`sd_notify(3)`.)
//!
//! Not the crate `sd-notify`: it sends on a blocking socket, so a manager that does not read would
//! block the loop, and it cannot address an abstract socket.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A non-blocking socket for messages to the service manager. (`sd_notify(3)`.)
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl NotifySocket {
    /// Opens the manager's socket. NOTIFY_SOCKET has its address: a path, or `@` and an abstract
    /// name. `None` when the variable is not set.
    pub(crate) fn from_environment() -> io::Result<Option<NotifySocket>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let manager = address(&name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Some(NotifySocket { socket, manager }))
    }

    /// Sends a message. `WouldBlock` when the manager's queue is full.
    pub(crate) fn send(&self, text: &str) -> io::Result<()> {
        self.socket.send_to_addr(text.as_bytes(), &self.manager).map(drop)
    }
}

/// The manager's watchdog timeout for this process, if it has one. (WATCHDOG_USEC.)
pub(crate) fn watchdog_period() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let for_another = number("WATCHDOG_PID").is_some_and(|id| id != u64::from(std::process::id()));
    let period = number("WATCHDOG_USEC").filter(|&microseconds| microseconds > 0 && !for_another);
    period.map(Duration::from_micros)
}

/// The system's monotonic clock in microseconds. The manager compares it with its own.
pub(crate) fn monotonic_microseconds() -> i64 {
    // POSIX has this clock, so the call does not fail.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}
