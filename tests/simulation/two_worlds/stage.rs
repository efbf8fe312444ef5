//! One world: two reactors, plain sockets, and the execution of steps.

use std::cell::Cell;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use twistor::{Address, ConnectTcp, ConnectorId, ListenTcp, ListenUnix, Reactor, Settings, UnixAddress};

use super::actor::{Actor, Shared, Starter, act};
use super::plain::Plain;
use super::sockets::Net;

use super::step::{Deed, End, LISTENERS, Scenario, Side, Step, Target};

pub struct Stage {
    net: Net,
    pub book: Shared,
    /// The server's and the client's reactor.
    reactors: [Reactor; 2],
    held: [bool; 2],
    finished: [bool; 2],
    listeners: Vec<Option<twistor::Listener>>,
    addresses: Vec<Address>,
    accepted: [Rc<Cell<usize>>; LISTENERS],
    connectors: Vec<ConnectorId>,
    pub plain: Plain,
    closed_port: Address,
    /// The folder of UNIX sockets.
    _folder: Folder,
    _held_port: Option<socket2::Socket>,
}

impl Stage {
    pub fn new(net: Net, scenario: &Scenario) -> Stage {
        let settings = Settings {
            handle_signals: false,
            read_buffer: scenario.read_buffer,
            bytes_per_turn: scenario.bytes_per_turn,
            accepts_per_turn: scenario.accepts_per_turn,
            linger: if scenario.linger { Duration::from_secs(2) } else { Duration::ZERO },
            // Buffer limits are not compared.
            write_buffer_limit: usize::MAX,
            ..Settings::default()
        };
        let reactor = |max_connections| {
            let settings = Settings { max_connections, ..settings.clone() };
            match &net {
                Net::Real => Reactor::with_settings(settings).unwrap(),
                Net::Sim(network, host) => network.reactor(*host, settings),
            }
        };
        // Each scenario has its own address, because thousands of them leave many ports in
        // TIME_WAIT.
        let [.., a, b] = scenario.seed.to_be_bytes();
        let ip = if scenario.ipv6 { Ipv6Addr::LOCALHOST.into() } else { [127, 77, a, b].into() };
        let anywhere = SocketAddr::new(ip, 0);
        let (closed_port, held_port) = net.closed_port(anywhere).unwrap();
        let book = Shared::default();
        let folder = Folder::new(matches!(net, Net::Real) && scenario.unix);
        let place = |name: String, tcp: SocketAddr| match scenario.unix {
            true => Address::Unix(UnixAddress::of_path(folder.0.join(name)).unwrap()),
            false => Address::Tcp(tcp),
        };
        let plain_at = place("plain".to_owned(), anywhere);
        let plain_listener = net.listen(&plain_at, scenario.backlog).unwrap();
        let mut stage = Stage {
            reactors: [reactor(scenario.max_connections), reactor(1000)],
            finished: [false; 2],
            held: [false; 2],
            listeners: (0..LISTENERS).map(|_| None).collect(),
            addresses: (0..LISTENERS).map(|number| place(number.to_string(), anywhere)).collect(),
            accepted: Default::default(),
            connectors: Vec::new(),
            plain: Plain::new(plain_listener, &plain_at, Rc::clone(&book)),
            book,
            closed_port: place("closed port".to_owned(), closed_port),
            _folder: folder,
            _held_port: held_port,
            net,
        };
        (0..LISTENERS).for_each(|number| stage.listen(number, scenario));
        stage
    }

    fn listen(&mut self, number: usize, scenario: &Scenario) {
        if self.listeners[number].is_some() {
            return;
        }
        let (book, count) = (Rc::clone(&self.book), Rc::clone(&self.accepted[number]));
        let (scenario, scenario_backlog) = (scenario.clone(), scenario.backlog);
        let build = move |_: &Address| {
            let accepted = count.replace(count.get() + 1);
            let name = name(End::Server(number, accepted));
            let manner = scenario.server_manner(number, accepted);
            let event = if manner.is_some() { "built" } else { "refused" };
            book.borrow_mut().note(&name, event);
            Some(Actor::new(name, manner?, &book))
        };
        let (factory, backlog) = (twistor::factory(build), scenario_backlog);
        let listener = match &self.addresses[number] {
            Address::Unix(name) => {
                let options = ListenUnix { backlog, ..ListenUnix::new(name.clone()) };
                self.reactors[0].listen_unix(options, factory)
            }
            at => {
                let options = ListenTcp { backlog, ..ListenTcp::new(at.socket_address().unwrap()) };
                self.reactors[0].listen_tcp(options, factory)
            }
        };
        let listener = listener.unwrap();
        self.addresses[number] = listener.address().clone();
        self.listeners[number] = Some(listener);
    }

    /// Performs a step. Its effects are visible after the next turns of the reactors.
    pub fn perform(&mut self, number: usize, step: Step, scenario: &Scenario) {
        match step {
            Step::Connect(target, manner) => {
                let to = match target {
                    Target::Listener(listener) => self.addresses[listener].clone(),
                    Target::Plain => self.plain.address.clone(),
                    Target::ClosedPort => self.closed_port.clone(),
                };
                let starter = Starter {
                    name: name(End::Client(self.connectors.len())),
                    manner,
                    book: Rc::clone(&self.book),
                    again: self.connectors.len() % 5 == 4,
                };
                let reactor = &mut self.reactors[1];
                let connector = match to {
                    Address::Unix(to) => reactor.connect_unix(to, starter),
                    to => {
                        let to = to.socket_address().unwrap();
                        reactor.connect_tcp(ConnectTcp { timeout: A_LONG_TIME, ..to.into() }, starter)
                    }
                };
                self.connectors.push(connector.unwrap());
            }
            Step::Do(end, deed) => self.act(end, deed),
            Step::DoLater(end, deed, delay) => self.act_later(end, deed, Duration::from_micros(delay)),
            Step::Disconnect(client) => {
                if let Some(connector) = self.connectors.get(client)
                    && let Some(mut connector) = self.reactors[1].connector(*connector)
                {
                    connector.disconnect();
                }
            }
            Step::Hold(side) => self.held[side as usize] = true,
            Step::Release(side) => self.held[side as usize] = false,
            Step::GoOn => self.go_on(),
            Step::StopListening(number) => {
                if let Some(listener) = self.listeners[number].take() {
                    self.reactors[0].stop_listening(&listener).unwrap();
                }
            }
            Step::ListenAgain(number) => self.listen(number, scenario),
            plain => self.plain.perform(number, plain, &self.net, &self.addresses),
        }
    }

    fn act(&mut self, end: End, deed: Deed) {
        act(&mut self.reactors[side(end) as usize], &self.book, &name(end), deed);
    }

    fn act_later(&mut self, end: End, deed: Deed, delay: Duration) {
        if self.held[side(end) as usize] {
            return self.act(end, deed);
        }
        let book = Rc::clone(&self.book);
        let done = Rc::new(Cell::new(false));
        let is_done = Rc::clone(&done);
        let reactor = &mut self.reactors[side(end) as usize];
        reactor.call_later(delay, move |reactor| {
            act(reactor, &book, &name(end), deed);
            done.set(true);
        });
        while !is_done.get() {
            reactor.iterate(Some(Duration::from_millis(5))).unwrap();
        }
    }

    /// Gives each reactor that is not held a turn.
    pub fn turn(&mut self, wait: Duration) {
        for ((reactor, held), finished) in self.reactors.iter_mut().zip(self.held).zip(&mut self.finished) {
            if !held && !*finished {
                *finished = !reactor.iterate(Some(wait)).unwrap();
            }
        }
    }

    /// Returns a value that changes while there is activity.
    pub fn pulse(&self) -> (usize, u64) {
        let book = self.book.borrow();
        let counted = self.reactors.iter().map(Reactor::statistics);
        let moved = counted
            .map(|s| s.bytes_received + s.bytes_sent + s.connections_lost + s.accepts + s.events)
            .sum();
        (book.seen.values().map(Vec::len).sum(), moved)
    }

    /// Returns whether a reactor is held or an end has paused reading.
    pub fn is_held(&self) -> bool {
        self.held.contains(&true)
    }

    pub fn in_use(&self) -> usize {
        self.reactors.iter().map(|reactor| reactor.resource_count() + reactor.delayed_call_count()).sum()
    }

    /// Closes the plain sockets, and stops the reactors.
    pub fn stop(&mut self, gracefully: bool) {
        self.held = [false; 2];
        self.plain.close();
        for reactor in &mut self.reactors {
            assert!(if gracefully { reactor.stop_gracefully() } else { reactor.stop() });
        }
    }

    pub fn has_finished(&self) -> bool {
        self.finished == [true; 2]
    }

    /// Closes connections, connectors, listeners and plain sockets.
    pub fn close_everything(&mut self, how: Deed) {
        self.held = [false; 2];
        self.plain.close();
        for reactor in &mut self.reactors {
            for id in reactor.connections() {
                let Some(mut transport) = reactor.transport(id) else { continue };
                match how {
                    Deed::Abort => transport.abort_connection(),
                    _ => {
                        transport.resume_reading();
                        transport.lose_connection();
                    }
                }
            }
        }
        for connector in &self.connectors {
            if let Some(mut connector) = self.reactors[1].connector(*connector) {
                connector.disconnect();
            }
        }
        for listener in &mut self.listeners {
            if let Some(listener) = listener.take() {
                self.reactors[0].stop_listening(&listener).unwrap();
            }
        }
    }

    /// Releases all reactors, and resumes all reading.
    pub fn go_on(&mut self) {
        self.held = [false; 2];
        self.book.borrow_mut().paused.clear();
        for reactor in &mut self.reactors {
            for id in reactor.connections() {
                if let Some(mut transport) = reactor.transport(id) {
                    transport.resume_reading();
                }
            }
        }
    }
}

/// The folder of the UNIX sockets' files. Dropping it removes it.
struct Folder(PathBuf, bool);

impl Folder {
    fn new(real: bool) -> Folder {
        let folder =
            crate::world::temp_dir::short_temp_dir().join(format!("twistor-parity-{}", std::process::id()));
        if real {
            std::fs::create_dir_all(&folder).unwrap();
        }
        Folder(folder, real)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.1 {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn side(end: End) -> Side {
    match end {
        End::Client(_) => Side::Client,
        End::Server(..) => Side::Server,
    }
}

fn name(end: End) -> String {
    match end {
        End::Client(number) => format!("client {number}"),
        End::Server(listener, number) => format!("server {listener}.{number}"),
    }
}

/// A timeout that is never reached: a step cancels the call.
const A_LONG_TIME: Duration = Duration::from_secs(600);

/// The number of extra turns of a millisecond that the real world may need.
pub const MAX_EXTRA_TURNS: usize = 200;
