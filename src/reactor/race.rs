//! The race of a destination's addresses: their order, what is under way, and what to say when none of them wins.
//! (RFC 8305, happy eyeballs.)
//!
//! The families take turns, that of the resolver's first address begins. Each address has a head start before the next
//! one is tried beside it; when one fails, the next begins at once. The first connection that is made wins.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Address, DelayedCall, Reason};
use crate::net::{Instant, Token};

/// A connector's attempts at one connection.
pub(super) struct Race {
    /// Addresses not yet tried, in order.
    pub(super) waiting: VecDeque<Address>,
    /// Under way, the earliest first.
    pub(super) attempts: Vec<Attempt>,
    /// Begins with the next address, though none has failed.
    pub(super) next: Option<DelayedCall>,
    /// What tells most of what was heard so far.
    pub(super) failure: Option<Reason>,
}

#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) token: Token,
    /// When the system was asked to connect.
    pub(super) began: Instant,
}

impl Race {
    pub(super) fn new(waiting: impl IntoIterator<Item = Address>) -> Race {
        let waiting = waiting.into_iter().collect();
        Race { waiting, attempts: Vec::new(), next: None, failure: None }
    }

    /// Whether one more may begin beside those under way.
    pub(super) fn has_room(&self) -> bool {
        self.attempts.len() < MOST_AT_ONCE
    }

    /// An attempt is over; tells when it began.
    pub(super) fn remove(&mut self, attempt: Token) -> Option<Instant> {
        let at = self.attempts.iter().position(|other| other.token == attempt)?;
        Some(self.attempts.remove(at).began)
    }

    /// Keeps the reason that tells most; of two alike the later.
    pub(super) fn note(&mut self, reason: Reason) {
        note(&mut self.failure, reason);
    }
}

/// Keeps the reason that tells most; of two alike the later.
pub(super) fn note(kept: &mut Option<Reason>, reason: Reason) {
    if kept.as_ref().is_none_or(|kept| telling(&reason) >= telling(kept)) {
        *kept = Some(reason);
    }
}

/// The families in turn, each in the resolver's order. With a local address only its own family can be connected to: the
/// other is left out, unless there is nothing else.
pub(super) fn interleaved(found: Vec<SocketAddr>, bind: Option<SocketAddr>) -> Vec<SocketAddr> {
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

/// How much a failure tells. One address that answers "no" tells more of the service than another that could not be
/// asked: the first is mostly there, the second mostly has no route for its family.
fn telling(reason: &Reason) -> u8 {
    match reason {
        Reason::Refused(_) => 5,
        Reason::SelfConnected => 4,
        Reason::SystemTimedOut(_) | Reason::TimedOut(_) => 3,
        Reason::NoRoute(_) => 1,
        local if local.is_local() => 0,
        _ => 2,
    }
}

/// Attempts under way at one time. RFC 8305 has no limit; one name can have hundreds of addresses, and each attempt is a
/// descriptor. Beyond it the next begins when one has failed.
const MOST_AT_ONCE: usize = 16;

/// The shortest head start. (RFC 8305, 5: it MUST NOT be shorter.)
pub(super) const LEAST_DELAY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemError;
    use std::io::ErrorKind;

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

    #[test]
    fn the_reason_that_tells_most_is_kept() {
        let error = |call| SystemError { call, kind: ErrorKind::Other, code: None };
        let kept = |reasons: &[Reason]| {
            let mut race = Race::new([]);
            reasons.iter().cloned().for_each(|reason| race.note(reason));
            race.failure.unwrap()
        };
        let refused = Reason::Refused(error("first"));
        let no_route = Reason::NoRoute(error("connect"));
        assert_eq!(kept(&[refused.clone(), no_route.clone()]), refused);
        assert_eq!(kept(&[no_route.clone(), refused.clone()]), refused);
        let failed = Reason::ConnectFailed(error("connect"));
        assert_eq!(kept(&[failed.clone(), no_route.clone(), Reason::Bind(error("bind"))]), failed);
        let later = Reason::Refused(error("second"));
        assert_eq!(kept(&[refused.clone(), later.clone(), Reason::SelfConnected]), later);
        let silent = Reason::TimedOut(Duration::from_secs(1));
        assert_eq!(kept(&[refused.clone(), silent.clone()]), refused);
        assert_eq!(kept(&[no_route.clone(), failed.clone(), silent.clone()]), silent);
        // This machine has no address of the family, or not even the family.
        for errno in [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL] {
            let code = Some(errno.raw_os_error());
            let kind = std::io::Error::from(errno).kind();
            let local = Reason::ConnectFailed(SystemError { call: "connect", kind, code });
            assert_eq!(kept(&[no_route.clone(), local.clone()]), no_route);
            assert_eq!(kept(&[local, failed.clone()]), failed);
        }
    }
}
