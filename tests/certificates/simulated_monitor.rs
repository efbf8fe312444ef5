//! The monitor sees certificates expire and come back, in the virtual time of a simulation.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::authority::Authority;
use twistor::endpoint::server_from_string;
use twistor::monitor::{Change, Event, Monitor, MonitorSettings};
use twistor::sim::{Host, Simulation};
use twistor::{Protocol, Transport};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// A server and a watcher, which trusts the authority.
struct Lab {
    simulation: Simulation,
    authority: Authority,
    server: Host,
    watcher: Host,
    told: Rc<RefCell<Vec<String>>>,
    start: SystemTime,
}

impl Lab {
    /// The server's certificate is valid for this many days from the start, less half an hour.
    fn new(days: u32) -> Lab {
        let mut simulation = Simulation::new(1);
        let (server, watcher) = (simulation.host("server"), simulation.host("watcher"));
        let start = simulation.reactor(watcher).system_time();
        let authority = Authority::new("Root");
        let mut lab = Lab { simulation, authority, server, watcher, told: Rc::default(), start };
        lab.simulation.disk(watcher).write("/ca.pem", lab.authority.pem());
        lab.install(days);
        let listen = |reactor: &mut twistor::Reactor| {
            let endpoint = server_from_string("tls:[::]:443:cert=/tls.pem:key=/tls.key:reload=1h").unwrap();
            endpoint.listen(reactor, Box::new(|| Silent)).map(drop)
        };
        lab.simulation.boot(server, listen).unwrap();
        lab
    }

    fn install(&mut self, days: u32) {
        let until = self.start + days * DAY - HOUR / 2;
        let pem = self.authority.issue_between("server", self.start - DAY, until, |_| {});
        let disk = self.simulation.disk(self.server);
        assert!(disk.write("/tls.pem", pem.chain) && disk.write("/tls.key", pem.key));
    }

    fn watch(&mut self, target: &str, settings: MonitorSettings) -> Monitor {
        let told = Rc::clone(&self.told);
        let reactor = self.simulation.reactor(self.watcher);
        let targets = vec![target.parse().unwrap()];
        Monitor::start(reactor, targets, settings, move |event: &Event<'_>| {
            let days = event.tls.and_then(|facts| facts.days_left(event.wall));
            told.borrow_mut().push(match event.change {
                Change::CertificateExpires { days, .. } => format!("expires in {days}"),
                Change::Up { .. } => format!("up {} {days:?}", event.tls.unwrap().version),
                Change::Down { cause, .. } => format!("down {cause:?}"),
                Change::Reconnected { .. } => "reconnected".to_owned(),
                other => format!("{other:?}"),
            });
            Ok(())
        })
    }

    fn run(&mut self, time: Duration) -> Vec<String> {
        self.simulation.run_for(time).unwrap();
        self.told.take()
    }
}

fn hourly() -> MonitorSettings {
    MonitorSettings { interval: HOUR, ..MonitorSettings::default() }
}

#[test]
fn a_certificate_warns_expires_and_is_renewed_on_the_disk() {
    let mut lab = Lab::new(17);
    let monitor = lab.watch("web=tls://server:443", hourly());
    // Without roots of its own, it trusts those of the system.
    assert_eq!(lab.run(HOUR), ["down BadCertificate"]);
    monitor.stop(lab.simulation.reactor(lab.watcher));
    let monitor = lab.watch("web=tls:server:443:roots=/ca.pem", hourly());
    assert_eq!(lab.run(2 * DAY), ["up 1.3 Some(16)"]);
    // From 14 days on, there is a warning each day.
    let expected: Vec<String> = (0..14).rev().map(|days| format!("expires in {days}")).collect();
    assert_eq!(lab.run(15 * DAY - 2 * HOUR), expected);
    // After the end it is down, and then it only repeats itself.
    assert_eq!(lab.run(2 * DAY), ["down BadCertificate"]);
    assert!(!monitor.all_up());
    lab.install(100);
    assert_eq!(lab.run(3 * HOUR), ["up 1.3 Some(80)"]);
    assert!(monitor.all_up());
}

#[test]
fn a_held_connection_has_warnings_too() {
    let mut lab = Lab::new(3);
    let settings = MonitorSettings { certificate_warning: Some(2 * DAY), ..hourly() };
    lab.watch("web=hold:tls:server:443:roots=/ca.pem", settings);
    assert_eq!(lab.run(DAY - 2 * HOUR), ["up 1.3 Some(2)"]);
    assert_eq!(lab.run(DAY), ["expires in 1"]);
    assert_eq!(lab.run(DAY), ["expires in 0"]);
    // An open connection does not end with its certificate, and a new one is refused.
    assert_eq!(lab.run(DAY), ["expires in -1"]);
    lab.simulation.restart(lab.server).unwrap();
    let told = lab.run(HOUR);
    assert_eq!(told[0], "down Closed");
    assert!(told.len() == 2 && told[1].contains("cause: BadCertificate, new_cause: true"), "{told:?}");
}

#[test]
fn a_plain_server_is_down_and_a_missing_file_is_not_its_fault() {
    let mut lab = Lab::new(100);
    let plain = lab.simulation.host("plain");
    struct Banner;
    impl Protocol for Banner {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            transport.write(b"220 mail\r\n");
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    let listen = |reactor: &mut twistor::Reactor| reactor.listen_tcp("[::]:443", || Banner).map(drop);
    lab.simulation.boot(plain, listen).unwrap();
    let monitor = lab.watch("tls://plain:443", hourly());
    assert_eq!(lab.run(HOUR), ["down Tls"]);
    monitor.stop(lab.simulation.reactor(lab.watcher));
    lab.watch("tls:server:443:roots=/none.pem", hourly());
    let told = lab.run(HOUR / 2);
    assert!(told.len() == 1 && told[0].starts_with("Unknown { cause: Local"), "{told:?}");
    // The file comes back.
    lab.simulation.disk(lab.watcher).write("/none.pem", lab.authority.pem());
    assert_eq!(lab.run(HOUR), ["up 1.3 Some(99)"]);
}

#[test]
fn warnings_can_be_turned_off() {
    let mut lab = Lab::new(3);
    let settings = MonitorSettings { certificate_warning: None, ..hourly() };
    lab.watch("tls:server:443:roots=/ca.pem", settings);
    assert_eq!(lab.run(2 * DAY), ["up 1.3 Some(2)"]);
}
