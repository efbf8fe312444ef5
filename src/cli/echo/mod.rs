//! `twistor echo`: an echo server on any number of threads and processes.

mod processes;

use self::processes::LISTENING;
use super::{Failure, Outcome, number, output, parent_pipe, span, writer};
use crate::endpoint::{ParseError, Registry, ServerEndpoint};
use crate::escape::Escaped;
use crate::net::system;
use crate::policy::EchoGuard;
use crate::tls::{ServerOptions, TlsServerText};
use crate::{
    Address, ConnectUdp, DatagramProtocol, DatagramTransport, ListenTcp, ListenUdp, Phase, Protocol, Reactor,
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

/// Send received data back.
///
/// Prints "listening on ENDPOINT" for each endpoint when all are ready, with the real port if 0 was
/// given, and is quiet afterwards. SIGINT or SIGTERM ends it with exit code 0. It takes as many
/// connections as its descriptors allow; with --processes each process has its own descriptors.
///
/// The processes end with the command that started them, even if it is killed. If a process dies,
/// this is reported on stderr and the others continue. The exit code is then that of the first
/// process that died, once all have ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor echo --listen tcp:7007
  twistor echo --listen tcp:127.0.0.1:7007 --listen tcp:[::1]:7007 --workers 4
  twistor echo --listen tcp:7007 --processes 28
  twistor echo --listen tcp:7007 --spin 50us
  twistor echo --listen tcp:7007:interface=127.0.0.1:backlog=50 --listen udp:7007
  twistor echo --listen unix:/run/echo.sock:mode=660
  twistor echo --listen tls:7443:cert=chain.pem:key=key.pem

Endpoints: tcp:PORT, tcp:IP:PORT, IP:PORT, tcp6:PORT, udp:PORT, udp:IP:PORT, unix:PATH, unix:@NAME,
fd:NUMBER, systemd:name=NAME, each with further key=value arguments after colons (tcp:7007:backlog=50);
haproxy:ENDPOINT for any of them but udp, such as haproxy:tcp:7007 or haproxy:tcp:127.0.0.1:7007;
tls:ENDPOINT for any of them but udp, with cert=PATH:key=PATH at the end. Certificates are read again when
their files change.

Exit codes: 0 ended by a signal, 1 an endpoint cannot be listened on, 2 bad usage;
with --processes, if one of them died before: its exit code, or 128 plus the
number of the signal that killed it (137 for SIGKILL).")]
pub(super) struct Echo {
    /// Where to listen, as tcp:PORT, tcp:IP:PORT, udp:PORT, unix:PATH or another endpoint; port 0
    /// is any free one
    #[arg(long, value_name = "ENDPOINT", required = true)]
    listen: Vec<String>,

    /// Number of threads, each with its own reactor; they share the ports (SO_REUSEPORT)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u16>(1..=1024))]
    workers: u16,

    /// Number of processes, each with --workers threads; they share the ports (SO_REUSEPORT)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u16>(1..=1024))]
    processes: u16,

    /// Time for which an idle reactor polls before it sleeps. Answers come sooner, but a core is
    /// busy for this time after each burst, or always. Each worker needs its own core for it; try
    /// 50us [default: it sleeps at once]
    #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = span::parse)]
    spin: Duration,

    /// Over UDP, also answer datagrams that another echo server may have sent: those from ports
    /// below 1024 and from the same port, and those that repeat an answer more than 64 times
    /// without a pause of half a second. A single datagram with a forged sender makes two such
    /// servers answer each other without end
    #[arg(long)]
    no_loop_guard: bool,

    /// Number of this process, from 1, if it is one of several
    #[arg(long, hide = true)]
    part: Option<u16>,

    /// The addresses of the first process, if this is another one
    #[arg(long, hide = true)]
    at: Vec<String>,
}

/// The protocol of a connection.
pub(super) struct Bytes;

impl Protocol for Bytes {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    // A peer that sends more than it reads has to wait: unread data stays in the kernel.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// The protocol of a datagram socket. A failed send is ignored, because datagrams may be lost
/// anyway.
struct Datagrams {
    /// `None` answers all datagrams.
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
        let specs = self.listen.iter().map(|text| ListenSpec::of(text, self.sharers(), !self.no_loop_guard));
        let mut specs = specs.collect::<Result<Vec<_>, _>>()?;
        if self.no_loop_guard && !specs.iter().any(|spec| matches!(spec, ListenSpec::Udp(..))) {
            let why = "--no-loop-guard has no effect: nothing listens on udp (see --help)";
            return Err(Failure::Usage(why.to_owned()));
        }
        if self.processes > 1 && self.part.is_none() {
            return processes::run(self.processes);
        }
        for (spec, at) in specs.iter_mut().zip(&self.at) {
            spec.set_address_from(at);
        }
        let settings = Settings { busy_poll: self.spin, ..settings(self.workers) };
        let mut reactor = Reactor::with_settings(settings.clone())?;
        if self.part.is_some() {
            let gone = |reactor: &mut Reactor| {
                reactor.stop();
            };
            parent_pipe::hold(&mut reactor, |_, _| {}, gone)?;
        }
        // The first reactor binds. If the system chose a port, the others use the same one.
        let real = specs.iter().map(|spec| spec.listen(&mut reactor)).collect::<Result<Vec<_>, _>>()?;
        let mut workers = Vec::new();
        let result = (1..self.workers).try_for_each(|_| {
            let specs = real.iter().map(|(spec, _)| spec.clone()).collect();
            workers.push(Worker::start(specs, settings.clone())?);
            Ok(())
        });
        let remotes: Vec<RemoteHandle> = workers.iter().map(|worker| worker.remote.clone()).collect();
        let stop = move || {
            for remote in &remotes {
                // A worker that has ended needs no stop.
                let _ = remote.stop();
            }
        };
        let outcome = match result {
            Ok(()) => {
                let addresses = real.iter().map(|(spec, address)| spec.line(address)).collect::<Vec<_>>();
                let ready = self.part.is_some();
                // A reader may send a signal at once, so print only when the signal handlers are
                // installed.
                reactor.add_system_event_trigger(Phase::After, SystemEvent::Startup, move |_, _| {
                    print_addresses(&addresses, ready);
                });
                reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| {
                    writer::limit_finish();
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
            // The panic has been printed to stderr already.
            let _ = worker.thread.join();
        }
        outcome
    }

    /// Returns which kinds of reactors share the ports.
    fn sharers(&self) -> Sharers {
        match (self.workers, self.processes) {
            (1, 1) => Sharers::None,
            (_, 1) => Sharers::Threads,
            _ => Sharers::Processes,
        }
    }
}

/// Prints the addresses that are listened on.
fn print_addresses(addresses: &[String], ready: bool) {
    let mut out = writer::stdout();
    for address in addresses {
        // A closed stdout is ignored.
        let _ = writeln!(out, "{LISTENING}{address}");
    }
    if ready {
        let _ = writeln!(out, "{}", processes::READY);
    }
    let _ = out.flush();
}

/// The kinds of reactors that share the ports.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharers {
    None,
    Threads,
    Processes,
}

/// Returns the settings of one of `workers` reactors. Its connection limit is its share of the
/// descriptors.
fn settings(workers: u16) -> Settings {
    let descriptors = system::raise_descriptor_limit();
    let others = RESERVED.min(descriptors / 2) + RESERVED_PER_WORKER * usize::from(workers);
    let max_connections = (descriptors.saturating_sub(others) / usize::from(workers)).max(1);
    Settings { max_connections, ..Settings::default() }
}

/// Descriptors of a process, and of each of its reactors, that are not connections. Both are
/// generous estimates.
const RESERVED: usize = 48;
const RESERVED_PER_WORKER: usize = 8;

/// A thread with a listening reactor.
struct Worker {
    thread: thread::JoinHandle<()>,
    remote: RemoteHandle,
}

impl Worker {
    /// Starts a thread, and returns when it listens. Only the first reactor handles signals; it
    /// stops the others.
    fn start(specs: Vec<ListenSpec>, settings: Settings) -> Result<Worker, Failure> {
        let (ready, started) = mpsc::channel();
        let run = move || {
            let set_up = || -> Result<Reactor, Failure> {
                let settings = Settings { handle_signals: false, ..settings };
                let mut reactor = Reactor::with_settings(settings)?;
                specs.iter().try_for_each(|spec| spec.listen(&mut reactor).map(drop))?;
                Ok(reactor)
            };
            match set_up() {
                Ok(mut reactor) => {
                    // The receiver waits for exactly one message.
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

/// An endpoint to listen on, parsed once and used by each worker.
#[derive(Clone)]
enum ListenSpec {
    Tcp(ListenTcp),
    /// The flag turns on the guard against other echo servers.
    Udp(ListenUdp, bool),
    /// TCP with TLS.
    Tls(ListenTcp, ServerOptions),
    /// The text of another endpoint. It cannot be bound twice, but possibly inherited twice.
    Other(String),
}

impl ListenSpec {
    fn of(text: &str, sharers: Sharers, guarded: bool) -> Result<ListenSpec, Failure> {
        let registry = registry(text);
        let shared = sharers != Sharers::None;
        let bad = |error: ParseError| Failure::Usage(error.to_string());
        if let Some(rest) = text.strip_prefix("udp:") {
            let address = rest.strip_prefix("//").unwrap_or(rest);
            if let Ok(listen) = address.parse::<ListenUdp>() {
                let reuse_port = listen.reuse_port || shared;
                return Ok(ListenSpec::Udp(ListenUdp { reuse_port, ..listen }, guarded));
            }
            let own = as_listen_endpoint(rest).and_then(|text| registry.datagram_from_string(&text).ok());
            let endpoint = match own {
                Some(own) => own,
                None => registry.datagram_from_string(text).map_err(bad)?,
            };
            let endpoint: &dyn Any = &*endpoint;
            return match (endpoint.downcast_ref::<ListenUdp>(), endpoint.downcast_ref::<ConnectUdp>()) {
                (Some(listen), _) => {
                    let reuse_port = listen.reuse_port || shared;
                    Ok(ListenSpec::Udp(ListenUdp { reuse_port, ..listen.clone() }, guarded))
                }
                _ => Err(unfit(text, "to listen, write udp:PORT or udp:PORT:interface=IP")),
            };
        }
        let endpoint = registry.server_from_argument(text).map_err(bad)?;
        let endpoint: &dyn Any = &*endpoint;
        if let Some(tls) = endpoint.downcast_ref::<TlsServerText>() {
            let inner: &dyn Any = tls.inner();
            if let Some(listen) = inner.downcast_ref::<ListenTcp>() {
                let reuse_port = listen.reuse_port || shared;
                let listen = ListenTcp { reuse_port, ..listen.clone() };
                return Ok(ListenSpec::Tls(listen, tls.options().clone()));
            }
        }
        match endpoint.downcast_ref::<ListenTcp>() {
            Some(listen) => {
                let reuse_port = listen.reuse_port || shared;
                Ok(ListenSpec::Tcp(ListenTcp { reuse_port, ..listen.clone() }))
            }
            // Each process can use an inherited descriptor, but only one gets those passed by
            // systemd. Other endpoints would be bound twice.
            None if sharers == Sharers::Processes && !text.starts_with("fd:") => {
                Err(unfit(text, "processes can share tcp, tls over tcp, udp and fd: leave --processes out"))
            }
            None if shared && !["fd:", "systemd:"].iter().any(|kind| text.starts_with(kind)) => Err(unfit(
                text,
                "workers can share tcp, tls over tcp, udp, fd and systemd: leave --workers out",
            )),
            None => Ok(ListenSpec::Other(text.to_owned())),
        }
    }

    /// The endpoint for the line that is printed.
    fn line(&self, address: &Address) -> String {
        let kind = match (self, address) {
            (ListenSpec::Tls(..), _) => "tls",
            (_, Address::Tcp(_)) => "tcp",
            (_, Address::Udp(_)) => "udp",
            (_, Address::Unix(_)) => "unix",
            (_, Address::Pipe) => "pipe",
        };
        format!("{kind}:{address}")
    }

    /// Takes the port from the line that the first process printed.
    fn set_address_from(&mut self, line: &str) {
        let address = line.split_once(':').and_then(|(_, address)| address.parse::<SocketAddr>().ok());
        match (self, address) {
            (ListenSpec::Tcp(listen) | ListenSpec::Tls(listen, _), Some(address)) => listen.address = address,
            (ListenSpec::Udp(listen, _), Some(address)) => listen.address = address,
            _ => {}
        }
    }

    /// Listens, and returns the endpoint with the port that the system chose.
    fn listen(&self, reactor: &mut Reactor) -> Result<(ListenSpec, Address), Failure> {
        match self {
            ListenSpec::Tcp(listen) => {
                let address = reactor.listen_tcp(listen.clone(), || Bytes)?.address().clone();
                let real = address.socket_address().unwrap_or(listen.address);
                Ok((ListenSpec::Tcp(ListenTcp { address: real, ..listen.clone() }), address))
            }
            ListenSpec::Tls(listen, options) => {
                let endpoint = TlsServerText::new(Box::new(listen.clone()), options.clone());
                let address = endpoint.listen(reactor, Box::new(|| Bytes))?.address().clone();
                let real = address.socket_address().unwrap_or(listen.address);
                Ok((ListenSpec::Tls(ListenTcp { address: real, ..listen.clone() }, options.clone()), address))
            }
            ListenSpec::Udp(listen, guarded) => {
                let guard = guarded.then(EchoGuard::new);
                let id = reactor.listen_udp(listen.clone(), Datagrams { guard })?;
                let address = reactor
                    .datagram_transport(id)
                    .map_or(Address::Udp(listen.address), |socket| socket.host());
                let real = address.socket_address().unwrap_or(listen.address);
                Ok((ListenSpec::Udp(ListenUdp { address: real, ..listen.clone() }, *guarded), address))
            }
            ListenSpec::Other(text) => {
                let endpoint = Registry::default().server_from_argument(text);
                let endpoint = endpoint.map_err(|error| Failure::Usage(error.to_string()))?;
                let listener = endpoint.listen(reactor, Box::new(|| Bytes))?;
                Ok((self.clone(), listener.address().clone()))
            }
        }
    }
}

/// Returns the kinds of endpoints that can be listened on. `udp` is handled before the others but
/// listed with them. It cannot be behind a proxy or have TLS.
fn registry(text: &str) -> Registry {
    let mut registry = Registry::default();
    if !["haproxy:", "tls:"].iter().any(|wrapper| text.starts_with(wrapper)) {
        let why = "write udp:PORT or udp:IP:PORT";
        registry.register_server("udp", move |arguments, _| Err(arguments.missing("port", why)));
    }
    registry
}

/// Rewrites `IP:PORT` with further arguments as an endpoint that listens there. In other endpoints
/// the address is that of a peer.
fn as_listen_endpoint(text: &str) -> Option<String> {
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
