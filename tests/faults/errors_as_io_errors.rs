//! An error of the reactor is an `io::Error` of a fitting kind, and can be had back from it.

use std::io::{self, ErrorKind};

use twistor::{BadAddress, Error, SpawnFault};

fn system() -> io::Error {
    io::Error::from(ErrorKind::PermissionDenied)
}

#[test]
fn each_error_has_its_kind_and_is_had_back() {
    let bad = || BadAddress { text: "nowhere".to_owned(), why: "no port" };
    let text = || "text".to_owned();
    for (error, kind) in [
        (Error::BadAddress(bad()), ErrorKind::InvalidInput),
        (Error::BadOption { option: "keepalive", why: "zero" }, ErrorKind::InvalidInput),
        (Error::DatagramTooLong { length: 2, longest: 1 }, ErrorKind::InvalidInput),
        (
            Error::CannotListen { address: text(), call: "bind", source: system() },
            ErrorKind::PermissionDenied,
        ),
        (
            Error::CannotSpawn { program: text(), fault: SpawnFault::Program, source: system() },
            ErrorKind::PermissionDenied,
        ),
        (Error::System { call: "poll", source: system() }, ErrorKind::PermissionDenied),
        (Error::NotConnected, ErrorKind::NotConnected),
        (Error::NoPeer, ErrorKind::NotConnected),
        (Error::ProcessExited, ErrorKind::NotFound),
        (Error::TimerNotActive, ErrorKind::NotFound),
        (Error::NotListening, ErrorKind::NotFound),
        (Error::NotConnecting, ErrorKind::NotFound),
        (Error::NoSuchTrigger, ErrorKind::NotFound),
        (Error::ProducerRegistered, ErrorKind::AlreadyExists),
        (Error::AlreadyRunning, ErrorKind::ResourceBusy),
        (Error::UnsentData(3), ErrorKind::ResourceBusy),
        (Error::QueueFull(3), ErrorKind::WouldBlock),
        (Error::Stopping, ErrorKind::BrokenPipe),
        (Error::Stopped, ErrorKind::BrokenPipe),
        (Error::ReactorFinished, ErrorKind::BrokenPipe),
        (Error::ReactorGone, ErrorKind::BrokenPipe),
        (Error::WouldDeadlock, ErrorKind::Deadlock),
        (Error::ReactorUnavailable, ErrorKind::Other),
        (Error::CallPanicked(text()), ErrorKind::Other),
    ] {
        let text = error.to_string();
        let converted = io::Error::from(error);
        assert_eq!((converted.kind(), converted.to_string()), (kind, text.clone()));
        let inner = converted.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        assert_eq!(inner.map(Error::to_string), Some(text));
    }
}

#[test]
fn a_function_of_io_results_takes_errors_of_the_reactor() {
    fn listens() -> io::Result<()> {
        Err(Error::NotListening)?
    }
    assert_eq!(listens().unwrap_err().kind(), ErrorKind::NotFound);
}
