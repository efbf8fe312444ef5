//! Responses that are produced piece by piece.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use twistor::Reactor;
use twistor::http::server::{BodyHandle, BodyProducer, Response, ResponseBody, Site};

use crate::lab::{Lab, get, text};

/// Produces a number of pieces.
struct Pieces {
    left: usize,
    piece: Vec<u8>,
    produced: Rc<Cell<usize>>,
    stopped: Rc<Cell<bool>>,
}

impl BodyProducer for Pieces {
    fn resume_producing(&mut self, body: &mut ResponseBody<'_>) {
        if self.left == 0 {
            return body.finish();
        }
        self.left -= 1;
        self.produced.set(self.produced.get() + 1);
        body.write(&self.piece);
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        self.stopped.set(true);
    }
}

struct Producing {
    lab: Lab,
    produced: Rc<Cell<usize>>,
    stopped: Rc<Cell<bool>>,
}

fn producing(left: usize, piece: &[u8], length: Option<u64>) -> Producing {
    let (produced, stopped) = (Rc::<Cell<usize>>::default(), Rc::<Cell<bool>>::default());
    let (counted, noted, piece) = (Rc::clone(&produced), Rc::clone(&stopped), piece.to_vec());
    let site = Site::new().get("/", move |_| {
        let pieces =
            Pieces { left, piece: piece.clone(), produced: Rc::clone(&counted), stopped: Rc::clone(&noted) };
        match length {
            Some(length) => Response::sized_stream("text/plain", length, pieces),
            None => Response::stream("text/plain", pieces),
        }
    });
    Producing { lab: Lab::new(site), produced, stopped }
}

#[test]
fn a_stream_of_unknown_length_is_chunked() {
    let mut lab = producing(2, b"abcdefghijklmnop", None).lab;
    let (response, open) = lab.ask(get("/"));
    assert!(response.contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert!(response.ends_with("\r\n\r\n10\r\nabcdefghijklmnop\r\n10\r\nabcdefghijklmnop\r\n0\r\n\r\n"));
    assert!(open);
    let (response, open) = lab.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(response.ends_with("Connection: close\r\n\r\nabcdefghijklmnopabcdefghijklmnop"), "{response}");
    assert!(!open);
}

#[test]
fn a_stream_of_known_length_has_exactly_that() {
    let (response, open) = producing(2, b"abc", Some(6)).lab.ask(get("/"));
    assert!(response.ends_with("Content-Length: 6\r\n\r\nabcabc") && open);
    let (response, open) = producing(9, b"abc", Some(5)).lab.ask(get("/"));
    assert!(response.ends_with("Content-Length: 5\r\n\r\nabcab") && open);
    // The reset may overtake the part.
    let (response, open) = producing(1, b"abc", Some(5)).lab.ask(get("/"));
    assert!(!open && !response.ends_with("abcab"));
}

#[test]
fn a_head_request_stops_the_producer() {
    let mut test = producing(2, b"abc", Some(6));
    let (response, open) = test.lab.ask(get("/").replace("GET", "HEAD"));
    assert!(response.ends_with("Content-Length: 6\r\n\r\n") && open);
    assert!(test.stopped.get());
    assert_eq!(test.produced.get(), 0);
}

#[test]
fn a_client_that_does_not_read_stops_the_producer() {
    let mut test = producing(100_000, &[b'x'; 1000], None);
    let mut peer = test.lab.connect();
    peer.stop_reading();
    peer.feed(get("/").as_bytes());
    let first = test.produced.get();
    assert!(first < 1000, "{first}");
    test.lab.seconds(20);
    assert_eq!(test.produced.get(), first);
    peer.resume_reading();
    // A peer takes what is there at each step.
    for _ in 0..20 {
        test.lab.seconds(1);
        peer.take();
    }
    assert_eq!(test.produced.get(), 100_000);
    assert!(peer.end().is_none());
}

#[test]
fn a_lost_client_stops_the_producer() {
    let mut test = producing(100_000, &[b'x'; 1000], None);
    let mut peer = test.lab.connect();
    peer.stop_reading();
    peer.feed(get("/").as_bytes());
    peer.reset();
    assert!(test.stopped.get());
}

#[test]
fn a_producer_without_data_is_resumed_later() {
    struct Waiting {
        queue: Rc<RefCell<Vec<&'static str>>>,
        handle: Rc<Cell<Option<BodyHandle>>>,
    }
    impl BodyProducer for Waiting {
        fn resume_producing(&mut self, body: &mut ResponseBody<'_>) {
            self.handle.set(Some(body.handle()));
            for text in self.queue.borrow_mut().drain(..) {
                match text {
                    "" => body.finish(),
                    text => body.write(text),
                }
            }
        }
    }
    let (queue, handle) = (Rc::new(RefCell::new(vec!["a"])), Rc::new(Cell::new(None)));
    let (kept, set) = (Rc::clone(&queue), Rc::clone(&handle));
    let site = Site::new().get("/", move |_| {
        Response::stream("text/plain", Waiting { queue: Rc::clone(&kept), handle: Rc::clone(&set) })
    });
    let mut lab = Lab::new(site);
    let mut peer = lab.connect();
    peer.feed((get("/") + &get("/none")).as_bytes());
    assert!(text(&mut peer).ends_with("\r\n\r\n1\r\na\r\n"));
    for (given, sent) in [(vec!["bc"], "2\r\nbc\r\n"), (vec![], "")] {
        *queue.borrow_mut() = given;
        lab.seconds(100);
        assert_eq!(text(&mut peer), "");
        handle.get().unwrap().resume(&mut lab.memory.reactor());
        lab.memory.advance(std::time::Duration::ZERO);
        assert_eq!(text(&mut peer), sent);
    }
    *queue.borrow_mut() = vec!["d", ""];
    handle.get().unwrap().resume(&mut lab.memory.reactor());
    lab.memory.advance(std::time::Duration::ZERO);
    let rest = text(&mut peer);
    assert!(rest.starts_with("1\r\nd\r\n0\r\n\r\nHTTP/1.1 404 Not Found\r\n"), "{rest}");
}
