//! Limits and sizes of a reactor.

use std::time::Duration;

#[cfg(doc)]
use super::Reactor;
use crate::net::ThreadLimits;

/// The limits and sizes of a reactor. Every queue, buffer and wait has a limit.
///
/// Any value is valid. A time of zero expires at once, and [`Duration::MAX`] never expires. Sizes
/// and counts that would make progress impossible are raised to 1. Sizes above a documented maximum
/// are lowered. [`Reactor::settings`] returns the values in effect.
///
/// ```
/// use twistor::{Reactor, Settings};
///
/// let settings = Settings { max_connections: 100, ..Settings::default() };
/// let reactor = Reactor::with_settings(settings)?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias("slow_callback_duration", "Builder"))]
pub struct Settings {
    /// Limit on open connections. Connections beyond it are accepted, closed and counted. Default:
    /// 10,000, or half of what is left of the file descriptor limit after subtracting 256, if that
    /// is less.
    pub max_connections: usize,
    /// Limit on connections accepted from one listener in a turn, at least 1. Connections are
    /// accepted one at a time until the backlog stays non-empty in consecutive turns.
    ///
    /// It is far below `calls_per_turn`, because every accepted connection costs several system
    /// calls and is served from the same turn on. Default: 16.
    pub accepts_per_turn: usize,
    /// Size of the shared read buffer in bytes, from 1 byte to 64 MiB, and so the most that one
    /// `data_received` gets. Default: 64 KiB (measured: bulk data takes a quarter more CPU with
    /// 32 KiB).
    pub read_buffer: usize,
    /// Read budget in bytes of one connection in a turn, at least 1. The write budget of its buffer
    /// is twice this. Default: 64 KiB.
    pub bytes_per_turn: usize,
    /// High-water mark: unsent bytes above which a protocol's `pause_writing` is called. A value
    /// above `write_buffer_limit` has the effect of that limit.
    ///
    /// The low-water mark, at which `resume_writing` is called, is a quarter of it.
    /// [`Transport::set_water_marks`](crate::Transport::set_water_marks) sets both marks of a
    /// connection. Default: 64 KiB.
    pub high_water: usize,
    /// Limit on unsent bytes after [`pause_writing`](crate::Protocol::pause_writing) was delivered.
    ///
    /// It counts beyond the bytes that were unsent at that callback, or the lowest number since
    /// then. A write that finds the limit exceeded ends the connection with
    /// [`Reason::BufferLimit`](crate::Reason::BufferLimit).
    ///
    /// Writes before that callback have no limit. It comes in the same turn or the next, so a large
    /// answer may be written in any number of pieces. A protocol that ignores `pause_writing` has
    /// at most one turn's writes and this limit in memory. Default: 1 MiB.
    pub write_buffer_limit: usize,
    /// Time without progress after `lose_connection` or `lose_write_connection`, after which the
    /// connection is aborted. The peer may not read, or a registered producer or a layer may not
    /// finish. Default: 30 s.
    pub close_timeout: Duration,
    /// Time limit for the layers of an accepted connection to become
    /// [ready](crate::LayerContext::ready). For outgoing connections,
    /// [`ConnectTcp::timeout`](crate::ConnectTcp::timeout) includes it. Default: 30 s.
    pub handshake_timeout: Duration,
    /// Lingering close: the time for which incoming data is read and discarded after the last byte
    /// was sent. It prevents a reset that would destroy sent data. The total is at most five times
    /// this. Zero disables it. Default: 2 s.
    pub linger: Duration,
    /// Time that [`stop_gracefully`](crate::Reactor::stop_gracefully) grants protocols for
    /// finishing their work ([`Protocol::drain`](crate::Protocol::drain)) and for sending unsent
    /// data. Before that, a future of [`block_on`](crate::block_on()) that awaits
    /// [`stopping`](crate::task::stopping()) is granted the same time to end. The drop of a reactor
    /// waits at most this time for running jobs of [`call_in_thread`], however it was stopped, and
    /// at most this time for accepted operations on [files](crate::files).
    /// Default: 5 s.
    ///
    /// [`call_in_thread`]: crate::Reactor::call_in_thread
    pub graceful_stop_timeout: Duration,
    /// Limit on timed calls run in one turn, and on calls from threads, at least 1 of each.
    /// Default: 10,000.
    pub calls_per_turn: usize,
    /// Threads for [`call_in_thread`](crate::Reactor::call_in_thread), at least 1. Default: 10.
    pub threads: usize,
    /// Limit on jobs that wait for a thread. Default: 1,000.
    pub job_queue: usize,
    /// Limit on threads for host name look-ups, at least 1. Threads are started on demand and end
    /// after 10 s without a look-up. A look-up that hangs occupies a thread until the system's
    /// resolver gives up. Default: 64.
    pub lookup_threads: usize,
    /// Threads for [files](crate::files), at least 1. They are started on demand. An operation
    /// occupies one while it runs, so a disk or a network file system that hangs stops at most
    /// these. Default: 4.
    pub file_threads: usize,
    /// Limit on operations on [files](crate::files) that run or wait. Default: 10,000.
    pub file_queue: usize,
    /// Limit on queued calls from threads. Default: 1,000,000.
    pub thread_call_queue: usize,
    /// Duration from which a callback is logged as a warning.
    ///
    /// Callbacks are timed for it, and for [`Statistics::slowest`](crate::Statistics::slowest).
    /// This costs two clock reads a turn and one per 64 callbacks. With `None`, callbacks are not
    /// timed. Default: 100 ms.
    pub slow_callback: Option<Duration>,
    /// Busy-poll time: how long a loop without work polls before it sleeps.
    ///
    /// An event in that time is served at once. A sleeping thread must first be woken by the
    /// kernel, which takes some microseconds, and more in a virtual machine. The cost is a busy CPU
    /// core: for this time after each burst of work, and permanently if events are that frequent.
    ///
    /// Busy polling suits a loop with a core of its own whose peers wait for fast answers. Values
    /// of 20 to 200 µs are usual. Where threads share a core, it slows everything down. Measured
    /// with 50 µs in a virtual machine and one message in flight:
    /// - With a core each for server and client, half of the answers took at most 22 µs instead of
    ///   70.
    /// - With a shared core, a tenth of the answers took longer than 70 µs instead of 18.
    ///
    /// Timed calls, signals, calls from threads and tasks that they wake end it at once.
    /// [`Statistics::busy_polls`](crate::Statistics::busy_polls) and
    /// [`Statistics::busy_polls_idle`](crate::Statistics::busy_polls_idle) show whether it pays
    /// off. A simulated network does not busy-poll, because its time passes only while all reactors
    /// wait. Default: zero, so the loop sleeps at once.
    pub busy_poll: Duration,
    /// Makes `run` end gracefully at SIGINT and SIGTERM. Default: on.
    pub handle_signals: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_connections: usize::MAX,
            accepts_per_turn: 16,
            read_buffer: 64 * 1024,
            bytes_per_turn: 64 * 1024,
            high_water: 64 * 1024,
            write_buffer_limit: 1024 * 1024,
            close_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            graceful_stop_timeout: Duration::from_secs(5),
            calls_per_turn: 10_000,
            threads: 10,
            job_queue: 1000,
            lookup_threads: 64,
            file_threads: 4,
            file_queue: 10_000,
            thread_call_queue: 1_000_000,
            slow_callback: Some(Duration::from_millis(100)),
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
            lookup_queue: LOOKUP_QUEUE,
            file_threads: self.file_threads,
            join_timeout: self.graceful_stop_timeout,
        }
    }

    /// The default of `max_connections` for a given limit on file descriptors.
    pub(in crate::reactor) fn default_connections(descriptors: usize) -> usize {
        (descriptors.saturating_sub(256) / 2).clamp(1, 10_000)
    }
}

/// Limit on host name look-ups that are running or waiting for a thread. A waiting look-up takes a
/// few hundred bytes.
pub(super) const LOOKUP_QUEUE: usize = 100_000;
