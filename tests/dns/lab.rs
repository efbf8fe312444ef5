//! A simulated network with a client that has a resolver, and DNS servers with a script.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::message::{Asked, Message};
use twistor::dns::{DnsError, NameServer, RecordType, Resolver, ResolverConfig, Response};
use twistor::sim::{Host, Simulation};
use twistor::{
    Address, Answer, DatagramId, DatagramProtocol, DatagramTransport, Protocol, Query, Reactor, Reason,
    Resolution, Transport,
};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MILLISECOND: Duration = Duration::from_millis(1);

/// What a server does with a query.
pub enum Act {
    Reply(Message),
    /// Sends these bytes.
    Raw(Vec<u8>),
    Later(Duration, Message),
    /// Closes the connection. Nothing by UDP.
    Close,
}

impl From<Message> for Act {
    fn from(message: Message) -> Act {
        Act::Reply(message)
    }
}

/// A script without a name.
pub type BoxedScript = Box<dyn FnMut(&Asked) -> Vec<Act>>;

pub type Script = Rc<RefCell<dyn FnMut(&Asked) -> Vec<Act>>>;

/// The queries that a server has received.
pub type Log = Rc<RefCell<Vec<Asked>>>;

pub struct Lab {
    pub simulation: Simulation,
    pub client: Host,
    pub servers: Vec<Host>,
    pub logs: Vec<Log>,
    pub resolver: Resolver,
}

impl Lab {
    /// One server that answers by a script.
    pub fn new(script: impl FnMut(&Asked) -> Vec<Act> + 'static) -> Lab {
        Lab::with(vec![Box::new(script)], |_| {})
    }

    /// Several servers, and a configuration.
    pub fn with(scripts: Vec<BoxedScript>, configure: impl FnOnce(&mut ResolverConfig)) -> Lab {
        let mut simulation = Simulation::new(7);
        let client = simulation.host("client");
        let mut config = ResolverConfig::default();
        let (mut servers, mut logs) = (Vec::new(), Vec::new());
        for (index, script) in scripts.into_iter().enumerate() {
            let host = simulation.host(&format!("server-{index}"));
            config.servers.push(NameServer::from(SocketAddr::new(simulation.address(host), 53)));
            logs.push(serve(simulation.reactor(host), script));
            servers.push(host);
        }
        configure(&mut config);
        let resolver = Resolver::new(config);
        simulation.reactor(client).set_resolver(resolver.clone());
        Lab { simulation, client, servers, logs, resolver }
    }

    pub fn reactor(&mut self) -> &mut Reactor {
        self.simulation.reactor(self.client)
    }

    /// Begins a query; its outcome comes into the cell.
    pub fn begin(&mut self, name: &str, record_type: RecordType) -> Begun {
        let begun = Begun::default();
        let place = Rc::clone(&begun.0);
        let resolver = self.resolver.clone();
        let done = move |_: &mut Reactor, outcome| *place.borrow_mut() = Some(outcome);
        let query = resolver.query(self.reactor(), &name.parse().unwrap(), record_type, done).unwrap();
        assert!(begun.0.borrow().is_none(), "never inside the call");
        begun.1.set(Some(query));
        begun
    }

    pub fn finish(&mut self, begun: &Begun) -> Result<Response, DnsError> {
        let place = Rc::clone(&begun.0);
        self.simulation.run_until(move |_| place.borrow().is_some()).unwrap();
        begun.0.take().unwrap()
    }

    pub fn ask(&mut self, name: &str, record_type: RecordType) -> Result<Response, DnsError> {
        let begun = self.begin(name, record_type);
        self.finish(&begun)
    }

    /// Asks for an address, and returns the text of all.
    pub fn address(&mut self, name: &str) -> Vec<String> {
        let response = self.ask(name, RecordType::A).unwrap();
        response.addresses().iter().map(ToString::to_string).collect()
    }

    pub fn look_up(&mut self, query: impl Into<Query>) -> Result<Resolution, Reason> {
        self.look_up_timed(query).0
    }

    /// Looks up a host name, and returns the time that it took.
    pub fn look_up_timed(&mut self, query: impl Into<Query>) -> (Result<Resolution, Reason>, Duration) {
        let place = Rc::new(RefCell::new(None));
        let found = Rc::clone(&place);
        let start = self.simulation.now();
        let on_answer = move |_: &mut Reactor, answer| {
            if let Answer::End(outcome) = answer {
                *found.borrow_mut() = Some(outcome);
            }
        };
        self.reactor().look_up(query, on_answer).unwrap();
        let ended = Rc::clone(&place);
        self.simulation.run_until(move |_| ended.borrow().is_some()).unwrap();
        let outcome = place.take().unwrap();
        (outcome, self.simulation.now() - start)
    }

    /// Number of queries at a server.
    pub fn count(&self, server: usize) -> usize {
        self.logs[server].borrow().len()
    }

    /// Names and types of the queries at a server, sorted.
    pub fn asked(&self, server: usize) -> Vec<String> {
        let log = self.logs[server].borrow();
        let text = |asked: &Asked| format!("{} {}", asked.name, RecordType(asked.record_type));
        let mut all: Vec<String> = log.iter().map(text).collect();
        all.sort();
        all
    }

    pub fn wait(&mut self, time: Duration) {
        self.simulation.run_for(time).unwrap();
    }

    /// Checks that the client has no socket, timer or request left.
    pub fn check_idle(&mut self) {
        self.wait(20 * SECOND);
        let client = self.client;
        assert_eq!(self.resolver.statistics().pending, 0);
        assert_eq!(self.reactor().resource_count(), 0, "in use");
        assert_eq!(self.reactor().delayed_call_count(), 0, "timers");
        assert_eq!(self.simulation.sockets(client), 0, "sockets");
        assert_eq!(self.simulation.panics(), 0);
    }
}

/// A query that has begun, its outcome and its handle.
#[derive(Clone, Default)]
pub struct Begun(
    pub Rc<RefCell<Option<Result<Response, DnsError>>>>,
    pub Rc<Cell<Option<twistor::dns::QueryId>>>,
);

/// Serves by UDP and TCP.
pub fn serve(reactor: &mut Reactor, script: impl FnMut(&Asked) -> Vec<Act> + 'static) -> Log {
    let log = Log::default();
    let script: Script = Rc::new(RefCell::new(script));
    let udp = UdpServer { script: Rc::clone(&script), log: Rc::clone(&log) };
    reactor.listen_udp("0.0.0.0:53", udp).unwrap();
    let of_tcp = Rc::clone(&log);
    let factory =
        move || TcpServer { script: Rc::clone(&script), log: Rc::clone(&of_tcp), received: Vec::new() };
    reactor.listen_tcp("0.0.0.0:53", factory).unwrap();
    log
}

struct UdpServer {
    script: Script,
    log: Log,
}

impl DatagramProtocol for UdpServer {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        let asked = Asked::read(data, false, from.socket_address().unwrap());
        self.log.borrow_mut().push(asked.clone());
        let acts = (self.script.borrow_mut())(&asked);
        let id = transport.id();
        for act in acts {
            match act {
                Act::Reply(message) => transport.write_to(message.bytes(), from).unwrap(),
                Act::Raw(bytes) => transport.write_to(bytes, from).unwrap(),
                Act::Later(delay, message) => {
                    let from = from.clone();
                    transport.reactor().call_later(delay, move |reactor| {
                        send_from(reactor, id, &message.bytes(), &from);
                    });
                }
                Act::Close => {}
            }
        }
    }
}

fn send_from(reactor: &mut Reactor, id: DatagramId, bytes: &[u8], to: &Address) {
    reactor.datagram_transport(id).unwrap().write_to(bytes, to).unwrap();
}

struct TcpServer {
    script: Script,
    log: Log,
    received: Vec<u8>,
}

impl Protocol for TcpServer {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.received.extend_from_slice(data);
        while self.received.len() >= 2 {
            let length = usize::from(u16::from_be_bytes([self.received[0], self.received[1]]));
            if self.received.len() < 2 + length {
                return;
            }
            let message: Vec<u8> = self.received.drain(..2 + length).skip(2).collect();
            let from = transport.peer().socket_address().unwrap();
            let asked = Asked::read(&message, true, from);
            self.log.borrow_mut().push(asked.clone());
            let acts = (self.script.borrow_mut())(&asked);
            let id = transport.id();
            for act in acts {
                match act {
                    Act::Reply(message) => transport.write(framed(&message.bytes())),
                    Act::Raw(bytes) => transport.write(bytes),
                    Act::Later(delay, message) => {
                        transport.reactor().call_later(delay, move |reactor| {
                            if let Some(mut transport) = reactor.transport(id) {
                                transport.write(framed(&message.bytes()));
                            }
                        });
                    }
                    Act::Close => transport.lose_connection(),
                }
            }
        }
    }
}

/// A message with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// A server with these addresses for all names, IPv4 only, for an hour.
pub fn table(address: &'static str) -> impl FnMut(&Asked) -> Vec<Act> {
    move |asked| match asked.record_type {
        1 => vec![asked.reply().address(&asked.name, 3600, address).into()],
        _ => vec![no_data(asked).into()],
    }
}

/// A negative answer: the name exists.
pub fn no_data(asked: &Asked) -> Message {
    asked.reply().start_of_zone("example", 600, 300)
}

/// A negative answer: the name does not exist.
pub fn nonexistent(asked: &Asked) -> Message {
    asked.reply().code(3).start_of_zone("example", 600, 300)
}

/// A server that does not answer.
pub fn silent() -> BoxedScript {
    Box::new(|_| Vec::new())
}
