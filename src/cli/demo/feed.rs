//! The demo's traffic feed over HTTP: changing numbers, and a minimal server for them.

use crate::report::time_format::rfc3339;
use crate::{Protocol, Reactor, Transport};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// The simulated traffic on the roads.
pub(super) struct Roads {
    /// Congestion from 0 (empty) to 1 (standstill).
    level: f64,
    rising: bool,
    vehicles: u64,
    updated: SystemTime,
}

impl Roads {
    /// Starts to change the numbers periodically.
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

/// The HTTP server: answers the requests of a connection one after the other.
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
            Ok(httparse::Status::Partial) if self.request.len() < MAX_REQUEST => {}
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

/// Out of phase with the reader's interval of two seconds, so that ages differ.
const CHANGE: Duration = Duration::from_millis(700);
const MAX_REQUEST: usize = 8 << 10;
