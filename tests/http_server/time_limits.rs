//! Time limits: slow clients are ended, each at its time and not before.

use std::time::Duration;

use twistor::http::server::{Reply, Response, Site};
use twistor::testing::{Peer, PeerEnd};

use crate::lab::{Lab, get, statuses, text};

const TICK: Duration = Duration::from_millis(1);

fn site() -> Site {
    Site::new()
        .get("/", |_| Response::text("x"))
        .get("/large", |_| Response::bytes("text/plain", vec![b'x'; 10 << 20]))
        .get("/never", |request| {
            std::mem::forget(request.responder());
            Reply::Later
        })
        .post("/", |request| Response::text(format!("{}", request.body().len())))
}

/// Asserts that a connection ends after this time, and not a moment before.
fn ends_after(lab: &mut Lab, peer: &mut Peer, time: Duration) -> String {
    lab.memory.advance(time - TICK);
    assert_eq!((text(peer).as_str(), peer.end()), ("", None));
    lab.memory.advance(TICK);
    assert!(peer.end().is_some());
    text(peer)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    assert_eq!(ends_after(&mut lab, &mut peer, seconds(10)), "");
    assert_eq!(lab.statistics.timeouts(), 1);
}

#[test]
fn the_time_of_a_head_is_total() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    for byte in &get("/").as_bytes()[..9] {
        peer.feed(&[*byte]);
        lab.seconds(1);
    }
    let response = ends_after(&mut lab, &mut peer, seconds(1));
    assert_eq!(statuses(&response), [408]);
    assert!(response.contains("Connection: close"));
}

#[test]
fn the_time_of_a_later_head_begins_with_its_first_byte() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.feed(get("/").as_bytes());
    assert_eq!(statuses(&text(&mut peer)), [200]);
    lab.seconds(55);
    peer.feed(b"G");
    lab.seconds(9);
    peer.feed(b"ET / ");
    assert_eq!(statuses(&ends_after(&mut lab, &mut peer, seconds(1))), [408]);
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.feed(get("/").as_bytes());
    text(&mut peer);
    lab.seconds(59);
    peer.feed(get("/").as_bytes());
    text(&mut peer);
    assert_eq!(ends_after(&mut lab, &mut peer, seconds(60)), "");
    assert_eq!(peer.end(), Some(PeerEnd::Finished));
}

#[test]
fn a_body_that_stops_is_given_up() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    peer.feed(&[0; 50_000]);
    lab.seconds(20);
    peer.feed(&[0]);
    assert_eq!(statuses(&ends_after(&mut lab, &mut peer, seconds(30))), [408]);
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    // 100 bytes a second: each second costs 0.8 s of 30.
    let mut lasted = 0;
    while peer.end().is_none() {
        peer.feed(&[0; 100]);
        lab.seconds(1);
        lasted += 1;
    }
    assert_eq!((lasted, statuses(&text(&mut peer))), (38, vec![408]));
    // At the lowest rate it goes on.
    let mut peer = lab.connect();
    peer.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n");
    for _ in 0..100 {
        assert_eq!(text(&mut peer), "");
        peer.feed(&[0; 500]);
        lab.seconds(1);
    }
    assert!(text(&mut peer).ends_with("50000"));
}

#[test]
fn a_handler_that_never_answers_is_given_up() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.feed(get("/never").as_bytes());
    assert_eq!(statuses(&ends_after(&mut lab, &mut peer, seconds(60))), [503]);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.stop_reading();
    peer.feed(get("/large").as_bytes());
    lab.seconds(29);
    assert_eq!(peer.end(), None);
    lab.seconds(6);
    peer.resume_reading();
    assert_eq!(peer.end(), Some(PeerEnd::Reset));
    assert_eq!(lab.statistics.timeouts(), 1);
}

#[test]
fn no_timer_outlives_its_connection() {
    let mut lab = Lab::new(site());
    let mut peer = lab.connect();
    peer.feed(get("/").as_bytes());
    assert_eq!(lab.memory.reactor().delayed_call_count(), 1);
    peer.close();
    lab.seconds(1);
    assert_eq!(lab.memory.reactor().delayed_call_count(), 0);
    assert!(lab.memory.reactor().connections().is_empty());
}
