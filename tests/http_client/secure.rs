//! `https`: certificates, and the end of a body.

use crate::scene::{SECOND, Scene, Script, Server, Step, answer, ok, steps};
use std::cell::RefCell;
use std::rc::Rc;
use twistor::http::{ClientSettings, FetchError};
use twistor::tls::{
    ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConnector, TlsError, certificates_from_pem,
};

/// A server with a certificate for its name, and a client that trusts it.
fn scene(trusted: bool, name: &str) -> Scene {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem()).unwrap();
    let acceptor = TlsAcceptor::new(ServerTls::from(identity)).unwrap();
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let root = if trusted { made.cert.pem() } else { other.cert.pem() };
    let roots = Roots::Only(certificates_from_pem(root.as_bytes()).unwrap());
    let connector = TlsConnector::new(ClientTls { roots, ..ClientTls::default() }).unwrap();
    let script = Rc::<RefCell<Script>>::default();
    let protocol = Server::new(&script);
    let settings = ClientSettings { tls: Some(connector), ..ClientSettings::default() };
    Scene::with_factory(settings, script, move || {
        let protocol = protocol.clone();
        acceptor.factory(move || protocol.clone())
    })
}

#[test]
fn a_page_is_fetched_over_tls() {
    let mut scene = scene(true, "server");
    scene.answers([ok("one"), ok("two")]);
    let (client, results) = (scene.client.clone(), scene.results.clone());
    let reactor = scene.simulation.reactor(scene.user);
    scene.client.get("https://server/").start(reactor, move |reactor, first| {
        results.borrow_mut().push((reactor.now().since_origin(), first));
        client.get("https://server/").start(reactor, move |reactor, second| {
            results.borrow_mut().push((reactor.now().since_origin(), second));
        });
    });
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["one", "two"]);
    assert_eq!(scene.connections(), 1);
    let results = scene.results.borrow();
    let timings = results[0].1.as_ref().unwrap().timings;
    assert!(timings.tls.is_some_and(|tls| !tls.is_zero()) && timings.connect.is_some(), "{timings:?}");
    assert!(results[1].1.as_ref().unwrap().reused);
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    for (trusted, name) in [(false, "server"), (true, "another")] {
        let mut scene = scene(trusted, name);
        let error = scene.result(scene.client.get("https://server/")).unwrap_err();
        let FetchError::Connect(reason) = &error else { panic!("{error:?}") };
        assert!(matches!(TlsError::of(reason), Some(TlsError::BadCertificate(..))), "{error:?}");
        assert!(!error.is_local());
        assert_eq!(scene.requests().len(), 0);
        assert_eq!(scene.client.connections(), 0);
    }
}

#[test]
fn only_a_body_that_ends_with_the_connection_needs_a_farewell() {
    // The server resets instead: no close_notify.
    let mut scene = scene(true, "server");
    let cut = Step::Abort;
    scene.answers([vec![
        answer("200 OK", "Connection: close\r\n", "all of it").remove(0),
        Step::Wait(SECOND),
        cut.clone(),
    ]]);
    assert_eq!(scene.result(scene.client.get("https://server/")).unwrap().body, b"all of it");
    scene.answers([steps(&[Step::Send("HTTP/1.1 200 OK\r\n\r\nhalf".into()), Step::Wait(SECOND), cut])]);
    let error = scene.result(scene.client.get("https://server/")).unwrap_err();
    assert!(matches!(error, FetchError::Lost(_)), "{error:?}");
    scene.answers([steps(&[
        Step::Send("HTTP/1.1 200 OK\r\n\r\nwhole".into()),
        Step::Wait(SECOND),
        Step::Close,
    ])]);
    assert_eq!(scene.result(scene.client.get("https://server/")).unwrap().body, b"whole");
}

#[test]
fn a_redirect_never_leaves_tls_unless_allowed() {
    let mut scene = scene(true, "server");
    scene.answers([answer("302 Found", "Location: http://server/\r\n", "")]);
    let error = scene.result(scene.client.get("https://server/")).unwrap_err();
    assert_eq!(error, FetchError::Downgrade("http://server/".into()));
    assert_eq!(scene.requests().len(), 1);
}
