//! The limits and sizes of a reactor.

use std::time::Duration;

#[cfg(doc)]
use super::Reactor;
use crate::net::ThreadLimits;

/// The limits and sizes of a reactor. Every queue, buffer and wait has one.
///
/// Any value is valid. A time of zero leaves no time, [`Duration::MAX`] never ends. Sizes and counts that would make
/// work impossible are raised to 1, and those that no machine has are lowered, as the fields say; [`Reactor::settings`] has what
/// came of it.
///
/// ```
/// use twistor::{Reactor, Settings};
///
/// let settings = Settings { max_connections: 100, ..Settings::default() };
/// let reactor = Reactor::with_settings(settings)?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Connections that may be open at once; those beyond it are accepted and closed, and counted. Default:
    /// 10,000, or as many as leave half of the descriptors and 256 more for other things if that is less.
    pub max_connections: usize,
    /// Connections accepted from one listener in a turn, 1 at least: they are accepted one by one as long as there is no queue of
    /// them. Default: 16.
    pub accepts_per_turn: usize,
    /// Wait after an accept that failed for want of descriptors or memory, 1 ms at least. Default: 100 ms.
    pub accept_retry_delay: Duration,
    /// Size of the buffer that all connections are read into, in bytes, from 1 to 64 MiB. A connection that is alone in a turn is read 32 KiB at a time
    /// at the most, so that its peer goes on while it is answered. Default: 64 KiB (measured: one connection in bulk takes 0.7 of the
    /// CPU with 32 KiB, many with much under way take 0.7 of it with 64 KiB).
    pub read_buffer: usize,
    /// Bytes read from one connection in a turn before the others have theirs, 1 at least. Default: 64 KiB.
    pub read_per_turn: usize,
    /// Bytes sent of one connection's buffer in a turn, 1 at least. Default: 128 KiB.
    pub write_per_turn: usize,
    /// Unsent bytes above which a protocol is told to pause writing; one above `write_buffer_limit` counts as that.
    /// Default: 64 KiB.
    pub high_water: usize,
    /// Unsent bytes at which a protocol is told to resume; above `high_water` it counts as that. Default: 16 KiB.
    pub low_water: usize,
    /// Bytes that a protocol may have unsent beyond what waited when
    /// [`pause_writing`](crate::Protocol::pause_writing) was delivered, or beyond the least that has waited since. A write that
    /// finds more ends the connection with [`Reason::BufferLimit`](crate::Reason::BufferLimit). What is written before that callback,
    /// which comes in the same turn or the next, has no limit: one large answer may be written in any number of
    /// pieces, and a protocol that ignores `pause_writing` has at most one turn's writes and this in memory.
    /// Default: 1 MiB.
    pub write_buffer_limit: usize,
    /// After `lose_connection` or `lose_write_connection`: how long nothing may be sent before the connection is aborted, because
    /// the peer takes nothing, or a registered producer or a layer does not come to its end. Default: 30 s.
    pub close_timeout: Duration,
    /// How long the layers of an accepted connection may take to get [ready](crate::LayerContext::ready) before it is given up. For one that
    /// this side makes, [`ConnectTcp::timeout`](crate::ConnectTcp::timeout) includes it. Default: 30 s.
    pub handshake_timeout: Duration,
    /// After the last byte was sent: how long the peer's own data is read and dropped, so that
    /// none of ours is destroyed by a reset. At most five times this in all. Zero switches it off. Default: 2 s.
    pub linger: Duration,
    /// What [`stop_gracefully`](crate::Reactor::stop_gracefully) grants for sending what waits; and before that, once more,
    /// a future of [`block_on`](crate::block_on()) that awaits [`stopping`](crate::task::stopping()), to end. Default: 5 s.
    pub graceful_stop_timeout: Duration,
    /// Timed calls run in one turn, 1 at least. Default: 10,000.
    pub timers_per_turn: usize,
    /// Threads for [`call_in_thread`](crate::Reactor::call_in_thread), 1 at least. Default: 10.
    pub threads: usize,
    /// Jobs that may wait for a thread. Default: 1,000.
    pub job_queue: usize,
    /// How long the end of a reactor waits for jobs that run. Default: 5 s.
    pub thread_join_timeout: Duration,
    /// Threads for looking host names up, 1 at least, started when look-ups wait and ended after 10 s without one. Each name whose
    /// look-up hangs occupies one of them, until the system's resolver gives up. Default: 64.
    pub lookup_threads: usize,
    /// Look-ups of host names that may be under way or wait for a thread. Default: 100,000.
    pub lookup_queue: usize,
    /// How long a look-up by [`resolve`](crate::Reactor::resolve) or for a UDP socket may wait for a thread, and how long
    /// the resolver may take then. Connectors have a [limit](crate::ConnectTcp::timeout) of their own. Default: 30 s.
    pub lookup_timeout: Duration,
    /// Calls from threads that may wait. Default: 1,000,000.
    pub thread_call_queue: usize,
    /// Calls from threads run in one turn, 1 at least. Default: 10,000.
    pub thread_calls_per_turn: usize,
    /// Measure callbacks, for [`Statistics::slowest`](crate::Statistics::slowest). Costs two clock reads a turn and one
    /// for every 64 callbacks. Default: on.
    pub time_callbacks: bool,
    /// A callback that takes longer than this is logged as a warning. Default: 100 ms.
    pub slow_callback: Duration,
    /// Busy polling: a loop that has run out of work looks for more, again and again, for so long before it sleeps.
    ///
    /// What comes in that time is served at once; a thread that sleeps is first woken by the system, which takes it some microseconds,
    /// and more in a virtual machine. The price is a processor that is busy while nothing happens: for this long after each burst
    /// of work, and all the time if something comes that often. It is for a loop with a core of its own, whose answers have to
    /// come soon, and whose peers wait for them; 20 to 200 µs are usual. Where threads share a core, everything becomes slower.
    /// Measured with 50 µs in a virtual machine, one message under way: half of the answers came within 22 µs instead of 70 where server and
    /// client had a core each, and a tenth of them took longer than 70 µs instead of 18 where they had not.
    ///
    /// Timed calls, signals, calls from threads and tasks that they wake end it at once. Whether it is of use, [`Statistics::busy_polls`](crate::Statistics::busy_polls)
    /// and [`Statistics::busy_polls_idle`](crate::Statistics::busy_polls_idle) say. A simulated network does not spin: its time passes while everybody
    /// waits, and only then. Default: zero, the loop sleeps at once.
    pub busy_poll: Duration,
    /// Let `run` end gracefully at SIGINT and SIGTERM. Default: on.
    pub handle_signals: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_connections: usize::MAX,
            accepts_per_turn: 16,
            accept_retry_delay: Duration::from_millis(100),
            read_buffer: 64 * 1024,
            read_per_turn: 64 * 1024,
            write_per_turn: 128 * 1024,
            high_water: 64 * 1024,
            low_water: 16 * 1024,
            write_buffer_limit: 1024 * 1024,
            close_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            graceful_stop_timeout: Duration::from_secs(5),
            timers_per_turn: 10_000,
            threads: 10,
            job_queue: 1000,
            thread_join_timeout: Duration::from_secs(5),
            lookup_threads: 64,
            lookup_queue: 100_000,
            lookup_timeout: Duration::from_secs(30),
            thread_call_queue: 1_000_000,
            thread_calls_per_turn: 10_000,
            time_callbacks: true,
            slow_callback: Duration::from_millis(100),
            busy_poll: Duration::ZERO,
            handle_signals: true,
        }
    }
}

impl Settings {
    pub(crate) fn thread_limits(&self) -> ThreadLimits {
        ThreadLimits {
            threads: self.threads,
            thread_queue: self.job_queue,
            lookup_threads: self.lookup_threads,
            lookup_queue: self.lookup_queue,
        }
    }

    /// The default of `max_connections`, given the process's descriptors.
    pub(crate) fn default_connections(descriptors: usize) -> usize {
        (descriptors.saturating_sub(256) / 2).clamp(1, 10_000)
    }
}
