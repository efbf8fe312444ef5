//! The loop: reactor, connections, listeners, connectors, timers, and the vocabulary that protocols are written in.

mod connect;
pub(crate) mod connection;
mod datagram;
mod error;
mod handle;
mod layer;
mod lifecycle;
mod listen;
mod process;
mod protocol;
mod queues;
mod registry;
mod settings;
mod statistics;
mod threads;
mod timers;
mod turn;
mod user_code;

use std::cell::{Cell, OnceCell};
use std::panic::resume_unwind;
use std::task::Waker;
use std::time::{Duration, SystemTime};

pub use self::connect::lookup::Lookup;
pub(crate) use self::connect::tcp::literal_address;
pub use self::connect::tcp::{ConnectTcp, ListenTcp};
pub use self::connect::unix::{ConnectUnix, ListenUnix};
pub use self::connect::{Connector, ConnectorId, ConnectorState};
pub(crate) use self::connection::read_handoff::BufferSink;
pub(crate) use self::connection::transport::Delivery;
pub use self::connection::transport::{ConnectionId, Transport};
pub use self::datagram::DatagramProtocol;
pub use self::datagram::options::{ListenUdp, ListenUnixDatagram};
pub use self::datagram::transport::{DatagramId, DatagramTransport};
pub(crate) use self::error::panic_message;
pub use self::error::protocol_error::ProtocolError;
pub use self::error::reason::{Reason, SystemError};
pub use self::error::{Error, JobPanicked, Result};
pub use self::handle::Handle;
pub(crate) use self::handle::{Pass, Runnable, TurnHook};
pub use self::layer::{Layer, LayerContext, LayerError, Layered, layered};
pub use self::lifecycle::{Phase, PhaseGuard, SystemEvent, TriggerId};
pub use self::listen::Listener;
pub use self::process::ProcessProtocol;
pub use self::process::output::{OutputError, OutputErrorKind, OutputOptions, ProcessOutput};
pub use self::process::transport::{ProcessId, ProcessTransport};
pub use self::protocol::{
    ClientFactory, Factory, OnFailure, Producer, ProducerKind, Protocol, Shared, factory, shared,
};
pub use self::settings::Settings;
pub use self::statistics::{CallbackKind, SlowCallback, Statistics};
pub use self::threads::RemoteHandle;
pub(crate) use self::threads::completion::Completion;
pub use self::timers::DelayedCall;
pub(crate) use self::turn::NextTurn;
pub use crate::net::{
    Address, BadAddress, ChildStream, Credentials, ExitReason, Instant, Interface, ProcessSignal, Signal,
    SpawnFault, SpawnProcess, TerminalSize, UnixAddress,
};

use self::connection::read::Receive;
use self::connection::write_batch::Send;
use self::lifecycle::{Lifecycle, RunState};
use self::protocol::building::Building;
use self::protocol::find;
use self::queues::Queues;
use self::registry::{Registry, Source};
use self::threads::{Inbox, Threads};
use self::timers::Timers;
use self::user_code::UserCode;
use self::user_code::stopwatch::Stopwatch;
use crate::net::os::{OsConfig, OsDriver};
use crate::net::{Net, Token};

/// An event loop with its connections, listeners and timers. (Twisted: `reactor`, but a value: make as many as you
/// like, one after the other or one for each thread.)
///
/// Three rules make callbacks safe. A callback never runs inside another: what a call leads to comes from the loop,
/// later. While its callback runs, a protocol is out of its slot. And every name is an index and a generation:
/// what belongs to something gone is ignored.
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
pub struct Reactor {
    /// The seam: system calls of the kernel, or of the simulation.
    net: Box<dyn Net>,
    /// The time of this turn. Read at the first call of `now` after a poll, and again after each group of callbacks;
    /// empty between turns.
    clock: Cell<Option<Instant>>,
    settings: Settings,
    statistics: Statistics,
    /// Connections, listeners, connectors, datagram sockets and processes, by token.
    registry: Registry,
    timers: Timers<TimedCall>,
    queues: Queues,
    receive: Receive,
    send: Send,
    lifecycle: Lifecycle,
    threads: Threads,
    user_code: UserCode,
    /// The connection that a factory is being asked about.
    building: Option<Building>,
    /// The handle of this reactor's thread, made on first use.
    handle: OnceCell<Handle>,
}

/// What a timer does.
pub(crate) enum TimedCall {
    Reactor(Box<dyn FnOnce(&mut Reactor)>),
    Protocol(Token, ProtocolCall),
    Datagram(Token, DatagramCall),
    Process(Token, ProcessCall),
    /// A task that sleeps goes on.
    Wake(Waker),
    /// A full queue of a UNIX socket is tried again.
    SendAgain(Token),
    /// Descriptors that could not travel are sent again.
    WriteAgain(Token),
    /// A socket of datagrams that could not be read is read again.
    ReadAgain(Token),
    ConnectTimeout(Token),
    /// The layers of an accepted connection have had their time to get ready.
    HandshakeLimit(Token),
    /// A connector's next address is tried, or a full queue of a UNIX socket again.
    NextAttempt(Token),
    Reconnect(Token),
    CloseLimit(Token),
    /// A pull producer that had nothing to write is asked again.
    AskProducer(Token),
    AcceptAgain(Token),
    WakeLayer(Token, u32),
    LookupTimeout(Lookup),
    /// Nothing: the loop looks at its own state after it.
    Look,
}

pub(crate) type ProtocolCall = Box<dyn FnOnce(&mut dyn Protocol, &mut Transport<'_>)>;

pub(crate) type ProcessCall = Box<dyn FnOnce(&mut dyn ProcessProtocol, &mut ProcessTransport<'_>)>;

pub(crate) type DatagramCall = Box<dyn FnOnce(&mut dyn DatagramProtocol, &mut DatagramTransport<'_>)>;

impl Reactor {
    /// A reactor on the real network, with the default settings.
    ///
    /// # Errors
    /// [`Error::System`] when the system has no descriptors left.
    pub fn new() -> Result<Reactor> {
        Reactor::with_settings(Settings::default())
    }

    /// A reactor on the real network.
    ///
    /// # Errors
    /// [`Error::System`] when the system has no descriptors left.
    pub fn with_settings(settings: Settings) -> Result<Reactor> {
        let sizes = OsConfig {
            limits: settings.thread_limits(),
            thread_patience: settings.thread_join_timeout,
            spin: settings.busy_poll,
        };
        let net = OsDriver::new(&sizes).map_err(|source| Error::System { call: "poll", source })?;
        Ok(Reactor::on(Box::new(net), settings))
    }

    /// A reactor on a network of whatever kind.
    pub(crate) fn on(net: Box<dyn Net>, mut settings: Settings) -> Reactor {
        if settings.max_connections == usize::MAX {
            settings.max_connections = Settings::default_connections(net.descriptor_limit());
        }
        // A share of nothing would never end.
        for share in [
            &mut settings.read_buffer,
            &mut settings.read_per_turn,
            &mut settings.write_per_turn,
            &mut settings.accepts_per_turn,
            &mut settings.timers_per_turn,
            &mut settings.thread_calls_per_turn,
            &mut settings.lookup_threads,
        ] {
            *share = (*share).max(1);
        }
        settings.read_buffer = settings.read_buffer.min(LARGEST_READ_BUFFER);
        settings.threads = settings.threads.max(1);
        // Without any, a loop without descriptors would never rest.
        settings.accept_retry_delay = settings.accept_retry_delay.max(SHORTEST_ACCEPT_PAUSE);
        let inbox = Inbox::new(net.waker(), settings.thread_call_queue);
        let stopwatch = Stopwatch::new(settings.time_callbacks);
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
            building: None,
            handle: OnceCell::new(),
            net,
            settings,
        }
    }

    /// Monotonic time. The clock is read once a turn, when somebody first asks, and again after every few callbacks
    /// while these are timed ([`Settings::time_callbacks`]); between two turns it stands still again. (Twisted: `seconds`.)
    #[inline]
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

    /// Whoever asks next reads the clock: time has passed without a turn.
    pub(crate) fn forget_time(&self) {
        self.clock.set(None);
    }

    /// Calendar time, which may jump: for people and records, not for measuring.
    pub fn system_time(&self) -> SystemTime {
        self.net.wall()
    }

    /// 64 random bits of the system's.
    pub fn random(&mut self) -> u64 {
        self.net.random()
    }

    /// A connection by name, if it still is there.
    pub fn transport(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        self.registry.connection(id.0)?;
        Some(Transport { reactor: self, token: id.0 })
    }

    /// Reaches another connection's protocol, by its type. `None` when the connection is gone, its protocol is
    /// of another type, or is the very one whose callback runs.
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
        // The panic is the caller's, not the other connection's.
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The names of all open connections.
    pub fn connections(&self) -> Vec<ConnectionId> {
        let open = |source: &Source| match source {
            Source::Connection(connection) => {
                connection.state != connection::State::Lingering && !connection.is_child_pipe()
            }
            _ => false,
        };
        self.registry.tokens(open).into_iter().map(ConnectionId).collect()
    }

    /// How much is in use: everything that has a name (connections, listeners, connectors and their attempts),
    /// jobs whose result is awaited, and tasks. For leak checks.
    pub fn resource_count(&self) -> usize {
        self.registry.len()
            + self.threads.jobs.len()
            + self.threads.lookups.len()
            + self.handle.get().map_or(0, Handle::in_use)
    }

    /// What it has done so far.
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

    /// The settings that it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends without a word, as a process that is killed: nothing is called, everything is dropped.
    pub(crate) fn kill(mut self) {
        self.lifecycle.killed = true;
        self.lifecycle.state = RunState::Finished;
    }
}

/// No system gives more to one read.
const LARGEST_READ_BUFFER: usize = 64 * 1024 * 1024;

/// The shortest wait after an accept that failed.
const SHORTEST_ACCEPT_PAUSE: Duration = Duration::from_millis(1);

impl Drop for Reactor {
    /// A reactor that has run and was not stopped ends here: its connections hear of it.
    fn drop(&mut self) {
        // Whoever is called now begins no turn.
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
