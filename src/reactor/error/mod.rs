//! Errors of calls to the reactor. Connections end with a [`Reason`](crate::Reason) instead.

pub(in crate::reactor) mod protocol_error;
pub(in crate::reactor) mod reason;
use crate::escape::Escaped;
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::io;

use crate::net::{BadAddress, SpawnFault};

/// An error of a call to the reactor.
#[derive(Debug)]
#[non_exhaustive]
#[doc(alias(
    "CannotListenError",
    "ReactorNotRunning",
    "ReactorAlreadyRunning",
    "AlreadyCalled",
    "AlreadyCancelled",
    "NotListeningError"
))]
pub enum Error {
    /// An invalid address. (Twisted: `ServiceNameUnknownError`, `InvalidAddressError`,
    /// `ValueError`.)
    BadAddress(BadAddress),
    /// An option with a value that the kernel does not accept.
    BadOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with its value.
        why: &'static str,
    },
    /// The address cannot be listened on. (Twisted: `CannotListenError`.)
    CannotListen {
        /// The requested address.
        address: String,
        /// The system call that failed.
        call: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The child process could not be started.
    CannotSpawn {
        /// The program.
        program: String,
        /// The failing part.
        fault: SpawnFault,
        /// The system's error.
        source: io::Error,
    },
    /// The child process has exited. (Twisted: `ProcessExitedAlready`.)
    ProcessExited,
    /// `run` or `iterate` was called inside a callback, or inside `with_protocol` and similar
    /// calls. (Twisted: `ReactorAlreadyRunning`.)
    AlreadyRunning,
    /// The reactor is stopping and closing everything. Nothing new can begin.
    Stopping,
    /// The reactor has run and stopped. Create a new one. (Twisted: `ReactorNotRestartable`.)
    ReactorFinished,
    /// The timed call has already run or was cancelled. (Twisted: `AlreadyCalled`,
    /// `AlreadyCancelled`.)
    TimerNotActive,
    /// The listener has already stopped. (Twisted: `NotListeningError`.)
    NotListening,
    /// The connector is not connecting. (Twisted: `NotConnectingError`.)
    NotConnecting,
    /// The connection already has a producer. (Twisted: a `RuntimeError`.)
    ProducerRegistered,
    /// The trigger has run or was removed. (Twisted: a `ValueError`.)
    NoSuchTrigger,
    /// The queue of calls or jobs is full. The number is its limit.
    QueueFull(usize),
    /// The datagram exceeds the maximum length. (Twisted: `MessageLengthError`.)
    DatagramTooLong {
        /// Its length in bytes.
        length: usize,
        /// The maximum in bytes.
        longest: usize,
    },
    /// The connection cannot be detached. It has this many unsent bytes, or layers if the number is
    /// 0.
    UnsentData(usize),
    /// The datagram socket has no peer. Use `write_to`.
    NoPeer,
    /// The connection or the socket is gone.
    NotConnected,
    /// The reactor is gone.
    ReactorGone,
    /// The reactor is not available: the caller is not inside a task or
    /// `Reactor::lend`, or has the reactor already.
    ReactorUnavailable,
    /// The call would wait on the reactor's own thread for the reactor itself.
    WouldDeadlock,
    /// The call panicked on the reactor's thread, with this message.
    CallPanicked(String),
    /// The reactor stopped before the future of [`block_on`](crate::block_on()) ended.
    Stopped,
    /// An endpoint cannot be used: its certificate cannot be read, for example.
    Endpoint {
        /// The endpoint as text.
        endpoint: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A system call failed.
    System {
        /// The system call that failed.
        call: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// The result of a call to the reactor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a job on the thread pool, or of other user code, that panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPanicked {
    /// The panic message.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadAddress(bad) => bad.fmt(f),
            Error::BadOption { option, why } => write!(f, "{option}: {why}"),
            Error::CannotListen { address, call, source } => {
                write!(f, "cannot listen on {}: {call}: {}", Escaped(address), Escaped(source))
            }
            Error::CannotSpawn { program, fault: SpawnFault::Program, source } => {
                write!(f, "cannot run {}: {}", Escaped(program), Escaped(source))
            }
            Error::CannotSpawn { program, fault, source } => {
                write!(f, "cannot run {}: {fault}: {}", Escaped(program), Escaped(source))
            }
            Error::ProcessExited => f.write_str("the process has exited"),
            Error::AlreadyRunning => f.write_str("the reactor is already running"),
            Error::Stopping => f.write_str("the reactor is stopping: nothing new can begin"),
            Error::ReactorFinished => f.write_str("the reactor has finished: create a new one"),
            Error::TimerNotActive => f.write_str("the timed call has already run or was cancelled"),
            Error::NotListening => f.write_str("the listener has already stopped"),
            Error::NotConnecting => f.write_str("the connector is not connecting"),
            Error::ProducerRegistered => f.write_str("the connection already has a producer"),
            Error::NoSuchTrigger => f.write_str("the trigger has run or was removed"),
            Error::QueueFull(limit) => write!(f, "the queue is full: its limit is {limit}"),
            Error::DatagramTooLong { length, longest } => {
                write!(f, "a datagram of {length} bytes is too long: the maximum is {longest}")
            }
            Error::UnsentData(0) => f.write_str("the connection has layers"),
            Error::UnsentData(bytes) => write!(f, "{bytes} bytes are unsent"),
            Error::NoPeer => f.write_str("the datagram socket has no peer"),
            Error::NotConnected => f.write_str("the connection is gone"),
            Error::ReactorGone => f.write_str("the reactor is gone"),
            Error::ReactorUnavailable => f.write_str("the reactor is only available inside a task, and once"),
            Error::WouldDeadlock => {
                f.write_str("the reactor's own thread cannot wait for the reactor: call it directly")
            }
            Error::CallPanicked(text) => write!(f, "the call panicked: {}", Escaped(text)),
            Error::Stopped => f.write_str("the reactor stopped before the task ended"),
            Error::Endpoint { endpoint, source } => write!(f, "{}: {}", Escaped(endpoint), Escaped(source)),
            Error::System { call, source } => write!(f, "{call}: {}", Escaped(source)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The text contains the system's error already. Below it, only a wrapped error is left.
            Error::CannotListen { source, .. }
            | Error::CannotSpawn { source, .. }
            | Error::System { source, .. } => source.source(),
            Error::Endpoint { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// Lets options be passed where text could be: their conversion cannot fail.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

impl From<BadAddress> for Error {
    fn from(bad: BadAddress) -> Error {
        Error::BadAddress(bad)
    }
}

/// Lets `?` return an [`Error`] from a function of [`io::Result`]. The error is the inner one
/// ([`io::Error::get_ref`]).
///
/// | kind | errors |
/// |---|---|
/// | the system's | `CannotListen`, `CannotSpawn`, `System` |
/// | `InvalidInput` | `BadAddress`, `BadOption`, `DatagramTooLong`, `Endpoint` |
/// | `NotConnected` | `NotConnected`, `NoPeer` |
/// | `NotFound` | `ProcessExited`, `TimerNotActive`, `NotListening`, `NotConnecting`, `NoSuchTrigger` |
/// | `AlreadyExists` | `ProducerRegistered` |
/// | `ResourceBusy` | `AlreadyRunning`, `UnsentData` |
/// | `WouldBlock` | `QueueFull` |
/// | `BrokenPipe` | `Stopping`, `Stopped`, `ReactorFinished`, `ReactorGone` |
/// | `Deadlock` | `WouldDeadlock` |
/// | `Other` | `ReactorUnavailable`, `CallPanicked` |
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        use io::ErrorKind as Kind;
        let kind = match &error {
            Error::CannotListen { source, .. }
            | Error::CannotSpawn { source, .. }
            | Error::System { source, .. } => source.kind(),
            Error::BadAddress(_)
            | Error::BadOption { .. }
            | Error::DatagramTooLong { .. }
            | Error::Endpoint { .. } => Kind::InvalidInput,
            Error::NotConnected | Error::NoPeer => Kind::NotConnected,
            Error::ProcessExited
            | Error::TimerNotActive
            | Error::NotListening
            | Error::NotConnecting
            | Error::NoSuchTrigger => Kind::NotFound,
            Error::ProducerRegistered => Kind::AlreadyExists,
            Error::AlreadyRunning | Error::UnsentData(_) => Kind::ResourceBusy,
            Error::QueueFull(_) => Kind::WouldBlock,
            Error::Stopping | Error::Stopped | Error::ReactorFinished | Error::ReactorGone => {
                Kind::BrokenPipe
            }
            Error::WouldDeadlock => Kind::Deadlock,
            Error::ReactorUnavailable | Error::CallPanicked(_) => Kind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl fmt::Display for JobPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", Escaped(&self.message))
    }
}

impl std::error::Error for JobPanicked {}

/// The message of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "(no text)".to_owned(),
    }
}
