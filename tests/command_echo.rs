//! `twistor echo` says where it listens, sends back what it gets, and ends with all workers when it is told to.
#![cfg(feature = "cli")]

mod command;

use command::{Running, Signal};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

fn address(line: &str) -> &str {
    line.strip_prefix("listening on tcp:").unwrap_or_else(|| panic!("not what was promised: {line}"))
}

#[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
fn echoed(address: &str, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(command::PATIENCE)).unwrap();
    stream.write_all(text).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    back
}

#[test]
fn bytes_come_back_on_every_port_and_a_signal_ends_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut echo =
            Running::start(&["echo", "--listen", "tcp:127.0.0.1:0", "--listen", "tcp:localhost:0"]);
        for _ in 0..2 {
            let line = echo.line();
            assert_eq!(echoed(address(&line), b"hello"), b"hello");
        }
        let ended = echo.end_by(signal);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""));
    }
}

#[test]
fn workers_share_one_port_and_end_together() {
    let mut echo = Running::start(&["echo", "--listen", "tcp:127.0.0.1:0", "--workers", "4"]);
    let line = echo.line();
    for number in 0..32 {
        let text = format!("message {number}");
        assert_eq!(echoed(address(&line), text.as_bytes()), text.as_bytes());
    }
    let ended = echo.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""));
}
