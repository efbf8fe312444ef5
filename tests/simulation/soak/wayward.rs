//! A layer that delays everything at random, and loses nothing.

use std::time::Duration;

use twistor::{Layer, LayerContext, LayerError, Reactor, Reason};

use super::ledger::Ledger;

pub struct Wayward {
    ledger: Ledger,
    up: Held,
    down: Held,
    lost: bool,
}

/// One direction: held bytes, and whether the end follows them.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    ending: bool,
}

impl Wayward {
    pub fn new(ledger: &Ledger) -> Wayward {
        Wayward { ledger: ledger.clone(), up: Held::default(), down: Held::default(), lost: false }
    }

    fn wake(&self, below: &mut LayerContext<'_>) {
        self.ledger.acts("LayerContext::set_timer");
        below.set_timer(Duration::from_millis(self.ledger.below(200)));
    }

    /// Returns whether data passes at once: none is held, and a random draw agrees.
    fn through(&self, held: &Held) -> bool {
        held.bytes.is_empty() && !held.ending && (self.ledger.is_quiet() || self.ledger.below(2) == 0)
    }

    fn act(&mut self, below: &mut LayerContext<'_>) {
        if self.ledger.is_quiet() {
            return;
        }
        let acts = |name| self.ledger.acts(name);
        match self.ledger.below(100) {
            0..=9 => {
                acts("LayerContext::pause_reading");
                below.pause_reading();
                self.wake(below);
            }
            10..=14 => {
                acts("LayerContext::id");
                acts("LayerContext::now");
                acts("LayerContext::reactor");
                acts("LayerContext::reading_paused");
                let (id, now, paused) = (below.id(), below.now(), below.reading_paused());
                assert_eq!(now, below.reactor().now());
                acts("LayerContext::is_closing");
                acts("LayerContext::is_sending");
                acts("LayerContext::watch_sent");
                let (closing, sending) = (below.is_closing(), below.is_sending());
                let transport = below.reactor().transport(id).unwrap();
                assert_eq!((transport.reading_paused(), transport.is_closing()), (paused, closing));
                assert!(sending || transport.write_buffer_size() == 0);
                below.watch_sent();
                acts("LayerContext::retry_send");
                below.retry_send();
            }
            15..=19 => {
                acts("LayerContext::peer");
                acts("LayerContext::host");
                acts("LayerContext::set_addresses");
                let (peer, host) = (below.peer().clone(), below.host());
                below.set_addresses(peer, host);
                acts("LayerContext::guards");
                below.guards().hold(());
                acts("LayerContext::insert_extension");
                below.insert_extension(below.now());
            }
            20 => {
                acts("LayerContext::close");
                below.close(None);
            }
            21 => {
                acts("LayerError::new");
                below.close(Some(LayerError::new("wayward", std::fmt::Error)));
            }
            22 if self.ledger.below(3) == 0 => {
                acts("LayerContext::end");
                below.end(LayerError::new("wayward", std::fmt::Error));
            }
            23 if self.ledger.below(3) == 0 => {
                acts("LayerContext::abort");
                below.abort();
            }
            24 if self.up.bytes.is_empty() && self.down.bytes.is_empty() => {
                acts("LayerContext::cancel_timer");
                below.cancel_timer();
                self.wake(below);
            }
            _ => {}
        }
    }
}

impl Layer for Wayward {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        assert!(!self.lost);
        if self.ledger.below(2) == 0 {
            self.ledger.acts("LayerContext::ready");
            below.ready();
        }
        self.wake(below);
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        assert!(!data.is_empty() && !self.lost && !self.up.ending);
        if self.through(&self.up) {
            self.ledger.acts("LayerContext::pass_up");
            let (one, two) = data.split_at(self.ledger.below(data.len() as u64 + 1) as usize);
            below.pass_up(one);
            below.pass_up(two);
        } else {
            self.up.bytes.extend_from_slice(data);
            self.wake(below);
        }
        self.act(below);
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        assert!(!data.is_empty() && !self.lost && !self.down.ending);
        if self.through(&self.down) {
            self.ledger.acts("LayerContext::pass_down");
            let (one, two) = data.split_at(self.ledger.below(data.len() as u64 + 1) as usize);
            below.pass_down(one);
            below.pass_down(two);
        } else {
            self.down.bytes.extend_from_slice(data);
            self.wake(below);
        }
        self.act(below);
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        assert!(!self.lost && !self.up.ending);
        self.ledger.acts("LayerContext::pass_eof_up");
        if self.through(&self.up) {
            below.pass_eof_up();
        } else {
            self.wake(below);
        }
        self.up.ending = true;
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        assert!(!self.lost && !self.down.ending);
        self.ledger.acts("LayerContext::pass_eof_down");
        if self.through(&self.down) {
            below.pass_eof_down();
        } else {
            self.wake(below);
        }
        self.down.ending = true;
    }

    fn sent(&mut self, below: &mut LayerContext<'_>, bytes: usize) {
        assert!(bytes > 0 && !self.lost);
        self.act(below);
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        assert!(!self.lost);
        below.ready();
        self.ledger.acts("LayerContext::resume_reading");
        below.resume_reading();
        below.pass_up(&self.up.bytes);
        below.pass_down(&self.down.bytes);
        self.up.bytes.clear();
        self.down.bytes.clear();
        if self.up.ending {
            below.pass_eof_up();
        }
        if self.down.ending {
            below.pass_eof_down();
        }
        self.act(below);
    }

    fn buffered(&self) -> usize {
        self.down.bytes.len()
    }

    fn connection_lost(&mut self, _: &mut Reactor, reason: &Reason) {
        assert!(!self.lost);
        self.lost = true;
        if let Reason::Layer(error) = reason {
            self.ledger.acts("LayerError::layer");
            self.ledger.acts("LayerError::error");
            self.ledger.acts("LayerError::is");
            assert_eq!(error.layer(), "wayward");
            assert!(error.is::<std::fmt::Error>() && error.error::<std::fmt::Error>().is_some());
        }
    }
}
