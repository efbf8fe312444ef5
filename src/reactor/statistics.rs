//! What a reactor counts.

use std::fmt;
use std::time::Duration;

use super::ConnectionId;

/// What a reactor has done since it was made: plain counters, a copy costs a few cache lines.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Turns of the loop.
    pub turns: u64,
    /// Readiness events.
    pub events: u64,
    /// Times that the loop ran out of work and polled on instead of sleeping ([`Settings::busy_poll`](crate::Settings::busy_poll)).
    pub busy_polls: u64,
    /// Those of them after which it slept all the same, because nothing had come.
    pub busy_polls_idle: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Connections made to others.
    pub connects: u64,
    /// Connections that came as descriptors.
    pub adopted: u64,
    /// Times that descriptors came over a UNIX socket and the process could have no more; how many each time, the system
    /// does not tell.
    pub descriptors_lost: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// Connections lost, for whatever reason.
    pub connections_lost: u64,
    /// Connections open now.
    pub connections: usize,
    /// Accepted connections that a factory refused.
    pub connections_refused: u64,
    /// Connections accepted and closed because of `max_connections`.
    pub accepts_over_limit: u64,
    /// Connections accepted and closed for want of descriptors.
    pub accepts_shed: u64,
    /// Accepts that failed.
    pub accept_errors: u64,
    /// Times that a connection came over its high-water mark.
    pub pauses: u64,
    /// Connections ended because they wrote too much after `pause_writing` ([`Settings::write_buffer_limit`](super::Settings::write_buffer_limit)).
    pub buffer_limits: u64,
    /// Connections ended by the closing limit.
    pub close_timeouts: u64,
    /// Connections given up because their layers were not ready in time.
    pub handshake_timeouts: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams that were longer than asked for.
    pub datagrams_truncated: u64,
    /// Datagrams that came to a socket with one peer, and not from it: nobody is told of them.
    pub datagrams_from_others: u64,
    /// Datagrams that were not taken because too many waited.
    pub datagrams_dropped: u64,
    /// Errors of sockets of datagrams: answers of the network, datagrams that the system refused, reading that failed.
    pub datagram_errors: u64,
    /// Child processes begun.
    pub spawns: u64,
    /// Child processes that could not be begun.
    pub spawn_failures: u64,
    /// Child processes that have not ended, now.
    pub processes: usize,
    /// Timed calls run.
    pub timed_calls: u64,
    /// Calls from threads run.
    pub thread_calls: u64,
    /// Panics caught.
    pub panics: u64,
    /// The slowest callback so far, if callbacks are timed; most that take less than 10 ms are not looked at.
    pub slowest: Option<SlowCallback>,
}

/// A callback that took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCallback {
    /// Which callback it was.
    pub callback: CallbackKind,
    /// Whose, if it was a connection's.
    pub connection: Option<ConnectionId>,
    /// How long it took.
    pub took: Duration,
    /// 1: it was this callback. More: it was timed together with those just before it, so many in all; as soon
    /// as that happens, the next thousand callbacks are timed one by one.
    pub batch_size: u32,
}

/// The places where user code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is named as the method that it stands for")]
pub enum CallbackKind {
    ConnectionMade,
    DataReceived,
    DescriptorReceived,
    ReadConnectionLost,
    WriteConnectionLost,
    PauseWriting,
    ResumeWriting,
    ConnectionLost,
    Producer,
    Layer,
    BuildProtocol,
    StartFactory,
    StopFactory,
    StartedConnecting,
    ClientConnectionFailed,
    ClientConnectionLost,
    StartProtocol,
    DatagramReceived,
    ConnectionRefused,
    SendFailed,
    ErrorReceived,
    StopProtocol,
    ProcessStarted,
    OutReceived,
    ErrReceived,
    InConnectionLost,
    OutConnectionLost,
    ErrConnectionLost,
    ProcessExited,
    ProcessEnded,
    TimedCall,
    Call,
    Task,
    ThreadCall,
    ThreadResult,
    Trigger,
    Signal,
    Drop,
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallbackKind::ConnectionMade => "connection_made",
            CallbackKind::DataReceived => "data_received",
            CallbackKind::DescriptorReceived => "descriptor_received",
            CallbackKind::ReadConnectionLost => "read_connection_lost",
            CallbackKind::WriteConnectionLost => "write_connection_lost",
            CallbackKind::PauseWriting => "pause_writing",
            CallbackKind::ResumeWriting => "resume_writing",
            CallbackKind::ConnectionLost => "connection_lost",
            CallbackKind::Producer => "a producer",
            CallbackKind::Layer => "a layer",
            CallbackKind::BuildProtocol => "build_protocol",
            CallbackKind::StartFactory => "start_factory",
            CallbackKind::StopFactory => "stop_factory",
            CallbackKind::StartedConnecting => "started_connecting",
            CallbackKind::ClientConnectionFailed => "client_connection_failed",
            CallbackKind::ClientConnectionLost => "client_connection_lost",
            CallbackKind::StartProtocol => "start_protocol",
            CallbackKind::DatagramReceived => "datagram_received",
            CallbackKind::ConnectionRefused => "connection_refused",
            CallbackKind::SendFailed => "send_failed",
            CallbackKind::ErrorReceived => "error_received",
            CallbackKind::StopProtocol => "stop_protocol",
            CallbackKind::ProcessStarted => "process_started",
            CallbackKind::OutReceived => "out_received",
            CallbackKind::ErrReceived => "err_received",
            CallbackKind::InConnectionLost => "in_connection_lost",
            CallbackKind::OutConnectionLost => "out_connection_lost",
            CallbackKind::ErrConnectionLost => "err_connection_lost",
            CallbackKind::ProcessExited => "process_exited",
            CallbackKind::ProcessEnded => "process_ended",
            CallbackKind::TimedCall => "a timed call",
            CallbackKind::Call => "a queued call",
            CallbackKind::Task => "a task",
            CallbackKind::ThreadCall => "a call from a thread",
            CallbackKind::ThreadResult => "a job's result",
            CallbackKind::Trigger => "a system event trigger",
            CallbackKind::Signal => "a signal handler",
            CallbackKind::Drop => "the drop of user code",
        })
    }
}
