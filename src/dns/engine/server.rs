//! Servers: their response times and failures, and the choice among them.

use std::time::Duration;

use crate::Instant;
use crate::dns::{NameServer, ResolverConfig};

/// A server and what is known about it.
pub(super) struct Server {
    pub(super) config: NameServer,
    /// Its index in the configuration. `None` if it is not there any more.
    pub(super) rank: Option<usize>,
    /// Smoothed response time. It shrinks while other servers are asked.
    response_time: Duration,
    /// Failures in a row.
    failures: u8,
    /// After failures, the server is avoided until this time.
    avoided_until: Instant,
    /// The server answers queries with EDNS.
    pub(super) edns: bool,
    /// Number of queries that it has not answered.
    pub(super) in_flight: usize,
    /// The response time was measured.
    measured: bool,
}

/// The attempts of one query at each server.
#[derive(Clone, Copy, Default)]
pub(super) struct Attempts {
    counts: [u8; MAX_PLACES],
    /// Bit n: server n has answered with a failure, and is not asked again.
    excluded: u32,
}

impl Attempts {
    pub(super) fn begin(&mut self, server: usize) {
        if let Some(count) = self.counts.get_mut(server) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn exclude(&mut self, server: usize) {
        self.excluded |= 1 << server.min(MAX_PLACES - 1);
    }

    fn is_excluded(&self, server: usize) -> bool {
        self.excluded & 1 << server.min(MAX_PLACES - 1) != 0
    }
}

/// The choice of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Server(usize),
    /// All servers that may be asked have as many queries as they may.
    Busy,
    /// No server is left.
    None,
}

impl Server {
    pub(super) fn new(config: NameServer, rank: usize) -> Server {
        Server {
            config,
            rank: Some(rank),
            response_time: UNKNOWN_RESPONSE_TIME,
            failures: 0,
            avoided_until: Instant::default(),
            edns: true,
            in_flight: 0,
            measured: false,
        }
    }

    /// Notes a response, and its time if that is typical.
    pub(super) fn answered(&mut self, took: Option<Duration>) {
        self.failures = 0;
        self.avoided_until = Instant::default();
        if let Some(took) = took {
            self.response_time = match std::mem::replace(&mut self.measured, true) {
                true => (self.response_time * 7 + took) / 8,
                false => took,
            };
        }
    }

    /// Notes a failure: the server is avoided for 5 s, and for twice as long after each further
    /// one, up to 80 s.
    pub(super) fn failed(&mut self, now: Instant) {
        let delay = MIN_AVOIDANCE * (1 << self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        self.avoided_until = now + delay;
        (self.response_time, self.measured) = (UNKNOWN_RESPONSE_TIME, false);
    }
}

/// Chooses the server of the next attempt: one that was asked least often, is not avoided, and is
/// the fastest. With a rotation, the servers take turns.
pub(super) fn choose(
    servers: &mut [Server],
    attempts: &Attempts,
    rotation: Option<usize>,
    now: Instant,
    config: &ResolverConfig,
) -> Choice {
    let count = servers.iter().filter(|server| server.rank.is_some()).count().max(1);
    let mut busy = false;
    let mut best = None;
    for (index, server) in servers.iter().enumerate() {
        let Some(place) = server.rank.filter(|_| !attempts.is_excluded(index)) else { continue };
        if server.in_flight >= config.max_per_server.max(1) {
            busy = true;
            continue;
        }
        let asked = attempts.counts.get(index).copied().unwrap_or_default();
        let avoided = server.avoided_until > now;
        let order = match rotation {
            Some(rotation) => Duration::from_nanos(((place + count - rotation % count) % count) as u64),
            None => server.response_time,
        };
        let rank = (asked, avoided, order, place, index);
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
        }
    }
    let Some((_, _, _, _, chosen)) = best else { return if busy { Choice::Busy } else { Choice::None } };
    let measured = servers.get(chosen).is_some_and(|server| server.measured);
    for (index, server) in servers.iter_mut().enumerate() {
        if index == chosen {
            if server.failures > 0 {
                // One query finds out whether it is back. Others need not wait for that.
                server.avoided_until = server.avoided_until.max(now + PROBE_INTERVAL);
            }
        } else if measured {
            // It may have become faster: after some time it is asked again.
            server.response_time -= server.response_time / 64;
        }
    }
    Choice::Server(chosen)
}

/// Limit on servers.
pub(super) const MAX_SERVERS: usize = 16;

/// Limit on servers with those that were replaced and have queries in flight.
pub(super) const MAX_PLACES: usize = 32;

/// Assumed response time of a server that was never asked. The first server of the list keeps the
/// queries if it is faster than this.
const UNKNOWN_RESPONSE_TIME: Duration = Duration::from_millis(150);

const MIN_AVOIDANCE: Duration = Duration::from_secs(5);

/// Time between two queries to a server that has failed.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: u8) -> Vec<Server> {
        let server = |index| NameServer::from(([192, 0, 2, index], 53));
        (0..count).map(|index| Server::new(server(index), usize::from(index))).collect()
    }

    fn chosen(servers: &mut [Server], attempts: &Attempts, now: Instant) -> Choice {
        choose(servers, attempts, None, now, &ResolverConfig::default())
    }

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_faster_server_is_preferred_and_a_slow_one_tried_again() {
        let mut servers = servers(2);
        let none = Attempts::default();
        assert_eq!(chosen(&mut servers, &none, at(1)), Choice::Server(0));
        servers[0].answered(Some(Duration::from_millis(400)));
        assert_eq!(chosen(&mut servers, &none, at(1)), Choice::Server(1));
        servers[1].answered(Some(Duration::from_millis(20)));
        let later = (0..1000).position(|_| chosen(&mut servers, &none, at(1)) == Choice::Server(0));
        assert!(later.is_some_and(|count| count > 100), "{later:?}");
    }

    #[test]
    fn a_failed_server_is_avoided_and_then_probed_once() {
        let mut servers = servers(2);
        let none = Attempts::default();
        servers[0].failed(at(10));
        servers[1].answered(Some(Duration::from_secs(1)));
        assert_eq!(chosen(&mut servers, &none, at(14)), Choice::Server(1));
        assert_eq!(chosen(&mut servers, &none, at(15)), Choice::Server(0));
        assert_eq!(chosen(&mut servers, &none, at(16)), Choice::Server(1), "the probe is on its way");
        servers[0].answered(Some(Duration::from_millis(10)));
        assert_eq!(chosen(&mut servers, &none, at(16)), Choice::Server(0));
    }

    #[test]
    fn each_server_is_asked_before_one_is_asked_again() {
        let mut servers = servers(3);
        let mut attempts = Attempts::default();
        let mut order = Vec::new();
        for _ in 0..4 {
            let Choice::Server(index) = chosen(&mut servers, &attempts, at(1)) else { panic!() };
            attempts.begin(index);
            order.push(index);
        }
        assert_eq!(order, [0, 1, 2, 0]);
        attempts.exclude(1);
        assert_eq!(chosen(&mut servers, &attempts, at(1)), Choice::Server(2));
        attempts.exclude(0);
        servers[2].in_flight = 100;
        assert_eq!(chosen(&mut servers, &attempts, at(1)), Choice::Busy);
        servers[2].in_flight = 99;
        assert_eq!(chosen(&mut servers, &attempts, at(1)), Choice::Server(2));
        attempts.exclude(2);
        assert_eq!(chosen(&mut servers, &attempts, at(1)), Choice::None);
    }

    #[test]
    fn servers_take_turns_in_a_rotation() {
        let mut servers = servers(3);
        let config = ResolverConfig::default();
        let none = Attempts::default();
        let turns = (0..4).map(|turn| choose(&mut servers, &none, Some(turn), at(1), &config));
        assert!(turns.eq([0, 1, 2, 0].map(Choice::Server)));
    }
}
