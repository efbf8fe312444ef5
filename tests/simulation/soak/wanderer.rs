//! A protocol that does anything that a protocol may do, and checks its callbacks.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use twistor::{
    Instant, Producer, ProducerKind, Protocol, ProtocolError, Reactor, ReadState, Reason, Transport,
};

use super::ledger::{Ledger, Track, byte_at};
use super::wayward::Wayward;

pub struct Wanderer {
    ledger: Ledger,
    track: Track,
    /// 0 for the connecting side, 1 for the accepting side.
    side: usize,
    number: Option<u32>,
    /// The first received bytes, which identify the connection.
    header: Vec<u8>,
    /// It has called `schedule_data_received`.
    again: bool,
    /// Gave its last input back.
    gave_back: bool,
}

impl Wanderer {
    pub fn new(ledger: &Ledger, side: usize, tracks: &Rc<RefCell<Vec<Track>>>) -> Wanderer {
        let track = Track::default();
        tracks.borrow_mut().push(Rc::clone(&track));
        Wanderer {
            ledger: ledger.clone(),
            track,
            side,
            number: None,
            header: Vec::new(),
            again: false,
            gave_back: false,
        }
    }

    fn write(&mut self, transport: &mut Transport<'_>, count: usize) {
        write(&self.track, self.side, transport, count);
    }

    /// Checks the invariants of every callback.
    fn check(&self, transport: &Transport<'_>) {
        let end = self.track.borrow();
        assert!(end.made && !end.lost, "told outside of its life");
        let limit = transport.write_buffer_size();
        assert!(limit <= MOST_UNSENT, "{limit} bytes wait");
    }

    fn act(&mut self, transport: &mut Transport<'_>) {
        if self.ledger.is_quiet() {
            return;
        }
        for _ in 0..self.ledger.below(3) {
            self.act_once(transport);
        }
    }

    fn act_once(&mut self, transport: &mut Transport<'_>) {
        let what = self.ledger.below(44);
        self.ledger.network.trace_note(&format!("act {what} on {:?}, {}", transport.peer(), self.side));
        let acts = |name| self.ledger.acts(name);
        match what {
            0..=9 => {
                acts("Transport::write");
                let count = self.ledger.below(100) as usize;
                self.write(transport, count);
            }
            10..=12 => {
                acts("Transport::write");
                let count = self.ledger.below(50_000) as usize;
                self.write(transport, count);
            }
            13 => {
                acts("Transport::write_sequence");
                let pieces: Vec<Vec<u8>> = (0..3).map(|_| self.next_bytes(transport, 20)).collect();
                let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
                transport.write_sequence(&pieces);
            }
            14 => {
                acts("Transport::lose_connection");
                acts("Transport::write_buffer_size");
                self.track.borrow_mut().closing = true;
                transport.lose_connection();
                // It is closing already.
                acts("Transport::drain");
                transport.drain();
            }
            15 => {
                acts("Transport::lose_connection_timeout");
                self.track.borrow_mut().closing = true;
                transport.lose_connection_timeout(Duration::from_millis(self.ledger.below(3000)));
            }
            16 => {
                acts("Transport::abort_connection");
                self.track.borrow_mut().closing = true;
                transport.abort_connection();
            }
            17 => {
                acts("Transport::lose_write_connection");
                self.track.borrow_mut().closing = true;
                transport.lose_write_connection();
            }
            18..=20 => {
                acts("Transport::pause_reading");
                transport.pause_reading();
                acts("Transport::reading_paused");
                acts("Transport::read_state");
                acts("Transport::reborrow");
                let read_state = transport.reborrow().read_state();
                assert_ne!(read_state, ReadState::Reading, "reading is paused, or the connection closes");
                assert!(transport.reading_paused());
                let delay = Duration::from_millis(self.ledger.below(2000));
                acts("Transport::call_later");
                let later = transport.call_later(delay, |this: &mut Wanderer, transport| {
                    this.ledger.acts("Transport::resume_reading");
                    transport.resume_reading();
                });
                acts("DelayedCall::time");
                assert!(later.time(transport.reactor()).is_some());
            }
            21 => {
                acts("Transport::writing_paused");
                // It may be paused with nothing unsent: the kernel has taken all of it since, and
                // `resume_writing` follows.
                let highest = MOST_HIGH_WATER.max(transport.reactor().settings().high_water);
                assert!(transport.writing_paused() || transport.write_buffer_size() <= highest);
                acts("Transport::set_water_marks");
                let high = self.ledger.below(MOST_HIGH_WATER as u64) as usize;
                transport.set_water_marks(high, high / 4);
            }
            22 => self.register(transport, ProducerKind::Push),
            23 => self.register(transport, ProducerKind::Pull),
            24 => {
                acts("Transport::resume_producer");
                transport.resume_producer();
                acts("Transport::unregister_producer");
                transport.unregister_producer();
                acts("Transport::producer");
                assert!(transport.producer().is_none());
                self.track.borrow_mut().has_producer = false;
            }
            25 => {
                acts("Transport::set_tcp_nodelay");
                // An injected fault may make it fail.
                let _ = transport.set_tcp_nodelay(true);
            }
            26 => {
                acts("Transport::set_tcp_keepalive");
                let _ = transport.set_tcp_keepalive(Some(Duration::from_secs(5)));
                acts("Transport::set_tcp_user_timeout");
                let _ = transport.set_tcp_user_timeout(Some(Duration::from_secs(60)));
            }
            27 => {
                acts("Transport::id");
                acts("Transport::peer");
                acts("Transport::host");
                acts("Transport::connect_time");
                acts("Transport::now");
                acts("Address::ip");
                acts("Address::port");
                let id = transport.id();
                assert!(transport.reactor().transport(id).is_some());
                let (peer, host) = (transport.peer().clone(), transport.host());
                // An injected fault may hide the local address.
                if let (Some(peer), Some(host)) = (peer.unix(), host.unix()) {
                    acts("Address::unix");
                    acts("UnixAddress::is_unnamed");
                    acts("UnixAddress::path");
                    acts("UnixAddress::abstract_name");
                    let server = if self.side == 0 { peer } else { host };
                    assert!(server.path().is_some() || server.abstract_name().is_some());
                    assert_eq!(host.is_unnamed(), self.side == 0);
                    acts("Transport::peer_credentials");
                    // An injected fault may make it fail.
                    let _ = transport.peer_credentials();
                    acts("Transport::extension");
                    let now = transport.now();
                    assert!(transport.extension::<Instant>().is_none_or(|then| *then <= now));
                } else if peer.unix().is_none() {
                    acts("Address::socket_address");
                    assert!(peer.port().is_some() && host.socket_address().is_some());
                    assert!(host.ip().is_some());
                }
                // Only the connecting side has a connect time.
                assert!(self.side == 0 || transport.connect_time().is_none());
                assert!(transport.now() <= transport.reactor().now());
            }
            28 => {
                acts("Transport::is_closing");
                let closing = transport.is_closing();
                transport.lose_connection();
                assert!(transport.is_closing() || !closing);
                self.track.borrow_mut().closing = true;
            }
            29 => {
                acts("Transport::reactor");
                acts("Reactor::transport");
                acts("Reactor::connections");
                let others = transport.reactor().connections();
                let other = others[self.ledger.below(others.len() as u64) as usize];
                // Other connections are resumed more often than paused.
                if let Some(mut other) = transport.reactor().transport(other) {
                    other.resume_reading();
                }
            }
            30 => {
                acts("Reactor::with_protocol");
                let others = transport.reactor().connections();
                let other = others[self.ledger.below(others.len() as u64) as usize];
                transport.reactor().with_protocol(other, |other: &mut Wanderer, transport| {
                    if !other.ledger.is_quiet() {
                        other.write(transport, 100);
                    }
                });
            }
            31 => {
                acts("Transport::call_later");
                let delay = Duration::from_millis(self.ledger.below(500));
                let later = transport.call_later(delay, |this: &mut Wanderer, transport| this.act(transport));
                acts("DelayedCall::reset");
                later.reset(transport.reactor(), delay * 2).unwrap();
                acts("DelayedCall::delay");
                later.delay(transport.reactor(), delay).unwrap();
                if self.ledger.below(2) == 0 {
                    acts("DelayedCall::cancel");
                    later.cancel(transport.reactor()).unwrap();
                }
                acts("DelayedCall::active");
                assert_eq!(later.active(transport.reactor()), later.cancel(transport.reactor()).is_ok());
            }
            32 => {
                acts("Transport::add_layer");
                transport.add_layer(Wayward::new(&self.ledger));
            }
            33 => {
                acts("Transport::schedule_data_received");
                self.again = true;
                transport.schedule_data_received();
            }
            34 => {
                acts("Transport::lose_connection_with_error");
                self.track.borrow_mut().closing = true;
                transport.lose_connection_with_error(std::fmt::Error);
            }
            _ => {
                acts("Transport::call_later");
                let delay = Duration::from_millis(self.ledger.below(300));
                transport.call_later(delay, |this: &mut Wanderer, transport| this.act(transport));
            }
        }
    }

    fn register(&mut self, transport: &mut Transport<'_>, kind: ProducerKind) {
        self.ledger.acts("Transport::register_producer");
        // A closing connection stops the producer at once.
        let taken = self.track.borrow().takes_writes() && !transport.is_closing();
        let source = Source {
            track: Rc::clone(&self.track),
            side: self.side,
            pieces: 1 + self.ledger.below(5),
            kind,
            stopped: false,
        };
        if transport.register_producer(source, kind).is_ok() && taken {
            self.track.borrow_mut().has_producer = true;
        }
        if kind == ProducerKind::Push {
            // A push producer ends some time later.
            let delay = Duration::from_millis(self.ledger.below(500));
            transport.call_later(delay, |this: &mut Wanderer, transport| {
                transport.unregister_producer();
                this.track.borrow_mut().has_producer = false;
            });
        }
    }

    fn next_bytes(&mut self, transport: &Transport<'_>, count: usize) -> Vec<u8> {
        let mut end = self.track.borrow_mut();
        end.closing |= transport.is_closing();
        let first = end.written;
        if end.takes_writes() {
            end.written += count as u64;
        }
        (first..first + count as u64).map(|place| byte_at(place, self.side)).collect()
    }
}

fn write(track: &Track, side: usize, transport: &mut Transport<'_>, count: usize) {
    // The connector may have been disconnected.
    track.borrow_mut().closing |= transport.is_closing();
    let first = track.borrow().written;
    let bytes: Vec<u8> = (first..first + count as u64).map(|place| byte_at(place, side)).collect();
    transport.write(&bytes);
    let mut end = track.borrow_mut();
    if end.takes_writes() {
        end.written += count as u64;
    }
}

impl Protocol for Wanderer {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        {
            let mut end = self.track.borrow_mut();
            assert!(!end.made, "made twice");
            end.made = true;
            end.unix = transport.peer().unix().is_some();
        }
        if self.side == 0 {
            let number = self.ledger.open_line(&self.track);
            self.number = Some(number);
            transport.write(&number.to_be_bytes());
            self.track.borrow_mut().written = 4;
        }
        if self.ledger.is_quiet() {
            self.track.borrow_mut().closing = true;
            transport.lose_connection();
        }
        self.act(transport);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.check(transport);
        assert!(!data.is_empty() || self.again, "no data came, and none was asked for");
        if self.again {
            assert!(data.is_empty() || self.gave_back, "what is told again comes first");
            self.again = false;
            if data.is_empty() {
                return self.act(transport);
            }
        }
        self.gave_back = self.ledger.below(16) == 0;
        if self.gave_back {
            // It comes again, before all that follows it.
            self.ledger.acts("Transport::unread");
            return transport.unread(data);
        }
        assert!(!self.track.borrow().read_ended, "bytes after the end");
        let mut place = self.track.borrow().received;
        for &byte in data {
            if self.side == 1 && place < 4 {
                self.header.push(byte);
                if let Ok(number) = <[u8; 4]>::try_from(self.header.as_slice()) {
                    let number = u32::from_be_bytes(number);
                    self.ledger.join(number, &self.track);
                    self.number = Some(number);
                }
            } else {
                assert_eq!(byte, byte_at(place, 1 - self.side), "byte {place} of {:?}", self.number);
            }
            place += 1;
        }
        self.track.borrow_mut().received = place;
        self.ledger.check_received(self.number, self.side);
        self.act(transport);
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.check(transport);
        {
            let mut end = self.track.borrow_mut();
            assert!(!end.read_ended, "ended twice");
            end.read_ended = true;
        }
        self.ledger.check_end_of_input(self.number, self.side);
        self.act(transport);
        if self.ledger.below(4) > 0 {
            self.track.borrow_mut().closing = true;
            transport.lose_connection();
        }
    }

    fn write_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.check(transport);
        let mut end = self.track.borrow_mut();
        assert!(end.closing && !end.write_ended, "our end was not asked for, or told twice");
        end.write_ended = true;
        drop(end);
        self.act(transport);
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.check(transport);
        let mut end = self.track.borrow_mut();
        assert!(!end.writing_paused, "paused twice");
        end.writing_paused = true;
        drop(end);
        self.act(transport);
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.check(transport);
        let mut end = self.track.borrow_mut();
        assert!(end.writing_paused, "resumed without a pause");
        end.writing_paused = false;
        drop(end);
        self.act(transport);
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let mut end = self.track.borrow_mut();
        assert!(end.made && !end.lost, "lost twice");
        end.lost = true;
        end.clean = reason.is_clean();
        drop(end);
        self.ledger.acts("Reason::is_clean");
        self.ledger.acts("Reason::system_error");
        self.ledger.acts("Reason::is_local");
        assert_eq!(reason.is_clean(), *reason == Reason::Done);
        assert!(!reason.is_clean() || reason.system_error().is_none());
        assert!(!reason.is_clean() || !reason.is_local());
        if let Reason::Protocol(error) = reason {
            self.ledger.acts("ProtocolError::is");
            self.ledger.acts("ProtocolError::error");
            self.ledger.acts("ProtocolError::new");
            assert!(error.is::<std::fmt::Error>() && error.error::<std::fmt::Error>().is_some());
            assert_eq!(*error, ProtocolError::new(std::fmt::Error));
        }
        // Writing after the loss has no effect.
        transport.write(b"too late");
        transport.lose_connection();
        transport.pause_reading();
    }
}

/// A producer of some pieces of a wanderer's stream.
struct Source {
    track: Track,
    side: usize,
    pieces: u64,
    kind: ProducerKind,
    stopped: bool,
}

impl Producer for Source {
    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        assert!(!self.stopped && !self.track.borrow().lost, "resumed after the end");
        if self.pieces > 0 {
            self.pieces -= 1;
            write(&self.track, self.side, transport, 2000);
        }
        if self.pieces == 0 && self.kind == ProducerKind::Pull {
            transport.unregister_producer();
            self.track.borrow_mut().has_producer = false;
        }
    }

    fn pause_producing(&mut self, _: &mut Transport<'_>) {
        assert!(!self.stopped, "paused after the end");
    }

    fn stop_producing(&mut self, _: &mut Reactor) {
        assert!(!self.stopped, "stopped twice");
        self.stopped = true;
        self.track.borrow_mut().has_producer = false;
    }
}

/// A high-water mark is below this.
const MOST_HIGH_WATER: usize = 100_000;

/// The limit of unsent bytes: the buffer's limit and one write.
const MOST_UNSENT: usize = 1024 * 1024 + 64 * 1024;
