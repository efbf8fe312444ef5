//! Many bytes, in a pattern that shows loss, duplication and corruption.

use std::io::ErrorKind;

use super::Bench;
use super::words;
use crate::net::Readiness;

impl Bench {
    /// Sends pieces until a short send or an error, and returns which.
    pub(in crate::net::conformance) fn fill_until_short(&mut self, name: &str) -> String {
        for _ in 0..MAX_PIECES {
            let from = self.socket(name).sent;
            match self.transmit(name, &pattern(from, PIECE)) {
                Ok(count) => self.socket(name).sent += count,
                Err(failed) if failed.kind() == ErrorKind::WouldBlock => return "short".to_owned(),
                Err(failed) => return words::error(&failed),
            }
            if !self.socket(name).ready.has(Readiness::WRITABLE) {
                return "short".to_owned();
            }
        }
        "takes everything".to_owned()
    }

    /// Sends until a send fails, and returns the failure.
    pub(in crate::net::conformance) fn fill(&mut self, name: &str) -> String {
        for _ in 0..MAX_PIECES {
            let from = self.socket(name).sent;
            match self.transmit(name, &pattern(from, PIECE)) {
                Ok(count) => self.socket(name).sent += count,
                Err(failed) => return words::error(&failed),
            }
        }
        "takes everything".to_owned()
    }

    /// Receives, each time after a report, all that the other socket has sent.
    pub(in crate::net::conformance) fn drain(&mut self, name: &str, from: &str) -> String {
        let all = self.socket(from).sent;
        while self.socket(name).received < all {
            if let Err(why) = self.receive_next(name, PIECE) {
                return why;
            }
        }
        "all".to_owned()
    }

    /// Receives nine tenths of what the other socket has sent.
    pub(in crate::net::conformance) fn drain_most(&mut self, name: &str, from: &str) -> String {
        let target = self.socket(from).sent / 10 * 9;
        while self.socket(name).received < target {
            let size = (target - self.socket(name).received).min(PIECE);
            if let Err(why) = self.receive_next(name, size) {
                return why;
            }
        }
        "most".to_owned()
    }

    /// Moves this number of bytes. Reads and writes only after reports.
    pub(in crate::net::conformance) fn pump(&mut self, from: &str, to: &str, count: usize) -> String {
        let all = self.socket(from).sent + count;
        let mut idle = 0;
        while self.socket(to).received < all && idle < self.max_rounds {
            let (sent, received) = (self.socket(from).sent, self.socket(to).received);
            if sent < all && self.socket(from).ready.has(Readiness::WRITABLE) {
                match self.transmit(from, &pattern(sent, PIECE.min(all - sent))) {
                    Ok(taken) => self.socket(from).sent += taken,
                    Err(failed) if failed.kind() == ErrorKind::WouldBlock => {}
                    Err(failed) => return format!("{from}: {}", words::error(&failed)),
                }
            }
            if self.socket(to).ready.has(Readiness::READABLE)
                && let Err(why) = self.receive_next(to, PIECE)
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

    /// Waits for a report and reads once. The bytes have to be the next ones of the pattern.
    fn receive_next(&mut self, name: &str, size: usize) -> Result<(), String> {
        if !self.wait_for(name, Readiness::READABLE) {
            return Err("no report".to_owned());
        }
        let from = self.socket(name).received;
        match self.receive(name, size) {
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

/// The bytes of the pattern from an offset on. Its period is prime, so a shift by any buffer size
/// shows.
pub(in crate::net::conformance) fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| (at % 251) as u8).collect()
}

const PIECE: usize = 64 * 1024;

/// 256 MiB, larger than all buffers.
const MAX_PIECES: usize = 4096;
