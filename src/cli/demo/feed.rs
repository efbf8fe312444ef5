//! A traffic feed over HTTP: numbers that keep changing, and a server for just them.

use crate::report::clock::rfc3339;
use crate::{Protocol, Reactor, Transport};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// What is happening on the roads.
pub(super) struct Roads {
    /// 0 (empty) to 1 (nothing moves).
    level: f64,
    rising: bool,
    vehicles: u64,
    updated: SystemTime,
}

impl Roads {
    /// Begins to change, again and again.
    pub(super) fn start(reactor: &mut Reactor) -> Rc<RefCell<Roads>> {
        let updated = reactor.system_time();
        let roads = Rc::new(RefCell::new(Roads { level: 0.4, rising: true, vehicles: 1240, updated }));
        change(reactor, Rc::clone(&roads));
        roads
    }

    fn body(&self) -> String {
        let trend = if self.rising { "rising" } else { "falling" };
        let level = (self.level * 100.0).round() / 100.0;
        json!({
            "congestion": { "level": level },
            "trend": trend,
            "vehicles": self.vehicles,
            "updated": rfc3339(self.updated),
        })
        .to_string()
    }
}

fn change(reactor: &mut Reactor, roads: Rc<RefCell<Roads>>) {
    let random = reactor.random();
    // Two parts of the same random number: -0.09 to 0.09, and -40 to 40.
    let step = (random % 19) as f64 / 100.0 - 0.09;
    let vehicles = (random >> 32) % 81;
    let mut now = roads.borrow_mut();
    let level = (now.level + step).clamp(0.02, 0.98);
    now.rising = if level == now.level { now.rising } else { level > now.level };
    now.level = level;
    now.vehicles = (now.vehicles + vehicles).saturating_sub(40);
    now.updated = reactor.system_time();
    drop(now);
    reactor.call_later(CHANGE, move |reactor| change(reactor, roads));
}

/// Answers every request, one after the other on one connection.
pub(super) struct Server {
    roads: Rc<RefCell<Roads>>,
    request: Vec<u8>,
}

impl Server {
    pub(super) fn new(roads: Rc<RefCell<Roads>>) -> Server {
        Server { roads, request: Vec::new() }
    }
}

impl Protocol for Server {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.request.extend_from_slice(data);
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&self.request) {
            Ok(httparse::Status::Partial) if self.request.len() < LONGEST_REQUEST => {}
            Ok(httparse::Status::Complete(length)) if request.method == Some("GET") => {
                self.request.drain(..length);
                let body = self.roads.borrow().body();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                transport.write_sequence(&[head.as_bytes(), body.as_bytes()]);
            }
            _ => {
                transport
                    .write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                transport.lose_connection();
            }
        }
    }
}

/// Out of step with the reader's two seconds, so that ages differ.
const CHANGE: Duration = Duration::from_millis(700);
const LONGEST_REQUEST: usize = 8 << 10;
