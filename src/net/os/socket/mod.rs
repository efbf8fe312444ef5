//! The table of open sockets.

pub(super) mod address;
pub(super) mod listeners;
pub(super) mod opening;
pub(super) mod options;
mod transfer;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use socket2::SockRef;

use crate::net::os::datagram::Family;
use crate::net::os::unix::socket_file::SocketFile;
use crate::net::{Close, Token};

/// Open sockets, by the index of their token.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Vec<Entry>,
    /// Files of UNIX sockets that are removed on close.
    files: Vec<(Token, SocketFile)>,
}

struct Entry {
    generation: u32,
    kind: Kind,
    /// `None` once the socket is closed.
    descriptor: Option<OwnedFd>,
}

/// The type of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A listener. Other processes may have it open as well, so closing it does not remove it from
    /// the poll.
    Listener,
    Tcp,
    Unix,
    /// An adopted stream, which other owners may have open as well.
    AdoptedTcp,
    AdoptedUnix,
    Datagram(Family),
    AdoptedDatagram(Family),
    /// A pipe to a child process.
    PipeTo,
    /// A pipe from a child process.
    PipeFrom,
    /// This side of a child's terminal.
    Terminal,
    /// A descriptor of other code, which other owners may have open as well.
    Watched,
}

impl Kind {
    pub(super) fn listens(self) -> bool {
        self == Kind::Listener
    }

    pub(super) fn is_stream(self) -> bool {
        self.family().is_none()
    }

    /// The address family of a datagram socket.
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Kind::Datagram(family) | Kind::AdoptedDatagram(family) => Some(family),
            Kind::Listener
            | Kind::Tcp
            | Kind::Unix
            | Kind::AdoptedTcp
            | Kind::AdoptedUnix
            | Kind::PipeTo
            | Kind::PipeFrom
            | Kind::Terminal
            | Kind::Watched => None,
        }
    }

    fn may_be_shared(self) -> bool {
        match self {
            Kind::Listener
            | Kind::AdoptedTcp
            | Kind::AdoptedUnix
            | Kind::AdoptedDatagram(_)
            | Kind::Watched => true,
            Kind::Tcp | Kind::Unix | Kind::Datagram(_) | Kind::PipeTo | Kind::PipeFrom | Kind::Terminal => {
                false
            }
        }
    }
}

/// An opened socket that is not in the table yet.
pub(super) struct Opened {
    pub(super) kind: Kind,
    pub(super) descriptor: OwnedFd,
    pub(super) file: Option<SocketFile>,
}

impl Opened {
    /// Removes the socket's file after a later step has failed.
    pub(super) fn undo(self) {
        if let Some(file) = self.file {
            file.remove();
        }
    }
}

impl Sockets {
    pub(super) fn insert(&mut self, token: Token, opened: Opened) {
        let index = token.index();
        if index >= self.entries.len() {
            let empty = || Entry { generation: 0, kind: Kind::Tcp, descriptor: None };
            self.entries.resize_with(index + 1, empty);
        }
        let Opened { kind, descriptor, file } = opened;
        self.entries[index] = Entry { generation: token.generation(), kind, descriptor: Some(descriptor) };
        self.files.extend(file.map(|file| (token, file)));
    }

    pub(super) fn get(&self, token: Token) -> io::Result<(BorrowedFd<'_>, Kind)> {
        self.find(token).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Looks up a descriptor that carries data: anything but a listener.
    pub(super) fn carrier(&self, token: Token) -> io::Result<(BorrowedFd<'_>, Kind)> {
        self.get(token).and_then(|(descriptor, kind)| match kind.listens() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok((descriptor, kind)),
        })
    }

    /// Looks up a token. Runs for every message, so it creates no error.
    #[inline]
    pub(super) fn find(&self, token: Token) -> Option<(BorrowedFd<'_>, Kind)> {
        match self.entries.get(token.index()) {
            Some(Entry { generation, kind, descriptor: Some(descriptor) })
                if *generation == token.generation() =>
            {
                Some((descriptor.as_fd(), *kind))
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn stream(&self, token: Token) -> io::Result<BorrowedFd<'_>> {
        match self.get(token)? {
            (descriptor, Kind::Tcp | Kind::Unix | Kind::AdoptedTcp | Kind::AdoptedUnix) => Ok(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn datagram(&self, token: Token) -> io::Result<(BorrowedFd<'_>, Family)> {
        let (descriptor, kind) = self.get(token)?;
        Ok((descriptor, kind.family().ok_or(io::ErrorKind::NotFound)?))
    }

    pub(super) fn listener(&self, token: Token) -> io::Result<BorrowedFd<'_>> {
        match self.get(token)? {
            (descriptor, kind) if kind.listens() => Ok(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Duplicates a descriptor for another owner. The socket's file is no longer removed on close,
    /// since the new owner shares it.
    pub(super) fn duplicate(&mut self, token: Token) -> io::Result<OwnedFd> {
        let (descriptor, kind) = self.get(token)?;
        if matches!(kind, Kind::PipeTo | Kind::PipeFrom | Kind::Terminal) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let duplicate = descriptor.try_clone_to_owned()?;
        if let Some(entry) = self.entries.get_mut(token.index()) {
            entry.kind = match entry.kind {
                Kind::Tcp => Kind::AdoptedTcp,
                Kind::Unix => Kind::AdoptedUnix,
                Kind::Datagram(family) => Kind::AdoptedDatagram(family),
                shared @ (Kind::Listener
                | Kind::AdoptedTcp
                | Kind::AdoptedUnix
                | Kind::AdoptedDatagram(_)
                | Kind::PipeTo
                | Kind::PipeFrom
                | Kind::Terminal
                | Kind::Watched) => shared,
            };
        }
        self.files.retain(|(owner, _)| *owner != token);
        Ok(duplicate)
    }

    /// Closes a socket. This removes the descriptor from the poll as well, unless it is open
    /// elsewhere.
    pub(super) fn close(&mut self, token: Token, how: Close, registry: &mio::Registry) {
        let Some(entry) = self.entries.get_mut(token.index()) else {
            return;
        };
        if entry.generation != token.generation() {
            return;
        }
        let Some(descriptor) = entry.descriptor.take() else {
            return;
        };
        if let (Kind::Tcp | Kind::AdoptedTcp, Close::Reset) = (entry.kind, how) {
            // If this fails, the close is a graceful one.
            let _ = SockRef::from(&descriptor).set_linger(Some(std::time::Duration::ZERO));
        }
        if entry.kind.may_be_shared() {
            // Fails if the descriptor was closed behind our back; it is then in no poll either.
            let _ = registry.deregister(&mut mio::unix::SourceFd(&descriptor.as_raw_fd()));
        }
        // Removes the file before the socket closes, so that a connect in between fails at once.
        if let Some(at) = self.files.iter().position(|(owner, _)| *owner == token) {
            self.files.swap_remove(at).1.remove();
        }
        drop(descriptor);
    }
}

/// Removes the files of all listeners that are still open.
impl Drop for Sockets {
    fn drop(&mut self) {
        for (_, file) in self.files.drain(..) {
            file.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use mio::Interest;
    use mio::unix::SourceFd;

    use super::*;

    fn token(generation: u32) -> Token {
        Token::new(1, generation)
    }

    fn opened(kind: Kind, descriptor: impl Into<OwnedFd>) -> Opened {
        Opened { kind, descriptor: descriptor.into(), file: None }
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn a_stale_token_closes_nothing() {
        let (poll, mut sockets) = (mio::Poll::new().unwrap(), Sockets::default());
        let (one, other) = pair();
        sockets.insert(token(1), opened(Kind::Tcp, one));
        sockets.close(token(1), Close::Graceful, poll.registry());
        sockets.insert(token(2), opened(Kind::Tcp, other));
        sockets.close(token(1), Close::Graceful, poll.registry());
        assert!(sockets.find(token(1)).is_none() && sockets.find(token(2)).is_some());
    }

    #[test]
    fn a_duplicated_stream_leaves_the_poll_when_it_is_closed() {
        let (mut poll, mut sockets) = (mio::Poll::new().unwrap(), Sockets::default());
        let (one, mut other) = pair();
        let source = one.as_raw_fd();
        poll.registry().register(&mut SourceFd(&source), mio::Token(7), Interest::READABLE).unwrap();
        sockets.insert(token(1), opened(Kind::Tcp, one));
        let _duplicate = sockets.duplicate(token(1)).unwrap();
        sockets.close(token(1), Close::Graceful, poll.registry());
        other.write_all(b"x").unwrap();
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }

    #[test]
    fn pipes_and_terminals_cannot_be_duplicated() {
        for kind in [Kind::PipeTo, Kind::PipeFrom, Kind::Terminal] {
            let mut sockets = Sockets::default();
            let (pipe, _) = io::pipe().unwrap();
            sockets.insert(token(1), opened(kind, pipe));
            assert_eq!(sockets.duplicate(token(1)).unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
    }
}
