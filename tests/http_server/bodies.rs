//! Bodies of requests: collected, streamed, refused.

use std::cell::RefCell;
use std::rc::Rc;

use twistor::Reactor;
use twistor::http::server::{BodyHandle, BodyReceiver, Reply, RequestBody, Response, Route, Site};

use crate::lab::{Lab, get, statuses, text};

fn length() -> Site {
    Site::new()
        .post("/{id}", |request| {
            Response::text(format!("{} {}", request.parameter("id").unwrap(), request.body().len()))
        })
        .get("/", |_| Response::text("next"))
}

fn post(length: usize) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_body_in_pieces_is_collected() {
    let mut lab = Lab::new(length());
    let mut peer = lab.connect();
    peer.feed(post(100_000).as_bytes());
    for _ in 0..10 {
        assert_eq!(text(&mut peer), "");
        peer.feed(&[b'x'; 10_000]);
    }
    assert!(text(&mut peer).ends_with("x 100000"));
    peer.feed(get("/").as_bytes());
    assert!(text(&mut peer).ends_with("next"));
}

#[test]
fn a_client_that_expects_it_is_told_to_continue() {
    let mut lab = Lab::new(length());
    let mut peer = lab.connect();
    let head = post(3).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    peer.feed(head.as_bytes());
    assert_eq!(text(&mut peer), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.feed(b"abc");
    assert!(text(&mut peer).ends_with("x 3"));
    // The body is there already.
    peer.feed((head.clone() + "abc").as_bytes());
    assert_eq!(statuses(&text(&mut peer)), [200]);
    // A refusal comes instead.
    let (response, open) = lab.ask(head.replace(": 3", ": 3000000"));
    assert_eq!((statuses(&response), open), (vec![413], false));
    let (response, open) = lab.ask(head.replace("POST /x", "POST /x/y"));
    assert_eq!((statuses(&response), open), (vec![404], false));
}

/// Records the pieces of a body, and pauses after each if wanted.
struct Recorder {
    record: Rc<RefCell<Record>>,
    pauses: bool,
}

#[derive(Default)]
struct Record {
    pieces: Vec<usize>,
    lost: bool,
    handle: Option<BodyHandle>,
}

impl BodyReceiver for Recorder {
    fn data_received(&mut self, body: &mut RequestBody<'_>, data: &[u8]) {
        let mut record = self.record.borrow_mut();
        record.pieces.push(data.len());
        record.handle = Some(body.handle());
        if self.pauses {
            body.pause();
        }
    }

    fn finished(&mut self, _: &mut RequestBody<'_>) -> Reply {
        let total: usize = self.record.borrow().pieces.iter().sum();
        Response::text(format!("{total} in all")).into()
    }

    fn lost(&mut self, _: &mut Reactor) {
        self.record.borrow_mut().lost = true;
    }
}

fn recording(pauses: bool) -> (Lab, Rc<RefCell<Record>>) {
    let record = Rc::<RefCell<Record>>::default();
    let kept = Rc::clone(&record);
    let route = Route::streamed("POST", "/x", move |request| match request.query() {
        Some("no") => Err(Response::of_status(403)),
        _ => Ok(Recorder { record: Rc::clone(&kept), pauses }),
    });
    (Lab::new(length().route(route.max_body(1 << 30))), record)
}

#[test]
fn a_streamed_body_comes_in_pieces() {
    let (mut lab, record) = recording(false);
    let mut peer = lab.connect();
    peer.feed((post(5) + "ab").as_bytes());
    peer.feed(b"c");
    peer.feed(b"de");
    assert_eq!(record.borrow().pieces, [2, 1, 2]);
    assert!(text(&mut peer).ends_with("5 in all"));
    peer.feed(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    assert!(text(&mut peer).ends_with("7 in all"));
    peer.feed(post(0).as_bytes());
    assert!(text(&mut peer).ends_with("7 in all"));
    assert!(!record.borrow().lost);
}

#[test]
fn a_paused_receiver_stops_the_client() {
    let (mut lab, record) = recording(true);
    let mut peer = lab.connect();
    peer.feed(post(10_000_000).as_bytes());
    for _ in 0..200 {
        peer.feed(&[0; 50_000]);
    }
    let received = |record: &Rc<RefCell<Record>>| record.borrow().pieces.iter().sum::<usize>();
    let mut before = 0;
    let mut rounds = 0;
    while received(&record) < 10_000_000 {
        assert!(received(&record) - before <= 64 * 1024, "{:?}", record.borrow().pieces);
        before = received(&record);
        // A pause does not count for the client.
        lab.seconds(40);
        assert_eq!(received(&record), before);
        let handle = record.borrow().handle.unwrap();
        handle.resume(&mut lab.memory.reactor());
        lab.memory.advance(std::time::Duration::ZERO);
        rounds += 1;
    }
    assert!(rounds > 100, "{rounds}");
    assert!(text(&mut peer).ends_with("10000000 in all"));
}

#[test]
fn a_receiver_hears_of_a_lost_client() {
    let (mut lab, record) = recording(false);
    let mut peer = lab.connect();
    peer.feed((post(5) + "ab").as_bytes());
    peer.reset();
    assert!(record.borrow().lost);
    let (mut lab, record) = recording(false);
    let mut peer = lab.connect();
    peer.feed((post(5) + "ab").as_bytes());
    peer.finish();
    assert!(record.borrow().lost);
    assert!(peer.end().is_some() && text(&mut peer).is_empty());
}

#[test]
fn a_streamed_route_can_refuse_the_head() {
    let (mut lab, record) = recording(false);
    let request = post(5).replace("/x", "/x?no");
    let (response, open) = lab.ask(&request);
    assert_eq!((statuses(&response), open), (vec![403], false));
    let (response, open) = lab.ask(request + "abcde");
    assert_eq!((statuses(&response), open), (vec![403], true));
    assert!(record.borrow().pieces.is_empty());
}

#[test]
fn a_bad_chunk_ends_a_streamed_body() {
    let (mut lab, record) = recording(false);
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nx\r\n";
    let (response, open) = lab.ask(request);
    assert_eq!((statuses(&response), open), (vec![400], false));
    assert!(record.borrow().lost);
}
