//! The race of a destination's addresses: their order, the attempts in progress, and the reason if
//! all fail. (RFC 8305, happy eyeballs.)
//!
//! The address families alternate, starting with that of the resolver's first address. Each address
//! has a head start before the next attempt begins. When an attempt fails, the next begins at once.
//! The first connection wins.
//!
//! Addresses may arrive while the race runs. They join the ones that wait. If IPv4 addresses arrive
//! first, the first attempt waits a moment for IPv6 addresses. `destination_order` sorts them if
//! the resolver has no order of its own.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{Instant, OpenError, OpenStep, Token};
use crate::reactor::{Address, DelayedCall, Lookup, Reason};

/// The attempts of a connector at one connection.
pub(in crate::reactor) struct HappyEyeballs {
    /// Addresses not yet tried, in order.
    pub(in crate::reactor) waiting: VecDeque<Address>,
    /// Attempts in progress, the earliest first.
    pub(in crate::reactor) attempts: Vec<Attempt>,
    /// The timer for the next attempt if none fails. Before the first attempt, the timer of the
    /// wait for IPv6 addresses.
    pub(in crate::reactor) next: Option<DelayedCall>,
    /// The end of the head start of the last attempt; `None` when that has failed.
    pub(in crate::reactor) next_at: Option<Instant>,
    /// The look-up, while further addresses may arrive.
    pub(in crate::reactor) lookup: Option<Lookup>,
    /// The family of the last address that was tried.
    last_family: Option<Family>,
    /// The family of the local address, which limits the attempts to it.
    bind: Option<Family>,
    /// Addresses of the other family than `bind`. They are tried only if there are no others.
    unbindable: Vec<SocketAddr>,
    /// The failure of the highest rank so far.
    pub(in crate::reactor) failure: Option<RankedFailure>,
}

#[derive(Clone, Copy)]
pub(in crate::reactor) struct Attempt {
    pub(in crate::reactor) token: Token,
    /// The time of the `connect` call.
    pub(in crate::reactor) began: Instant,
}

/// The failure of an attempt, with its rank.
#[derive(Clone, Debug)]
pub(in crate::reactor) struct RankedFailure {
    rank: Rank,
    reason: Reason,
}

/// The ranks of failures, lowest first. An answer from one address is more informative than an
/// address that could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// This machine does not support the family, or has no route for it. That is usual for
    /// IPv4-only machines, and must not hide a failure of the other family.
    NoFamily,
    /// The network reported that there is no route. Routers do so for a family that they do not
    /// forward. It must not hide that the other family could not be asked.
    NoRoute,
    /// This machine could not ask: no ports, descriptors or memory left.
    Local,
    /// Any other failure.
    Failed,
    Silent,
    SelfConnected,
    Refused,
}

impl HappyEyeballs {
    pub(in crate::reactor) fn new(waiting: impl IntoIterator<Item = Address>) -> HappyEyeballs {
        HappyEyeballs {
            waiting: waiting.into_iter().collect(),
            attempts: Vec::new(),
            next: None,
            next_at: None,
            lookup: None,
            last_family: None,
            bind: None,
            unbindable: Vec::new(),
            failure: None,
        }
    }

    /// A race whose addresses arrive from `lookup`. A local address limits the attempts to its own
    /// family, unless there are no such addresses.
    pub(in crate::reactor) fn resolving(lookup: Lookup, bind: Option<SocketAddr>) -> HappyEyeballs {
        let bind = bind.map(Family::of);
        HappyEyeballs { lookup: Some(lookup), bind, ..HappyEyeballs::new([]) }
    }

    /// Adds addresses, in the resolver's order. The families alternate among all that wait.
    pub(in crate::reactor) fn add(&mut self, found: Vec<SocketAddr>) {
        let bindable = |address: &SocketAddr| self.bind.is_none_or(|bind| bind == Family::of(*address));
        let (found, unbindable): (Vec<_>, Vec<_>) = found.into_iter().partition(bindable);
        self.unbindable.extend(unbindable);
        let has_ipv6 = found.iter().any(SocketAddr::is_ipv6);
        let first = match (self.last_family, self.waiting.front()) {
            (Some(last), _) => last.other(),
            // IPv6 addresses that arrive before the first attempt are preferred.
            (None, Some(_)) if has_ipv6 => Family::Ipv6,
            (None, Some(front)) => Family::of_address(front),
            (None, None) => found.first().map_or(Family::Ipv6, |first| Family::of(*first)),
        };
        let all = std::mem::take(&mut self.waiting).into_iter().chain(found.into_iter().map(Address::Tcp));
        self.waiting = interleaved(all, first);
    }

    /// Removes the addresses that wait, for them to be sorted and added again.
    pub(in crate::reactor) fn take_waiting(&mut self) -> Vec<SocketAddr> {
        self.waiting.drain(..).filter_map(|address| address.socket_address()).collect()
    }

    /// Notes that no further addresses arrive.
    pub(in crate::reactor) fn end_lookup(&mut self) {
        self.lookup = None;
        if self.last_family.is_none() && self.waiting.is_empty() {
            self.bind = None;
            let unbindable = std::mem::take(&mut self.unbindable);
            self.add(unbindable);
        }
    }

    /// Removes the next address to try.
    pub(in crate::reactor) fn pop(&mut self) -> Option<Address> {
        let address = self.waiting.pop_front()?;
        self.last_family = Some(Family::of_address(&address));
        Some(address)
    }

    /// Whether the first attempt waits for IPv6 addresses. (RFC 8305, 3.)
    pub(in crate::reactor) fn awaits_ipv6(&self) -> bool {
        let ipv4 = |address: &Address| Family::of_address(address) == Family::Ipv4;
        self.lookup.is_some()
            && self.last_family.is_none()
            && self.bind != Some(Family::Ipv4)
            && self.waiting.iter().all(ipv4)
    }

    /// Whether another attempt may begin.
    pub(in crate::reactor) fn has_room(&self) -> bool {
        self.attempts.len() < MAX_ATTEMPTS
    }

    /// Removes an attempt and returns the time it began.
    pub(in crate::reactor) fn remove(&mut self, attempt: Token) -> Option<Instant> {
        let at = self.attempts.iter().position(|other| other.token == attempt)?;
        Some(self.attempts.remove(at).began)
    }
}

impl RankedFailure {
    /// Keeps the reason of the higher rank, and the later one of equal ranks.
    pub(in crate::reactor) fn note(kept: &mut Option<RankedFailure>, reason: Reason) {
        let rank = Rank::of(&reason);
        RankedFailure::keep(kept, RankedFailure { rank, reason });
    }

    /// Keeps the reason for a socket that could not be opened, if its rank is at least as high.
    pub(in crate::reactor) fn note_opening(
        kept: &mut Option<RankedFailure>,
        failed: &OpenError,
        is_ipv6: bool,
    ) {
        let reason = Reason::of_open(failed);
        let rank = match failed.error.kind() {
            // For IPv4 this means that no local port is left. For IPv6 it can also mean that the
            // machine has no IPv6.
            io::ErrorKind::AddrNotAvailable if is_ipv6 && failed.step == OpenStep::Connect => Rank::NoFamily,
            _ => Rank::of(&reason),
        };
        RankedFailure::keep(kept, RankedFailure { rank, reason });
    }

    pub(in crate::reactor) fn into_reason(self) -> Reason {
        self.reason
    }

    fn keep(kept: &mut Option<RankedFailure>, failure: RankedFailure) {
        if kept.as_ref().is_none_or(|kept| failure.rank >= kept.rank) {
            *kept = Some(failure);
        }
    }
}

impl Rank {
    fn of(reason: &Reason) -> Rank {
        match reason {
            Reason::Refused(_) => Rank::Refused,
            Reason::SelfConnected => Rank::SelfConnected,
            Reason::SystemTimedOut(_) | Reason::TimedOut(_) => Rank::Silent,
            Reason::NoLocalRoute(_) => Rank::NoFamily,
            Reason::ConnectFailed(error) if error.is_of_another_family() => Rank::NoFamily,
            local if local.is_local() => Rank::Local,
            Reason::NoRoute(_) => Rank::NoRoute,
            _ => Rank::Failed,
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ipv4,
    /// Also stands for UNIX addresses, of which a race has only one.
    Ipv6,
}

impl Family {
    fn of(address: SocketAddr) -> Family {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    fn of_address(address: &Address) -> Family {
        address.socket_address().map_or(Family::Ipv6, Family::of)
    }

    fn other(self) -> Family {
        match self {
            Family::Ipv4 => Family::Ipv6,
            Family::Ipv6 => Family::Ipv4,
        }
    }
}

/// Alternates the families, each in its order. `first` begins.
fn interleaved(addresses: impl Iterator<Item = Address>, first: Family) -> VecDeque<Address> {
    let (begins, follows): (VecDeque<_>, VecDeque<_>) =
        addresses.partition(|address| Family::of_address(address) == first);
    let mut families = [begins, follows];
    let mut order = VecDeque::new();
    while families.iter().any(|family| !family.is_empty()) {
        order.extend(families.iter_mut().filter_map(VecDeque::pop_front));
    }
    order
}

/// Limit on concurrent attempts. RFC 8305 has none, but a name can have hundreds of addresses, and
/// each attempt needs a descriptor. At the limit, the next attempt begins when one has failed.
const MAX_ATTEMPTS: usize = 16;

/// The minimum head start. (RFC 8305, 5: it MUST NOT be shorter.)
pub(in crate::reactor) const MIN_ATTEMPT_DELAY: Duration = Duration::from_millis(10);

/// Time for which the first attempt waits for IPv6 addresses when IPv4 addresses arrived first.
/// (RFC 8305, 3: the Resolution Delay, recommended 50 ms.)
pub(in crate::reactor) const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
    }

    fn race(bind: Option<&str>) -> HappyEyeballs {
        HappyEyeballs::resolving(Lookup::of_test(), bind.map(|bind| bind.parse().unwrap()))
    }

    /// The addresses of a race in the order in which they are tried.
    fn rest(race: &mut HappyEyeballs) -> String {
        let order: Vec<_> = std::iter::from_fn(|| race.pop()).collect();
        let texts = order.iter().map(|address| address.socket_address().unwrap().to_string());
        texts.collect::<Vec<_>>().join(" ")
    }

    fn order(found: &str, bind: Option<&str>) -> String {
        let mut race = race(bind);
        race.add(addresses(found));
        race.end_lookup();
        rest(&mut race)
    }

    #[test]
    fn late_addresses_take_turns_with_those_that_wait() {
        let mut late = race(None);
        late.add(addresses("1.1.1.1:1 2.2.2.2:1 3.3.3.3:1"));
        assert!(late.awaits_ipv6());
        assert_eq!(late.pop().unwrap().to_string(), "1.1.1.1:1");
        assert!(!late.awaits_ipv6(), "the first attempt has begun");
        late.add(addresses("[::1]:1 [::2]:1"));
        assert_eq!(rest(&mut late), "[::1]:1 2.2.2.2:1 [::2]:1 3.3.3.3:1");
        late.add(addresses("[::3]:1 4.4.4.4:1"));
        assert_eq!(rest(&mut late), "[::3]:1 4.4.4.4:1", "the last was IPv4");
    }

    #[test]
    fn ipv6_begins_if_it_arrives_before_the_first_attempt() {
        let mut race = race(None);
        race.add(addresses("1.1.1.1:1 2.2.2.2:1"));
        race.add(addresses("[::1]:1"));
        assert!(!race.awaits_ipv6());
        assert_eq!(rest(&mut race), "[::1]:1 1.1.1.1:1 2.2.2.2:1");
    }

    #[test]
    fn only_an_unfinished_lookup_delays_the_first_attempt() {
        let mut ended = race(None);
        ended.add(addresses("1.1.1.1:1"));
        ended.end_lookup();
        assert!(!ended.awaits_ipv6());
        let mut bound = race(Some("127.0.0.1:0"));
        bound.add(addresses("1.1.1.1:1"));
        assert!(!bound.awaits_ipv6(), "IPv6 could not be used");
        // Addresses of the other family are kept until it is certain that there are no others.
        let mut waits = race(Some("[::1]:0"));
        waits.add(addresses("1.1.1.1:1"));
        assert!(waits.waiting.is_empty());
        waits.add(addresses("[::2]:1"));
        waits.end_lookup();
        assert_eq!(rest(&mut waits), "[::2]:1");
    }

    #[test]
    fn the_families_take_turns_and_the_resolvers_first_begins() {
        for (found, tried) in [
            ("", ""),
            ("1.1.1.1:1", "1.1.1.1:1"),
            ("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1", "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"),
            ("1.1.1.1:1 2.2.2.2:1 [::1]:1", "1.1.1.1:1 [::1]:1 2.2.2.2:1"),
            ("[::1]:1 1.1.1.1:1 2.2.2.2:1 3.3.3.3:1", "[::1]:1 1.1.1.1:1 2.2.2.2:1 3.3.3.3:1"),
        ] {
            assert_eq!(order(found, None), tried);
        }
    }

    #[test]
    fn a_local_address_leaves_its_own_family() {
        let found = "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1";
        assert_eq!(order(found, Some("127.0.0.1:0")), "1.1.1.1:1 2.2.2.2:1");
        assert_eq!(order(found, Some("[::1]:0")), "[::1]:1 [::2]:1");
        assert_eq!(order("1.1.1.1:1", Some("[::1]:0")), "1.1.1.1:1");
    }

    /// Every failure of an attempt, the lowest rank first. Failures on one line have the same rank.
    const RANKS: [&[Fails]; 7] = [
        &[Here(6, Errno::NETUNREACH), Here(6, Errno::ADDRNOTAVAIL), Here(6, Errno::AFNOSUPPORT)],
        &[There(Errno::NETUNREACH), There(Errno::HOSTUNREACH)],
        &[
            Here(4, Errno::ADDRNOTAVAIL),
            Here(4, Errno::ADDRINUSE),
            Here(4, Errno::AGAIN),
            Here(6, Errno::NOBUFS),
            NoSocket(Errno::MFILE),
            NoSocket(Errno::PERM),
            Bind,
        ],
        &[There(Errno::CONNRESET), Here(4, Errno::PERM)],
        &[There(Errno::TIMEDOUT), Silent],
        &[Itself],
        &[There(Errno::CONNREFUSED), Here(4, Errno::CONNREFUSED)],
    ];

    #[derive(Clone, Copy, Debug)]
    enum Fails {
        /// Returned at once by the `connect` call, to an address of this family.
        Here(u8, Errno),
        NoSocket(Errno),
        Bind,
        /// Reported later, as an answer.
        There(Errno),
        Silent,
        Itself,
    }
    use Fails::*;

    fn note(kept: &mut Option<RankedFailure>, fails: Fails) {
        let mut opening = |step, error: Errno, family| {
            RankedFailure::note_opening(kept, &OpenError { step, error: error.into() }, family == 6);
        };
        match fails {
            Here(family, errno) => opening(OpenStep::Connect, errno, family),
            NoSocket(errno) => opening(OpenStep::Socket, errno, 4),
            Bind => opening(OpenStep::Bind, Errno::ADDRINUSE, 4),
            There(errno) => RankedFailure::note(kept, Reason::of_connect(&errno.into(), "connect")),
            Silent => RankedFailure::note(kept, Reason::TimedOut(Duration::from_secs(1))),
            Itself => RankedFailure::note(kept, Reason::SelfConnected),
        }
    }

    fn kept(fails: &[Fails]) -> Reason {
        let mut kept = None;
        fails.iter().for_each(|fails| note(&mut kept, *fails));
        kept.unwrap().into_reason()
    }

    #[test]
    fn of_every_two_failures_the_higher_rank_is_told() {
        let all = || RANKS.iter().enumerate().flat_map(|(rank, of)| of.iter().map(move |one| (rank, *one)));
        for (first_rank, first) in all() {
            for (second_rank, second) in all() {
                let told = if first_rank > second_rank { first } else { second };
                assert_eq!(kept(&[first, second]), kept(&[told]), "{first:?}, then {second:?}");
            }
        }
    }

    #[test]
    fn trouble_here_is_hidden_by_an_answer_alone() {
        let no_port = Here(4, Errno::ADDRNOTAVAIL);
        for other in [Here(6, Errno::NETUNREACH), There(Errno::HOSTUNREACH)] {
            assert_eq!(kept(&[no_port, other]), kept(&[no_port]), "{other:?}");
            assert!(kept(&[no_port, other]).is_local(), "{other:?}");
        }
        for answer in [Errno::CONNREFUSED, Errno::TIMEDOUT].map(There) {
            assert!(!kept(&[no_port, answer]).is_local(), "{answer:?}");
        }
        // An IPv4-only machine detects that the host is gone.
        for errno in [Errno::NETUNREACH, Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT] {
            assert!(!kept(&[There(Errno::HOSTUNREACH), Here(6, errno)]).is_local(), "{errno:?}");
        }
    }
}
