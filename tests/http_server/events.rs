//! Server-sent events.

use twistor::http::server::{Event, EventSource, Site};

use crate::lab::{Lab, get, text};

fn events(max_events: usize, max_bytes: usize) -> (Lab, EventSource) {
    let source = EventSource::with_queue(max_events, max_bytes);
    let readers = source.clone();
    (Lab::new(Site::new().get("/", move |_| readers.subscribe())), source)
}

fn send(lab: &mut Lab, source: &EventSource, event: &Event) {
    source.send(&mut lab.memory.reactor(), event);
    lab.memory.advance(std::time::Duration::ZERO);
}

/// The text of all chunks.
fn unchunked(text: &str) -> String {
    let mut lines = text.split("\r\n");
    let mut body = String::new();
    while let Some(size) = lines.next().filter(|size| !size.is_empty()) {
        let size = usize::from_str_radix(size, 16).unwrap();
        let chunk = lines.next().unwrap();
        assert_eq!(chunk.len(), size);
        body.push_str(chunk);
    }
    body
}

#[test]
fn each_reader_gets_the_events_from_its_start() {
    let (mut lab, source) = events(10, 1000);
    let mut first = lab.connect();
    first.feed(get("/").as_bytes());
    assert!(text(&mut first).contains("\r\nContent-Type: text/event-stream\r\n"));
    send(&mut lab, &source, &Event::new("a\nb\r\nc\rd").with_type("x\ny").with_id("1"));
    assert_eq!(unchunked(&text(&mut first)), "event: xy\nid: 1\ndata: a\ndata: b\ndata: c\ndata: d\n\n");
    let mut second = lab.connect();
    second.feed(get("/").as_bytes());
    text(&mut second);
    assert_eq!(source.readers(), 2);
    lab.seconds(3600);
    send(&mut lab, &source, &Event::new("later"));
    for peer in [&mut first, &mut second] {
        assert_eq!(unchunked(&text(peer)), "data: later\n\n");
    }
    first.finish();
    assert_eq!(source.readers(), 1);
    assert!(first.end().is_some());
    source.close(&mut lab.memory.reactor());
    lab.memory.advance(std::time::Duration::ZERO);
    assert_eq!(text(&mut second), "0\r\n\r\n");
    assert_eq!((source.readers(), second.end()), (0, None));
}

#[test]
fn a_slow_reader_hears_how_many_events_it_has_missed() {
    for (count, dropped) in [(9, 0), (10, 0), (11, 1), (1000, 990)] {
        let (mut lab, source) = events(10, 1 << 20);
        let mut peer = lab.connect();
        peer.stop_reading();
        peer.feed(get("/").as_bytes());
        // Fills what the kernels and the connection hold.
        let mut filled = 0;
        while lab.unsent() < 64 * 1024 {
            send(&mut lab, &source, &Event::new("x".repeat(10_000)));
            filled += 1;
        }
        for number in 0..count {
            send(&mut lab, &source, &Event::new(number.to_string()));
        }
        assert_eq!(source.dropped(), dropped);
        peer.resume_reading();
        lab.seconds(1);
        let received = text(&mut peer);
        let body = unchunked(received.split_once("\r\n\r\n").unwrap().1);
        assert_eq!(body.matches(&"x".repeat(10_000)).count(), filled);
        let said = format!("event: dropped\ndata: {dropped}\n\n");
        assert_eq!(body.contains(&said), dropped > 0);
        assert!(body.ends_with(&format!("data: {}\n\n", count - 1)));
        let numbers =
            body.lines().filter(|line| line.len() < 10 && line.starts_with("data: ")).count() as u64;
        assert_eq!(numbers, count - dropped + u64::from(dropped > 0));
    }
}

#[test]
fn the_queue_has_a_limit_in_bytes() {
    let (mut lab, source) = events(1000, 100);
    let mut peer = lab.connect();
    peer.stop_reading();
    peer.feed(get("/").as_bytes());
    while lab.unsent() < 64 * 1024 {
        send(&mut lab, &source, &Event::new("x".repeat(10_000)));
    }
    // Ten bytes each.
    for number in 10..20 {
        send(&mut lab, &source, &Event::new(number.to_string()));
    }
    assert_eq!(source.dropped(), 0);
    send(&mut lab, &source, &Event::new("20"));
    assert_eq!(source.dropped(), 1);
    // The newest is kept whatever its length.
    send(&mut lab, &source, &Event::new("y".repeat(200)));
    assert_eq!(source.dropped(), 11);
}
