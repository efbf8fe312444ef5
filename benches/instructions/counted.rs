//! What is counted in a process of its own: this bench's program, started again under callgrind, does one thing so many
//! times and says how often it did.
//!
//! A peer, where one is needed, runs in the process that counts: a thread that listens, and that answers with
//! blocking calls. One connection has one message under way, so that the turns of the loop are the same ones each time,
//! however busy the machine is; lines come on 64 connections, those that belong together with one write.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use twistor::dns::{NameServer, Resolver, ResolverConfig};
use twistor::framing::{LineReceiver, LineTransport, Lines};
use twistor::http::Url;
use twistor::monitor::{self, Monitor, Target};
use twistor::sim::{Latency, Link, Simulation};
use twistor::traffic::{self, Feed, FeedReader};
use twistor::{
    AddressFamily, Answer, ClientFactory, DelayedCall, Layer, Protocol, Query, Reactor, Settings, Transport,
    layered, task,
};

use super::secure;
use super::support::Result;
use super::support::tool;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Ten thousand others wait.
    SetAndCancel,
    /// Ten thousand are set, and are due together.
    SetAndFire,
    SpawnAndAwait,
    Yield,
    /// A line of a hundred bytes comes and goes, so many at once.
    Line(usize),
    /// A line of a hundred bytes comes and goes through a layer that changes nothing.
    LayeredLine,
    /// A connection of the monitor's is made, timed and closed.
    Probe,
    /// A feed is read over a connection that is kept.
    Feed,
    /// 64 bytes are echoed over TLS 1.3.
    TlsMessage,
    /// A connection with TLS 1.3 is accepted and closed.
    TlsHandshake,
    /// A name that is not in the cache is looked up: one question to a server, from a port of its own.
    FreshName,
    /// A name that is in the cache is looked up.
    CachedName,
    /// Half of an echo between two hosts of a simulation.
    SimulatedMessage,
}

impl Counted {
    pub const ALL: [Counted; 14] = [
        Counted::SetAndCancel,
        Counted::SetAndFire,
        Counted::SpawnAndAwait,
        Counted::Yield,
        Counted::Line(1),
        Counted::Line(16),
        Counted::LayeredLine,
        Counted::Probe,
        Counted::Feed,
        Counted::TlsMessage,
        Counted::TlsHandshake,
        Counted::FreshName,
        Counted::CachedName,
        Counted::SimulatedMessage,
    ];

    /// Its name in the file of baselines.
    pub fn name(self) -> &'static str {
        match self {
            Counted::SetAndCancel => "a timed call set and cancelled",
            Counted::SetAndFire => "a timed call set and called",
            Counted::SpawnAndAwait => "a task spawned and awaited",
            Counted::Yield => "a task that yields",
            Counted::Line(1) => "a line, echoed by a server of lines",
            Counted::Line(_) => "a line of sixteen that came at once",
            Counted::LayeredLine => "a line, echoed through a layer",
            Counted::Probe => "a probe of tcp:// by the monitor",
            Counted::Feed => "a reading of a feed over http://",
            Counted::TlsMessage => "a message echoed over TLS",
            Counted::TlsHandshake => "a TLS handshake of a server",
            Counted::FreshName => "a look-up of a fresh name",
            Counted::CachedName => "a look-up of a cached name",
            Counted::SimulatedMessage => "a simulated message",
        }
    }

    /// User instructions of it each time.
    pub fn instructions(self, smoke: bool) -> Result<f64> {
        let [first, second] = self.rounds(smoke);
        let ((few, before), (many, after)) = (self.count(first)?, self.count(second)?);
        if many <= few {
            return Err(format!("{}: {few} and {many} times", self.name()).into());
        }
        Ok((after - before) / (many - few))
    }

    /// So often, or so many milliseconds of a simulation. What happens once is in both.
    fn rounds(self, smoke: bool) -> [usize; 2] {
        let few = match self {
            Counted::SetAndCancel | Counted::SetAndFire | Counted::SpawnAndAwait | Counted::Yield => {
                OUTSTANDING
            }
            Counted::Line(together) => (50 / together).max(10),
            Counted::LayeredLine => 50,
            Counted::Probe | Counted::Feed => 100,
            Counted::TlsMessage | Counted::TlsHandshake => 20,
            Counted::FreshName => 1_000,
            Counted::CachedName => OUTSTANDING,
            Counted::SimulatedMessage => 200,
        };
        if smoke { [few / 10, few / 5] } else { [few, few * 4] }
    }

    fn count(self, rounds: usize) -> Result<(f64, f64)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let number = Counted::ALL.iter().position(|other| *other == self).unwrap_or_default();
        let arguments =
            [COUNT.to_owned(), number.to_string(), rounds.to_string(), listener.local_addr()?.to_string()];
        let peer = thread::spawn(move || self.peer(&listener, rounds).map_err(|error| error.to_string()));
        let counted = tool::instructions_with(self.name(), &arguments)?;
        peer.join().map_err(|_| "the peer panicked")??;
        Ok(counted)
    }

    /// The other side, for as long as it is needed.
    fn peer(self, listener: &TcpListener, rounds: usize) -> Result<()> {
        match self {
            Counted::Line(together) => send_lines(listener, together, rounds),
            Counted::LayeredLine => send_lines(listener, 1, rounds),
            Counted::Probe => (0..rounds).try_for_each(|_| {
                listener.accept()?.0.read_to_end(&mut Vec::new())?;
                Ok(())
            }),
            Counted::Feed => answer_requests(listener.accept()?.0),
            Counted::TlsMessage => secure::send(listener, secure::CONNECTIONS, rounds),
            Counted::TlsHandshake => secure::send(listener, rounds, 1),
            Counted::FreshName | Counted::CachedName => answer_queries(listener),
            _ => Ok(()),
        }
    }

    /// Does it, in a process of its own; says how often.
    fn perform(self, rounds: usize, peer: SocketAddr) -> Result<u64> {
        match self {
            Counted::SetAndCancel => set_and_cancel(rounds),
            Counted::SetAndFire => set_and_fire(rounds),
            Counted::SpawnAndAwait => spawn_and_await(rounds),
            Counted::Yield => yield_often(rounds),
            Counted::Line(_) => echo_lines(peer, |factory| factory),
            Counted::LayeredLine => echo_lines(peer, |factory| layered(factory, || Identity)),
            Counted::Probe => probe(rounds, peer),
            Counted::Feed => read_feed(rounds, peer),
            Counted::TlsMessage => secure::echo(peer, secure::CONNECTIONS).map(|count| count * rounds as u64),
            Counted::TlsHandshake => secure::echo(peer, rounds),
            Counted::FreshName => look_up_names(rounds, peer, true),
            Counted::CachedName => look_up_names(rounds, peer, false),
            Counted::SimulatedMessage => simulate(rounds),
        }
    }
}

/// Performs, when that is what this process was started for.
pub fn requested() -> Option<Result<()>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, number, rounds, peer] = arguments.as_slice() else { return None };
    (command == COUNT).then(|| {
        let counted = Counted::ALL.get(number.parse::<usize>()?).ok_or("nothing has this number")?;
        println!("{}", counted.perform(rounds.parse()?, peer.parse()?)?);
        Ok(())
    })
}

const COUNT: &str = "--count";

/// A reactor that looks at no clock between callbacks: valgrind makes all of them slow, and those that look slow are timed
/// one by one.
pub(super) fn reactor() -> Result<Reactor> {
    Ok(Reactor::with_settings(Settings {
        slow_callback: None,
        handle_signals: false,
        ..Settings::default()
    })?)
}

// -- timed calls --

const OUTSTANDING: usize = 10_000;

/// All timed calls are due within this time.
const SPREAD: Duration = Duration::from_millis(50);

/// So many others wait until long after the end.
fn set_and_cancel(rounds: usize) -> Result<u64> {
    let (mut reactor, mut random) = (reactor()?, Random::new());
    let far = |random: &mut Random| Duration::from_secs(3600) + random.below(Duration::from_secs(60));
    for _ in 0..OUTSTANDING {
        let _: DelayedCall = reactor.call_later(far(&mut random), |_| {});
    }
    for _ in 0..rounds {
        let call = reactor.call_later(far(&mut random), |_| {});
        call.cancel(&mut reactor)?;
    }
    Ok(rounds as u64)
}

fn set_and_fire(rounds: usize) -> Result<u64> {
    let (mut reactor, mut random) = (reactor()?, Random::new());
    let fired = Rc::new(Cell::new(0));
    for _ in 0..rounds.div_ceil(OUTSTANDING) {
        for _ in 0..rounds.min(OUTSTANDING) {
            let fired = Rc::clone(&fired);
            reactor.call_later(random.below(SPREAD), move |_| fired.set(fired.get() + 1));
        }
        thread::sleep(SPREAD);
        while reactor.delayed_call_count() > 0 {
            reactor.iterate(Some(Duration::ZERO))?;
        }
    }
    Ok(fired.get())
}

// -- tasks --

/// Tasks that are under way at once.
const TOGETHER: usize = 100;

fn spawn_and_await(rounds: usize) -> Result<u64> {
    let ended = reactor()?.block_on(async move {
        let mut ended = 0;
        for _ in 0..rounds / TOGETHER {
            let tasks: Vec<_> = (0..TOGETHER).map(|_| task::spawn(async { 1 })).collect();
            for task in tasks {
                ended += task.await.unwrap_or(0);
            }
        }
        ended
    })?;
    Ok(ended)
}

fn yield_often(rounds: usize) -> Result<u64> {
    let each = rounds / TOGETHER;
    reactor()?.block_on(async move {
        let yields = |_| {
            task::spawn(async move {
                for _ in 0..each {
                    task::yield_now().await;
                }
            })
        };
        let tasks: Vec<_> = (0..TOGETHER).map(yields).collect();
        for task in tasks {
            // None of them is cancelled.
            let _ = task.await;
        }
    })?;
    Ok((each * TOGETHER) as u64)
}

// -- lines --

/// Many, so that it matters little how many of their lines a poll finds at once.
const LINES_CONNECTIONS: usize = 64;

/// A line with its delimiter.
const LINE: usize = 100;

struct EchoLines(Rc<Cell<u64>>);

type EchoFactory = Box<dyn FnMut() -> Lines<EchoLines>>;

impl LineReceiver for EchoLines {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        self.0.set(self.0.get() + 1);
        transport.send_line(line);
    }
}

/// Changes nothing.
struct Identity;

impl Layer for Identity {}

/// Until the peer has closed all the connections. `below` adds what is below the protocols.
fn echo_lines<F: ClientFactory>(peer: SocketAddr, below: impl Fn(EchoFactory) -> F) -> Result<u64> {
    let (mut reactor, lines) = (reactor()?, Rc::new(Cell::new(0)));
    for _ in 0..LINES_CONNECTIONS {
        let lines = Rc::clone(&lines);
        reactor.connect_tcp(peer, below(Box::new(move || Lines::new(EchoLines(Rc::clone(&lines))))))?;
    }
    while reactor.resource_count() > 0 {
        reactor.iterate(None)?;
    }
    Ok(lines.get())
}

fn send_lines(listener: &TcpListener, together: usize, rounds: usize) -> Result<()> {
    let mut line = [b'x'; LINE];
    line[LINE - 2..].copy_from_slice(b"\r\n");
    let (message, mut echo) = (line.repeat(together), vec![0; LINE * together]);
    let accept = || -> Result<TcpStream> {
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..LINES_CONNECTIONS).map(|_| accept()).collect::<Result<Vec<_>>>()?;
    for _ in 0..rounds {
        for stream in &mut streams {
            stream.write_all(&message)?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut echo)?;
            if echo != message {
                return Err("a line came back changed".into());
            }
        }
    }
    Ok(())
}

// -- probes --

/// The time between two probes of the one target, under valgrind as well.
const INTERVAL: Duration = Duration::from_millis(4);

fn probe(rounds: usize, peer: SocketAddr) -> Result<u64> {
    let mut reactor = reactor()?;
    let target: Target = format!("tcp://{peer}").parse()?;
    let rounds = u32::try_from(rounds)?;
    let settings = monitor::MonitorSettings {
        interval: INTERVAL,
        rounds: Some(rounds),
        ..monitor::MonitorSettings::default()
    };
    let monitor = Monitor::start(&mut reactor, vec![target], settings, ());
    monitor.on_finished(|reactor| {
        reactor.stop();
    });
    reactor.run()?;
    if !monitor.all_up() {
        return Err("a probe failed".into());
    }
    Ok(rounds.into())
}

fn read_feed(rounds: usize, peer: SocketAddr) -> Result<u64> {
    let mut reactor = reactor()?;
    let feed = Feed::new(format!("http://{peer}/roads.json").parse::<Url>()?);
    let rounds = u32::try_from(rounds)?;
    let settings = traffic::FeedSettings {
        interval: INTERVAL,
        rounds: Some(rounds),
        ..traffic::FeedSettings::default()
    };
    let read = Rc::new(Cell::new(0));
    let counted = Rc::clone(&read);
    let observe = move |event: &traffic::FeedEvent<'_>| {
        counted.set(counted.get() + u64::from(event.result.is_ok()));
        Ok(())
    };
    let traffic = FeedReader::start(&mut reactor, vec![feed], settings, observe);
    traffic.on_finished(|reactor| {
        reactor.stop();
    });
    reactor.run()?;
    Ok(read.get())
}

/// Until the client closes the connection.
fn answer_requests(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut request) = ([0; 4096], Vec::new());
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&buffer[..count]),
        }
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let body = br#"{"congestion": {"level": 0.25}, "roads": 12}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat())?;
        }
    }
}

// -- names --

/// Look-ups that are under way at once.
const LOOK_UPS: usize = 100;

/// One family, so that a look-up is one question.
fn look_up_names(rounds: usize, peer: SocketAddr, fresh: bool) -> Result<u64> {
    let mut reactor = reactor()?;
    // The peer has a port of the same number for datagrams, and waits until the connection ends.
    let peer_waits = TcpStream::connect(peer)?;
    reactor.set_resolver(Resolver::new(ResolverConfig {
        servers: vec![NameServer::from(peer)],
        ..ResolverConfig::default()
    }));
    let ended = Rc::new(Cell::new(0_usize));
    let begun = Rc::new(Cell::new(0_usize));
    for _ in 0..LOOK_UPS.min(rounds) {
        look_up_next(&mut reactor, (rounds, fresh), &begun, &ended)?;
    }
    reactor.run()?;
    drop(peer_waits);
    Ok(ended.get() as u64)
}

fn look_up_next(
    reactor: &mut Reactor,
    (rounds, fresh): (usize, bool),
    begun: &Rc<Cell<usize>>,
    ended: &Rc<Cell<usize>>,
) -> Result<()> {
    let number = begun.replace(begun.get() + 1);
    if number >= rounds {
        return Ok(());
    }
    let host = if fresh { format!("host-{number}.example.org") } else { "host.example.org".to_owned() };
    let query = Query { family: AddressFamily::Ipv4, ..Query::new(host, 80) };
    let (begun, ended) = (Rc::clone(begun), Rc::clone(ended));
    reactor.look_up(query, move |reactor, answer| {
        if let Answer::End(outcome) = answer {
            ended.set(ended.get() + usize::from(outcome.is_ok()));
            if ended.get() == rounds {
                reactor.stop();
            }
            // It cannot fail: as many were under way before.
            let _ = look_up_next(reactor, (rounds, fresh), &begun, &ended);
        }
    })?;
    Ok(())
}

/// Until the client closes its connection.
fn answer_queries(listener: &TcpListener) -> Result<()> {
    let socket = UdpSocket::bind(listener.local_addr()?)?;
    let mut connection = listener.accept()?.0;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    connection.set_nonblocking(true)?;
    let mut buffer = [0; 512];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut buffer) else {
            match connection.read(&mut [0]) {
                Ok(0) => return Ok(()),
                _ => continue,
            }
        };
        let mut answer = buffer[..count].to_vec();
        // A response without the record of EDNS, and with one address of the name for a minute.
        answer.truncate(count - 11);
        answer[2] |= 0x80;
        (answer[7], answer[11]) = (1, 0);
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        socket.send_to(&answer, from)?;
    }
}

// -- the simulation --

const SIMULATED_CONNECTIONS: usize = 100;

struct Echo {
    begins: bool,
    messages: Rc<Cell<u64>>,
}

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        if self.begins {
            transport.write(&[b'x'; 64]);
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.messages.set(self.messages.get() + 1);
        transport.write(data);
    }
}

/// For so many milliseconds of its own time.
fn simulate(milliseconds: usize) -> Result<u64> {
    let messages = Rc::new(Cell::new(0));
    let mut simulation = Simulation::new(1);
    simulation.keep_trace(64);
    let latency = Latency::Uniform { least: Duration::from_millis(1), most: Duration::from_millis(5) };
    simulation.set_links(Link { latency, ..Link::default() });
    let [server, client] = ["server", "client"].map(|name| simulation.host(name));
    let echo = |begins| {
        let messages = Rc::clone(&messages);
        move || Echo { begins, messages: Rc::clone(&messages) }
    };
    simulation.reactor(server).listen_tcp("0.0.0.0:7", echo(false))?;
    for _ in 0..SIMULATED_CONNECTIONS {
        simulation.reactor(client).connect_tcp("server:7", echo(true))?;
    }
    simulation.run_for(Duration::from_millis(milliseconds.try_into()?))?;
    Ok(messages.get())
}

// -- the same delays in every run --

/// xorshift64*.
struct Random(u64);

impl Random {
    fn new() -> Random {
        Random(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Duration::from_nanos(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit.as_nanos() as u64)
    }
}
