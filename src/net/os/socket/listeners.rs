//! Polling of listeners, and accepting from them.
//!
//! mio's readiness is edge-triggered, and an edge does not tell how many connections wait. A caller
//! has to accept until EAGAIN. This last call is expensive, because Linux allocates a file before
//! it checks the backlog. Measured: 3.5 µs, a tenth of the total cost of a short connection. Where
//! there is epoll, listeners are therefore level-triggered, with a registration beside mio's.
//! Elsewhere a listener is reported again after each accept.

use std::fs::File;
use std::io;

use super::address::address_of;
use super::opening::accept;
use super::{Kind, Opened};
use crate::net::os::OsDriver;
use crate::net::{Accepted, Address, Token, UnixAddress};

pub(in crate::net::os) use self::watching::watch;
use self::watching::{LEVEL_TRIGGERED, change};

impl OsDriver {
    pub(in crate::net::os) fn accept_from(&mut self, listener: Token, token: Token) -> io::Result<Accepted> {
        let accepted = accept(self.sockets.listener(listener)?);
        let none = accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if !LEVEL_TRIGGERED && !none {
            self.reported_next.push(listener);
        }
        let (descriptor, peer) = accepted?;
        let peer = peer.map_or(Ok(Address::Unix(UnixAddress::UNNAMED)), |peer| address_of(peer, true))?;
        let kind = match peer {
            Address::Unix(_) => Kind::Unix,
            Address::Tcp(_) | Address::Udp(_) | Address::Pipe => Kind::Tcp,
        };
        Ok(match self.register(token, Opened { kind, descriptor, file: None }) {
            Ok(()) => Accepted::Connection(peer),
            Err(error) => Accepted::Dropped(error),
        })
    }

    pub(in crate::net::os) fn shed_from(&mut self, listener: Token, max: usize) -> usize {
        if self.spare.take().is_none() {
            self.spare = reserve();
            return 0;
        }
        let Ok(listener) = self.sockets.listener(listener) else {
            return 0;
        };
        let shed = (0..max).take_while(|_| accept(listener).is_ok()).count();
        self.spare = reserve();
        shed
    }

    pub(in crate::net::os) fn pause_listener(&mut self, listener: Token, paused: bool) {
        let Ok(descriptor) = self.sockets.listener(listener) else {
            return;
        };
        if LEVEL_TRIGGERED {
            // Cannot fail: the descriptor is registered.
            let _ = change(self.poll.registry(), descriptor, listener, paused);
        } else if !paused {
            self.reported_next.push(listener);
        }
    }
}

/// Opens the spare descriptor. `None` when the process is out of descriptors.
pub(in crate::net::os) fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(any(target_os = "android", target_os = "linux"))]
mod watching {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use mio::Registry;
    use nix::sys::epoll::{EpollEvent, EpollFlags, EpollOp};

    use crate::net::Token;
    use crate::net::os::mio_token;

    /// Whether a listener is reported as long as a connection waits.
    pub(super) const LEVEL_TRIGGERED: bool = true;

    pub(in crate::net::os) fn watch(
        registry: &Registry,
        listener: BorrowedFd<'_>,
        token: Token,
    ) -> io::Result<()> {
        control(registry, EpollOp::EpollCtlAdd, listener, token, EpollFlags::EPOLLIN)
    }

    /// Changes the interest of a listener. epoll reports errors even for a paused listener, but
    /// only once when edge-triggered.
    pub(super) fn change(
        registry: &Registry,
        listener: BorrowedFd<'_>,
        token: Token,
        paused: bool,
    ) -> io::Result<()> {
        let flags = if paused { EpollFlags::EPOLLET } else { EpollFlags::EPOLLIN };
        control(registry, EpollOp::EpollCtlMod, listener, token, flags)
    }

    /// Registers a listener with its token, encoded as mio does.
    fn control(
        registry: &Registry,
        operation: EpollOp,
        listener: BorrowedFd<'_>,
        token: Token,
        flags: EpollFlags,
    ) -> io::Result<()> {
        let mut event = EpollEvent::new(flags, mio_token(token).0 as u64);
        // `Epoll` owns its descriptor, and this one is mio's. A duplicate would need a free
        // descriptor, which is missing when a listener is paused for the lack of one.
        #[expect(deprecated, reason = "the only call with a borrowed descriptor")]
        let done =
            nix::sys::epoll::epoll_ctl(registry.as_raw_fd(), operation, listener.as_raw_fd(), &mut event);
        Ok(done?)
    }
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
mod watching {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry};

    use crate::net::Token;
    use crate::net::os::mio_token;

    pub(super) const LEVEL_TRIGGERED: bool = false;

    pub(in crate::net::os) fn watch(
        registry: &Registry,
        listener: BorrowedFd<'_>,
        token: Token,
    ) -> io::Result<()> {
        registry.register(&mut SourceFd(&listener.as_raw_fd()), mio_token(token), Interest::READABLE)
    }

    pub(super) fn change(_: &Registry, _: BorrowedFd<'_>, _: Token, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::os::OsConfig;
    use crate::net::{Adopt, Event, Net, ThreadLimits};

    #[test]
    fn a_broken_paused_listener_is_reported_at_most_once() {
        let sizes = OsConfig { limits: ThreadLimits::NONE, spin: Duration::ZERO };
        let mut net = OsDriver::new(&sizes).unwrap();
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Token::new(0, 1);
        net.adopt(listener, theirs.try_clone().unwrap().into(), Adopt::Listener).unwrap();
        rustix::net::shutdown(&theirs, rustix::net::Shutdown::Both).unwrap();
        let reports_of = |net: &mut OsDriver| {
            let mut events = Vec::new();
            net.poll(&mut events, Some(Duration::ZERO)).unwrap();
            events
                .iter()
                .filter(|event| matches!(event, Event::Ready(token, _) if *token == listener))
                .count()
        };
        assert_eq!(reports_of(&mut net), 1);
        assert!(net.accept(listener, Token::new(1, 2)).is_err());
        net.set_listener_paused(listener, true);
        let reports: usize = (0..10).map(|_| reports_of(&mut net)).sum();
        assert!(reports <= 1, "{reports}");
    }
}
