//! A full table of connections: the one with least progress gives way.

use twistor::Settings;
use twistor::http::server::{Response, Site, SiteLimits};
use twistor::testing::PeerEnd;

use crate::lab::{Lab, get, text, with_limits};

fn limited(max_connections: usize) -> Lab {
    let limits = SiteLimits { max_connections, ..SiteLimits::default() };
    Lab::new(
        with_limits(limits)
            .get("/", |_| Response::text("x"))
            .post("/", |_| Response::text("y"))
            .get("/large", |_| Response::bytes("text/plain", vec![0; 1 << 20])),
    )
}

#[test]
fn newcomers_are_served_at_the_limit_and_above() {
    for (count, evicted) in [(9, 0), (10, 0), (11, 1), (100, 90)] {
        let mut lab = limited(10);
        let mut peers: Vec<_> = (0..count).map(|_| lab.connect()).collect();
        assert_eq!(lab.statistics.evicted(), evicted);
        let last = peers.last_mut().unwrap();
        last.feed(get("/").as_bytes());
        assert!(text(last).ends_with("x"));
        assert_eq!(lab.memory.reactor().connections().len(), count.min(10));
    }
}

#[test]
fn slow_heads_give_way_before_good_clients() {
    let mut lab = limited(4);
    let mut slow = lab.connect();
    slow.feed(b"GET / HT");
    lab.seconds(1);
    let (mut idle, mut body, mut reading) = (lab.connect(), lab.connect(), lab.connect());
    idle.feed(get("/").as_bytes());
    text(&mut idle);
    body.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    reading.stop_reading();
    reading.feed(get("/large").as_bytes());
    lab.seconds(1);
    // The bytes of a head are no progress.
    slow.feed(b"T");
    let mut fifth = lab.connect();
    assert_eq!(slow.end(), Some(PeerEnd::Reset));
    assert_eq!((idle.end(), body.end(), fifth.end()), (None, None, None));
    lab.seconds(1);
    let mut sixth = lab.connect();
    assert_eq!(idle.end(), Some(PeerEnd::Reset));
    assert_eq!((fifth.end(), sixth.end(), body.end()), (None, None, None));
    assert_eq!(lab.statistics.evicted(), 2);
}

#[test]
fn the_reactors_limit_is_above_the_sites() {
    let settings = Settings { max_connections: 32, ..Settings::default() };
    let mut lab = Lab::with_settings(settings, Site::new().get("/", |_| Response::text("x")));
    let mut peers: Vec<_> = (0..40).map(|_| lab.connect()).collect();
    assert_eq!(lab.statistics.evicted(), 10);
    let last = peers.last_mut().unwrap();
    last.feed(get("/").as_bytes());
    assert!(text(last).ends_with("x"));
}
