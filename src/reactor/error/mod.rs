//! Errors of calls, as opposed to the [`Reason`](crate::Reason)s that connections end with.

pub(in crate::reactor) mod protocol_error;
pub(in crate::reactor) mod reason;
use crate::escape::Escaped;
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::io;

use crate::net::{BadAddress, SpawnFault};

/// What a call to the reactor can fail with.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address could not be read. (Twisted: `ServiceNameUnknownError`, `InvalidAddressError`, `ValueError`.)
    BadAddress(BadAddress),
    /// An option has a value that the kernel does not take.
    BadOption {
        /// Its name.
        option: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The port cannot be listened on. (Twisted: `CannotListenError`.)
    CannotListen {
        /// The address that was asked for.
        address: String,
        /// The system call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The child process could not be begun.
    CannotSpawn {
        /// The program that was to run.
        program: String,
        /// What is at fault.
        fault: SpawnFault,
        /// What the system said.
        source: io::Error,
    },
    /// The child process has exited. (Twisted: `ProcessExitedAlready`.)
    ProcessExited,
    /// `run` or `turn` was called from inside a callback, or inside `with` and its like. (Twisted: `ReactorAlreadyRunning`.)
    AlreadyRunning,
    /// The reactor stops, and closes what is open: nothing new begins.
    Stopping,
    /// This reactor has run and stopped: make a new one. (Twisted: `ReactorNotRestartable`.)
    ReactorFinished,
    /// The timed call was called or cancelled before. (Twisted: `AlreadyCalled`, `AlreadyCancelled`.)
    TimerNotActive,
    /// The listener has stopped already. (Twisted: `NotListeningError`.)
    NotListening,
    /// The connector does not connect. (Twisted: `NotConnectingError`.)
    NotConnecting,
    /// The connector is not disconnected. (Twisted: a `RuntimeError`.)
    NotDisconnected,
    /// The connection has a producer. (Twisted: a `RuntimeError`.)
    ProducerRegistered,
    /// The trigger has run or was removed. (Twisted: a `ValueError`.)
    NoSuchTrigger,
    /// So many calls or jobs wait already that this one was not taken; the number is the limit.
    QueueFull(usize),
    /// A datagram is longer than they get. (Twisted: `MessageLengthError`.)
    DatagramTooLong {
        /// Its length in bytes.
        length: usize,
        /// How long one may be.
        longest: usize,
    },
    /// So many bytes wait to be sent, or layers stand between protocol and socket: nobody else could go on with it.
    UnsentData(usize),
    /// The socket of datagrams has no peer: say where to, with `write_to`.
    NoPeer,
    /// The connection or the socket is gone.
    NotConnected,
    /// The reactor is gone.
    ReactorGone,
    /// The reactor itself can be reached from inside a task alone, and not where somebody has it already.
    ReactorUnavailable,
    /// The reactor was stopped before the future of [`block_on`](crate::block_on()) had ended.
    Stopped,
    /// The system refused.
    System {
        /// The system call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The result of a call to the reactor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job on the pool has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPanicked {
    /// What the panic said.
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
            Error::AlreadyRunning => f.write_str("the reactor runs already"),
            Error::Stopping => f.write_str("the reactor is stopping: nothing new begins"),
            Error::ReactorFinished => f.write_str("the reactor has finished: make a new one"),
            Error::TimerNotActive => f.write_str("the timed call was called or cancelled before"),
            Error::NotListening => f.write_str("the listener has stopped already"),
            Error::NotConnecting => f.write_str("the connector does not connect"),
            Error::NotDisconnected => f.write_str("the connector is not disconnected"),
            Error::ProducerRegistered => f.write_str("the connection has a producer already"),
            Error::NoSuchTrigger => f.write_str("the trigger has run or was removed"),
            Error::QueueFull(limit) => write!(f, "the queue is full: {limit} wait already"),
            Error::DatagramTooLong { length, longest } => {
                write!(f, "a datagram of {length} bytes is too long: {longest} is the most")
            }
            Error::UnsentData(0) => f.write_str("layers stand between the protocol and its socket"),
            Error::UnsentData(bytes) => write!(f, "{bytes} bytes wait to be sent"),
            Error::NoPeer => f.write_str("the socket of datagrams has no peer"),
            Error::NotConnected => f.write_str("the connection is gone"),
            Error::ReactorGone => f.write_str("the reactor is gone"),
            Error::ReactorUnavailable => f.write_str("the reactor can be reached from inside a task alone"),
            Error::Stopped => f.write_str("the reactor was stopped before the task had ended"),
            Error::System { call, source } => write!(f, "{call}: {}", Escaped(source)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // What the system said is in the text already; below it there is only what somebody wrapped in it.
            Error::CannotListen { source, .. }
            | Error::CannotSpawn { source, .. }
            | Error::System { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// Lets options that are no text be handed over where text could be.
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

impl fmt::Display for JobPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job panicked: {}", Escaped(&self.message))
    }
}

impl std::error::Error for JobPanicked {}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "(no text)".to_owned(),
    }
}
