//! Protection against reply loops between UDP services that answer every datagram.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Address, DatagramTransport, Instant};

/// Prevents reply loops between two UDP services that answer every datagram, such as echo services.
/// Without it, one datagram with a forged sender makes two services answer each other forever.
///
/// Call [`allows`](EchoGuard::allows) before each answer. It refuses an answer to
///
/// - a port below 1024 or the port of this socket: other services answer from these ports, and
///   clients do not use them (inetd has the same rule);
/// - a sender that repeated an earlier answer more than 64 times without a pause of half a second.
///   Each different datagram offsets one repetition. After a pause the sender is answered again.
///
/// A client whose datagrams differ, for example by a sequence number, is never refused at any rate.
/// A client that sends the same bytes for long without a pause is refused, because it cannot be
/// told from another service.
///
/// The guard remembers 4,096 senders, with hashes of the last 16 answers to each: at most 1 MiB.
/// All datagrams on UNIX sockets are allowed, because their senders cannot be forged.
///
/// ```
/// use twistor::policy::EchoGuard;
/// use twistor::{Address, DatagramProtocol, DatagramTransport};
///
/// struct Echo(EchoGuard);
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
///         if self.0.allows(transport, data, from) {
///             let _ = transport.write_to(data, from);
///         }
///     }
/// }
///
/// twistor::Reactor::new()?.listen_udp("127.0.0.1:0", Echo(EchoGuard::new()))?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct EchoGuard {
    senders: HashMap<SocketAddr, Sender>,
    refused: u64,
}

/// State of one sender.
#[derive(Debug)]
struct Sender {
    /// Hashes of the last answers; a ring buffer.
    answers: [u64; ANSWERS],
    /// Index of the next hash.
    next: usize,
    /// Number of datagrams that repeated an answer, minus those that did not.
    repeats: u32,
    last: Instant,
}

impl EchoGuard {
    /// Creates a guard that has seen no sender yet.
    pub fn new() -> EchoGuard {
        EchoGuard::default()
    }

    /// Returns whether to answer this datagram with the same bytes. If it returns true, the guard
    /// records the answer as sent.
    pub fn allows(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) -> bool {
        let (Some(from), Some(host)) = (from.socket_address(), transport.host().socket_address()) else {
            return true;
        };
        let now = transport.now();
        let allowed = self.allows_at(now, host.port(), data, from);
        self.refused += u64::from(!allowed);
        allowed
    }

    /// Number of datagrams for which an answer was refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn allows_at(&mut self, now: Instant, own_port: u16, data: &[u8], from: SocketAddr) -> bool {
        if from.port() == own_port || from.port() < FIRST_CLIENT_PORT {
            return false;
        }
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&from) {
            self.forget_idle(now);
        }
        let new = || Sender { answers: [0; ANSWERS], next: 0, repeats: 0, last: now };
        let sender = self.senders.entry(from).or_insert_with(new);
        if now - std::mem::replace(&mut sender.last, now) >= PAUSE {
            sender.repeats = 0;
        }
        let answer = hash(data);
        if sender.answers.contains(&answer) {
            sender.repeats = (sender.repeats + 1).min(MAX_REPEATS + 1);
            return sender.repeats <= MAX_REPEATS;
        }
        sender.repeats = sender.repeats.saturating_sub(1);
        sender.answers[sender.next % ANSWERS] = answer;
        sender.next = (sender.next + 1) % ANSWERS;
        true
    }

    /// Forgets senders that are pausing, since their count starts again anyway. If all senders are
    /// active, forgets all.
    fn forget_idle(&mut self, now: Instant) {
        self.senders.retain(|_, sender| now - sender.last < PAUSE);
        if self.senders.len() >= MAX_SENDERS {
            self.senders.clear();
        }
    }
}

/// Hashes a datagram. The result is never 0, which marks an unused entry.
fn hash(data: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = data.as_chunks::<8>();
    let sum = words.iter().fold(data.len() as u64, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    mix(rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte))), 0) | 1
}

const ANSWERS: usize = 16;

const MAX_SENDERS: usize = 4096;

/// Maximum number of repeated answers without a pause.
const MAX_REPEATS: u32 = 64;

/// Pause after which a sender is answered again. A reply loop this slow causes no load.
const PAUSE: Duration = Duration::from_millis(500);

/// Ports below are for services.
const FIRST_CLIENT_PORT: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u16 = 7007;

    fn client() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 40_000))
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanoseconds(milliseconds * 1_000_000)
    }

    /// Returns the number of answered datagrams.
    fn answered(guard: &mut EchoGuard, datagrams: impl IntoIterator<Item = (u64, Vec<u8>)>) -> usize {
        let allowed =
            datagrams.into_iter().filter(|(time, data)| guard.allows_at(at(*time), OWN, data, client()));
        allowed.count()
    }

    #[test]
    fn ports_of_services_are_not_answered() {
        let mut guard = EchoGuard::new();
        for (port, yes) in
            [(0, false), (7, false), (1023, false), (1024, true), (OWN, false), (OWN + 1, true)]
        {
            let from = SocketAddr::from(([192, 0, 2, 1], port));
            assert_eq!(guard.allows_at(at(0), OWN, b"hello", from), yes, "{port}");
        }
    }

    #[test]
    fn datagrams_that_differ_are_answered_however_many() {
        let mut guard = EchoGuard::new();
        let numbered = (0..100_000u64).map(|number| (0, number.to_be_bytes().to_vec()));
        assert_eq!(answered(&mut guard, numbered), 100_000);
        // Numbers at the end of long datagrams.
        let numbered = (0..1000u64).map(|number| (0, [&[0; 1000][..], &number.to_be_bytes()].concat()));
        assert_eq!(answered(&mut guard, numbered), 1000);
        // Each datagram is sent twice.
        let twice = (0..10_000u64).map(|number| (0, (number / 2).to_be_bytes().to_vec()));
        assert_eq!(answered(&mut guard, twice), 10_000);
    }

    #[test]
    fn a_sender_of_repeats_is_answered_64_times_until_it_pauses() {
        let mut guard = EchoGuard::new();
        let hello = |time| (time, b"hello".to_vec());
        assert_eq!(answered(&mut guard, (0..1000).map(hello)), 65);
        assert_eq!(answered(&mut guard, [hello(999 + 499)]), 0);
        assert_eq!(answered(&mut guard, (0..1000).map(|time| hello(999 + 499 + 500 + time))), 64);
        // A slow sender is always answered.
        assert_eq!(answered(&mut guard, (0..1000).map(|time| hello(10_000 + 500 * time))), 1000);
        // Different datagrams offset repeated ones.
        let mixed = (0..1000u64).map(|number| match number % 2 {
            0 => (1_000_000, b"hello".to_vec()),
            _ => (1_000_000, number.to_be_bytes().to_vec()),
        });
        assert_eq!(answered(&mut guard, mixed), 1000);
        // Two different datagrams are enough, however many were refused before.
        let mut guard = EchoGuard::new();
        assert_eq!(answered(&mut guard, (0..1000).map(|_| (2_000_000, b"hello".to_vec()))), 65);
        let others = ["another", "and another", "hello"].map(|text| (2_000_000, text.as_bytes().to_vec()));
        assert_eq!(answered(&mut guard, others), 3);
        // Repetition in turn of several datagrams is detected.
        let mut guard = EchoGuard::new();
        assert_eq!(answered(&mut guard, (0..1600u64).map(|number| (0, vec![(number % 16) as u8]))), 80);
    }

    #[test]
    fn senders_are_forgotten_where_there_are_too_many() {
        let mut guard = EchoGuard::new();
        let from = |number: u32| SocketAddr::from((number.to_be_bytes(), 40_000));
        for number in 0..2 * MAX_SENDERS as u32 {
            assert!(guard.allows_at(at(0), OWN, b"hello", from(number)));
            assert!(guard.senders.len() <= MAX_SENDERS);
        }
        // Pausing senders are forgotten first.
        assert!(guard.allows_at(at(600), OWN, b"hello", from(2 * MAX_SENDERS as u32)));
        assert_eq!(guard.senders.len(), 1);
    }
}
