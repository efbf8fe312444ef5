//! Graceful stops: requests in flight finish, idle connections close.

use std::time::Duration;

use twistor::http::server::{Reply, Response, Site};
use twistor::testing::PeerEnd;

use crate::lab::{Lab, get, statuses, text};

fn site() -> Site {
    Site::new().get("/", |_| Response::text("x")).get("/slow", |request| {
        let responder = request.responder();
        request.reactor().call_later(Duration::from_secs(2), move |reactor| {
            responder.respond(reactor, Response::text("slow"));
        });
        Reply::Later
    })
}

#[test]
fn requests_in_flight_finish_and_idle_connections_close() {
    let mut lab = Lab::new(site());
    let (mut idle, mut slow, mut head) = (lab.connect(), lab.connect(), lab.connect());
    idle.feed(get("/").as_bytes());
    text(&mut idle);
    lab.seconds(5);
    slow.feed((get("/slow") + &get("/")).as_bytes());
    head.feed(b"GET / HTTP/1.1\r\n");
    lab.memory.reactor().stop_gracefully();
    lab.memory.advance(Duration::ZERO);
    assert_eq!(idle.end(), Some(PeerEnd::Finished));
    assert_eq!((slow.end(), head.end()), (None, None));
    head.feed(b"Host: a\r\n\r\n");
    let response = text(&mut head);
    assert_eq!((statuses(&response), head.end()), (vec![200], Some(PeerEnd::Finished)));
    assert!(response.contains("Connection: close"));
    lab.seconds(2);
    let response = text(&mut slow);
    // The request behind it was not begun.
    assert_eq!((statuses(&response), slow.end()), (vec![200], Some(PeerEnd::Finished)));
    assert!(response.contains("Connection: close") && response.ends_with("slow"));
}

#[test]
fn a_busy_client_gets_an_answer_with_a_close() {
    let mut lab = Lab::new(site());
    let (mut busy, mut fresh, mut quiet) = (lab.connect(), lab.connect(), lab.connect());
    for peer in [&mut busy, &mut quiet] {
        peer.feed(get("/").as_bytes());
        text(peer);
    }
    lab.memory.reactor().stop_gracefully();
    lab.memory.advance(Duration::from_millis(999));
    assert_eq!((busy.end(), fresh.end(), quiet.end()), (None, None, None));
    for peer in [&mut busy, &mut fresh] {
        peer.feed(get("/").as_bytes());
        let response = text(peer);
        assert_eq!((statuses(&response), peer.end()), (vec![200], Some(PeerEnd::Finished)));
        assert!(response.contains("Connection: close"));
    }
    lab.memory.advance(Duration::from_millis(1));
    assert_eq!(quiet.end(), Some(PeerEnd::Finished));
    assert_eq!(text(&mut quiet), "");
}
