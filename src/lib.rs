//! An event-driven network framework with Twisted's vocabulary, on
//! [mio](https://docs.rs/mio), without an async runtime.
//!
//! You write *protocols*: the behaviour of one connection when it is made, receives bytes, or is
//! lost. A *factory* makes one protocol for each connection. The *reactor* is the loop that calls
//! them, one callback at a time, on one thread. It is a value, and a process can have several.
//! Tasks, streams and Deferreds run on the same loop. A reactor can also run on a simulated
//! network, where one seed determines time and faults.
//!
//! ```
//! use twistor::{Protocol, Reactor, Transport};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! fn main() -> twistor::Result<()> {
//!     let mut reactor = Reactor::new()?;
//!     reactor.listen_tcp("127.0.0.1:0", || Echo)?;
//! #   reactor.call_when_running(|reactor| { reactor.stop(); });
//!     reactor.run()
//! }
//! ```
//!
//! # The layers
//!
//! ```text
//!  cli                the twistor command                                     feature cli
//!  monitor, traffic   probes, states, reports; JSON feeds                     monitor
//!  load               load on echo servers, latencies                         load
//!  http               an HTTP/1.1 client, and a server of routes and files     http
//!  tls                TLS as a layer of a connection                          tls
//!  dns                a caching stub resolver, queries of any type            dns
//!  ─────────────────────────────────────────────────────────────────────────────────────
//!  testing            test doubles, a virtual clock, a reactor that records   sim
//!  sim                reactors on a simulated network, in virtual time        sim
//!  service            programs: services in trees, signals, privileges, systemd
//!  stream             readers and writers with await
//!  deferred           pending results, looping calls
//!  task               async code on the reactor's thread
//!  framing            lines, netstrings, length prefixes, framings of your own
//!  files              reading, appending, replacing and watching files
//!  policy             throttles, limits, timeouts, counters, joined connections
//!  endpoint           addresses to listen on and to connect to, as values and as text
//!  proxy_protocol     PROXY headers, received and sent
//!  ─────────────────────────────────────────────────────────────────────────────────────
//!  (crate root)       the loop: Reactor, Protocol, Factory, Transport, Reason
//!  net (private)      the seam: sockets, files, clock, randomness, signals, threads
//!  escape             text from outside, safe to print
//! ```
//!
//! A layer names no layer above it. `default-features = false` leaves the lower two blocks, without
//! `testing` and `sim`: those are a feature for dev-dependencies, as [`testing`] shows.
//!
//! # Concurrency models
//!
//! | model | for | begin with |
//! |---|---|---|
//! | callbacks | servers and clients with many connections; protocols as state machines; least cost per message | [`Protocol`], [`framing`] |
//! | Deferreds | one result that callback code asks for now and receives later | [`Deferred`], [`gather`] |
//! | tasks and streams | a sequence of waits: ask, read, retry, time out | [`block_on`], [`stream`], [`task`] |
//! | threads | blocking calls and long computations; more than one core | [`defer_to_thread`], [`RemoteHandle`], [`run_on_cores`] |
//!
//! They mix: a callback can spawn a task, a task can listen with a protocol, and a Deferred can be
//! awaited.
//!
//! # Modules in reading order
//!
//! 1. The crate root. [`Protocol`] and [`Transport`] implement a connection.
//!    [`Factory`] and [`ClientFactory`] make protocols. [`Reactor`] does the rest: `listen_tcp`,
//!    `connect_tcp`, `call_later`, `call_in_thread`, `run`. [`DatagramProtocol`] and
//!    [`ProcessProtocol`] are the counterparts for datagrams and child processes. [`Reason`]
//!    says why a connection ended, [`Error`] why a call failed, [`Settings`] has all limits.
//! 2. [`framing`] cuts bytes into messages. [`endpoint`] reads addresses from text. [`policy`]
//!    limits connections. [`proxy_protocol`] tells them the address of the client behind a proxy.
//!    [`files`] reads and writes files beside the loop.
//! 3. [`task`] and [`stream`] are for async code, [`deferred`] for pending results.
//! 4. [`service`] makes a program of them, and [`run`] is its `main`.
//! 5. [`testing`] tests one protocol or two; [`sim`] tests whole networks.
//! 6. `http`, `monitor`, `traffic` and `load` are the libraries of the command; [`escape`] prints
//!    text from outside safely.
//!
//! The [`guide`] has longer chapters, among them [tables of names](guide::coming_from) for users
//! of Twisted, asyncio, tokio, mio and calloop.
//!
//! # Three rules that make callbacks safe
//!
//! 1. **A callback never runs inside another callback.** `write`, `lose_connection` and
//!    `connect_tcp` only change the reactor's state. The loop calls what follows from them later,
//!    on a fresh stack.
//! 2. **A protocol is out of its slot while its callback runs.** The reactor and a protocol never
//!    alias. State that connections share can be an `Rc<RefCell<..>>`: callbacks do not nest, so a
//!    borrow that ends with its callback meets no other. The exceptions are calls that run a
//!    closure at once, [`Reactor::with_protocol`] and [`Shared::with_factory`]: a value that the
//!    closure borrows must not be borrowed around the call.
//! 3. **Every id is an index and a generation.** An event, a timer or a write for a closed
//!    connection is ignored. `connection_lost` comes exactly once for each `connection_made`.
//!
//! # Arguments
//!
//! - A function that starts, changes or cancels something takes `&mut Reactor`.
//! - A function that only keeps a handle, such as [`Deferred::new`] or [`gather`], takes `&handle`
//!   or `&reactor`: `&impl AsRef<Handle>`.
//! - In tasks there is no argument: the current reactor is meant.
//! - An address is anything that converts to the options: text, a socket address, a host and a
//!   port, or the options themselves.
//!
//! # Return values
//!
//! - A `Result`, where the caller made a mistake or the system refused, and the caller needs to
//!   know: listening, connecting, cancelling a timer twice, a second producer.
//! - A `bool`, where `false` is no mistake: [`Reactor::stop`] of a stopping reactor,
//!   [`Connector::connect`] of a connecting connector. It says whether the call started something.
//! - Nothing, where the caller cannot act on it: a call for a closing connection is ignored,
//!   because `connection_lost` reports the end.
//!
//! A panic in a callback ends that one connection with [`Reason::Panicked`]; the loop runs on.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::disallowed_methods)]

#[macro_use]
mod unlogged;

mod error_chain;
pub mod escape;
mod numbered;
mod printing;

// System calls, and the loop above them.
mod net;
mod reactor;

// Endpoints, framings and policies of connections; files.
pub mod endpoint;
mod endpoint_kinds;
pub mod files;
pub mod framing;
pub mod policy;
pub mod proxy_protocol;

// Concurrency models other than callbacks.
pub mod deferred;
pub mod stream;
pub mod task;

// Programs, and their tests. The library's own tests always have the simulation.
pub mod service;
#[cfg(any(feature = "sim", test))]
pub mod sim;
#[cfg(any(feature = "sim", test))]
pub mod testing;

// Protocols.
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "tls-no-provider")]
pub mod tls;

// The command, and its libraries.
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "load")]
pub mod load;
#[cfg(feature = "monitor")]
pub mod monitor;
#[cfg(feature = "monitor")]
pub mod report;
#[cfg(feature = "monitor")]
pub mod traffic;

pub mod guide;

// The loop.
pub use reactor::{
    Completion, DelayedCall, Error, Handle, Instant, JobPanicked, Phase, PhaseGuard, Reactor, RemoteHandle,
    Result, Settings, Signal, SystemEvent, TriggerId, TurnHook, WallClock, run_on_cores, run_on_cores_with,
};

// Connections: protocols, their factories, layers below them.
pub use reactor::{
    BuildContext, ClientFactory, ConnectionGuards, ConnectionId, Credentials, Factory, Layer, LayerContext,
    LayerError, Layered, OnFailure, Producer, ProducerKind, Protocol, ProtocolError, ReadState, Reason,
    Shared, SystemError, Transport, factory, layered, shared,
};

// Listening and connecting.
pub use reactor::{
    Address, BadAddress, ConnectTcp, ConnectUnix, Connector, ConnectorId, ConnectorState, Interface,
    ListenTcp, ListenUnix, Listener, UnixAddress,
};

// Looking up host names.
pub use reactor::{
    AddressFamily, Answer, Answers, Lookup, NameError, Query, Resolution, Resolve, ResolveError,
    SystemResolver,
};

// Datagrams.
pub use reactor::{
    ConnectUdp, DatagramId, DatagramProtocol, DatagramTransport, ListenUdp, ListenUnixDatagram,
};

// Child processes.
pub use reactor::{
    ChildStream, ExitReason, OutputError, OutputErrorKind, OutputOptions, ProcessId, ProcessOutput,
    ProcessProtocol, ProcessSignal, ProcessTransport, SpawnFault, SpawnProcess, TerminalSize,
};

// Watched descriptors of other code.
pub use reactor::{FdId, FdInterest, FdProtocol, FdTransport};

// Statistics of the loop.
pub use reactor::{CallbackKind, SlowCallback, Statistics};

// The rest in reading order.
pub use task::block_on;

pub use deferred::{
    Deferred, DeferredLock, DeferredQueue, DeferredSemaphore, Failure, LoopingCall, Resolver, defer_later,
    defer_to_thread, gather,
};

pub use service::run;

pub use error_chain::error_chain;
#[doc(hidden)]
pub use printing::print_line as __print_line;

/// The resolver of new reactors on the real network. `None` is the system's. The reactor is a lower
/// layer than `dns`, so the choice is made here.
fn default_resolver() -> Option<std::rc::Rc<dyn Resolve>> {
    #[cfg(feature = "dns")]
    let resolver: Option<std::rc::Rc<dyn Resolve>> = Some(std::rc::Rc::new(dns::Resolver::of_system()));
    #[cfg(not(feature = "dns"))]
    let resolver = None;
    resolver
}

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
