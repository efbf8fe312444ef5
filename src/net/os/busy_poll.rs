//! Busy-polling: polls that spin before they sleep.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::net::BusyPollStats;

/// Time limit of busy-polls, and their counts.
pub(in crate::net::os) struct Spin {
    limit: Duration,
    pub(in crate::net::os) spins: BusyPollStats,
}

impl Spin {
    pub(in crate::net::os) fn new(limit: Duration) -> Spin {
        Spin { limit, spins: BusyPollStats::default() }
    }

    /// Polls. Ends with the first event (a wake-up included) or after the timeout.
    #[inline]
    pub(in crate::net::os) fn poll(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if self.limit.is_zero() || timeout == Some(Duration::ZERO) {
            return poll.poll(events, timeout);
        }
        self.busy_poll(poll, events, timeout)
    }

    #[inline(never)] // rarely enabled
    fn busy_poll(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let limit = timeout.map_or(self.limit, |timeout| timeout.min(self.limit));
        let mut begun = None;
        let passed = loop {
            poll.poll(events, Some(Duration::ZERO))?;
            if !events.is_empty() {
                return Ok(());
            }
            // A loop that always finds events never reads the clock.
            let now = Instant::now();
            let passed = now
                - *begun.get_or_insert_with(|| {
                    self.spins.begun += 1;
                    now
                });
            if passed >= limit {
                break passed;
            }
        };
        let rest = timeout.map(|timeout| timeout.saturating_sub(passed));
        if rest == Some(Duration::ZERO) {
            return Ok(());
        }
        self.spins.in_vain += 1;
        poll.poll(events, rest)
    }
}
