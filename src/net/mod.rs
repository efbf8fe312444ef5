//! The driver interface: sockets, files, clock, randomness, signals and threads, at the level of
//! system calls.
//!
//! All code above this module is the same for every back end. `os` is the real network, on `mio`.
//! `null` is a placeholder. The `sim` module has a simulated network. No other module of the crate
//! uses a socket, a clock or randomness.
//!
//! The contract of a back end:
//! - The caller chooses the [`Token`] that names a socket. A call with a token that names no open
//!   socket fails with `NotFound`. Exception: `close` then does nothing.
//! - All calls except `poll` return without blocking. Errors keep the system's error number.
//! - Readiness is edge-triggered, for both directions, from `open` or `accept` on. After a report,
//!   further reports may come only once a call returned `WouldBlock` or moved fewer bytes than
//!   requested. Spurious and merged reports are allowed.
//! - A listener's readiness is level-triggered. After each `accept`, failed or not, the next
//!   poll reports the listener again if a connection waits. The caller need not accept until
//!   `WouldBlock`.
//! - A paused listener is not reported. Where the system has edge-triggered readiness only, it is
//!   reported once per new connection.
//!
//! Timers, fairness, buffers, timeouts, closing and naming are deliberately above this interface.

mod address;
#[cfg(test)]
mod conformance;
mod datagram;
pub(crate) mod files;
mod instant;
pub(crate) mod lookups;
pub(crate) mod null;
mod open;
pub(crate) mod os;
mod process;
mod signal;
pub(crate) mod system;
mod wall_clock;
pub(crate) mod zone;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

pub use address::{Address, BadAddress, UnixAddress};
pub(crate) use datagram::{
    BATCH, Destination, LONGEST_DATAGRAM, Origin, RecvBatch, RecvMeta, Transmit, is_icmp_error,
};
use files::FileJob;
pub use files::{DirEntry, FileKind, Metadata};
pub use instant::Instant;
#[cfg(any(feature = "sim", test))]
pub(crate) use instant::nanoseconds;
pub use lookups::NameError;
pub(crate) use lookups::{Answer, LookedUp, LookupId, LookupProgress, NotAsked};
pub(crate) use open::{Adopt, Buffers, Open, OpenError, OpenStep};
pub use process::{ChildStream, ExitReason, ProcessSignal, SpawnFault, SpawnProcess, TerminalSize};
pub(crate) use process::{Pipes, SpawnError};
pub use signal::Signal;
pub use wall_clock::WallClock;

/// A network driver: the system calls that the reactor makes.
pub(crate) trait Net {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Calendar time, which may jump either way.
    fn wall(&self) -> SystemTime;

    /// The same clock for other threads.
    fn wall_clock(&self) -> WallClock;

    /// 64 unpredictable bits.
    fn random(&mut self) -> u64;

    /// Whether [`pick_index`](Net::pick_index) is random.
    fn is_shuffled(&self) -> bool {
        false
    }

    /// Picks an index below `count`, where the order must not matter to a program. Default: 0. A
    /// shuffling driver picks at random.
    fn pick_index(&mut self, count: usize) -> usize {
        let _ = count;
        0
    }

    /// Whether accepted sockets inherit TCP_NODELAY from their listener.
    fn inherits_nodelay(&self) -> bool;

    /// Limit on open descriptors of the process. (RLIMIT_NOFILE.)
    fn descriptor_limit(&self) -> usize;

    /// Opens a socket and registers it with the poll. A TCP connect is then in progress, not
    /// established.
    fn open(&mut self, token: Token, options: &Open) -> Result<(), OpenError>;

    /// Makes a socket of a descriptor that other code opened, and registers it with the poll.
    /// Closes the descriptor on failure.
    fn adopt(&mut self, token: Token, descriptor: OwnedFd, kind: Adopt) -> Result<(), OpenError> {
        let _ = (token, descriptor, kind);
        Err(OpenError { step: OpenStep::Adopt, error: io::ErrorKind::Unsupported.into() })
    }

    /// Duplicates a socket's descriptor, to hand it to other code. Closing the socket then no
    /// longer ends the connection.
    fn duplicate(&mut self, socket: Token) -> io::Result<OwnedFd> {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Registers a descriptor of other code with the poll, for readiness of this kind. Closes the
    /// descriptor on failure.
    fn watch(&mut self, token: Token, descriptor: OwnedFd, interest: Readiness) -> io::Result<()> {
        let _ = (token, descriptor, interest);
        Err(no_descriptors())
    }

    /// The descriptor of [`watch`](Net::watch).
    fn watched_fd(&self, token: Token) -> io::Result<BorrowedFd<'_>> {
        let _ = token;
        Err(no_descriptors())
    }

    /// The descriptor of the poll itself, which is readable when a poll would report an event.
    fn poll_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(no_descriptors())
    }

    /// Whether the next poll reports events that [`poll_fd`](Net::poll_fd) does not show.
    fn has_events(&self) -> bool {
        false
    }

    /// Starts a child process, registers its pipes with the poll, and returns its process ID. The
    /// exit of the child is reported as readable. Each pipe is a stream in one direction. `send` to
    /// a pipe fails once the child has closed it, and `recv` from the same pipe then reports it.
    /// After an error there is no child.
    fn spawn(&mut self, process: Token, pipes: Pipes, spawn: &SpawnProcess) -> Result<u32, SpawnError> {
        let _ = (process, pipes, spawn);
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    /// Returns how a child process ended, or `None` while it runs. Blocks for at most `timeout`.
    fn exit_reason(&mut self, process: Token, timeout: Duration) -> io::Result<Option<ExitReason>> {
        let _ = (process, timeout);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Sends a signal to a child process, or to the group that it leads. Fails once `exit_reason`
    /// has returned the child's end.
    fn signal_process(&mut self, process: Token, signal: ProcessSignal) -> io::Result<()> {
        let _ = (process, signal);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Sets the size of a child's terminal.
    fn resize_terminal(&mut self, terminal: Token, size: TerminalSize) -> io::Result<()> {
        let _ = (terminal, size);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Makes one stream of the process's standard input and output, and registers it with the poll.
    fn standard_streams(&mut self, token: Token) -> io::Result<()> {
        let _ = token;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Accepts one connection from a listener's queue and registers it as `token`.
    fn accept(&mut self, listener: Token, token: Token) -> io::Result<Accepted>;

    /// Pauses or resumes a listener. A paused listener is not reported as ready.
    fn set_listener_paused(&mut self, listener: Token, paused: bool);

    /// Accepts and closes up to `max` waiting connections when the process is out of descriptors.
    /// Uses a spare descriptor, so that the peers see the close. Returns the number of closed
    /// connections.
    fn shed(&mut self, listener: Token, max: usize) -> usize;

    fn recv(&mut self, socket: Token, buffer: &mut [u8]) -> io::Result<usize>;

    fn send(&mut self, socket: Token, data: &[u8]) -> io::Result<usize>;

    /// Number of bytes in the kernel's receive buffer of a stream. (FIONREAD.)
    fn unread(&self, socket: Token) -> io::Result<usize> {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Receives as `recv` on a UNIX socket, with passed descriptors. The call stops at each message
    /// with descriptors, so a short read does not mean that the socket is drained.
    fn recv_descriptors(
        &mut self,
        socket: Token,
        buffer: &mut [u8],
        received: &mut ReceivedFds,
    ) -> io::Result<usize> {
        let _ = received;
        self.recv(socket, buffer)
    }

    /// Sends as `send` on a UNIX socket, with descriptors attached to the first byte.
    fn send_descriptors(&mut self, socket: Token, data: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        let _ = (socket, data, descriptors);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Receives as many datagrams as one call returns, at least one and at most the batch's limit.
    /// Records whether more may wait. For an unconnected UDP socket bound to any address, also
    /// records each datagram's destination.
    fn recv_datagrams(&mut self, socket: Token, batch: &mut RecvBatch) -> io::Result<()>;

    /// Sends the first of these datagrams, whose bytes are contiguous in `bytes`, and returns how
    /// many were sent. An error is the first datagram's. An origin that is not an address of this
    /// host fails with `InvalidInput`, or with `NetworkUnreachable` for IPv4.
    fn send_datagrams(&mut self, socket: Token, bytes: &[u8], datagrams: &[Transmit]) -> io::Result<usize>;

    /// Sends FIN. The other direction stays open.
    fn shutdown_write(&mut self, socket: Token) -> io::Result<()>;

    /// Closes and forgets a socket of any kind. A child process is forgotten and keeps running.
    fn close(&mut self, socket: Token, how: Close);

    /// The local address.
    fn local_address(&self, socket: Token) -> io::Result<Address>;

    /// The peer's address. `NotConnected` while a connect is in progress.
    fn peer_address(&self, socket: Token) -> io::Result<Address>;

    /// Returns and clears the socket's pending error. (SO_ERROR.)
    fn take_error(&self, socket: Token) -> io::Result<Option<io::Error>>;

    /// The credentials of a UNIX socket's peer. (SO_PEERCRED.)
    fn credentials(&self, socket: Token) -> io::Result<Credentials> {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set(&mut self, socket: Token, option: SocketOption) -> io::Result<()>;

    /// Waits for events or until `timeout` has passed, and appends the events. Without events,
    /// returns how long the network is known to have been silent, counted from the call. Returns
    /// `None` if the wait ended early.
    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Option<Duration>>;

    /// Max events that one poll reports. Further events wait for the next poll.
    fn max_events(&self) -> usize {
        usize::MAX
    }

    /// Statistics of busy-polling. All zero for a driver that does not wait in real time.
    fn spins(&self) -> BusyPollStats {
        BusyPollStats::default()
    }

    /// A handle that ends a `poll` from any thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Replaces the set of signals that are delivered as events.
    fn set_signals(&mut self, signals: &[Watch]) -> io::Result<()>;

    /// Runs a job on a thread of the pool. Returns the job when the queue is full.
    fn run_job(&mut self, job: Job) -> Result<(), Job>;

    /// Runs a job on files, on a thread of its own pool or in virtual time. The caller limits the
    /// number of jobs. Fails, and drops the job, when no thread can be started.
    ///
    /// The end of the driver waits for accepted jobs within a time limit. A killed process ends
    /// them between two steps.
    fn run_file_job(&mut self, job: Box<dyn FileJob>) -> io::Result<()> {
        drop(job);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads a whole file of certificates or keys, and blocks meanwhile: for an endpoint that has
    /// to report an error at once.
    #[cfg(feature = "tls-no-provider")]
    fn read_credentials(&mut self, path: &std::path::Path) -> io::Result<Vec<u8>> {
        files::blocking::read_credentials(path)
    }

    /// The index of a network interface of this machine. An error when no interface has this name.
    fn interface_index(&self, name: &str) -> io::Result<u32>;

    /// The local address that the system uses for datagrams to this destination. An error when
    /// there is no route. Nothing is sent.
    fn source_address(&mut self, destination: SocketAddr) -> io::Result<IpAddr>;

    /// Starts a host name look-up on another thread. Its outcome is passed to `answer` on any
    /// thread, never inside this call.
    fn resolve(&mut self, host: &str, port: u16, answer: Answer) -> Result<LookupId, NotAsked>;

    /// Cancels a look-up and drops its answer. A look-up that has not started needs no thread any
    /// more.
    fn cancel_lookup(&mut self, lookup: LookupId);

    /// The progress of a look-up.
    fn lookup_progress(&self, lookup: LookupId) -> LookupProgress;
}

/// The error of a driver without descriptors.
fn no_descriptors() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a simulated network has no descriptors")
}

/// Limits on the threads of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLimits {
    /// Max threads for jobs, and max jobs that wait for a thread.
    pub(crate) threads: usize,
    pub(crate) thread_queue: usize,
    /// Max threads for name look-ups, and max look-ups that run or wait.
    pub(crate) lookup_threads: usize,
    pub(crate) lookup_queue: usize,
    /// Max threads for file jobs.
    pub(crate) file_threads: usize,
    /// Max time that the end of the process waits for running jobs, and for file jobs.
    pub(crate) join_timeout: Duration,
}

/// Work for a thread of the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

#[cfg(any(feature = "sim", test))]
impl ThreadLimits {
    /// Limits of a process without threads.
    pub(crate) const NONE: ThreadLimits = ThreadLimits {
        threads: 0,
        thread_queue: 0,
        lookup_threads: 0,
        lookup_queue: 0,
        file_threads: 0,
        join_timeout: Duration::ZERO,
    };
}

/// Ends a blocked poll.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self);
}

/// The key of a socket, connector or connection: an index and a generation in 64 bits.
///
/// The public ids and the poll's token have the same bits. Indices are reused and generations are
/// not, so events of an old generation are recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(u64);

impl Token {
    /// A token that names nothing.
    pub(crate) const NONE: Token = Token(u64::MAX);

    pub(crate) fn new(index: u32, generation: u32) -> Token {
        Token(u64::from(generation) << 32 | u64::from(index))
    }

    pub(crate) fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn from_bits(bits: u64) -> Token {
        Token(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}

/// Credentials of a UNIX socket's peer, from the kernel. (SO_PEERCRED.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Process ID of the peer that connected or listened. `None` when it is outside of this
    /// process's PID namespace.
    pub process: Option<u32>,
    /// Effective user ID.
    pub user: u32,
    /// Effective group ID.
    pub group: u32,
}

/// The meaning of an accept's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFault {
    /// EAGAIN: no connection is pending.
    NothingPending,
    /// EINTR: to be repeated.
    Interrupted,
    /// Of the connection to be accepted: a reset or a firewall in the meantime, or, on Linux, a
    /// pending network error. The next accept may succeed.
    Connection,
    /// The process or the system is out of descriptors.
    Descriptors,
    /// Anything else, such as a lack of memory: accepting has to wait.
    Listener,
}

impl AcceptFault {
    pub(crate) fn of(error: &io::Error) -> AcceptFault {
        match Errno::from_io_error(error) {
            Some(Errno::WOULDBLOCK) => AcceptFault::NothingPending,
            Some(Errno::INTR) => AcceptFault::Interrupted,
            Some(Errno::MFILE | Errno::NFILE) => AcceptFault::Descriptors,
            Some(
                Errno::CONNABORTED
                | Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::OPNOTSUPP,
            ) => AcceptFault::Connection,
            _ => AcceptFault::Listener,
        }
    }
}

/// Result of an accept that the kernel completed.
pub(crate) enum Accepted {
    /// A connection from this peer. The address is from the accept itself, because `getpeername`
    /// fails once the peer has sent RST.
    Connection(Address),
    /// A connection that could not be registered with the poll. It is closed.
    Dropped(io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// FIN after all sent data.
    Graceful,
    /// RST at once.
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketOption {
    NoDelay(bool),
    /// Idle time before the first probe, 1 to 32,767 whole seconds. `None` turns keepalive off.
    KeepAlive(Option<Duration>),
    /// Max time that sent data, or keepalive probes, may stay unacknowledged, in whole milliseconds
    /// (TCP_USER_TIMEOUT). `None`: the system's limit on retransmissions, or four probes.
    UserTimeout(Option<Duration>),
    /// Whether datagrams may be sent to broadcast addresses.
    Broadcast(bool),
    /// Max hops of a unicast datagram.
    Ttl(u32),
    /// Max hops of a multicast datagram.
    MulticastTtl(u32),
    /// Whether multicast datagrams are looped back to members on this host.
    MulticastLoop(bool),
    /// Outgoing interface of multicast datagrams.
    MulticastInterface(Interface),
    Join(IpAddr, Interface),
    Leave(IpAddr, Interface),
}

/// A network interface, for multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interface {
    /// Chosen by the system, from its routes.
    #[default]
    Default,
    /// The interface with this address. IPv4 only.
    Address(Ipv4Addr),
    /// The interface with this index, as `ip link` shows it.
    Index(u32),
}

/// Descriptors received with bytes.
#[derive(Default)]
pub(crate) struct ReceivedFds {
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The kernel closed further descriptors, because there was no room for them. Their number is
    /// unknown.
    pub(crate) lost: bool,
}

/// Max descriptors in one message. (SCM_MAX_FD.)
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// Whether sending descriptors failed because too many are in flight (ETOOMANYREFS). Some may be
/// received soon. The kernel limits the in-flight descriptors of a user, over all its processes, to
/// the process's limit on open descriptors. Privileged users have no limit.
pub(crate) fn too_many_fds_in_flight(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error())
}

/// Number of keepalive probes, a quarter of the idle time apart. An unresponsive peer is lost after
/// twice the idle time.
pub(crate) const KEEPALIVE_PROBES: u32 = 4;

/// The interval between keepalive probes. The system counts in whole seconds.
pub(crate) fn keepalive_interval(idle: Duration) -> Duration {
    Duration::from_secs((idle.as_secs() / u64::from(KEEPALIVE_PROBES)).max(1))
}

/// A signal to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) signal: Signal,
    /// Whether only the first delivery is an event. The second then has the system's default
    /// effect, at once.
    pub(crate) once: bool,
}

/// Counts of busy-polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BusyPollStats {
    pub(crate) begun: u64,
    /// Busy-polls that found no event and went on to sleep.
    pub(crate) in_vain: u64,
}

/// An event reported by a poll.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Ready(Token, Readiness),
    Signal(Signal),
}

/// Readiness of a socket: a set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub(crate) const READABLE: Readiness = Readiness(1);
    pub(crate) const WRITABLE: Readiness = Readiness(2);
    /// The peer sent FIN, or the socket has an error. The caller has to read to the end.
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
