//! The event loop: reactor, connections, listeners, connectors and timers. It also defines the
//! traits and types that protocols are written with.
//!
//! # What the rest of the crate may call, and users may not
//!
//! Policies, framings, services and streams are written with the public interface, so users can
//! write others as good. The exceptions are `pub(crate)`, and all of them are listed here:
//!
//! | function | called by | why it is not public |
//! |---|---|---|
//! | `set_timer` | `task` | a timer that wakes a waker and allocates nothing |
//! | `queue`, `try_with` | `task`, `stream`, `deferred` | as `Handle::call` and `with_reactor`, without an allocation, in the middle of a task's writes |
//! | `write_from_task`, `must_wait_to_write` | `stream` | the writes of a task are sent together, as those of a callback |
//! | `start_call`, `end_call`, `end_timing` | `task`, `deferred` | `catch_panic` in two halves, for a task that runs while the reactor is lent |
//! | `choose`, `shuffles_tasks` | `task` | the order of tasks belongs to the seed of a simulation |
//! | `run_until` | `task` | `block_on`, which is public |
//! | `awaits_stop`, `awaits_stop_no_more`, `minds_stop` | `task` | `task::stopping`, which is public |
//! | `panic_message` | `task`, `deferred`, `service` | the text of a caught panic |
//! | `check`, `keepalive`, `user_timeout`, `peer`, `literal_address`, `from_authority` | `endpoint`, `http`, `monitor` | the rules for values of options, for texts that are read earlier than they are used |
//! | `open_udp`, `open_connected_udp`, `open_unix` | `endpoint`, `dns` | a datagram socket for a boxed protocol, and without the text of an address |
//! | `error` | `files` | the error of an operation that a future could not start |
//! | `read_credentials` | `tls` | endpoints read certificates when they listen, from the disk of their host in a simulation |
//! | `on`, `thread_limits`, `agenda`, `take_panic`, `kill`, `watch_default_signals` | `sim` | a simulation is the kernel of its reactors |
//! | `connector_of`, `read_at_once` | `testing` | a test's view of attempts and reads |

mod connect;
pub(crate) mod connection;
mod conversions;
mod datagram;
mod descriptor;
mod error;
pub(crate) mod files;
mod handle;
mod layer;
mod listen;
mod process;
mod protocol;
mod registry;
mod resolve;
mod settings;
mod statistics;
mod threads;
mod timers;
mod turn;
mod user_code;

use std::cell::{Cell, OnceCell};
use std::panic::resume_unwind;
use std::task::Waker;
use std::time::SystemTime;

pub(crate) use self::connect::tcp::literal_address;
pub use self::connect::tcp::{ConnectTcp, ListenTcp};
pub use self::connect::unix::{ConnectUnix, ListenUnix};
pub use self::connect::{Connector, ConnectorId, ConnectorState};
pub use self::connection::transport::{ConnectionId, ReadState, Transport};
pub use self::datagram::DatagramProtocol;
pub use self::datagram::connect::ConnectUdp;
pub use self::datagram::options::{ListenUdp, ListenUnixDatagram};
pub use self::datagram::transport::{DatagramId, DatagramTransport};
pub use self::descriptor::transport::{FdId, FdTransport};
pub use self::descriptor::{FdInterest, FdProtocol};
pub(crate) use self::error::panic_message;
pub use self::error::protocol_error::ProtocolError;
pub use self::error::reason::{Reason, SystemError};
pub use self::error::{Error, JobPanicked, Result};
pub use self::handle::Handle;
pub(crate) use self::handle::Runnable;
pub use self::layer::{Layer, LayerContext, LayerError, Layered, layered};
pub use self::listen::Listener;
pub use self::process::ProcessProtocol;
pub use self::process::output::{OutputError, OutputErrorKind, OutputOptions, ProcessOutput};
pub use self::process::transport::{ProcessId, ProcessTransport};
pub use self::protocol::{
    BuildContext, ClientFactory, ConnectionGuards, Factory, OnFailure, Producer, ProducerKind, Protocol,
    Shared, factory, shared,
};
pub use self::resolve::answers::Answers;
pub use self::resolve::lookup::Lookup;
pub use self::resolve::system::SystemResolver;
pub use self::resolve::{AddressFamily, Answer, Query, Resolution, Resolve, ResolveError};
pub use self::settings::Settings;
pub use self::statistics::{CallbackKind, SlowCallback, Statistics};
pub use self::threads::RemoteHandle;
pub use self::threads::completion::Completion;
pub use self::threads::cores::{run_on_cores, run_on_cores_with};
pub use self::timers::DelayedCall;
#[cfg(any(feature = "sim", test))]
pub(crate) use self::turn::NextTurn;
pub use self::turn::hook::TurnHook;
pub use self::turn::lifecycle::{Phase, PhaseGuard, SystemEvent, TriggerId};
pub use crate::net::{
    Address, BadAddress, ChildStream, Credentials, ExitReason, Instant, Interface, NameError, ProcessSignal,
    Signal, SpawnFault, SpawnProcess, TerminalSize, UnixAddress, WallClock,
};

use self::connection::read::Receive;
use self::connection::write_batch::Send;
use self::protocol::find;
use self::registry::{Registry, Source};
use self::threads::{Inbox, Threads};
use self::timers::Timers;
use self::turn::lifecycle::{Lifecycle, RunState};
use self::turn::queues::Queues;
use self::user_code::UserCode;
use self::user_code::stopwatch::Stopwatch;
use crate::net::os::{OsConfig, OsDriver};
use crate::net::{Net, Token};

/// An event loop with its connections, listeners and timers. (Twisted: `reactor`.)
///
/// A reactor is a plain value. A program can make several, one after another or one per thread.
///
/// Three rules make callbacks safe:
/// - A callback never runs inside another callback. Calls that it causes are queued and run from
///   the loop.
/// - A protocol is taken out of its slot while its callback runs.
/// - Every handle is an index and a generation. A handle to a closed object is ignored.
///
/// ```
/// use twistor::{Protocol, Reactor, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// let listener = reactor.listen_tcp("127.0.0.1:0", || Echo)?;
/// println!("listening on {}", listener.address());
/// # reactor.call_when_running(|reactor| { reactor.stop(); });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("IReactorCore", "IReactorTCP", "EventLoop", "EventLoopBase", "Runtime", "Poll"))]
pub struct Reactor {
    /// The driver: system calls of the kernel, or of the simulation.
    net: Box<dyn Net>,
    /// The time of this turn; `None` between turns. It is read at the first call of `now` after a
    /// poll and again after each group of callbacks.
    clock: Cell<Option<Instant>>,
    settings: Settings,
    statistics: Statistics,
    /// Connections, listeners, connectors, datagram sockets, processes and watched descriptors, by
    /// token.
    registry: Registry,
    timers: Timers<TimedCall>,
    queues: Queues,
    receive: Receive,
    send: Send,
    lifecycle: Lifecycle,
    threads: Threads,
    user_code: UserCode,
    /// The handle of this reactor's thread, made on first use.
    handle: OnceCell<Handle>,
}

/// The action of a timer.
pub(crate) enum TimedCall {
    Reactor(Box<dyn FnOnce(&mut Reactor)>),
    Protocol(Token, ProtocolCall),
    Datagram(Token, DatagramCall),
    Process(Token, ProcessCall),
    /// Resumes a sleeping task.
    Wake(Waker),
    /// Retries a UNIX datagram socket whose peer's queue was full.
    SendAgain(Token),
    /// Resends descriptors that could not be passed.
    WriteAgain(Token),
    /// Retries a datagram socket whose read failed.
    ReadAgain(Token),
    ConnectTimeout(Token),
    /// The handshake timeout of an accepted connection's layers.
    HandshakeLimit(Token),
    /// Tries a connector's next address, or retries a UNIX socket whose backlog was full.
    NextAttempt(Token),
    Reconnect(Token),
    CloseLimit(Token),
    /// Calls a pull producer again that wrote nothing.
    AskProducer(Token),
    AcceptAgain(Token),
    WakeLayer(Token, u32),
    LookupTimeout(Lookup),
    /// Does nothing. The loop checks its own state after the turn.
    Look,
}

pub(crate) type ProtocolCall = Box<dyn FnOnce(&mut dyn Protocol, &mut Transport<'_>)>;

pub(crate) type ProcessCall = Box<dyn FnOnce(&mut dyn ProcessProtocol, &mut ProcessTransport<'_>)>;

pub(crate) type DatagramCall = Box<dyn FnOnce(&mut dyn DatagramProtocol, &mut DatagramTransport<'_>)>;

impl Reactor {
    /// Creates a reactor on the real network with the default settings.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no file descriptors left.
    pub fn new() -> Result<Reactor> {
        Reactor::with_settings(Settings::default())
    }

    /// Creates a reactor on the real network.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no file descriptors left.
    pub fn with_settings(settings: Settings) -> Result<Reactor> {
        let sizes = OsConfig { limits: settings.thread_limits(), spin: settings.busy_poll };
        let net = OsDriver::new(&sizes).map_err(|source| Error::System { call: "poll", source })?;
        let mut reactor = Reactor::on(Box::new(net), settings);
        reactor.threads.lookups.use_default();
        Ok(reactor)
    }

    /// Creates a reactor on any driver.
    pub(crate) fn on(net: Box<dyn Net>, mut settings: Settings) -> Reactor {
        if settings.max_connections == usize::MAX {
            settings.max_connections = Settings::default_connections(net.descriptor_limit());
        }
        // A budget of zero would never make progress.
        for budget in [
            &mut settings.read_buffer,
            &mut settings.bytes_per_turn,
            &mut settings.accepts_per_turn,
            &mut settings.calls_per_turn,
            &mut settings.lookup_threads,
            &mut settings.file_threads,
        ] {
            *budget = (*budget).max(1);
        }
        settings.read_buffer = settings.read_buffer.min(MAX_READ_BUFFER);
        settings.threads = settings.threads.max(1);
        let inbox = Inbox::new(net.waker(), settings.thread_call_queue);
        let stopwatch = Stopwatch::new(settings.slow_callback.is_some());
        Reactor {
            clock: Cell::new(None),
            statistics: Statistics::default(),
            registry: Registry::new(),
            timers: Timers::new(),
            queues: Queues::default(),
            receive: Receive::new(settings.read_buffer),
            send: Send::new(),
            lifecycle: Lifecycle::default(),
            threads: Threads::new(inbox),
            user_code: UserCode { stopwatch, last_panic: None },
            handle: OnceCell::new(),
            net,
            settings,
        }
    }

    /// The monotonic time. (Twisted: `seconds`.)
    ///
    /// The clock is read at most once a turn, at the first call. While callbacks are timed
    /// ([`Settings::slow_callback`]), it is also read after each group of callbacks. Between two
    /// turns the value does not change.
    #[inline]
    #[doc(alias = "seconds")]
    pub fn now(&self) -> Instant {
        match self.clock.get() {
            Some(now) => now,
            None => {
                let now = self.net.now();
                self.clock.set(Some(now));
                now
            }
        }
    }

    /// Makes the next call of [`now`](Reactor::now) read the clock, after a long computation in a
    /// callback. Otherwise the time of a group of callbacks is read once. (libuv:
    /// `uv_update_time`.)
    pub fn update_time(&self) {
        self.clock.set(None);
    }

    /// The calendar time, which may jump. Use it for display and records, not for measuring.
    #[doc(alias = "SystemTime")]
    pub fn system_time(&self) -> SystemTime {
        self.net.wall()
    }

    /// The calendar time as a value that other threads can keep, for code without a reactor.
    pub fn wall_clock(&self) -> WallClock {
        self.net.wall_clock()
    }

    /// 64 random bits from the operating system.
    pub fn random(&mut self) -> u64 {
        self.net.random()
    }

    /// The transport of a connection; `None` when the connection is gone.
    pub fn transport(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        self.registry.connection(id.0)?;
        Some(Transport { reactor: self, token: id.0 })
    }

    /// Calls `call` with another connection's protocol of type `P`.
    ///
    /// Returns `None` in these cases:
    /// - The connection is gone.
    /// - Its protocol is of another type.
    /// - Its protocol is the one whose callback is running.
    ///
    /// ```
    /// # use twistor::{ConnectionId, Protocol, Transport};
    /// struct Counter { seen: usize }
    ///
    /// impl Protocol for Counter {
    ///     fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
    ///         self.seen += data.len();
    ///     }
    /// }
    ///
    /// fn seen_by(transport: &mut Transport<'_>, other: ConnectionId) -> Option<usize> {
    ///     transport.reactor().with_protocol(other, |counter: &mut Counter, _| counter.seen)
    /// }
    /// ```
    pub fn with_protocol<P: 'static, R>(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut P, &mut Transport<'_>) -> R,
    ) -> Option<R> {
        let token = id.0;
        let mut protocol = self.registry.connection_mut(token)?.take_protocol()?;
        let result = self.between_turns(|reactor| {
            let wanted = find::<P>(&mut *protocol)?;
            Some(call(wanted, &mut Transport { reactor, token }))
        });
        if let Some(connection) = self.registry.connection_mut(token) {
            connection.put_protocol(protocol);
        }
        // A panic belongs to the caller, not to the other connection.
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The handles of all open connections.
    #[doc(alias = "getReaders")]
    pub fn connections(&self) -> Vec<ConnectionId> {
        let is_open = |source: &Source| match source {
            Source::Connection(connection) => {
                connection.state != connection::State::Lingering && !connection.is_child_pipe()
            }
            _ => false,
        };
        self.registry.tokens(is_open).into_iter().map(ConnectionId).collect()
    }

    /// The number of resources in use, for leak checks: connections, listeners, connectors and
    /// their attempts, datagram sockets, processes, watched descriptors, jobs whose result is
    /// pending, look-ups, operations on files, open and watched files, and tasks.
    pub fn resource_count(&self) -> usize {
        self.registry.len()
            + self.threads.jobs.len()
            + self.threads.lookups.len()
            + self.threads.files.len()
            + self.handle.get().map_or(0, Handle::resource_count)
    }

    /// The counters so far.
    pub fn statistics(&self) -> Statistics {
        let spins = self.net.spins();
        Statistics {
            connections: self.registry.connections(),
            processes: self.registry.processes(),
            busy_polls: spins.begun,
            busy_polls_idle: spins.in_vain,
            ..self.statistics
        }
    }

    /// The settings in effect.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends without any callback, as a killed process does. Everything is dropped.
    #[cfg(any(feature = "sim", test))]
    pub(crate) fn kill(mut self) {
        self.lifecycle.killed = true;
        self.lifecycle.state = RunState::Finished;
    }
}

/// No system returns more from one read.
const MAX_READ_BUFFER: usize = 64 * 1024 * 1024;

impl Drop for Reactor {
    /// Ends a reactor that has run and was not stopped. Its connections receive `connection_lost`.
    fn drop(&mut self) {
        // Callbacks called from here must not begin a turn.
        self.lifecycle.in_turn = true;
        let begun = !matches!(self.lifecycle.state, RunState::New | RunState::Finished);
        if !std::thread::panicking() {
            if begun {
                self.lifecycle.state = RunState::Ending;
                self.advance_life(&mut |_| {});
            }
            self.finish_handled();
        }
        self.threads.inbox.close();
    }
}
