//! Certificates in files are loaded again when the files change, and never replaced by bad ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::authority::{ALWAYS, Authority, Pem};
use crate::place::Place;
use crate::world::{World, on_each_back_end};
use twistor::tls::{ClientTls, Identity, IdentityFiles, IdentityWatch, ServerTls, TlsAcceptor, TlsConnector};
use twistor::{
    BuildContext, ClientFactory, Connector, Factory, Listener, Protocol, Reactor, Reason, Transport,
};

const INTERVAL: Duration = Duration::from_millis(5);

/// The name of all servers: certificates differ in their other name.
const NAME: &str = "127.0.0.1";

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// A client that looks at the certificate.
#[derive(Clone, Default)]
struct Looked(Rc<RefCell<Option<String>>>);

impl Protocol for Looked {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let own = transport.tls_info().unwrap().certificate().unwrap().unwrap();
        *self.0.borrow_mut() = own.names.first().cloned();
        transport.lose_connection();
    }
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

impl Factory for Looked {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self.clone()))
    }
}

impl ClientFactory for Looked {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        *self.0.borrow_mut() = Some(reason.to_string());
    }
}

/// A server whose certificates are watched.
struct Served<'w> {
    world: &'w World,
    reactor: Reactor,
    listener: Listener,
    connector: TlsConnector,
    watch: IdentityWatch,
    /// Names of loaded certificates, or errors.
    outcomes: Rc<RefCell<Vec<Result<String, String>>>>,
}

impl<'w> Served<'w> {
    /// Starts with another certificate than that in the files.
    fn start(world: &'w World, authority: &Authority, files: IdentityFiles) -> Served<'w> {
        let mut reactor = world.reactor();
        let first = authority.issue("first.test", ALWAYS);
        let identity = Identity::from_pem(first.chain, first.key).unwrap();
        let acceptor = TlsAcceptor::new(ServerTls::from(identity)).unwrap();
        // Without resumption: a resumed session has the old certificate.
        let options = ClientTls { roots: authority.roots(), max_sessions: 0, ..ClientTls::default() };
        let connector = TlsConnector::new(options).unwrap();
        let listener = reactor.listen_tcp(world.anywhere(), acceptor.factory(|| Silent)).unwrap();
        let outcomes = Rc::<RefCell<Vec<Result<String, String>>>>::default();
        let noted = Rc::clone(&outcomes);
        let watch = acceptor.watch_files(vec![files]).interval(INTERVAL);
        let watch = watch.start(&mut reactor, move |_, outcome| {
            let name = |identities: &[Identity]| identities[0].names()[0].clone();
            noted.borrow_mut().push(outcome.map(name).map_err(ToString::to_string));
        });
        Served { world, reactor, listener, connector, watch, outcomes }
    }

    /// The name in the certificate that a client gets.
    fn certificate(&mut self) -> String {
        let looked = Looked::default();
        let factory = self.connector.factory(looked.clone(), NAME).unwrap();
        self.reactor.connect_tcp(self.listener.address(), factory).unwrap();
        self.world.run_until(&mut self.reactor, "a handshake", |_| looked.0.borrow().is_some());
        looked.0.take().unwrap()
    }

    /// Waits for the next outcome of a load.
    fn outcome(&mut self) -> Result<String, String> {
        let outcomes = Rc::clone(&self.outcomes);
        self.world.run_until(&mut self.reactor, "a load", |_| !outcomes.borrow().is_empty());
        self.outcomes.borrow_mut().remove(0)
    }

    /// Waits for an outcome of a load, and skips others.
    fn outcome_is(&mut self, expected: impl Fn(&Result<String, String>) -> bool) {
        while !expected(&self.outcome()) {}
    }

    fn end(mut self) {
        self.watch.stop(&mut self.reactor);
        self.world.close(&mut self.reactor, &self.listener);
        assert!(self.outcomes.borrow().is_empty(), "{:?}", self.outcomes);
    }
}

/// Chain and key in one file, so that there is no moment between two.
fn both(place: &Place) -> IdentityFiles {
    IdentityFiles::new(place.path("both"), place.path("both"))
}

fn files(place: &Place, name: &str) -> IdentityFiles {
    IdentityFiles::new(place.path(&format!("{name}.pem")), place.path(&format!("{name}.key")))
}

#[test]
fn a_new_pair_is_used_for_the_next_handshake() {
    on_each_back_end(|world| {
        let (place, authority) = (Place::new(world), Authority::new("Root"));
        authority.issue("one.test", ALWAYS).put_together(&place, "both");
        let mut served = Served::start(world, &authority, both(&place));
        assert_eq!(served.outcome(), Ok("one.test".to_owned()));
        assert_eq!(served.certificate(), "one.test");
        authority.issue("two.test", ALWAYS).put_together(&place, "both");
        assert_eq!(served.outcome(), Ok("two.test".to_owned()));
        assert_eq!(served.certificate(), "two.test");
        let statistics = served.watch.statistics();
        assert_eq!((statistics.loads, statistics.failures), (2, 0));
        served.end();
    });
}

#[test]
fn a_pair_that_does_not_fit_changes_nothing() {
    on_each_back_end(|world| {
        let (place, authority) = (Place::new(world), Authority::new("Root"));
        let good = || authority.issue("one.test", ALWAYS);
        good().put(&place, "server");
        let mut served = Served::start(world, &authority, files(&place, "server"));
        let other = authority.issue("two.test", ALWAYS);
        let mut failures = 0;
        for (name, data, why) in [
            ("server.pem", other.chain.as_bytes(), "does not belong to the certificate of CN=two.test"),
            ("server.pem", &other.chain.as_bytes()[..300], "is not valid PEM"),
            ("server.pem", b"", "contains no certificate"),
            ("server.key", b"-----BEGIN", "contains no private key"),
            ("server.key", b"", "contains no private key"),
        ] {
            // Each is tried on a good pair. A slow test may be seen between two of its steps.
            good().put(&place, "server");
            served.outcome_is(|outcome| *outcome == Ok("one.test".to_owned()));
            place.put("draft", data);
            place.rename("draft", name);
            served.outcome_is(|outcome| outcome.as_ref().is_err_and(|error| error.contains(why)));
            failures += 1;
            assert!(served.watch.statistics().failures >= failures);
            let logged = world.logged();
            let line = |line: &String| line.starts_with("TLS certificates not loaded, the old ones stay: ");
            assert!(logged.iter().all(line) && logged.last().unwrap().contains(why), "{logged:?}");
            assert_eq!(served.certificate(), "one.test");
        }
        place.remove("server.key");
        served.outcome_is(|outcome| outcome.as_ref().is_err_and(|error| error.contains("cannot read")));
        assert_eq!(served.certificate(), "one.test");
        // It recovers by itself.
        other.put(&place, "server");
        served.outcome_is(|outcome| *outcome == Ok("two.test".to_owned()));
        assert_eq!(served.certificate(), "two.test");
        world.logged();
        served.end();
    });
}

#[test]
fn a_switched_folder_of_kubernetes_is_seen() {
    on_each_back_end(|world| {
        let (place, authority) = (Place::new(world), Authority::new("Root"));
        // As kubelet does: files are links through `..data`, which is a link to a folder.
        let publish = |version: &str, pem: &Pem| {
            place.create_dir(version);
            place.put(&format!("{version}/tls.crt"), pem.chain.as_bytes());
            place.put(&format!("{version}/tls.key"), pem.key.as_bytes());
            place.symlink(version, "..data_tmp");
            place.rename("..data_tmp", "..data");
        };
        publish("..1", &authority.issue("one.test", ALWAYS));
        for name in ["tls.crt", "tls.key"] {
            place.symlink(&format!("..data/{name}"), name);
        }
        let files = IdentityFiles::new(place.path("tls.crt"), place.path("tls.key"));
        let mut served = Served::start(world, &authority, files);
        assert_eq!(served.outcome(), Ok("one.test".to_owned()));
        publish("..2", &authority.issue("two.test", ALWAYS));
        assert_eq!(served.outcome(), Ok("two.test".to_owned()));
        assert_eq!(served.certificate(), "two.test");
        served.end();
    });
}

#[test]
fn a_reload_on_demand_does_not_wait_for_a_look() {
    on_each_back_end(|world| {
        let (place, authority) = (Place::new(world), Authority::new("Root"));
        authority.issue("one.test", ALWAYS).put_together(&place, "both");
        let mut reactor = world.reactor();
        let identity = both(&place);
        let first = authority.issue("first.test", ALWAYS);
        let first = Identity::from_pem(first.chain, first.key).unwrap();
        let acceptor = TlsAcceptor::new(ServerTls::from(first)).unwrap();
        let never = Duration::from_secs(366 * 86_400);
        let watch = acceptor.watch_files(vec![identity]).interval(never).start(&mut reactor, |_, _| {});
        world.run_until(&mut reactor, "the first load", |_| watch.statistics().loads == 1);
        authority.issue("two.test", ALWAYS).put_together(&place, "both");
        // Twice, as two signals would: the second one follows the first.
        watch.reload(&mut reactor);
        watch.reload(&mut reactor);
        world.run_until(&mut reactor, "a load", |_| watch.statistics().loads == 2);
        watch.stop(&mut reactor);
        watch.reload(&mut reactor);
        world.run_until_idle(&mut reactor);
        assert_eq!((watch.statistics().loads, watch.statistics().failures), (2, 0));
    });
}

#[test]
fn an_endpoint_in_text_follows_its_files() {
    on_each_back_end(|world| {
        let (place, authority) = (Place::new(world), Authority::new("Root"));
        authority.issue("one.test", ALWAYS).put_together(&place, "both");
        let mut reactor = world.reactor();
        let text = format!("tls:127.0.0.1:0:cert={}:reload=5ms", place.path("both").display());
        let endpoint = twistor::endpoint::server_from_string(&text).unwrap();
        let listener = endpoint.listen(&mut reactor, Box::new(|| Silent)).unwrap();
        let options = ClientTls { roots: authority.roots(), max_sessions: 0, ..ClientTls::default() };
        let connector = TlsConnector::new(options).unwrap();
        let certificate = |reactor: &mut Reactor| {
            let looked = Looked::default();
            let factory = connector.factory(looked.clone(), NAME).unwrap();
            reactor.connect_tcp(listener.address(), factory).unwrap();
            world.run_until(reactor, "a handshake", |_| looked.0.borrow().is_some());
            looked.0.take().unwrap()
        };
        assert_eq!(certificate(&mut reactor), "one.test");
        authority.issue("two.test", ALWAYS).put_together(&place, "both");
        while certificate(&mut reactor) != "two.test" {}
        // With the listener, the watch ends.
        world.close(&mut reactor, &listener);
    });
}
