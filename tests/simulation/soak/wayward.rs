//! A layer that holds everything up as it likes, and loses nothing.

use std::time::Duration;

use twistor::{Below, Layer, LayerError, Reactor, Reason};

use super::ledger::Ledger;

pub struct Wayward {
    ledger: Ledger,
    up: Held,
    down: Held,
    lost: bool,
}

/// One direction: bytes kept, and whether the end follows them.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    ending: bool,
}

impl Wayward {
    pub fn new(ledger: &Ledger) -> Wayward {
        Wayward { ledger: ledger.clone(), up: Held::default(), down: Held::default(), lost: false }
    }

    fn wake(&self, below: &mut Below<'_>) {
        self.ledger.acts("Below::wake_after");
        below.wake_after(Duration::from_millis(self.ledger.below(200)));
    }

    /// Whether it lets this through at once: nothing waits, and it is in the mood.
    fn through(&self, held: &Held) -> bool {
        held.bytes.is_empty() && !held.ending && (self.ledger.is_quiet() || self.ledger.below(2) == 0)
    }

    fn act(&mut self, below: &mut Below<'_>) {
        if self.ledger.is_quiet() {
            return;
        }
        let acts = |name| self.ledger.acts(name);
        match self.ledger.below(100) {
            0..=9 => {
                acts("Below::pause_reading");
                below.pause_reading();
                self.wake(below);
            }
            10..=14 => {
                acts("Below::id");
                acts("Below::now");
                acts("Below::reactor");
                acts("Below::reading_paused");
                let (id, now, paused) = (below.id(), below.now(), below.reading_paused());
                assert_eq!(now, below.reactor().now());
                acts("Below::is_closing");
                acts("Below::is_sending");
                acts("Below::watch_sent");
                let (closing, sending) = (below.is_closing(), below.is_sending());
                let transport = below.reactor().transport(id).unwrap();
                assert_eq!((transport.reading_paused(), transport.is_closing()), (paused, closing));
                assert!(sending || transport.unsent() == 0);
                below.watch_sent();
                acts("Below::retry_send");
                below.retry_send();
            }
            15..=19 => {
                acts("Below::peer");
                acts("Below::host");
                acts("Below::set_addresses");
                let (peer, host) = (below.peer(), below.host());
                below.set_addresses(peer, host);
                acts("Below::attach");
                below.attach(below.now());
            }
            20 => {
                acts("Below::close");
                below.close(None);
            }
            21 => {
                acts("LayerError::new");
                below.close(Some(LayerError::new("wayward", std::fmt::Error)));
            }
            22 if self.ledger.below(3) == 0 => {
                acts("Below::end");
                below.end(LayerError::new("wayward", std::fmt::Error));
            }
            23 if self.ledger.below(3) == 0 => {
                acts("Below::abort");
                below.abort();
            }
            24 if self.up.bytes.is_empty() && self.down.bytes.is_empty() => {
                acts("Below::cancel_wake");
                below.cancel_wake();
                self.wake(below);
            }
            _ => {}
        }
    }
}

impl Layer for Wayward {
    fn started(&mut self, below: &mut Below<'_>) {
        assert!(!self.lost);
        if self.ledger.below(2) == 0 {
            self.ledger.acts("Below::ready");
            below.ready();
        }
        self.wake(below);
    }

    fn received(&mut self, below: &mut Below<'_>, data: &[u8]) {
        assert!(!data.is_empty() && !self.lost && !self.up.ending);
        if self.through(&self.up) {
            self.ledger.acts("Below::deliver");
            let (one, two) = data.split_at(self.ledger.below(data.len() as u64 + 1) as usize);
            below.deliver(one);
            below.deliver(two);
        } else {
            self.up.bytes.extend_from_slice(data);
            self.wake(below);
        }
        self.act(below);
    }

    fn written(&mut self, below: &mut Below<'_>, data: &[u8]) {
        assert!(!data.is_empty() && !self.lost && !self.down.ending);
        if self.through(&self.down) {
            self.ledger.acts("Below::send");
            let (one, two) = data.split_at(self.ledger.below(data.len() as u64 + 1) as usize);
            below.send(one);
            below.send(two);
        } else {
            self.down.bytes.extend_from_slice(data);
            self.wake(below);
        }
        self.act(below);
    }

    fn read_ended(&mut self, below: &mut Below<'_>) {
        assert!(!self.lost && !self.up.ending);
        self.ledger.acts("Below::deliver_end");
        if self.through(&self.up) {
            below.deliver_end();
        } else {
            self.wake(below);
        }
        self.up.ending = true;
    }

    fn write_ending(&mut self, below: &mut Below<'_>) {
        assert!(!self.lost && !self.down.ending);
        self.ledger.acts("Below::send_end");
        if self.through(&self.down) {
            below.send_end();
        } else {
            self.wake(below);
        }
        self.down.ending = true;
    }

    fn sent(&mut self, below: &mut Below<'_>, bytes: usize) {
        assert!(bytes > 0 && !self.lost);
        self.act(below);
    }

    fn woken(&mut self, below: &mut Below<'_>) {
        assert!(!self.lost);
        below.ready();
        self.ledger.acts("Below::resume_reading");
        below.resume_reading();
        below.deliver(&self.up.bytes);
        below.send(&self.down.bytes);
        self.up.bytes.clear();
        self.down.bytes.clear();
        if self.up.ending {
            below.deliver_end();
        }
        if self.down.ending {
            below.send_end();
        }
        self.act(below);
    }

    fn held(&self) -> usize {
        self.down.bytes.len()
    }

    fn lost(&mut self, _: &mut Reactor, reason: &Reason) {
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
