//! Many bytes: a pattern that shows whether any was lost, doubled or changed.

use std::io::ErrorKind;

use super::bench::Bench;
use super::words;
use crate::net::Readiness;

impl Bench {
    /// Sends pieces until one is not taken whole; what was answered then.
    pub(super) fn fill_up_to_a_short_send(&mut self, name: &str) -> String {
        for _ in 0..PIECES {
            let from = self.socket(name).sent;
            match self.transmit(name, &pattern(from, PIECE)) {
                Ok(count) => self.socket(name).sent += count,
                Err(failed) if failed.kind() == ErrorKind::WouldBlock => return "short".to_owned(),
                Err(failed) => return words::error(&failed),
            }
            if !self.socket(name).told.has(Readiness::WRITABLE) {
                return "short".to_owned();
            }
        }
        "takes everything".to_owned()
    }

    /// Sends until nothing more is taken.
    pub(super) fn fill(&mut self, name: &str) -> String {
        for _ in 0..PIECES {
            let from = self.socket(name).sent;
            match self.transmit(name, &pattern(from, PIECE)) {
                Ok(count) => self.socket(name).sent += count,
                Err(failed) => return words::error(&failed),
            }
        }
        "takes everything".to_owned()
    }

    /// Reads, each time only when told to, what the other has sent of the pattern.
    pub(super) fn drain(&mut self, name: &str, from: &str) -> String {
        let all = self.socket(from).sent;
        while self.socket(name).received < all {
            if let Err(why) = self.take_some(name, PIECE) {
                return why;
            }
        }
        "all".to_owned()
    }

    /// Reads all but a tenth of what the other has sent.
    pub(super) fn drain_most(&mut self, name: &str, from: &str) -> String {
        let most = self.socket(from).sent / 10 * 9;
        while self.socket(name).received < most {
            let room = (most - self.socket(name).received).min(PIECE);
            if let Err(why) = self.take_some(name, room) {
                return why;
            }
        }
        "most".to_owned()
    }

    /// Moves this many bytes, reading and writing only when told to.
    pub(super) fn pump(&mut self, from: &str, to: &str, count: usize) -> String {
        let all = self.socket(from).sent + count;
        let mut idle = 0;
        while self.socket(to).received < all && idle < self.patience {
            let (sent, received) = (self.socket(from).sent, self.socket(to).received);
            if sent < all && self.socket(from).told.has(Readiness::WRITABLE) {
                match self.transmit(from, &pattern(sent, PIECE.min(all - sent))) {
                    Ok(taken) => self.socket(from).sent += taken,
                    Err(failed) if failed.kind() == ErrorKind::WouldBlock => {}
                    Err(failed) => return format!("{from}: {}", words::error(&failed)),
                }
            }
            if self.socket(to).told.has(Readiness::READABLE)
                && let Err(why) = self.take_some(to, PIECE)
            {
                return format!("{to}: {why}");
            }
            let moved = self.socket(from).sent > sent || self.socket(to).received > received;
            idle = if moved { 0 } else { idle + 1 };
            if !moved {
                self.round();
            }
        }
        format!("{} missing", all - self.socket(to).received)
    }

    /// Waits for a report and reads once; the bytes have to be those that come next.
    fn take_some(&mut self, name: &str, room: usize) -> Result<(), String> {
        if !self.wait_for(name, Readiness::READABLE) {
            return Err("nothing was told".to_owned());
        }
        let from = self.socket(name).received;
        match self.receive(name, room) {
            Ok(data) if data.is_empty() => Err(format!("end after {from}")),
            Ok(data) => {
                assert!(data == pattern(from, data.len()), "other bytes than were sent, after {from}");
                self.socket(name).received += data.len();
                Ok(())
            }
            Err(failed) if failed.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(failed) => Err(words::error(&failed)),
        }
    }
}

/// The bytes of the pattern from an offset on. Its period is prime, so no size of a buffer hides a shift.
pub(super) fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| (at % 251) as u8).collect()
}

const PIECE: usize = 64 * 1024;

/// 256 MiB: no buffers are that large.
const PIECES: usize = 4096;
