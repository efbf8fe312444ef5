//! `tls:` endpoints listen and connect as their text says.

use std::cell::RefCell;
use std::rc::Rc;

use crate::authority::{ALWAYS, Authority, Pem};
use crate::place::Place;
use crate::world::{World, on_each_back_end};
use twistor::endpoint::{Registry, client_from_string, server_from_string};
use twistor::tls::{CertificateProblem, TlsError};
use twistor::{
    Address, BuildContext, ClientFactory, Connector, Error, Factory, Listener, Protocol, Reactor, Reason,
    Transport,
};

/// A server that sends a word, and what it learns of its clients.
#[derive(Clone, Default)]
struct Served(Rc<RefCell<Vec<String>>>);

impl Factory for Served {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.0.borrow_mut().push(format!("peer {}", context.peer()));
        Some(Box::new(self.clone()))
    }
}

impl Protocol for Served {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        let tls = transport.tls_info().unwrap();
        let alpn = tls.alpn().map(|name| String::from_utf8_lossy(name).into_owned());
        let client = tls.certificate().map(|own| own.unwrap().names.join(" "));
        self.0.borrow_mut().push(format!("{:?} {alpn:?} {client:?}", tls.server_name()));
        transport.write(b"welcome");
        transport.lose_connection();
    }
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// A client that notes what it gets: the text, or the reason of a failure.
#[derive(Clone, Default)]
struct Got(Rc<RefCell<Option<Result<String, Reason>>>>, Rc<RefCell<String>>);

impl Protocol for Got {
    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.1.borrow_mut().push_str(&String::from_utf8_lossy(data));
    }
    fn connection_lost(&mut self, _: &mut Transport<'_>, _: &Reason) {
        *self.0.borrow_mut() = Some(Ok(self.1.borrow().clone()));
    }
}

impl Factory for Got {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(self.clone()))
    }
}

impl ClientFactory for Got {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        *self.0.borrow_mut() = Some(Err(reason.clone()));
    }
}

fn listen(reactor: &mut Reactor, text: &str) -> (Listener, Served) {
    let served = Served::default();
    let endpoint = server_from_string(text).unwrap();
    (endpoint.listen(reactor, Box::new(served.clone())).unwrap(), served)
}

fn ask(world: &World, reactor: &mut Reactor, text: &str) -> Result<String, Reason> {
    let got = Got::default();
    let endpoint = Registry::default().client_from_argument(text).unwrap();
    endpoint.connect(reactor, Box::new(got.clone())).unwrap();
    world.run_until(reactor, "an outcome", |_| got.0.borrow().is_some());
    got.0.take().unwrap()
}

fn port(listener: &Listener) -> u16 {
    listener.address().port().unwrap()
}

fn path(place: &Place, name: &str) -> String {
    place.path(name).display().to_string()
}

#[test]
fn a_server_and_a_client_from_text_meet() {
    on_each_back_end(|world| {
        let (place, mut reactor) = (Place::new(world), world.reactor());
        let authority = Authority::new("Root");
        place.put("ca.pem", authority.pem().as_bytes());
        authority.issue("server.test", ALWAYS).put(&place, "server");
        authority.issue("client.test", ALWAYS).put(&place, "client");
        let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|name| path(&place, name));
        let (listener, served) = listen(
            &mut reactor,
            &format!("tls:127.0.0.1:0:cert={cert}:key={key}:client_ca={ca}:client_auth=optional:alpn=h2,b"),
        );
        let port = port(&listener);
        let client = format!("cert={}:key={}", path(&place, "client.pem"), path(&place, "client.key"));
        for (text, seen) in [
            (
                format!("tls:tcp:127.0.0.1:{port}:roots={ca}:name=server.test"),
                "Some(\"server.test\") None None",
            ),
            (
                format!("tls:127.0.0.1:{port}:roots={ca}:alpn=b:{client}"),
                "None Some(\"b\") Some(\"client.test 127.0.0.1\")",
            ),
            (format!("tls://127.0.0.1:{port}:roots={ca}:alpn=b,h2"), "None Some(\"h2\") None"),
        ] {
            assert_eq!(ask(world, &mut reactor, &text), Ok("welcome".to_owned()), "{text}");
            assert_eq!(served.0.borrow_mut().drain(..).next_back().unwrap(), seen, "{text}");
        }
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_server_that_is_not_trusted_is_refused() {
    on_each_back_end(|world| {
        let (place, mut reactor) = (Place::new(world), world.reactor());
        let (authority, other) = (Authority::new("Root"), Authority::new("Other"));
        place.put("ca.pem", authority.pem().as_bytes());
        place.put("other.pem", other.pem().as_bytes());
        authority.issue("server.test", ALWAYS).put(&place, "server");
        let [cert, key] = ["server.pem", "server.key"].map(|name| path(&place, name));
        let (listener, _) = listen(&mut reactor, &format!("tls:127.0.0.1:0:cert={cert}:key={key}"));
        let start = format!("tls:127.0.0.1:{}", port(&listener));
        let (ca, other) = (path(&place, "ca.pem"), path(&place, "other.pem"));
        let mut problem = |options: &str| {
            let outcome = ask(world, &mut reactor, &format!("{start}:{options}"));
            match outcome.as_ref().map_err(TlsError::of) {
                Err(Some(TlsError::BadCertificate(problem))) => Err(problem.clone()),
                Ok(text) => Ok(text.clone()),
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(problem(&format!("roots={other}")), Err(CertificateProblem::UnknownIssuer { .. })));
        let wrong_name = problem(&format!("roots={ca}:name=else.test"));
        assert!(matches!(wrong_name, Err(CertificateProblem::WrongName { .. })));
        // A pin takes the place of roots, or is needed in addition.
        let no_pin = "00".repeat(32);
        let Err(CertificateProblem::WrongKey(hash)) = problem(&format!("roots=none:pin={no_pin}")) else {
            panic!("another key was accepted")
        };
        let pin: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(problem(&format!("roots=none:pin={no_pin}:pin={pin}")), Ok("welcome".to_owned()));
        assert_eq!(problem(&format!("roots={ca}:pin={pin}")), Ok("welcome".to_owned()));
        assert_eq!(problem(&format!("roots={ca}:pin={no_pin}")), Err(CertificateProblem::WrongKey(hash)));
        // It is said that nothing is verified.
        assert!(world.logged().is_empty());
        assert_eq!(problem("insecure=yes"), Ok("welcome".to_owned()));
        assert!(world.logged().iter().all(|line| line.contains("insecure=yes")));
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_certificate_is_chosen_by_the_name() {
    on_each_back_end(|world| {
        let (place, mut reactor) = (Place::new(world), world.reactor());
        let authority = Authority::new("Root");
        place.put("ca.pem", authority.pem().as_bytes());
        let mut text = "tls:tcp:0:interface=127.0.0.1".to_owned();
        for name in ["one", "two"] {
            let pem = authority.issue(&format!("{name}.test"), ALWAYS);
            // Chain and key in one file.
            place.put(name, (pem.chain + &pem.key).as_bytes());
            text += &format!(":cert={}", path(&place, name));
        }
        let (listener, _) = listen(&mut reactor, &text);
        for name in ["one.test", "two.test"] {
            let client = format!("tls:127.0.0.1:{}:roots={}", port(&listener), path(&place, "ca.pem"));
            let got = ask(world, &mut reactor, &format!("{client}:name={name}"));
            assert_eq!(got, Ok("welcome".to_owned()), "{name}");
        }
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    on_each_back_end(|world| {
        let (place, mut reactor) = (Place::new(world), world.reactor());
        Pem::self_signed("server.test").put(&place, "server");
        let [cert, key] = ["server.pem", "server.key"].map(|name| path(&place, name));
        let options = format!("tcp:0:interface=127.0.0.1:cert={cert}:key={key}:handshake_timeout=60");
        // In both orders: no proxy sends its header inside of TLS.
        for kinds in ["tls:haproxy", "haproxy:tls"] {
            let (listener, served) = listen(&mut reactor, &format!("{kinds}:{options}"));
            let mut peer = world.connect(listener.address());
            peer.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n");
            // What follows is expected to be TLS, and answered by an alert (RFC 8446, section 6).
            peer.send(b"hello");
            let (answer, _) = peer.read_to_end(&mut reactor);
            assert_eq!(answer, [21, 3, 3, 0, 2, 2, 10], "{kinds}");
            assert!(served.0.borrow().is_empty());
            world.close(&mut reactor, &listener);
        }
    });
}

#[test]
fn a_unix_socket_needs_the_name_of_its_server() {
    on_each_back_end(|world| {
        let (place, mut reactor) = (Place::new(world), world.reactor());
        let authority = Authority::new("Root");
        place.put("ca.pem", authority.pem().as_bytes());
        authority.issue("server.test", ALWAYS).put(&place, "server");
        let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| path(&place, name));
        let socket = path(&place, "socket");
        let (listener, _) = listen(&mut reactor, &format!("tls:unix:{socket}:cert={cert}:key={key}"));
        assert!(matches!(listener.address(), Address::Unix(_)));
        let got = ask(world, &mut reactor, &format!("tls:unix:{socket}:name=server.test:roots={ca}"));
        assert_eq!(got, Ok("welcome".to_owned()));
        let error = client_from_string(&format!("tls:unix:{socket}")).err().unwrap();
        assert!(error.why.contains("name=NAME"), "{error}");
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn a_file_that_does_not_fit_is_an_error_at_once() {
    on_each_back_end(|world| {
        let (place, mut reactor) = (Place::new(world), world.reactor());
        let authority = Authority::new("Root");
        authority.issue("server.test", ALWAYS).put(&place, "server");
        authority.issue("server.test", ALWAYS).put(&place, "other");
        let listening = |reactor: &mut Reactor, cert: &str, key: &str| {
            let (cert, key) = (path(&place, cert), path(&place, key));
            let text = format!("tls:127.0.0.1:0:cert={cert}:key={key}");
            server_from_string(&text).unwrap().listen(reactor, Box::new(Served::default()))
        };
        for (cert, key, why) in [
            ("none.pem", "server.key", "cannot read"),
            ("server.pem", "other.key", "does not belong to the certificate of CN=server.test"),
            ("server.key", "server.key", "contains no certificate"),
            ("server.pem", "server.pem", "contains no private key"),
        ] {
            let Err(error @ Error::Endpoint { .. }) = listening(&mut reactor, cert, key) else {
                panic!("{cert} and {key} were accepted")
            };
            let text = error.to_string();
            assert!(text.contains(why) && text.starts_with("tls:tcp:0:interface=127.0.0.1:cert="), "{text}");
        }
        let text = format!("tls:127.0.0.1:1:roots={}", path(&place, "none.pem"));
        let refused = client_from_string(&text).unwrap().connect(&mut reactor, Box::new(Got::default()));
        assert!(refused.unwrap_err().to_string().contains("cannot read"));
    });
}
