//! `twistor echo` says where it listens, sends back what it gets, and ends with all workers when it is told to.

use crate::command::{Running, Signal};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

fn address(line: &str) -> &str {
    line.strip_prefix("listening on tcp:").unwrap_or_else(|| panic!("not what was promised: {line}"))
}

#[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
fn echoed(address: &str, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::command::TIME_LIMIT)).unwrap();
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

#[test]
fn bytes_come_back_from_workers_that_spin() {
    for spin in ["50us", "1h", "0"] {
        let mut echo =
            Running::start(&["echo", "--listen", "tcp:127.0.0.1:0", "--workers", "2", "--spin", spin]);
        let line = echo.line();
        for _ in 0..8 {
            assert_eq!(echoed(address(&line), b"hello"), b"hello");
        }
        let ended = echo.end_by(Signal::TERM);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""), "{spin}");
    }
}

#[test]
fn an_endpoint_is_an_address_with_its_options() {
    for text in
        ["tcp:0:interface=127.0.0.1:backlog=5", "localhost:0", "tcp:0:interface=127.0.0.1:reuse_port=yes"]
    {
        let mut echo = Running::start(&["echo", "--listen", text]);
        let line = echo.line();
        assert_eq!(echoed(address(&line), b"hello"), b"hello");
        assert_eq!(echo.end_by(Signal::TERM).code, Some(0));
    }
}

#[test]
fn datagrams_come_back() {
    for workers in ["1", "3"] {
        for text in ["udp:127.0.0.1:0", "udp:0:interface=127.0.0.1"] {
            let mut echo = Running::start(&["echo", "--listen", text, "--workers", workers]);
            let line = echo.line();
            let address = line.strip_prefix("listening on udp:").unwrap_or_else(|| panic!("{line}"));
            #[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(crate::command::TIME_LIMIT)).unwrap();
            for text in [&b"hello"[..], b"", &[7; 9000]] {
                socket.send_to(text, address).unwrap();
                let mut back = [0; 10_000];
                let (length, from) = socket.recv_from(&mut back).unwrap();
                assert_eq!((&back[..length], from.to_string().as_str()), (text, address));
            }
            assert_eq!(echo.end_by(Signal::TERM).code, Some(0));
        }
    }
}

#[test]
fn datagrams_come_back_from_the_address_that_was_asked() {
    let mut echo = Running::start(&["echo", "--listen", "udp:0"]);
    let line = echo.line();
    let port: u16 = line.strip_prefix("listening on udp:0.0.0.0:").unwrap().parse().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(crate::command::TIME_LIMIT)).unwrap();
    for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
        socket.send_to(b"hello", (asked, port)).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 10]).unwrap();
        assert_eq!(from.to_string(), format!("{asked}:{port}"));
    }
    assert_eq!(echo.end_by(Signal::TERM).code, Some(0));
}

/// 200 times the same could be an echo server: after 64 there is no answer any more, unless there is no guard.
#[test]
fn what_repeats_its_answers_is_not_answered_for_long() {
    for (guard, all) in [(None, false), (Some("--no-loop-guard"), true)] {
        let arguments = ["echo", "--listen", "udp:127.0.0.1:0"].into_iter().chain(guard);
        let mut echo = Running::start(&arguments.collect::<Vec<_>>());
        let line = echo.line();
        let address = line.strip_prefix("listening on udp:").unwrap();
        #[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(crate::command::TIME_LIMIT)).unwrap();
        for _ in 0..200 {
            socket.send_to(b"hello", address).unwrap();
        }
        socket.send_to(b"end", address).unwrap();
        let mut back = [0; 10];
        let mut length = || socket.recv_from(&mut back).unwrap().0;
        let answers = std::iter::from_fn(|| (length() == 5).then_some(())).count();
        assert_eq!(answers == 200, all, "{answers}");
        assert!(answers >= 64, "{answers}");
        assert_eq!(echo.end_by(Signal::TERM).code, Some(0));
    }
}

/// Over a stream that is connected.
fn echoed_by(mut stream: UnixStream, text: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(crate::command::TIME_LIMIT)).unwrap();
    stream.write_all(text).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    back
}

#[test]
fn a_unix_socket_is_listened_on_and_its_file_goes_in_the_end() {
    let path = crate::command::short_temp_dir().join(format!("twistor-echo-{}", std::process::id()));
    let text = format!("unix:{}:mode=600", path.display());
    let mut echo = Running::start(&["echo", "--listen", &text]);
    assert_eq!(echo.line(), format!("listening on unix:{}", path.display()));
    assert_eq!(echoed_by(UnixStream::connect(&path).unwrap(), b"hello"), b"hello");
    assert_eq!(echo.end_by(Signal::INT).code, Some(0));
    assert!(!path.exists());
}

/// Runs the command with a socket as its descriptor 3, and these variables.
fn with_socket(socket: &TcpListener, variables: &str, arguments: &str) -> Running {
    let program = env!("CARGO_BIN_EXE_twistor");
    let number = socket.as_raw_fd();
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("exec 3<&{number}; {variables} exec {program} {arguments}"));
    Running::begin(command)
}

#[test]
fn an_inherited_socket_is_found_by_its_number_or_its_name() {
    for (variables, arguments) in [
        ("", "echo --listen fd:3"),
        ("", "echo --listen fd:3 --workers 3"),
        ("LISTEN_PID=$$ LISTEN_FDS=1", "echo --listen systemd:index=0"),
        ("LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web", "echo --listen systemd:name=web"),
    ] {
        #[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let mut echo = with_socket(&socket, variables, arguments);
        assert_eq!(echo.line(), format!("listening on tcp:{address}"));
        assert_eq!(echoed(&address, b"hello"), b"hello");
        assert_eq!(echo.end_by(Signal::TERM).code, Some(0));
    }
    // What was passed to another process is none of ours.
    #[expect(clippy::disallowed_methods, reason = "a peer that is not twistor")]
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = with_socket(&socket, "LISTEN_PID=1 LISTEN_FDS=1", "echo --listen systemd:index=0").end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("LISTEN_PID"), "{}", ended.err);
}
