//! The race of a destination's addresses: their order, the attempts in progress, and the reason if
//! all fail. (RFC 8305, happy eyeballs.)
//!
//! The address families alternate, starting with that of the resolver's first address. Each address
//! has a head start before the next attempt begins. When an attempt fails, the next begins at once.
//! The first connection wins.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{Instant, OpenError, OpenStep, Token};
use crate::reactor::{Address, DelayedCall, Reason};

/// The attempts of a connector at one connection.
pub(in crate::reactor) struct HappyEyeballs {
    /// Addresses not yet tried, in order.
    pub(in crate::reactor) waiting: VecDeque<Address>,
    /// Attempts in progress, the earliest first.
    pub(in crate::reactor) attempts: Vec<Attempt>,
    /// The timer for the next attempt if none fails.
    pub(in crate::reactor) next: Option<DelayedCall>,
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
        let waiting = waiting.into_iter().collect();
        HappyEyeballs { waiting, attempts: Vec::new(), next: None, failure: None }
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

/// Alternates the families, each in the resolver's order. A local address limits the attempts to
/// its own family, unless there are no such addresses.
pub(in crate::reactor) fn interleaved(found: Vec<SocketAddr>, bind: Option<SocketAddr>) -> Vec<SocketAddr> {
    let of_bind = |address: &SocketAddr| bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
    let any = found.iter().any(of_bind);
    let first = found.first().is_some_and(SocketAddr::is_ipv4);
    let usable = found.into_iter().filter(|address| !any || of_bind(address));
    let (begins, follows): (VecDeque<_>, VecDeque<_>) =
        usable.partition(|address| address.is_ipv4() == first);
    let mut families = [begins, follows];
    let mut order = Vec::new();
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn order(found: &str, bind: Option<&str>) -> String {
        let found = found.split(' ').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
        let order = interleaved(found.collect(), bind.map(|bind| bind.parse().unwrap()));
        order.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
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
