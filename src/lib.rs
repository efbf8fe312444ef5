//! twistor: an event-driven network framework with Twisted's vocabulary, on [`mio`], without an async runtime.
//!
//! You write *protocols*: what one connection does when it is made, receives bytes, or is lost. A *factory* makes
//! one for each connection. The *reactor* is the loop that calls them, one callback at a time, and it is a plain
//! value: make several, one for each thread. Nothing here needs `unsafe`, a `RefCell` inside the framework, or a lock.
//!
//! ```
//! use twistor::{Protocol, ProtocolError, Reactor, Transport};
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
//! # Three rules that make callbacks safe
//!
//! 1. **A callback never runs inside another callback.** `write`, `lose_connection`, `connect_tcp` only change the
//!    reactor's state; whatever follows from it is called from the loop, on a fresh stack.
//! 2. **While its callback runs, a protocol is out of its slot.** The reactor and a protocol never alias. State
//!    that connections share can be an `Rc<RefCell<..>>`: callbacks do not nest, so that a borrow which ends with its
//!    callback meets no other. The exceptions are the calls that run a closure at once, [`Reactor::with_protocol`] and
//!    [`Shared::with_factory`]: what such a closure borrows must not be borrowed around the call.
//! 3. **Every name is an index and a generation.** An event, timer or write for something gone is ignored.
//!    `connection_lost` comes exactly once for each `connection_made`.
//!
//! # What calls answer
//!
//! - A `Result`, where the caller made a mistake or the system refused, and where it matters: listening, connecting, a
//!   timed call that is cancelled twice, a second producer.
//! - A `bool`, where `false` is no mistake: [`Reactor::stop`] of one that stops already, [`Connector::connect`] of one that
//!   connects already. It says whether the call began something.
//! - Nothing, where there is nothing to be done about it: what is asked of a connection that closes or is gone is
//!   ignored, because a callback, `connection_lost`, has said so or will.
//!
//! A panic in a callback ends that one connection, with [`Reason::Panicked`]; the loop lives on.
//!
//! # The layers
//!
//! ```text
//!  cli, main.rs       the `twistor` command                               feature `cli`
//!  monitor, traffic   probes, states, reports; JSON feeds                 feature `monitor`
//!  load               load on echo servers, every byte compared, latencies  feature `load`
//!  http               an HTTP/1.1 response reader, a keep-alive client    feature `http`
//!  testing            protocols alone and in pairs, a clock, a reactor that records      (always)
//!  sim                reactors on a simulated network, in virtual time                    (always)
//!  service            what a program does from start to end, in trees; its main in one line  (always)
//!  stream             readers and writers to await: open_connection, start_server               (always)
//!  deferred           results to come, and what is called with them; looping calls             (always)
//!  task               async code on the reactor's own thread: sleep, timeout, channels          (always)
//!  framing            lines, netstrings, length prefixes: as handlers and as codecs              (always)
//!  policy             throttles, limits, timeouts, counts, PROXY headers, port forwarding          (always)
//!  endpoint           where connections live: servers and clients as values and as text     (always)
//!  reactor            the loop, and the vocabulary: Protocol, Factory, Transport, Reason   (always)
//!  net                the seam: sockets, clock, randomness, signals, threads; `os` is mio  (always)
//!  escape             text from outside, safe to print                                      (always)
//! ```
//!
//! A lower layer never names a higher one. `default-features = false` leaves those that are always there.
//!
//! # Where to begin
//!
//! [`Protocol`] and [`Transport`] are what a connection is written with, [`Factory`] and [`ClientFactory`] make
//! protocols, [`Reactor`] does the rest: `listen_tcp`, `connect_tcp`, `call_later`, `call_in_thread`, `run`.
//! [`ProcessProtocol`] is what a child process is written with (`spawn_process`, `process_output`).
//! [`Reason`] is how connections end, [`Error`] what calls can fail with, [`Settings`] all the limits.
//!
//! Code that waits is written with [`Deferred`]s, or as tasks: [`task`] has what they are made with, [`stream`] connections to
//! await, [`block_on`] is their `main`. [`framing`] cuts bytes into messages. [`coming_from`] has a table from the names of Twisted,
//! asyncio and tokio to the ones here.
//!
//! [`service`] puts what a program does together, from its start to its end, and [`run`] is its `main`.
//!
//! [`testing`] is for tests of what you wrote: of one protocol, of two that talk to each other, of code that listens
//! and connects. [`sim`] has whole networks of them, with any fault.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::disallowed_methods)]

#[macro_use]
mod unlogged;

pub mod deferred;
#[doc = include_str!("coming_from.md")]
pub mod coming_from {}
pub mod endpoint;
mod error_chain;
pub mod escape;
pub mod framing;
mod net;
pub mod policy;
mod printing;
mod reactor;
pub mod service;
pub mod sim;
pub mod stream;
pub mod task;
pub mod testing;

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "load")]
pub mod load;
#[cfg(feature = "monitor")]
pub mod monitor;
#[cfg(feature = "monitor")]
pub mod traffic;

#[cfg(feature = "cli")]
pub mod cli;

pub use deferred::{
    Deferred, DeferredLock, DeferredQueue, DeferredSemaphore, Failure, LoopingCall, Resolver, defer_later,
    defer_to_thread, gather,
};
pub use error_chain::error_chain;
#[doc(hidden)]
pub use printing::print_line as __print_line;
pub use reactor::OnFailure;
pub use reactor::{
    Address, BadAddress, CallbackKind, ChildStream, ClientFactory, ConnectTcp, ConnectUnix, ConnectionId,
    Connector, ConnectorId, ConnectorState, Credentials, DatagramId, DatagramProtocol, DatagramTransport,
    DelayedCall, Error, ExitReason, Factory, Handle, Instant, Interface, JobPanicked, Layer, LayerContext,
    LayerError, Layered, ListenTcp, ListenUdp, ListenUnix, ListenUnixDatagram, Listener, Lookup, OutputError,
    OutputErrorKind, OutputOptions, Phase, PhaseGuard, ProcessId, ProcessOutput, ProcessProtocol,
    ProcessSignal, ProcessTransport, Producer, ProducerKind, Protocol, ProtocolError, Reactor, Reason,
    RemoteHandle, Result, Settings, Shared, Signal, SlowCallback, SpawnFault, SpawnProcess, Statistics,
    SystemError, SystemEvent, TerminalSize, Transport, TriggerId, UnixAddress, factory, layered, shared,
};
pub use service::run;
pub use task::block_on;
