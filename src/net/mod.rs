//! The seam: sockets, clock, randomness, signals and threads, at the level of system calls.
//!
//! Everything above this module is one body of code, whatever lies below: `os` is the real
//! network on `mio`. Nothing else in the crate touches a socket, a clock or randomness.
//!
//! The contract that a back end keeps:
//! - Sockets are named by the [`Token`]s that the caller chose. A call with a token that names no open
//!   socket fails with `NotFound`, except `close`, which then does nothing.
//! - All calls return at once, but for `poll`. Errors keep the system's error number.
//! - Readiness is edge-triggered, for both directions, from `open` or `accept` on: after it was
//!   reported, more reports may come only once a call answered `WouldBlock` or moved less
//!   than it was asked to. Spurious and merged reports are allowed.
//! - A listener is told of by level: after each `accept`, whatever that answered, the next poll tells again if a connection
//!   waits, so that nobody has to accept until it fails. One that rests is not told of, or, where the system watches edges alone,
//!   once for each that comes.
//!
//! What is deliberately above this line: timers, fairness, buffers, timeouts, closing, naming.

mod address;
#[cfg(test)]
mod conformance;
mod datagram;
mod instant;
pub(crate) mod lookups;
pub(crate) mod null;
pub(crate) mod os;
mod process;
mod signal;
pub(crate) mod zone;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use address::{Address, BadAddress, UnixAddress};
pub(crate) use datagram::{
    BATCH, Destination, LONGEST_DATAGRAM, Origin, RecvBatch, RecvMeta, Transmit, is_icmp_error,
};
pub use instant::Instant;
pub(crate) use instant::nanoseconds;
pub(crate) use lookups::{LookupId, LookupProgress};
pub use process::{ChildStream, ExitReason, ProcessSignal, SpawnFault, SpawnProcess, TerminalSize};
pub(crate) use process::{Pipes, SpawnError};
pub use signal::Signal;

/// The calls that a network has to answer.
pub(crate) trait Net {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Calendar time, which may jump either way.
    fn wall(&self) -> SystemTime;

    /// 64 unpredictable bits.
    fn random(&mut self) -> u64;

    /// Whether `choose` is left to chance.
    fn is_shuffled(&self) -> bool {
        false
    }

    /// Which of so many goes first, where a program should not notice: always the first, but where chance decides.
    fn pick_index(&mut self, among: usize) -> usize {
        let _ = among;
        0
    }

    /// Whether accepted sockets have TCP_NODELAY as their listener was opened with it.
    fn inherits_nodelay(&self) -> bool;

    /// How many descriptors the process may have open.
    fn descriptor_limit(&self) -> usize;

    /// Opens a socket and watches it. A connection is under way afterwards, not made.
    fn open(&mut self, token: Token, what: &Open) -> Result<(), OpenError>;

    /// Makes a socket of a descriptor that somebody else opened, and watches it. The descriptor is closed when that
    /// cannot be done.
    fn adopt(&mut self, token: Token, descriptor: OwnedFd, what: Adopt) -> Result<(), OpenError> {
        let _ = (token, descriptor, what);
        Err(OpenError { step: OpenStep::Adopt, error: io::ErrorKind::Unsupported.into() })
    }

    /// Another descriptor of the same socket, for somebody else: from now on closing ours ends nothing.
    fn duplicate(&mut self, socket: Token) -> io::Result<OwnedFd> {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Begins a child process, whose end is told as readable, and watches its pipes; says its number. Pipes are streams: to
    /// send to one that nobody reads fails, and so does to receive from one that is written to. After an error there
    /// is no child.
    fn spawn(&mut self, process: Token, pipes: Pipes, what: &SpawnProcess) -> Result<u32, SpawnError> {
        let _ = (process, pipes, what);
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// How a child process ended; `None` while it runs. Waits so long for it.
    fn exit_reason(&mut self, process: Token, patience: Duration) -> io::Result<Option<ExitReason>> {
        let _ = (process, patience);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Sends a child process a signal, or the group that it leads. It fails once `exit_reason` has told of its end.
    fn signal_process(&mut self, process: Token, signal: ProcessSignal) -> io::Result<()> {
        let _ = (process, signal);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Tells a child's terminal its size.
    fn resize_terminal(&mut self, terminal: Token, size: TerminalSize) -> io::Result<()> {
        let _ = (terminal, size);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Makes one stream of the process's standard input and output, and watches it.
    fn standard_streams(&mut self, token: Token) -> io::Result<()> {
        let _ = token;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes one connection from a listener's queue and watches it as `token`.
    fn accept(&mut self, listener: Token, token: Token) -> io::Result<Accepted>;

    /// Whether a listener rests: it is not told of, whoever waits, until it rests no more.
    fn set_listener_paused(&mut self, listener: Token, rests: bool);

    /// Out of descriptors: accepts and closes up to `most` waiting connections with the help of a
    /// spare descriptor, so that their peers hear of it. Returns how many.
    fn shed(&mut self, listener: Token, most: usize) -> usize;

    fn recv(&mut self, socket: Token, buffer: &mut [u8]) -> io::Result<usize>;

    fn send(&mut self, socket: Token, data: &[u8]) -> io::Result<usize>;

    /// Bytes that a stream has received and that were not read yet. (FIONREAD.)
    fn unread(&self, socket: Token) -> io::Result<usize> {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As `recv` on a UNIX socket, with the descriptors that came; stops at each of them, so that less than there was
    /// room for says nothing.
    fn recv_descriptors(
        &mut self,
        socket: Token,
        buffer: &mut [u8],
        into: &mut ReceivedFds,
    ) -> io::Result<usize> {
        let _ = into;
        self.recv(socket, buffer)
    }

    /// As `send` on a UNIX socket, the first byte with descriptors.
    fn send_descriptors(&mut self, socket: Token, data: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        let _ = (socket, data, descriptors);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes as many datagrams as one call brings, at least one, and no more than are wanted; says with them whether more
    /// may wait, and, of a UDP socket at any address without a peer, where each was sent to.
    fn recv_datagrams(&mut self, socket: Token, into: &mut RecvBatch) -> io::Result<()>;

    /// Sends the first of these datagrams, whose bytes lie one behind the other; says how many. An error is the first one's.
    /// An origin that is no address of this host is `InvalidInput`, or `NetworkUnreachable` of IPv4.
    fn send_datagrams(&mut self, socket: Token, bytes: &[u8], going: &[Transmit]) -> io::Result<usize>;

    /// Sends FIN; the other direction stays open.
    fn shutdown_write(&mut self, socket: Token) -> io::Result<()>;

    /// Closes and forgets a socket of any kind. A child process is forgotten, and left alone if it runs.
    fn close(&mut self, socket: Token, how: Close);

    /// The address on this side.
    fn local_address(&self, socket: Token) -> io::Result<Address>;

    /// The address on the other side; `NotConnected` while a connection is under way.
    fn peer_address(&self, socket: Token) -> io::Result<Address>;

    /// The socket's pending error, which is cleared.
    fn take_error(&self, socket: Token) -> io::Result<Option<io::Error>>;

    /// Who is on the other side of a UNIX socket.
    fn credentials(&self, socket: Token) -> io::Result<Credentials> {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set(&mut self, socket: Token, option: SocketOption) -> io::Result<()>;

    /// Waits until something happened, or `timeout` passed, and appends what did. If nothing came, returns how long the
    /// network is known to have been silent, counted from the call; `None` if the wait ended early.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Option<Duration>>;

    /// The most events that one poll reports. Further events wait for the next poll.
    fn max_events(&self) -> usize {
        usize::MAX
    }

    /// What became of polls that spun: none do, but on a network that is waited for in real time.
    fn spins(&self) -> BusyPollStats {
        BusyPollStats::default()
    }

    /// Ends a `poll` from any thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// From now on these signals, and no others, come as events.
    fn set_signals(&mut self, signals: &[Watch]) -> io::Result<()>;

    /// Runs a job on a thread of the pool; gives it back when the queue is full.
    fn run_job(&mut self, job: Job) -> Result<(), Job>;

    /// The number of a network interface of this machine; an error when it has none of this name.
    fn interface_index(&self, name: &str) -> io::Result<u32>;

    /// Looks a host name up, off the loop, and hands the outcome to `answer` on any thread, never inside this call.
    fn resolve(&mut self, host: &str, port: u16, answer: Answer) -> Result<LookupId, NotAsked>;

    /// Takes a look-up back: its answer is dropped, and it needs no thread unless it has one.
    fn cancel_lookup(&mut self, lookup: LookupId);

    /// How far a look-up has come.
    fn lookup_progress(&self, lookup: LookupId) -> LookupProgress;
}

/// Limits of the threads of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLimits {
    /// Threads for jobs, and how many jobs may wait for one.
    pub(crate) threads: usize,
    pub(crate) thread_queue: usize,
    /// Threads for look-ups of names, and how many look-ups may be under way or wait.
    pub(crate) lookup_threads: usize,
    pub(crate) lookup_queue: usize,
}

/// Work for a thread of the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

impl ThreadLimits {
    /// Of a process without threads.
    pub(crate) const NONE: ThreadLimits =
        ThreadLimits { threads: 0, thread_queue: 0, lookup_threads: 0, lookup_queue: 0 };
}

/// Where the outcome of a look-up goes.
pub(crate) type Answer = Box<dyn FnOnce(LookedUp) + Send>;

/// The outcome of a look-up.
#[derive(Debug)]
pub(crate) struct LookedUp {
    /// When the resolver was asked. Before that the look-up may have waited for a thread.
    pub(crate) began: Instant,
    /// The addresses, in the resolver's order.
    pub(crate) found: Result<Vec<SocketAddr>, NameError>,
}

impl LookedUp {
    /// The addresses with this port.
    pub(crate) fn new(began: Instant, found: &Result<Vec<SocketAddr>, NameError>, port: u16) -> LookedUp {
        let with_port = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            address
        };
        let found = found.as_ref().map(|found| found.iter().map(with_port).collect());
        LookedUp { began, found: found.map_err(NameError::clone) }
    }
}

/// Why a look-up was not taken.
#[derive(Debug)]
pub(crate) enum NotAsked {
    /// As many look-ups are under way or wait as may.
    QueueFull,
    /// There is no thread, and none can be started.
    NoThread(io::Error),
}

/// Why a look-up found no address, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// The resolver answered that the name has no address.
    NotFound(String),
    /// The resolver could not be asked, or did not know.
    Failed(String),
}

/// Ends a poll that waits.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self);
}

/// Where a socket, connector or connection stands: an index and a generation in 64 bits.
///
/// The same bits are the public names and the poll's token. An index is used again, a
/// generation is not, so what belongs to an old one is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(u64);

impl Token {
    /// Names nothing.
    pub(crate) const NONE: Token = Token(u64::MAX);

    pub(crate) fn new(index: u32, generation: u32) -> Token {
        Token(u64::from(generation) << 32 | u64::from(index))
    }

    pub(crate) fn index(self) -> usize {
        // The mask leaves 32 bits.
        (self.0 & 0xffff_ffff) as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn from_bits(bits: u64) -> Token {
        Token(bits)
    }

    fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

/// What to open.
#[derive(Clone, Debug)]
pub(crate) enum Open {
    TcpListen {
        address: SocketAddr,
        reuse_address: bool,
        reuse_port: bool,
        ipv6_only: Option<bool>,
        backlog: u32,
        buffers: Buffers,
        /// Of what is accepted, where [`Net::inherits_nodelay`].
        nodelay: bool,
    },
    TcpConnect {
        address: SocketAddr,
        bind: Option<SocketAddr>,
        reuse_address: bool,
        buffers: Buffers,
    },
    UnixListen {
        address: UnixAddress,
        /// Of the file, before anybody can connect.
        mode: Option<u32>,
        backlog: u32,
        /// A file that nobody listens on any more makes room.
        remove_stale: bool,
        /// The file goes with the listener.
        unlink: bool,
        buffers: Buffers,
    },
    /// Made at once or not at all; `WouldBlock` says that the other side's queue is full, and nothing will tell when it
    /// is not.
    UnixConnect {
        address: UnixAddress,
        bind: Option<UnixAddress>,
        buffers: Buffers,
    },
    Udp {
        bind: SocketAddr,
        /// The only peer there is to be.
        connect: Option<SocketAddr>,
        reuse_address: bool,
        reuse_port: bool,
        ipv6_only: Option<bool>,
        broadcast: bool,
        buffers: Buffers,
    },
    UnixDatagram {
        bind: Option<UnixAddress>,
        /// The only peer there is to be.
        connect: Option<UnixAddress>,
        mode: Option<u32>,
        remove_stale: bool,
        unlink: bool,
        buffers: Buffers,
    },
}

/// What a descriptor is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopt {
    /// A socket of streams that listens.
    Listener,
    /// A socket of streams that is connected.
    Connection,
    /// A socket of datagrams.
    Datagram,
}

/// Who is on the other side of a UNIX socket, as the system knows it. (SO_PEERCRED.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The process that connected, or listened; `None` when it is outside of our own process namespace.
    pub process: Option<u32>,
    /// Its effective user, by number.
    pub user: u32,
    /// Its effective group, by number.
    pub group: u32,
}

/// Sizes of the kernel's buffers, in bytes; `None` leaves the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buffers {
    pub(crate) send: Option<usize>,
    pub(crate) receive: Option<usize>,
}

/// Which step of opening a socket failed.
#[derive(Debug)]
pub(crate) struct OpenError {
    pub(crate) step: OpenStep,
    pub(crate) error: io::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenStep {
    Socket,
    Option,
    Bind,
    Listen,
    Connect,
    Mode,
    Adopt,
    Watch,
}

impl OpenStep {
    pub(crate) fn name(self) -> &'static str {
        match self {
            OpenStep::Socket => "socket",
            OpenStep::Option => "setsockopt",
            OpenStep::Bind => "bind",
            OpenStep::Listen => "listen",
            OpenStep::Connect => "connect",
            OpenStep::Mode => "chmod",
            OpenStep::Adopt => "adopt",
            OpenStep::Watch => "watch",
        }
    }
}

/// What came of an accept that the kernel answered.
pub(crate) enum Accepted {
    /// A connection from this peer. The address is from the accept itself: a peer that
    /// has reset since has none any more.
    Connection(Address),
    /// A connection that could not be watched, and is closed.
    Dropped(io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// FIN after what was sent.
    Graceful,
    /// RST at once.
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketOption {
    NoDelay(bool),
    /// Idle time before the first probe, 1 to 32,767 whole seconds; `None` switches keepalive off.
    KeepAlive(Option<Duration>),
    /// How long sent data, or keepalive probes, may go unanswered, in whole milliseconds
    /// (TCP_USER_TIMEOUT); `None`: as long as the system sends again, or four probes.
    UserTimeout(Option<Duration>),
    /// Datagrams may go to everybody.
    Broadcast(bool),
    /// Hops that a datagram to one host may take.
    Ttl(u32),
    /// Hops that a datagram to a group may take.
    MulticastTtl(u32),
    /// What is sent to a group comes back to this host's members.
    MulticastLoop(bool),
    /// Where datagrams to groups leave.
    MulticastInterface(Interface),
    Join(IpAddr, Interface),
    Leave(IpAddr, Interface),
}

/// A network interface, for multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interface {
    /// The system chooses, by its routes.
    #[default]
    Default,
    /// The one with this address; IPv4 only.
    Address(Ipv4Addr),
    /// By its number, as `ip link` shows it.
    Index(u32),
}

/// Descriptors that came with bytes.
#[derive(Default)]
pub(crate) struct ReceivedFds {
    pub(crate) descriptors: Vec<OwnedFd>,
    /// More came than the system had room for, and it has closed them: nobody knows how many.
    pub(crate) lost: bool,
}

/// What the system lets travel at once. (SCM_MAX_FD.)
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// Whether descriptors cannot travel because too many of the same user do: some may have arrived soon. The system allows a user
/// as many on the way, in all its processes, as a process may have open; those with privileges any number.
pub(crate) fn too_many_fds_in_flight(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error())
}

/// How often a peer that does not answer is asked, a quarter of the idle time apart: after twice the idle time it
/// counts as gone.
pub(crate) const KEEPALIVE_PROBES: u32 = 4;

/// The system counts in whole seconds.
pub(crate) fn keepalive_interval(idle: Duration) -> Duration {
    Duration::from_secs((idle.as_secs() / u64::from(KEEPALIVE_PROBES)).max(1))
}

/// A signal to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) signal: Signal,
    /// The first delivery comes as an event, the next does at once what the system does by default.
    pub(crate) once: bool,
}

/// How often polls looked again and again before they slept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BusyPollStats {
    pub(crate) begun: u64,
    /// Those that slept after it.
    pub(crate) in_vain: u64,
}

/// What a poll found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Ready(Token, Readiness),
    Signal(Signal),
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub(crate) const READABLE: Readiness = Readiness(1);
    pub(crate) const WRITABLE: Readiness = Readiness(2);
    /// The peer sent FIN, or more is wrong: reading has to go on to the end.
    pub(crate) const READ_CLOSED: Readiness = Readiness(4);

    pub(crate) const ALL: Readiness = Readiness(7);

    pub(crate) fn has(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn of(readable: bool, writable: bool) -> Readiness {
        Readiness(u8::from(readable) | u8::from(writable) << 1)
    }

    pub(crate) fn and(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }

    pub(crate) fn insert(&mut self, other: Readiness) {
        self.0 |= other.0;
    }

    pub(crate) fn remove(&mut self, other: Readiness) {
        self.0 &= !other.0;
    }
}
