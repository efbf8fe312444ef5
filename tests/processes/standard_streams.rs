//! A program's standard input and output form one transport, whatever their kind, and processes
//! that share them are not affected.
//!
//! Each test runs this program again as a child with the streams in question. Output of the test
//! runner on them comes before a mark.

use std::fs::File;
use std::io::{self, Read, Seek, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::world::child::test_path;
use crate::world::on_the_real_network;
use rustix::fs::OFlags;
use twistor::{Address, Protocol, Reactor, Reason, Transport};

const REAL: &str = "the streams are the process's";
const ROLE: &str = "TWISTOR_TEST_STREAMS";
const MARK: &[u8] = b"<the program begins>";

/// Not a test of its own, but the program of all others. It plays the role that the environment
/// names.
#[test]
fn the_program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    io::stdout().write_all(MARK).unwrap();
    io::stdout().flush().unwrap();
    let mut reactor = Reactor::new().unwrap();
    reactor.standard_streams(Program { role, seen: 0 }).unwrap();
    let again = reactor.standard_streams(Program { role: String::new(), seen: 0 }).unwrap_err();
    assert!(again.to_string().starts_with("standard streams: "), "{again}");
    reactor.run().unwrap();
    drop(reactor);
    // Exits before the test runner can write more.
    std::process::exit(0);
}

struct Program {
    role: String,
    seen: usize,
}

impl Protocol for Program {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        assert_eq!((transport.peer().clone(), transport.host()), (Address::Pipe, Address::Pipe));
        if self.role == "half" {
            transport.write(b"all there is");
            transport.lose_write_connection();
        }
        if self.role == "much" {
            for _ in 0..90 {
                transport.write(&[b'x'; 10_000]);
            }
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.seen += data.len();
        match self.role.as_str() {
            "echo" => transport.write(data),
            "quit" => transport.lose_connection(),
            _ => {}
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        eprintln!("{} bytes, {reason}", self.seen);
        transport.reactor().stop();
    }
}

fn program(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test_path(the_program), "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

fn begin(role: &str, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Child {
    // The command is dropped with this call, and with it this process's copies of the streams.
    program(role).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
}

/// The program's standard error, trimmed.
fn end(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {said}", output.status);
    said.trim().to_owned()
}

/// The output after the mark.
fn behind_the_mark(all: &[u8]) -> &[u8] {
    let at = all.windows(MARK.len()).position(|window| window == MARK);
    &all[at.expect("it has begun") + MARK.len()..]
}

/// Reads up to the mark.
fn read_the_mark(stream: &mut impl Read) {
    let mut seen = Vec::new();
    while !seen.ends_with(MARK) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

fn blocks(stream: impl AsFd) -> bool {
    !rustix::fs::fcntl_getfl(stream).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn pipes_carry_bytes_both_ways_until_the_input_ends() {
    on_the_real_network(REAL, |_| {
        let (input, mut to) = pipe().unwrap();
        let (mut from, output) = pipe().unwrap();
        let (shared_input, shared_output) = (input.try_clone().unwrap(), output.try_clone().unwrap());
        let child = begin("echo", input, output);
        read_the_mark(&mut from);
        for text in [&b"hello"[..], b"world"] {
            to.write_all(text).unwrap();
            let mut echo = [0; 5];
            from.read_exact(&mut echo).unwrap();
            assert_eq!(echo, text);
            assert!(blocks(&shared_input) && blocks(&shared_output), "others have the pipes, too");
        }
        drop((to, shared_input, shared_output));
        assert_eq!(end(child), "10 bytes, connection closed cleanly");
        assert_eq!(io::read_to_string(from).unwrap(), "");
    });
}

#[test]
fn files_are_read_and_written_to_their_ends() {
    on_the_real_network(REAL, |_| {
        let directory = std::env::temp_dir();
        let path = |name: &str| directory.join(format!("twistor-streams-{}-{name}", std::process::id()));
        let all: Vec<u8> = (0..500_000u32).flat_map(|number| number.to_le_bytes()).collect();
        std::fs::write(path("in"), &all).unwrap();
        let mut written =
            File::options().create(true).truncate(true).read(true).write(true).open(path("out")).unwrap();
        let child = begin("echo", File::open(path("in")).unwrap(), written.try_clone().unwrap());
        assert_eq!(end(child), "2000000 bytes, connection closed cleanly");
        let mut seen = Vec::new();
        written.rewind().unwrap();
        written.read_to_end(&mut seen).unwrap();
        assert!(behind_the_mark(&seen) == all);
        for name in ["in", "out"] {
            std::fs::remove_file(path(name)).unwrap();
        }
    });
}

#[test]
fn dev_null_is_an_ended_input_and_an_unlimited_output() {
    on_the_real_network(REAL, |_| {
        let (mut from, output) = pipe().unwrap();
        let child = begin("much", Stdio::null(), output);
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        assert_eq!(behind_the_mark(&all).len(), 900_000, "what was written comes before the end");
        assert_eq!(end(child), "0 bytes, connection closed cleanly");
        assert_eq!(end(begin("much", Stdio::null(), Stdio::null())), "0 bytes, connection closed cleanly");
    });
}

#[test]
fn a_reader_that_is_gone_is_the_loss_even_if_nothing_is_written() {
    on_the_real_network(REAL, |_| {
        let (input, to) = pipe().unwrap();
        let (mut from, output) = pipe().unwrap();
        let child = begin("listen", input, output);
        read_the_mark(&mut from);
        drop(from);
        let said = end(child);
        assert!(said.starts_with("0 bytes, connection lost: ") && said.contains("Broken pipe"), "{said}");
        drop(to);
    });
}

#[test]
fn the_output_can_be_closed_alone_and_its_reader_sees_the_end() {
    on_the_real_network(REAL, |_| {
        let (input, mut to) = pipe().unwrap();
        let (mut from, output) = pipe().unwrap();
        let child = begin("half", input, output);
        read_the_mark(&mut from);
        assert_eq!(io::read_to_string(from).unwrap(), "all there is");
        to.write_all(b"it reads on").unwrap();
        drop(to);
        assert_eq!(end(child), "11 bytes, connection closed cleanly");
    });
}

#[test]
fn a_close_waits_for_no_more_input() {
    on_the_real_network(REAL, |_| {
        let (input, mut to) = pipe().unwrap();
        let child = begin("quit", input, Stdio::null());
        to.write_all(b"go").unwrap();
        assert_eq!(end(child), "2 bytes, connection closed cleanly");
        drop(to);
    });
}

#[test]
fn a_socket_can_be_both_and_stays_a_blocking_one() {
    on_the_real_network(REAL, |_| {
        let (mut here, there) = UnixStream::pair().unwrap();
        let shared = there.try_clone().unwrap();
        let output = OwnedFd::from(there.try_clone().unwrap());
        let child = begin("echo", OwnedFd::from(there), output);
        read_the_mark(&mut here);
        here.write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        here.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"hello");
        assert!(blocks(&shared));
        here.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(end(child), "5 bytes, connection closed cleanly");
    });
}

#[test]
fn a_terminal_is_left_as_it_was() {
    on_the_real_network(REAL, |_| {
        if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
            return eprintln!("skipped: there is no `script` here");
        }
        // Afterwards the shell checks the flags of its terminal: 04000 is O_NONBLOCK.
        let own = std::env::current_exe().unwrap();
        let line = format!(
            "{} {} --exact --nocapture --test-threads=1; grep flags /proc/$$/fdinfo/0",
            own.display(),
            test_path(the_program)
        );
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env(ROLE, "echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let mut from = child.stdout.take().unwrap();
        read_the_mark(&mut from);
        // A line, then the end of input of a terminal.
        to.write_all(b"hello\n\x04").unwrap();
        let mut rest = String::new();
        from.read_to_string(&mut rest).unwrap();
        drop(to);
        assert!(child.wait().unwrap().success(), "{rest}");
        assert!(rest.contains("6 bytes, connection closed cleanly"), "{rest}");
        let flags = rest.split("flags:").nth(1).unwrap().trim();
        let flags = u32::from_str_radix(flags, 8).unwrap();
        assert_eq!(flags & OFlags::NONBLOCK.bits(), 0, "{rest}");
    });
}
