//! Counters of a reactor.

use std::fmt;
use std::time::Duration;

use super::ConnectionId;

/// Counters of a reactor since its creation. They are plain values, and a copy costs a few cache
/// lines.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Turns of the loop.
    pub turns: u64,
    /// Readiness events.
    pub events: u64,
    /// Times that the loop ran out of work and polled on instead of sleeping
    /// ([`Settings::busy_poll`](crate::Settings::busy_poll)).
    pub busy_polls: u64,
    /// Busy polls after which the loop slept, because no event had arrived.
    pub busy_polls_idle: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Outgoing connections made.
    pub connects: u64,
    /// Connections adopted as file descriptors.
    pub adopted: u64,
    /// Times that descriptors arrived over a UNIX socket while the process had reached its limit.
    /// The system does not report the number lost each time.
    pub descriptors_lost: u64,
    /// Failed connection attempts.
    pub connect_failures: u64,
    /// Connections lost for any reason.
    pub connections_lost: u64,
    /// Connections open now.
    pub connections: usize,
    /// Accepted connections that a factory refused.
    pub connections_refused: u64,
    /// Connections accepted and closed because of `max_connections`.
    pub accepts_over_limit: u64,
    /// Connections accepted and closed for lack of descriptors.
    pub accepts_shed: u64,
    /// Failed accepts.
    pub accept_errors: u64,
    /// Times that a connection exceeded its high-water mark.
    pub pauses: u64,
    /// Connections ended because they exceeded
    /// [`Settings::write_buffer_limit`](super::Settings::write_buffer_limit) after `pause_writing`.
    pub buffer_limits: u64,
    /// Connections aborted by the close timeout.
    pub close_timeouts: u64,
    /// Connections ended by the handshake timeout.
    pub handshake_timeouts: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Received datagrams that were truncated, because they were longer than the socket's
    /// `max_size`.
    pub datagrams_truncated: u64,
    /// Datagrams from other senders that a socket with one peer received. They are discarded.
    pub datagrams_from_others: u64,
    /// Outgoing datagrams dropped because the send queue was full.
    pub datagrams_dropped: u64,
    /// Errors of datagram sockets: answers of the network, rejected datagrams and failed reads.
    pub datagram_errors: u64,
    /// Child processes started.
    pub spawns: u64,
    /// Child processes that failed to start.
    pub spawn_failures: u64,
    /// Child processes that have not ended.
    pub processes: usize,
    /// Timed calls run.
    pub timed_calls: u64,
    /// Calls from threads run.
    pub thread_calls: u64,
    /// Panics caught.
    pub panics: u64,
    /// The slowest callback so far, if callbacks are timed. Most callbacks below 10 ms are not
    /// examined.
    pub slowest: Option<SlowCallback>,
}

/// A slow callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCallback {
    /// The kind of callback.
    pub callback: CallbackKind,
    /// Its connection, if it belongs to one.
    pub connection: Option<ConnectionId>,
    /// Its duration.
    pub took: Duration,
    /// The number of callbacks timed together, of which this is the last. With 1, the duration is
    /// that of this callback. After a slow batch, the next thousand callbacks are timed one by one.
    pub batch_size: u32,
}

/// The places where the loop runs user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is named as the method that it stands for")]
pub enum CallbackKind {
    ConnectionMade,
    DataReceived,
    DescriptorReceived,
    ReadConnectionLost,
    WriteConnectionLost,
    LayersReady,
    PauseWriting,
    ResumeWriting,
    Drain,
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
    DoRead,
    DoWrite,
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
    FileResult,
    FileChange,
    Resolve,
    Trigger,
    TurnHook,
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
            CallbackKind::LayersReady => "layers_ready",
            CallbackKind::PauseWriting => "pause_writing",
            CallbackKind::ResumeWriting => "resume_writing",
            CallbackKind::Drain => "drain",
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
            CallbackKind::DoRead => "do_read",
            CallbackKind::DoWrite => "do_write",
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
            CallbackKind::TurnHook => "a turn hook",
            CallbackKind::ThreadCall => "a call from a thread",
            CallbackKind::ThreadResult => "a job's result",
            CallbackKind::FileResult => "a file operation's result",
            CallbackKind::FileChange => "a file's change",
            CallbackKind::Resolve => "a resolver",
            CallbackKind::Trigger => "a system event trigger",
            CallbackKind::Signal => "a signal handler",
            CallbackKind::Drop => "the drop of user code",
        })
    }
}
