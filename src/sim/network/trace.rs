//! The trace: short records, all hashed, the last ones kept, formatted on demand.

use crate::escape::Escaped;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, PacketKind};

/// The trace of a world.
pub(in crate::sim) struct Trace {
    hash: u64,
    count: u64,
    kept: VecDeque<Record>,
    keep: usize,
    /// Texts of records, by their values.
    texts: VecDeque<Text>,
    texts_forgotten: i64,
}

/// One record of the trace.
#[derive(Clone, Copy)]
pub(in crate::sim) struct Record {
    pub(in crate::sim) at: u64,
    pub(in crate::sim) host: u32,
    pub(in crate::sim) about: About,
    pub(in crate::sim) kind: RecordKind,
    /// Bytes, a negative error number, or the index of a text.
    pub(in crate::sim) value: i64,
}

#[derive(Clone, Copy)]
pub(in crate::sim) enum RecordKind {
    Call(CallKind),
    Arrives(PacketKind),
    Lost(PacketKind),
    Fault(FaultKind),
    /// A connection or listener was opened; the text has its addresses.
    Opens,
    /// The other end of a UNIX stream was closed.
    Hangup,
    Closes,
    Note,
}

/// The text of a record. Addresses are formatted on demand, because most are never read.
pub(in crate::sim) enum Text {
    ListensOn(SocketAddr),
    Connects(SocketAddr, SocketAddr),
    ConnectedFrom(SocketAddr),
    DatagramsAt(SocketAddr),
    Words(String),
}

impl Text {
    fn add_to(&self, hash: u64) -> u64 {
        match self {
            Text::ListensOn(address) | Text::ConnectedFrom(address) | Text::DatagramsAt(address) => {
                add_address(hash, address)
            }
            Text::Connects(from, to) => add_address(add_address(hash, from), to),
            Text::Words(words) => words.as_bytes().chunks(8).fold(hash, |hash, bytes| {
                mix(hash ^ bytes.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte)))
            }),
        }
    }
}

fn add_address(hash: u64, address: &SocketAddr) -> u64 {
    let port = u64::from(address.port());
    match address.ip() {
        IpAddr::V4(ip) => mix(hash ^ u64::from(ip.to_bits()) << 16 ^ port),
        IpAddr::V6(ip) => mix(mix(hash ^ (ip.to_bits() >> 64) as u64) ^ ip.to_bits() as u64) ^ port,
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::ListensOn(address) => write!(f, "listens on {address}"),
            Text::Connects(from, to) => write!(f, "{from} to {to}"),
            Text::ConnectedFrom(address) => write!(f, "from {address}"),
            Text::DatagramsAt(address) => write!(f, "datagrams at {address}"),
            Text::Words(words) => Escaped(words).fmt(f),
        }
    }
}

/// The subject of a record: an end of a connection, a listener, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct About {
    /// Its number in the world.
    serial: u32,
    part: u8,
}

impl About {
    pub(in crate::sim) const NOTHING: About = About { serial: 0, part: 0 };

    pub(in crate::sim) fn listener(serial: u32) -> About {
        About { serial, part: 1 }
    }

    /// Side 0 is the side that connected.
    pub(in crate::sim) fn end(serial: u32, side: usize) -> About {
        About { serial, part: 2 + side as u8 }
    }
}

/// `7` is a listener, `8a` the connecting side of a connection, `8b` the accepting one.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            0 => f.write_str("-"),
            1 => write!(f, "{}", self.serial),
            2 => write!(f, "{}a", self.serial),
            _ => write!(f, "{}b", self.serial),
        }
    }
}

impl Trace {
    pub(in crate::sim) fn new() -> Trace {
        Trace {
            hash: 0x2545_f491_4f6c_dd1d,
            count: 0,
            kept: VecDeque::new(),
            keep: DEFAULT_KEPT,
            texts: VecDeque::new(),
            texts_forgotten: 0,
        }
    }

    pub(in crate::sim) fn keep(&mut self, records: usize) {
        self.keep = records;
    }

    pub(in crate::sim) fn hash(&self) -> u64 {
        self.hash
    }

    pub(in crate::sim) fn count(&self) -> u64 {
        self.count
    }

    #[inline]
    pub(in crate::sim) fn add(&mut self, record: Record) {
        let (kind, detail) = record.kind.code();
        let first = record.at ^ u64::from(record.about.serial) << 32 ^ u64::from(record.host) << 16;
        let second = record.value as u64
            ^ u64::from(kind) << 56
            ^ u64::from(detail) << 48
            ^ u64::from(record.about.part) << 40;
        self.hash = mix(mix(self.hash ^ first) ^ second);
        self.count += 1;
        if self.kept.len() >= self.keep {
            self.kept.pop_front();
        }
        if self.keep > 0 {
            self.kept.push_back(record);
        }
    }

    /// Adds a record that is neither hashed nor counted, because it depends on the program's
    /// logger.
    pub(in crate::sim) fn add_unhashed(&mut self, record: Record, text: Text) {
        let (hash, count) = (self.hash, self.count);
        self.add_text(record, text);
        (self.hash, self.count) = (hash, count);
    }

    /// Adds a record with a text.
    pub(in crate::sim) fn add_text(&mut self, mut record: Record, text: Text) {
        self.hash = text.add_to(self.hash);
        record.value = self.texts_forgotten + self.texts.len() as i64;
        self.add(record);
        self.texts.push_back(text);
        // Not more texts than records are kept.
        if self.texts.len() > self.keep {
            self.texts.pop_front();
            self.texts_forgotten += 1;
        }
    }

    /// Formats the last `max` records as lines.
    pub(in crate::sim) fn tail(&self, max: usize, host: impl Fn(u32) -> String) -> String {
        let mut lines = String::new();
        let skipped = self.kept.len().saturating_sub(max);
        for record in self.kept.iter().skip(skipped) {
            self.write(&mut lines, record, &host);
        }
        lines
    }

    fn write(&self, lines: &mut String, record: &Record, host: &impl Fn(u32) -> String) {
        let (seconds, rest) = (record.at / 1_000_000_000, record.at % 1_000_000_000);
        let kind = match record.kind {
            RecordKind::Call(kind) => kind.to_string(),
            RecordKind::Arrives(kind) => format!("> {kind:?}"),
            RecordKind::Lost(kind) => format!("lost {kind:?}"),
            RecordKind::Fault(kind) => format!("! {kind}"),
            RecordKind::Opens => "opens".to_owned(),
            RecordKind::Hangup => "> Hangup".to_owned(),
            RecordKind::Closes => "closes".to_owned(),
            RecordKind::Note => "note".to_owned(),
        };
        let about = record.about.to_string();
        let value = match record.kind {
            RecordKind::Opens | RecordKind::Note => {
                let index = usize::try_from(record.value - self.texts_forgotten).ok();
                index.and_then(|index| self.texts.get(index)).map(Text::to_string)
            }
            _ if record.value < 0 => Some(Errno::from(-(record.value as i32)).to_string()),
            RecordKind::Closes => None,
            _ => Some(record.value.to_string()),
        };
        let value = value.unwrap_or_default();
        let line = format!(
            "{seconds:>6}.{rest:09} {:<12} {about:<7} {kind:<12} {value}",
            Escaped(host(record.host))
        );
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{}", line.trim_end());
    }
}

impl RecordKind {
    fn code(self) -> (u8, u8) {
        match self {
            RecordKind::Call(kind) => (1, kind as u8),
            RecordKind::Arrives(kind) => (2, kind as u8),
            RecordKind::Lost(kind) => (3, kind as u8),
            RecordKind::Fault(kind) => (4, kind as u8),
            RecordKind::Opens => (5, 0),
            RecordKind::Closes => (6, 0),
            RecordKind::Note => (7, 0),
            RecordKind::Hangup => (8, 0),
        }
    }
}

/// Mixes the bits by a multiplication to 128 bits.
fn mix(word: u64) -> u64 {
    let product = u128::from(word) * 0x9e37_79b9_7f4a_7c15_u128;
    (product as u64) ^ (product >> 64) as u64 ^ word.rotate_left(29)
}

/// The default number of records that are kept: enough for the events before a failure, and little
/// memory for a thousand worlds.
const DEFAULT_KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_formatted_on_demand_and_change_the_hash() {
        let trace = |from: &str, to: &str| {
            let mut trace = Trace::new();
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let record = Record {
                at: 1_000_000_007,
                host: 0,
                about: About::end(3, 0),
                kind: RecordKind::Opens,
                value: 0,
            };
            trace.add_text(record, Text::Connects(from, to));
            trace
        };
        let one = trace("10.0.0.1:5", "[fd00::1]:7");
        let line = "     1.000000007 here         3a      opens        10.0.0.1:5 to [fd00::1]:7\n";
        assert_eq!(one.tail(1, |_| "here".to_owned()), line);
        assert_eq!(one.hash(), trace("10.0.0.1:5", "[fd00::1]:7").hash());
        for (from, to) in
            [("10.0.0.1:6", "[fd00::1]:7"), ("10.0.0.2:5", "[fd00::1]:7"), ("10.0.0.1:5", "[fd00::2]:7")]
        {
            assert_ne!(one.hash(), trace(from, to).hash(), "{from} {to}");
        }
    }
}
