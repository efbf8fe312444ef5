//! Each injected fault has an effect while it lasts, and none after it is cleared.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use twistor::sim::{Chaos, FaultKind, Link, Simulation};
use twistor::{BuildContext, ClientFactory, ConnectTcp, Connector, Factory, Protocol, Reason, Transport};

const SECOND: Duration = Duration::from_secs(1);

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// Connects every second, sends 4 KiB, and counts the connections with a complete echo.
#[derive(Clone)]
struct Caller {
    answered: Rc<Cell<u32>>,
    received: usize,
}

const SAID: usize = 4096;

impl Protocol for Caller {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(&[7; SAID]);
        transport.call_later(SECOND / 2, |_: &mut Caller, transport| transport.abort_connection());
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.received += data.len();
        if self.received == SAID {
            self.answered.set(self.answered.get() + 1);
            transport.lose_connection();
        }
    }
}

impl Factory for Caller {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self.clone()))
    }
}

impl ClientFactory for Caller {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        connector.connect_later(SECOND);
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, _: &Reason) {
        connector.connect_later(SECOND);
    }
}

/// Returns the number of answered calls, of sixty, before, during and after a fault.
fn calls(kind: FaultKind) -> [u32; 3] {
    let mut simulation = Simulation::new(1);
    simulation.set_links(Link::fixed(Duration::from_millis(5)));
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.boot(server, |reactor| reactor.listen_tcp("0.0.0.0:7", || Echo).map(drop)).unwrap();
    let caller = Caller { answered: Rc::default(), received: 0 };
    let answered = Rc::clone(&caller.answered);
    let options = ConnectTcp { timeout: SECOND, ..ConnectTcp::new("server", 7) };
    simulation.reactor(client).connect_tcp(options, caller).unwrap();
    // Faults of name resolution affect the calling host.
    let host = match kind {
        FaultKind::NameFailure => client,
        _ => server,
    };
    let other = if host == server { client } else { server };
    let mut counts = [0; 3];
    for (place, count) in counts.iter_mut().enumerate() {
        match place {
            0 => {}
            1 => simulation.inject_fault(kind, host, other),
            _ => simulation.clear_fault(kind, host, other),
        }
        answered.set(0);
        simulation.run_for(60 * SECOND).unwrap();
        *count = answered.get();
    }
    counts
}

#[test]
fn every_strike_is_felt_and_over_when_it_is_mended() {
    use FaultKind::{ClockDrift, ClockStep, DescriptorLimit, Reset, SlowReader};
    for kind in Chaos::FAULTS {
        let [before, during, after] = calls(*kind);
        assert!(before > 50, "{kind}: {before} before");
        match kind {
            // Faults that affect single calls little, or not at all.
            Reset | ClockStep | ClockDrift | DescriptorLimit | SlowReader => {}
            _ => assert!(during < 5, "{kind}: {during} during"),
        }
        assert!(after > 45, "{kind}: {after} after");
    }
}

#[test]
fn mending_twice_or_without_a_strike_changes_nothing() {
    let mut simulation = Simulation::new(1);
    let (server, client) = (simulation.host("server"), simulation.host("client"));
    simulation.boot(server, |reactor| reactor.listen_tcp("0.0.0.0:7", || Echo).map(drop)).unwrap();
    simulation.run_for(SECOND).unwrap();
    for kind in Chaos::FAULTS {
        simulation.clear_fault(*kind, server, client);
        simulation.clear_fault(*kind, server, client);
    }
    let restarts = |simulation: &Simulation| simulation.coverage().fault(FaultKind::Restart);
    assert_eq!((simulation.sockets(server), restarts(&simulation)), (1, 0));
    simulation.inject_fault(FaultKind::Kill, server, client);
    assert_eq!(simulation.sockets(server), 0);
    simulation.clear_fault(FaultKind::Kill, server, client);
    simulation.clear_fault(FaultKind::Kill, server, client);
    assert_eq!((simulation.sockets(server), restarts(&simulation)), (1, 1));
}
