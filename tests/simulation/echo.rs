//! The echo server runs unchanged on a simulated network: it returns the sent bytes under any fault
//! of calls and packets.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{Chaos, Host, Latency, Link, Random, Simulation};
use twistor::{ConnectTcp, Protocol, Reactor, Reason, Transport};

/// The same as in `examples/echo_server.rs`.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// Sends `total` bytes of a pattern in pieces of all sizes, as fast as possible, compares the echo,
/// and closes when it is complete.
struct Caller {
    total: usize,
    sent: usize,
    received: usize,
    may_write: bool,
    random: Random,
    ends: Ends,
}

/// The result of each caller: echoed bytes, total bytes, and the reason of the loss.
type Ends = Rc<RefCell<Vec<(usize, usize, Reason)>>>;

impl Caller {
    fn speak(&mut self, transport: &mut Transport<'_>) {
        while self.may_write && self.sent < self.total {
            let most = *self.random.pick(&[1, 64, 5_000, 100_000]);
            let size = (1 + self.random.index(most)).min(self.total - self.sent);
            let piece: Vec<u8> = (self.sent..self.sent + size).map(pattern).collect();
            self.sent += size;
            transport.write(&piece);
            // Occasional pauses make messages small and large.
            if self.random.chance(0.3) {
                transport.call_later(self.random.exponential(Duration::from_millis(5)), Caller::speak);
                return;
            }
        }
    }
}

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.speak(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        for byte in data {
            assert_eq!(*byte, pattern(self.received), "byte {} is another one", self.received);
            self.received += 1;
        }
        if self.received == self.total {
            transport.lose_connection();
        }
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.may_write = false;
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.may_write = true;
        self.speak(transport);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.ends.borrow_mut().push((self.received, self.total, reason.clone()));
    }
}

fn pattern(place: usize) -> u8 {
    (place * 31 % 251) as u8
}

/// Creates the server's host, and one host for each caller, which connects at once.
fn echo_and_callers(simulation: &mut Simulation, callers: usize, total: usize) -> (Host, Ends) {
    let (server, ends) = (simulation.host("server"), Ends::default());
    let boot = |reactor: &mut Reactor| {
        open(reactor);
        Ok(())
    };
    simulation.boot(server, boot).unwrap();
    let mut random = simulation.random("callers");
    for number in 0..callers {
        call(simulation, &format!("caller{number}"), 1 + random.index(total), &ends);
    }
    (server, ends)
}

/// Listens, and retries after a failure, as a service does.
fn open(reactor: &mut Reactor) {
    if reactor.listen_tcp("0.0.0.0:7", || Echo).is_err() {
        reactor.call_later(Duration::from_millis(100), open);
    }
}

/// Connects to the server from a host of this name.
fn call(simulation: &mut Simulation, name: &str, total: usize, ends: &Ends) {
    let (host, random, ends) = (simulation.host(name), simulation.random(name), Rc::clone(ends));
    let new = move || Caller {
        total,
        sent: 0,
        received: 0,
        may_write: true,
        random: random.clone(),
        ends: Rc::clone(&ends),
    };
    // Of seven handshakes one arrives, even with losses.
    let options = ConnectTcp { timeout: Duration::from_secs(127), ..ConnectTcp::new("server", 7) };
    simulation.reactor(host).connect_tcp(options, new).unwrap();
}

/// Returns chaos without errors: short and interrupted calls, late and retransmitted packets.
fn nuisances(random: &mut Random) -> Chaos {
    Chaos { strikes: Vec::new(), failures: 0.0, ..Chaos::draw(random) }
}

#[test]
fn every_byte_is_echoed_despite_short_or_interrupted_calls() {
    let seen = Simulation::explore(0..60, |simulation| {
        let mut random = simulation.random("chaos");
        let chaos = nuisances(&mut random);
        simulation.start_chaos(chaos);
        let (server, ends) = echo_and_callers(simulation, 3, 200_000);
        simulation.run_until(|_| ends.borrow().len() == 3).unwrap();
        for (received, total, reason) in ends.borrow().iter() {
            assert_eq!((received, reason), (total, &Reason::Done));
        }
        simulation.stop_chaos();
        simulation.run_until_idle(Duration::from_secs(3600)).unwrap();
        assert_eq!((simulation.connections(), simulation.reactor(server).resource_count()), (0, 1));
    });
    use twistor::sim::FaultKind::{Delay, Failure, Loss, ShortRead, ShortWrite, SlowCall, WouldBlock};
    for kind in [ShortRead, ShortWrite, WouldBlock, Failure, SlowCall, Loss, Delay] {
        assert!(seen.coverage.fault(kind) > 20, "{kind} was tried {} times", seen.coverage.fault(kind));
    }
}

#[test]
fn echoes_are_correct_before_a_disaster_and_resume_afterwards() {
    Simulation::explore(0..60, |simulation| {
        // Each caller compares its echo.
        let (_, ends) = echo_and_callers(simulation, 5, 700_000);
        let mut random = simulation.random("chaos");
        simulation
            .start_chaos(Chaos { mean_duration: Duration::from_millis(300), ..Chaos::draw(&mut random) });
        simulation.run_for(Duration::from_secs(60)).unwrap();
        simulation.stop_chaos();
        assert!(ends.borrow().len() <= 5, "a connection was lost twice: {:?}", ends.borrow());
        let before = ends.borrow().len();
        call(simulation, "late", 100_000, &ends);
        simulation.run_for(Duration::from_secs(60)).unwrap();
        let ended = ends.borrow();
        let late = ended[before..].iter().find(|end| (end.1, &end.2) == (100_000, &Reason::Done));
        assert!(late.is_some_and(|end| end.0 == end.1), "{ended:?}");
    });
}

#[test]
fn fifty_callers_on_fifty_hosts_are_all_served_by_one() {
    Simulation::explore(0..4, |simulation| {
        let latency =
            Latency::Exponential { least: Duration::from_millis(1), mean: Duration::from_millis(20) };
        let bandwidth = Some(10_000_000);
        simulation.set_links(Link { latency, bandwidth, loss: 0.01, ..Link::default() });
        let (server, ends) = echo_and_callers(simulation, 50, 100_000);
        simulation.run_until(|_| ends.borrow().len() == 50).unwrap();
        simulation.run_until_idle(Duration::from_secs(3600)).unwrap();
        assert!(
            ends.borrow()
                .iter()
                .all(|(received, total, reason)| received == total && *reason == Reason::Done)
        );
        let statistics = simulation.reactor(server).statistics();
        assert_eq!((statistics.accepts, statistics.connections), (50, 0));
        assert_eq!(statistics.bytes_received, statistics.bytes_sent);
        assert_eq!(simulation.connections(), 0);
    });
}
