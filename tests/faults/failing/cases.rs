//! Which calls fail, with what, and what comes of it.

use twistor::sim::{CallKind, Errno};

use super::Side;
use super::judge::Harm;
use super::scenario::PORTS;

/// One call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub side: Side,
    pub kind: CallKind,
    pub errno: Errno,
    /// The how-manieth call of this kind on this side.
    pub nth: u64,
}

/// All: each call, each error, the first, the second and the tenth time, and where a later one is another matter.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (side, kind) in calls() {
        for errno in kind.errors().iter().chain(more_errors(kind)).copied() {
            for nth in times(side, kind).iter().copied() {
                cases.push(Case { side, kind, errno, nth });
            }
        }
    }
    cases
}

/// Each side's calls, without those that it never makes.
pub fn calls() -> impl Iterator<Item = (Side, CallKind)> {
    let sides = [Side::Server, Side::Client].into_iter();
    let both = sides.flat_map(|side| CallKind::ALL.iter().map(move |kind| (side, *kind)));
    both.filter(|call| !NEVER.iter().any(|(side, kind, _)| *call == (*side, *kind)))
}

/// Calls that a side never makes, and why: the matrix has no cases for them, and a test sees to it that this is true.
pub const NEVER: &[(Side, CallKind, &str)] = &[
    (Side::Server, CallKind::Connect, "it does not connect"),
    (Side::Server, CallKind::PeerAddress, "an accept brings the peer's address with it"),
    (
        Side::Server,
        CallKind::TakeError,
        "only who connects, or goes on after the peer's end, asks what became of it",
    ),
    (Side::Server, CallKind::RecvDatagrams, "datagrams have a matrix of their own"),
    (Side::Server, CallKind::SendDatagrams, "datagrams have a matrix of their own"),
    (Side::Client, CallKind::RecvDatagrams, "datagrams have a matrix of their own"),
    (Side::Client, CallKind::SendDatagrams, "datagrams have a matrix of their own"),
    (Side::Server, CallKind::SetMode, "UNIX sockets have a matrix of their own"),
    (Side::Server, CallKind::Credentials, "UNIX sockets have a matrix of their own"),
    (Side::Client, CallKind::SetMode, "UNIX sockets have a matrix of their own"),
    (Side::Client, CallKind::Credentials, "UNIX sockets have a matrix of their own"),
    (Side::Server, CallKind::FileOpen, "files have a matrix of their own"),
    (Side::Server, CallKind::FileRead, "files have a matrix of their own"),
    (Side::Server, CallKind::FileWrite, "files have a matrix of their own"),
    (Side::Server, CallKind::FileSync, "files have a matrix of their own"),
    (Side::Server, CallKind::FileStatus, "files have a matrix of their own"),
    (Side::Server, CallKind::Truncate, "files have a matrix of their own"),
    (Side::Server, CallKind::Lock, "files have a matrix of their own"),
    (Side::Server, CallKind::Rename, "files have a matrix of their own"),
    (Side::Server, CallKind::Unlink, "files have a matrix of their own"),
    (Side::Server, CallKind::CreateDir, "files have a matrix of their own"),
    (Side::Server, CallKind::ListDir, "files have a matrix of their own"),
    (Side::Server, CallKind::SyncDir, "files have a matrix of their own"),
    (Side::Client, CallKind::FileOpen, "files have a matrix of their own"),
    (Side::Client, CallKind::FileRead, "files have a matrix of their own"),
    (Side::Client, CallKind::FileWrite, "files have a matrix of their own"),
    (Side::Client, CallKind::FileSync, "files have a matrix of their own"),
    (Side::Client, CallKind::FileStatus, "files have a matrix of their own"),
    (Side::Client, CallKind::Truncate, "files have a matrix of their own"),
    (Side::Client, CallKind::Lock, "files have a matrix of their own"),
    (Side::Client, CallKind::Rename, "files have a matrix of their own"),
    (Side::Client, CallKind::Unlink, "files have a matrix of their own"),
    (Side::Client, CallKind::CreateDir, "files have a matrix of their own"),
    (Side::Client, CallKind::ListDir, "files have a matrix of their own"),
    (Side::Client, CallKind::SyncDir, "files have a matrix of their own"),
    (Side::Client, CallKind::Listen, "it is no server"),
    (Side::Client, CallKind::Accept, "it is no server"),
];

/// The first, the second, the tenth; the server's calls for its ten listeners come before those for connections.
pub fn times(side: Side, kind: CallKind) -> &'static [u64] {
    match (side, kind) {
        (Side::Server, CallKind::Watch | CallKind::LocalAddress) => &[1, 2, 10, 11, 12, 20],
        // The ninth and the tenth are of lingering closes, whose connections have their reasons already.
        (Side::Server, CallKind::Recv) => &[1, 2, 5],
        _ => &[1, 2, 10],
    }
}

/// Errors that a system could answer, though Linux hardly ever does.
fn more_errors(kind: CallKind) -> &'static [Errno] {
    match kind {
        CallKind::Socket => &[Errno::EPERM],
        CallKind::Connect => &[Errno::ECONNRESET, Errno::ENETDOWN, Errno::ENOMEM, Errno::EADDRINUSE],
        CallKind::Watch => &[Errno::EPERM],
        CallKind::Accept => {
            &[Errno::ENETDOWN, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::EIO, Errno::EINVAL]
        }
        CallKind::Recv => &[Errno::EIO, Errno::EPIPE, Errno::EACCES],
        CallKind::Send => &[Errno::EIO, Errno::ENETDOWN, Errno::EPERM, Errno::EACCES, Errno::EMSGSIZE],
        CallKind::Shutdown => &[Errno::EIO, Errno::ENOMEM],
        CallKind::SetOption => &[Errno::EIO, Errno::EPERM],
        _ => &[],
    }
}

impl Case {
    pub fn harm(self) -> Harm {
        use CallKind::*;
        let for_a_listener = self.side == Side::Server && self.nth <= u64::from(PORTS);
        match (self.kind, self.errno) {
            (Socket | Bind | Listen, _) if self.side == Side::Server => Harm::Listener,
            (Watch | LocalAddress, _) if for_a_listener => Harm::Listener,
            (Watch, _) if self.side == Side::Server => Harm::Accepted,
            (Socket | Bind | Connect | Watch, _) => Harm::Attempt,
            (Accept, Errno::EMFILE | Errno::ENFILE) => Harm::Waiting,
            (Accept | SetOption | Poll | LocalAddress, _) => Harm::Harmless,
            (Recv | Send, Errno::EAGAIN | Errno::EINTR) => Harm::Harmless,
            (Recv | Send, _) => Harm::Connection,
            // The connection was made, as no system would deny: the attempt waits for its timeout, and looks again.
            (PeerAddress, Errno::ENOTCONN) => Harm::Late,
            (PeerAddress, _) => Harm::Attempt,
            (TakeError, _) => Harm::Refusal,
            // The server closes what it wanted to close.
            (Shutdown, _) if self.side == Side::Server => Harm::Harmless,
            // A connection that is gone says so when it is read; this one is not, and says nothing.
            (Shutdown, Errno::ENOTCONN) => Harm::Late,
            (Shutdown, _) => Harm::Connection,
            (Offload, _) => Harm::Job,
            (Resolve, _) => Harm::Name,
            (Listen | RecvDatagrams | SendDatagrams | SetMode | Credentials, _) => Harm::Harmless,
            // Neither side uses files, so these are no cases.
            (
                FileOpen | FileRead | FileWrite | FileSync | FileStatus | Truncate | Lock | Rename | Unlink
                | CreateDir | ListDir | SyncDir,
                _,
            ) => Harm::Harmless,
        }
    }
}
