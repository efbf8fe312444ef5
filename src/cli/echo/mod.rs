//! `twistor echo`: a server that sends back what it gets, on as many threads and processes as it is given.

mod processes;

use self::processes::LISTENING;
use super::{Failure, Outcome, descriptors, number, output, parent_pipe, span, writer};
use crate::endpoint::{ConnectUdp, ParseError, Registry};
use crate::escape::Escaped;
use crate::policy::EchoGuard;
use crate::{
    Address, DatagramProtocol, DatagramTransport, ListenTcp, ListenUdp, Phase, Protocol, Reactor,
    RemoteHandle, Settings, SystemEvent, Transport,
};
use clap::Args;
use std::any::Any;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Send back whatever comes in.
///
/// Prints "listening on ENDPOINT" for each endpoint when all are ready, with the real port when 0 was asked for, and is
/// quiet afterwards. SIGINT or SIGTERM ends it with exit code 0. It takes as many connections as its descriptors allow;
/// with --processes each process has descriptors of its own.
///
/// Processes end with the one that started them, however that ends. One that dies is told on stderr, the others go on,
/// and the exit code is that of the first one that died, when all have ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor echo --listen tcp:7007
  twistor echo --listen tcp:127.0.0.1:7007 --listen tcp:[::1]:7007 --workers 4
  twistor echo --listen tcp:7007 --processes 28
  twistor echo --listen tcp:7007 --spin 50us
  twistor echo --listen tcp:7007:interface=127.0.0.1:backlog=50 --listen udp:7007
  twistor echo --listen unix:/run/echo.sock:mode=660

Endpoints: tcp:PORT, tcp:IP:PORT, IP:PORT, tcp6:PORT, udp:PORT, udp:IP:PORT, unix:PATH, unix:@NAME,
fd:NUMBER, systemd:name=NAME, each with further key=value arguments after colons (tcp:7007:backlog=50);
haproxy:ENDPOINT for any of them but udp, such as haproxy:tcp:7007 or haproxy:tcp:127.0.0.1:7007.

Exit codes: 0 ended by a signal, 1 an endpoint cannot be listened on, 2 bad usage;
with --processes, when one of them died before: its exit code, or 128 and the
number of the signal that killed it (137 for SIGKILL).")]
pub(super) struct Echo {
    /// Where to listen, as tcp:PORT, tcp:IP:PORT, udp:PORT, unix:PATH or another endpoint; port 0 is any free one
    #[arg(long, value_name = "ENDPOINT", required = true)]
    listen: Vec<String>,

    /// Threads, each with a reactor of its own; they share the ports (SO_REUSEPORT)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u16>(1..=1024))]
    workers: u16,

    /// Processes, each with so many workers; they share the ports (SO_REUSEPORT)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u16>(1..=1024))]
    processes: u16,

    /// How long a reactor that has run out of work looks for more before it sleeps: answers come sooner, and a core
    /// is busy for so long after each burst, or always. A worker needs a core of its own for it; try 50us [default: it
    /// sleeps at once]
    #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = span::parse)]
    spin: Duration,

    /// Over UDP, answer what an echo server may have sent, too: datagrams from ports below 1024 and from the same port, and those that
    /// repeat their answers more than 64 times without a pause of half a second. One datagram with a forged sender makes two
    /// such servers answer each other without end
    #[arg(long)]
    no_loop_guard: bool,

    /// This is one of several processes, with this number from 1
    #[arg(long, hide = true)]
    part: Option<u16>,

    /// Where the first of several processes listens
    #[arg(long, hide = true)]
    at: Vec<String>,
}

/// The protocol of a connection.
pub(super) struct Bytes;

impl Protocol for Bytes {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    // A peer that sends much and reads little keeps the rest until it has read.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// The protocol of a socket of datagrams. What cannot be sent back is lost, as datagrams are.
struct Datagrams {
    /// `None`: everything is answered.
    guard: Option<EchoGuard>,
}

impl DatagramProtocol for Datagrams {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        if self.guard.as_mut().is_none_or(|guard| guard.allows(transport, data, from)) {
            let _ = transport.write_to(data, from);
        }
    }
}

impl Echo {
    pub(super) fn run(&self) -> Outcome {
        let places = self.listen.iter().map(|text| Place::of(text, self.sharers(), !self.no_loop_guard));
        let mut places = places.collect::<Result<Vec<_>, _>>()?;
        if self.no_loop_guard && !places.iter().any(|place| matches!(place, Place::Udp(..))) {
            let why = "--no-loop-guard has no effect: nothing listens on udp (see --help)";
            return Err(Failure::Usage(why.to_owned()));
        }
        if self.processes > 1 && self.part.is_none() {
            return processes::run(self.processes);
        }
        for (place, at) in places.iter_mut().zip(&self.at) {
            place.take_address_of(at);
        }
        let settings = Settings { busy_poll: self.spin, ..settings(self.workers) };
        let mut reactor = Reactor::with_settings(settings.clone())?;
        if self.part.is_some() {
            let gone = |reactor: &mut Reactor| {
                reactor.stop();
            };
            parent_pipe::hold(&mut reactor, |_, _| {}, gone)?;
        }
        // The first reactor binds; where the system chose a port, the others take the same.
        let real = places.iter().map(|place| place.listen(&mut reactor)).collect::<Result<Vec<_>, _>>()?;
        let mut workers = Vec::new();
        let result = (1..self.workers).try_for_each(|_| {
            let places = real.iter().map(|(place, _)| place.clone()).collect();
            workers.push(Worker::start(places, settings.clone())?);
            Ok(())
        });
        let remotes: Vec<RemoteHandle> = workers.iter().map(|worker| worker.remote.clone()).collect();
        let stop = move || {
            for remote in &remotes {
                // One that is gone has stopped.
                let _ = remote.stop();
            }
        };
        let outcome = match result {
            Ok(()) => {
                let addresses = real.iter().map(|(_, address)| address.clone()).collect::<Vec<_>>();
                let ready = self.part.is_some();
                // Who reads it may send a signal at once: not before somebody looks for signals.
                reactor.add_system_event_trigger(Phase::After, SystemEvent::Startup, move |_, _| {
                    say_where(&addresses, ready);
                });
                reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| {
                    writer::hurry();
                    stop();
                });
                output::end_with_stdout(&reactor, true);
                reactor.run().map_err(Failure::from).map(|()| ExitCode::SUCCESS)
            }
            Err(failure) => {
                stop();
                Err(failure)
            }
        };
        for worker in workers {
            // What it panicked with is on stderr already.
            let _ = worker.thread.join();
        }
        outcome
    }

    /// How many reactors listen on the same ports.
    fn sharers(&self) -> Sharers {
        match (self.workers, self.processes) {
            (1, 1) => Sharers::None,
            (_, 1) => Sharers::Threads,
            _ => Sharers::Processes,
        }
    }
}

/// Says that all of them are listened on.
fn say_where(addresses: &[Address], ready: bool) {
    let mut out = writer::stdout();
    for address in addresses {
        // Whoever closed stdout does not want to know.
        let _ = match address {
            Address::Tcp(address) => writeln!(out, "{LISTENING}tcp:{address}"),
            Address::Udp(address) => writeln!(out, "{LISTENING}udp:{address}"),
            Address::Unix(address) => writeln!(out, "{LISTENING}unix:{address}"),
            // Nobody listens on one.
            Address::Pipe => Ok(()),
        };
    }
    if ready {
        let _ = writeln!(out, "{}", processes::READY);
    }
    let _ = out.flush();
}

/// Who shares the ports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharers {
    None,
    Threads,
    Processes,
}

/// Of a reactor of so many: its share of the descriptors, but for those that are not connections.
fn settings(workers: u16) -> Settings {
    let descriptors = descriptors::raise_limit();
    let others = OTHERS.min(descriptors / 2) + OTHERS_OF_A_WORKER * usize::from(workers);
    let max_connections = (descriptors.saturating_sub(others) / usize::from(workers)).max(1);
    Settings { max_connections, ..Settings::default() }
}

/// Descriptors of a process that are no connections, and those of each of its reactors: rather too many.
const OTHERS: usize = 48;
const OTHERS_OF_A_WORKER: usize = 8;

/// A thread with a reactor that listens.
struct Worker {
    thread: thread::JoinHandle<()>,
    remote: RemoteHandle,
}

impl Worker {
    /// Returns when it listens. Signals are for the first reactor, which stops the others.
    fn start(places: Vec<Place>, settings: Settings) -> Result<Worker, Failure> {
        let (ready, started) = mpsc::channel();
        let run = move || {
            let set_up = || -> Result<Reactor, Failure> {
                let settings = Settings { handle_signals: false, ..settings };
                let mut reactor = Reactor::with_settings(settings)?;
                places.iter().try_for_each(|place| place.listen(&mut reactor).map(drop))?;
                Ok(reactor)
            };
            match set_up() {
                Ok(mut reactor) => {
                    // The other end waits for exactly one message.
                    let _ = ready.send(Ok(reactor.remote()));
                    if let Err(error) = reactor.run() {
                        log::error!("a worker ended: {error}");
                    }
                }
                Err(failure) => {
                    let _ = ready.send(Err(failure));
                }
            }
        };
        let thread = thread::Builder::new().name("echo".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::Run(format!("cannot start a thread: {error}")))?;
        let gone = || Failure::Run("a worker ended before it was ready".into());
        let remote = started.recv().map_err(|_| gone())??;
        Ok(Worker { thread, remote })
    }
}

/// Where to listen, for each worker.
#[derive(Clone)]
enum Place {
    Tcp(ListenTcp),
    /// With a guard against other echo servers, or without.
    Udp(ListenUdp, bool),
    /// A text that has been read: of a socket that cannot be bound twice, but perhaps taken twice.
    Other(String),
}

impl Place {
    fn of(text: &str, sharers: Sharers, guarded: bool) -> Result<Place, Failure> {
        let registry = registry(text);
        let shared = sharers != Sharers::None;
        let bad = |error: ParseError| Failure::Usage(error.to_string());
        if let Some(rest) = text.strip_prefix("udp:") {
            let address = rest.strip_prefix("//").unwrap_or(rest);
            if let Ok(listen) = address.parse::<ListenUdp>() {
                let reuse_port = listen.reuse_port || shared;
                return Ok(Place::Udp(ListenUdp { reuse_port, ..listen }, guarded));
            }
            let own = own_port(rest).and_then(|text| registry.datagram_from_string(&text).ok());
            let endpoint = match own {
                Some(own) => own,
                None => registry.datagram_from_string(text).map_err(bad)?,
            };
            let endpoint: &dyn Any = &*endpoint;
            return match (endpoint.downcast_ref::<ListenUdp>(), endpoint.downcast_ref::<ConnectUdp>()) {
                (Some(listen), _) => {
                    let reuse_port = listen.reuse_port || shared;
                    Ok(Place::Udp(ListenUdp { reuse_port, ..listen.clone() }, guarded))
                }
                _ => Err(unfit(text, "to listen, write udp:PORT or udp:PORT:interface=IP")),
            };
        }
        let endpoint = registry.server_from_cli(text).map_err(bad)?;
        let endpoint: &dyn Any = &*endpoint;
        match endpoint.downcast_ref::<ListenTcp>() {
            Some(listen) => {
                let reuse_port = listen.reuse_port || shared;
                Ok(Place::Tcp(ListenTcp { reuse_port, ..listen.clone() }))
            }
            // An inherited socket is each worker's as it is, but what systemd passed is one process's; others would be
            // bound twice.
            None if sharers == Sharers::Processes && !text.starts_with("fd:") => {
                Err(unfit(text, "processes can share tcp, udp and fd: leave --processes out"))
            }
            None if shared && !["fd:", "systemd:"].iter().any(|kind| text.starts_with(kind)) => {
                Err(unfit(text, "workers can share tcp, udp, fd and systemd: leave --workers out"))
            }
            None => Ok(Place::Other(text.to_owned())),
        }
    }

    /// The port that the first process has, as it says it.
    fn take_address_of(&mut self, said: &str) {
        let address = said.split_once(':').and_then(|(_, address)| address.parse::<SocketAddr>().ok());
        match (self, address) {
            (Place::Tcp(listen), Some(address)) => listen.address = address,
            (Place::Udp(listen, _), Some(address)) => listen.address = address,
            _ => {}
        }
    }

    /// Listens, and returns the same place with the port that the system chose.
    fn listen(&self, reactor: &mut Reactor) -> Result<(Place, Address), Failure> {
        match self {
            Place::Tcp(listen) => {
                let address = reactor.listen_tcp(listen.clone(), || Bytes)?.address().clone();
                let real = address.socket_address().unwrap_or(listen.address);
                Ok((Place::Tcp(ListenTcp { address: real, ..listen.clone() }), address))
            }
            Place::Udp(listen, guarded) => {
                let guard = guarded.then(EchoGuard::new);
                let id = reactor.listen_udp(listen.clone(), Datagrams { guard })?;
                let address = reactor
                    .datagram_transport(id)
                    .map_or(Address::Udp(listen.address), |socket| socket.host());
                let real = address.socket_address().unwrap_or(listen.address);
                Ok((Place::Udp(ListenUdp { address: real, ..listen.clone() }, *guarded), address))
            }
            Place::Other(text) => {
                let endpoint = Registry::default().server_from_cli(text);
                let endpoint = endpoint.map_err(|error| Failure::Usage(error.to_string()))?;
                let listener = endpoint.listen(reactor, Box::new(|| Bytes))?;
                Ok((self.clone(), listener.address().clone()))
            }
        }
    }
}

/// The kinds of endpoints that can be listened on: `udp` is read before the others, and listed with them. It is not
/// behind a proxy.
fn registry(text: &str) -> Registry {
    let mut registry = Registry::default();
    if !text.starts_with("haproxy:") {
        let why = "write udp:PORT or udp:IP:PORT";
        registry.register_server("udp", move |arguments, _| Err(arguments.missing("port", why)));
    }
    registry
}

/// `IP:PORT` with further arguments, as an endpoint that receives there; in endpoints it is a peer's address.
fn own_port(text: &str) -> Option<String> {
    let host = match text.starts_with('[') {
        true => text.find(']')? + 1,
        false => text.find(':')?,
    };
    let (host, rest) = text.split_at(host);
    let (port, more) = rest.strip_prefix(':')?.split_once(':')?;
    let text = format!("{host}:{port}");
    text.parse::<ListenUdp>().ok().map(|_| format!("udp:{port}:interface={host}:{more}"))
}

fn unfit(text: &str, why: &str) -> Failure {
    Failure::Usage(format!("bad endpoint \"{}\": {why}", Escaped(text)))
}
