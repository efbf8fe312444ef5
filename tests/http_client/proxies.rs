//! Proxies: whole URLs, tunnels, refusals and silence.

use crate::scene::{SECOND, Scene, Step, answer, ok, steps};
use twistor::http::{ClientSettings, FetchError, FetchStage, Proxies};

/// The server is the proxy.
fn scene() -> Scene {
    let proxy = || Some("http://me:secret@server:80".parse().unwrap());
    let proxies = Proxies { http: proxy(), https: proxy(), except: "direct".into(), ..Proxies::default() };
    Scene::new(ClientSettings { proxies, ..ClientSettings::default() })
}

#[test]
fn a_plain_request_has_the_whole_url() {
    let mut scene = scene();
    scene.answers([ok("one"), ok("two")]);
    for url in ["http://origin:8080/a?b", "http://other/"] {
        scene.get(url);
        scene.run(SECOND);
    }
    let requests = scene.requests();
    assert!(requests[0].starts_with("GET http://origin:8080/a?b HTTP/1.1\r\nHost: origin:8080\r\n"));
    assert!(requests[0].contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
    assert!(requests[1].starts_with("GET http://other/ HTTP/1.1\r\nHost: other\r\n"));
    assert_eq!((scene.bodies(), scene.connections()), (vec!["one".into(), "two".into()], 1));
}

#[test]
fn a_tunnel_is_asked_for_and_may_be_refused() {
    let mut scene = scene();
    scene.answers([answer("407 Proxy Authentication Required", "", "no")]);
    let error = scene.result(scene.client.get("https://origin/secret")).unwrap_err();
    assert_eq!(error, FetchError::ProxyRefused(407));
    let request = &scene.requests()[0];
    assert!(request.starts_with("CONNECT origin:443 HTTP/1.1\r\nHost: origin:443\r\n"), "{request}");
    assert!(request.contains("Proxy-Authorization") && !request.contains("/secret"));
    assert_eq!(scene.client.connections(), 0);
}

#[test]
fn a_stalled_proxy_is_given_up() {
    let mut scene = scene();
    scene.answers([
        steps(&[Step::Wait(100 * SECOND)]),
        steps(&[Step::Send("HTTP/1.1 200 OK\r\n\r\n".into())]),
    ]);
    for _ in 0..2 {
        // Silent before the tunnel, then within it.
        let error = scene.result(scene.client.get("https://origin/")).unwrap_err();
        assert_eq!(error, FetchError::TimedOut(10 * SECOND, FetchStage::Securing));
    }
}

#[test]
fn a_proxy_that_dies_is_an_error() {
    for answer in [
        steps(&[Step::Close]),
        steps(&[Step::Abort]),
        steps(&[Step::Send("HTTP/1.1 200".into()), Step::Close]),
        steps(&[Step::Send("HTTP/1.1 200 OK\r\n\r\n".into()), Step::Close]),
        steps(&[Step::Send("HTTP/1.1 200 OK\r\n\r\nplain text".into()), Step::Wait(SECOND), Step::Close]),
    ] {
        let mut scene = scene();
        scene.answers([answer.clone()]);
        let error = scene.result(scene.client.get("https://origin/")).unwrap_err();
        assert!(matches!(error, FetchError::Connect(_) | FetchError::Http(_)), "{answer:?}: {error:?}");
        assert_eq!(scene.client.connections(), 0);
    }
}
