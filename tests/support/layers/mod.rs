//! Recording layers, whose behaviour a test controls.
#![allow(dead_code, reason = "each promise uses its share")]

use twistor::{Layer, LayerContext, Reactor, Reason};

use crate::world::{Record, kind};

/// Records every call as `name: call`, and passes it on unless `act` prevents it.
pub struct Noted {
    name: &'static str,
    record: Record,
    act: Act,
    /// Bytes written from above that are held back.
    pub held: Vec<u8>,
}

type Act = Box<dyn FnMut(&str, &mut Vec<u8>, &mut LayerContext<'_>, &[u8]) -> Then>;

/// Whether a call is passed on.
#[derive(PartialEq)]
pub enum Then {
    Through,
    Nothing,
}

impl Noted {
    pub fn new(name: &'static str, record: &Record) -> Noted {
        let act = Box::new(|_: &str, _: &mut Vec<u8>, _: &mut LayerContext<'_>, _: &[u8]| Then::Through);
        Noted { name, record: record.clone(), act, held: Vec::new() }
    }

    /// Calls `act` at each call, after it was recorded, with the call's name, the held bytes, and
    /// the data.
    pub fn acting(
        mut self,
        act: impl FnMut(&str, &mut Vec<u8>, &mut LayerContext<'_>, &[u8]) -> Then + 'static,
    ) -> Noted {
        self.act = Box::new(act);
        self
    }

    fn happened(&mut self, what: &str, below: &mut LayerContext<'_>, data: &[u8]) -> bool {
        let text = match data.len() {
            0 => String::new(),
            1..=64 => format!(" {}", String::from_utf8_lossy(data)),
            length => format!(" ({length} bytes)"),
        };
        self.record.add(format!("{}: {what}{text}", self.name));
        (self.act)(what, &mut self.held, below, data) == Then::Through
    }
}

impl Layer for Noted {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        if self.happened("started", below, b"") {
            below.ready();
        }
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        if self.happened("received", below, data) {
            below.pass_up(data);
        }
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        if self.happened("written", below, data) {
            below.pass_down(data);
        }
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        if self.happened("read ended", below, b"") {
            below.pass_eof_up();
        }
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        if self.happened("write ending", below, b"") {
            below.pass_eof_down();
        }
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        self.happened("woken", below, b"");
    }

    fn buffered(&self) -> usize {
        self.held.len()
    }

    fn connection_lost(&mut self, _: &mut Reactor, reason: &Reason) {
        self.record.add(format!("{}: lost {}", self.name, kind(reason)));
    }
}
