//! A new process replaces a server under load and takes over its listener and connections. No
//! message is lost, and no client notices.

use crate::world::child::test_path;
use std::cell::{Cell, RefCell};
use std::env;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::world::on_the_real_network;
use twistor::{ConnectTcp, ConnectionId, Listener, Protocol, Reactor, Reason, Settings, Transport};

const CONNECTIONS: usize = 100;
const SWAPS: usize = 3;
/// Each connection sends a message every 10 ms: ten thousand a second in all.
const PERIOD: Duration = Duration::from_millis(10);

// -- the server --

/// Echoes, and records its connection.
struct Echo(Rc<RefCell<Vec<ConnectionId>>>);

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.0.borrow_mut().push(transport.id());
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// A process that serves until its successor asks for the sockets.
struct Server {
    connections: Rc<RefCell<Vec<ConnectionId>>>,
    listener: RefCell<Option<Listener>>,
    /// The socket on which the successor asks.
    control: RefCell<Option<Listener>>,
}

/// Receives the sockets of the predecessor: first the listener, then each connection.
struct Successor {
    server: Rc<Server>,
    control: PathBuf,
}

impl Protocol for Successor {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.receive_descriptors().unwrap();
    }

    fn descriptor_received(&mut self, transport: &mut Transport<'_>, descriptor: OwnedFd) {
        let echo = Rc::clone(&self.server.connections);
        let first = self.server.listener.borrow().is_none();
        if first {
            let listener = transport.reactor().adopt_listener(descriptor, move || Echo(Rc::clone(&echo)));
            self.server.listener.replace(Some(listener.unwrap()));
        } else {
            transport.reactor().adopt_connection(descriptor, Echo(echo)).unwrap();
        }
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        assert!(reason.is_clean(), "{reason}");
        // All sockets have arrived. From now on this process hands them over.
        serve_control(transport.reactor(), &self.control, &self.server);
    }
}

/// Hands all sockets over to the process that connects, then ends.
struct Predecessor(Rc<Server>);

impl Protocol for Predecessor {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        // Frees the path for the successor.
        let control = self.0.control.take().unwrap();
        transport.reactor().stop_listening(&control).unwrap();
        let listener = self.0.listener.take().unwrap();
        let descriptor = transport.reactor().duplicate_listener(&listener).unwrap();
        transport.write_descriptors(b"l", vec![descriptor]).unwrap();
        transport.reactor().stop_listening(&listener).unwrap();
        self.hand_over(transport);
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.reactor().stop();
    }
}

impl Predecessor {
    fn hand_over(&mut self, transport: &mut Transport<'_>) {
        let connections = self.0.connections.take();
        let mut busy = Vec::new();
        for id in connections {
            if transport.write_buffer_size() > 32 {
                // Bounds the number of descriptors in flight.
                busy.push(id);
                continue;
            }
            match transport.reactor().transport(id).map(|mut connection| connection.detach()) {
                Some(Ok(descriptor)) => transport.write_descriptors(b"c", vec![descriptor]).unwrap(),
                // The connection is about to send an answer.
                Some(Err(_)) => busy.push(id),
                None => {}
            }
        }
        if busy.is_empty() {
            transport.lose_connection();
        } else {
            self.0.connections.replace(busy);
            transport.call_later(Duration::from_millis(1), Predecessor::hand_over);
        }
    }
}

fn serve_control(reactor: &mut Reactor, control: &Path, server: &Rc<Server>) {
    let hands_over = Rc::clone(server);
    let listening = reactor.listen_unix(control, move || Predecessor(Rc::clone(&hands_over)));
    server.control.replace(Some(listening.unwrap()));
    println!("serving");
}

/// The child's main function: serves on this port, or takes over from its predecessor.
fn serve(port: Option<SocketAddr>, control: PathBuf) {
    let mut reactor =
        Reactor::with_settings(Settings { linger: Duration::ZERO, ..Settings::default() }).unwrap();
    let server = Rc::new(Server {
        connections: Rc::default(),
        listener: RefCell::default(),
        control: RefCell::default(),
    });
    match port {
        Some(port) => {
            let echo = Rc::clone(&server.connections);
            let listener = reactor.listen_tcp(port, move || Echo(Rc::clone(&echo))).unwrap();
            println!("{}", listener.address());
            server.listener.replace(Some(listener));
            serve_control(&mut reactor, &control, &server);
        }
        None => {
            let mut successor = Some(Successor { server, control: control.clone() });
            let connect = twistor::factory(move |_| successor.take());
            reactor.connect_unix(control, connect).unwrap();
        }
    }
    reactor.call_later(Duration::from_secs(60), |_| panic!("the child hangs"));
    reactor.run().unwrap();
}

#[test]
fn the_server_itself() {
    let Some(control) = env::var_os("SWAP_CONTROL") else { return };
    let port = env::var("SWAP_PORT").ok().map(|port| port.parse().unwrap());
    serve(port, control.into());
}

struct Process(RefCell<Child>);

impl Process {
    fn start(control: &Path, port: Option<&str>) -> Process {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([test_path(the_server_itself), "--exact", "--nocapture", "--test-threads=1"]);
        command.env("SWAP_CONTROL", control).envs(port.map(|port| ("SWAP_PORT", port)));
        Process(RefCell::new(command.stdout(Stdio::piped()).spawn().unwrap()))
    }

    fn has_ended(&self) -> bool {
        self.0.borrow_mut().try_wait().unwrap().is_some()
    }

    /// Reads lines until one is `text` and returns those before it.
    fn says(&self, text: &str) -> Vec<String> {
        let mut child = self.0.borrow_mut();
        let out = child.stdout.as_mut().unwrap();
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 {
            match byte[0] {
                b'\n' if line.ends_with(text.as_bytes()) => return lines,
                b'\n' => lines.push(String::from_utf8(std::mem::take(&mut line)).unwrap()),
                other => line.push(other),
            }
        }
        panic!("the child said {lines:?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            let child = self.0.get_mut();
            // The child may have exited already.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

// -- the load --

#[derive(Default)]
struct Count {
    sent: Cell<u64>,
    back: Cell<u64>,
    lost: RefCell<Vec<String>>,
    ending: Cell<bool>,
}

/// Sends a number periodically and checks that each comes back.
struct Client {
    count: Rc<Count>,
    sent: u64,
    back: Vec<u8>,
    checked: u64,
}

impl Client {
    fn tick(&mut self, transport: &mut Transport<'_>) {
        if self.count.ending.get() {
            if self.sent == self.checked {
                transport.lose_connection();
                return;
            }
        } else {
            transport.write(&self.sent.to_be_bytes());
            self.sent += 1;
            self.count.sent.set(self.count.sent.get() + 1);
        }
        transport.call_later(PERIOD, Client::tick);
    }
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.tick(transport);
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.back.extend_from_slice(data);
        while let Some((number, rest)) = self.back.split_first_chunk() {
            assert_eq!(u64::from_be_bytes(*number), self.checked, "in order");
            self.back = rest.to_vec();
            self.checked += 1;
            self.count.back.set(self.count.back.get() + 1);
        }
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        if !reason.is_clean() || self.sent != self.checked {
            let what = format!("{reason}: {} sent, {} back", self.sent, self.checked);
            self.count.lost.borrow_mut().push(what);
        }
    }
}

#[test]
fn three_server_swaps_under_load_lose_no_message() {
    on_the_real_network("processes are the system's", |world| {
        let control =
            crate::world::temp_dir::short_temp_dir().join(format!("twistor-swap-{}", std::process::id()));
        let mut server = Process::start(&control, Some("127.0.0.1:0"));
        let said = server.says("serving");
        let port: SocketAddr = said.last().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        let mut reactor = world.reactor();
        let count = Rc::new(Count::default());
        let connect = |reactor: &mut Reactor| {
            let count = Rc::clone(&count);
            let client = move || Client { count: Rc::clone(&count), sent: 0, back: Vec::new(), checked: 0 };
            reactor.connect_tcp(ConnectTcp::from(port), client).unwrap();
        };
        for _ in 0..CONNECTIONS {
            connect(&mut reactor);
        }
        for swap in 1..=SWAPS as u64 {
            let until = swap * 4_000;
            world.run_until(&mut reactor, "load", |_| count.back.get() >= until);
            let successor = Process::start(&control, None);
            // New connections arrive meanwhile.
            connect(&mut reactor);
            let old = std::mem::replace(&mut server, successor);
            world.run_until(&mut reactor, "the old one ended", |_| old.has_ended());
            assert!(old.0.borrow_mut().wait().unwrap().success());
            server.says("serving");
        }
        let until = count.back.get() + 2_000;
        world.run_until(&mut reactor, "load on the last", |_| count.back.get() >= until);
        count.ending.set(true);
        world.run_until_idle(&mut reactor);
        assert_eq!(*count.lost.borrow(), [""; 0]);
        assert_eq!(count.sent.get(), count.back.get());
        drop(server);
        let _ = std::fs::remove_file(control);
    });
}
