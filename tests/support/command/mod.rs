//! Runs the real command: reads its output line by line, sends signals, and provides services.
#![allow(dead_code)] // each test uses its part

use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use twistor::{Address, Protocol, Reactor, RemoteHandle, Transport};

#[allow(unused_imports, reason = "each test uses its part")]
pub use crate::world::{free_address, temp_dir::short_temp_dir};
pub use rustix::process::Signal;

/// A running command. Dropping it kills it.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Lines read so far, for messages.
    seen: Vec<String>,
}

/// The result of a command.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn twistor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twistor"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn run(arguments: &[&str]) -> Ended {
    let output = twistor(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Returns the command in a network namespace of its own, without any route. `None`, with a message
/// past the output capture, if the user cannot create one.
pub fn twistor_without_routes(arguments: &[&str]) -> Option<Command> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    };
    if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED: a user cannot make a network namespace");
        return None;
    }
    let mut command = unshare();
    command.arg(env!("CARGO_BIN_EXE_twistor")).args(arguments);
    Some(command)
}

impl Running {
    pub fn start(arguments: &[&str]) -> Running {
        Running::begin(twistor(arguments))
    }

    /// Starts the command under strace, with this tampering. The calls are written to `trace`.
    pub fn start_under_strace(tampering: &[&str], trace: &Path, arguments: &[&str]) -> Running {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(trace).args(tampering).arg(env!("CARGO_BIN_EXE_twistor"));
        command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
        Running::begin(command)
    }

    /// Starts any command that writes lines.
    pub fn begin(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, seen: Vec::new() }
    }

    /// Starts any command, with an iterator over the lines of its standard error.
    pub fn begin_told(command: Command) -> (Running, impl Iterator<Item = std::io::Result<String>> + use<>) {
        let mut running = Running::begin(command);
        let told = BufReader::new(running.child.stderr.take().unwrap()).lines();
        (running, told)
    }

    /// Returns the next line; panics without one in time.
    pub fn line(&mut self) -> String {
        let line = self.lines.recv_timeout(TIME_LIMIT);
        let line = line.unwrap_or_else(|_| panic!("no further line after {:#?}", self.seen));
        self.seen.push(line.clone());
        line
    }

    /// Returns the next line with all of these words, and skips others. Panics without one in time.
    pub fn line_with(&mut self, words: &[&str]) -> String {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < TIME_LIMIT, "no line with {words:?} in {:#?}", self.seen);
            let line = self.line();
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Waits for a line for each set of words, in any order. Returns the lines in the order of the
    /// sets.
    pub fn lines_with(&mut self, sets: &[&[&str]]) -> Vec<String> {
        let mut found: Vec<Option<String>> = vec![None; sets.len()];
        let began = Instant::now();
        while found.contains(&None) {
            assert!(began.elapsed() < TIME_LIMIT, "{found:?} of {sets:?} in {:#?}", self.seen);
            let line = self.line();
            let has = |words: &[&str]| words.iter().all(|word| line.contains(word));
            if let Some(index) = (0..sets.len()).find(|index| found[*index].is_none() && has(sets[*index])) {
                found[index] = Some(line);
            }
        }
        found.into_iter().flatten().collect()
    }

    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Returns the process id of the traced command.
    pub fn traced(&self) -> i32 {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.trim().parse().unwrap_or_else(|_| panic!("not one process is traced: {children:?}"))
    }

    pub fn signal(&self, signal: Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the end, and returns the output that was not read before.
    pub fn end(mut self) -> Ended {
        let mut err = String::new();
        if let Some(mut told) = self.child.stderr.take() {
            told.read_to_string(&mut err).unwrap();
        }
        let rest: Vec<String> = self.lines.iter().collect();
        let code = self.child.wait().unwrap().code();
        Ended { code, out: rest.join("\n"), err }
    }

    /// Sends a signal, and waits for the end.
    pub fn end_by(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Usually it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service on its own thread. Dropping it ends it and its connections.
pub struct Service {
    pub address: String,
    remote: RemoteHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Service {
    /// Listens on `address` ("127.0.0.1:0" for any port).
    pub fn start<P: Protocol>(address: &str, protocol: impl FnMut() -> P + Send + 'static) -> Service {
        let (sender, started) = channel();
        let address = address.to_owned();
        let serve = move || {
            let settings = twistor::Settings { handle_signals: false, ..twistor::Settings::default() };
            let mut reactor = Reactor::with_settings(settings).unwrap();
            let listener = reactor.listen_tcp(address, protocol).unwrap();
            let Address::Tcp(address) = listener.address() else { unreachable!("only TCP was asked for") };
            sender.send((address.to_string(), reactor.remote())).unwrap();
            reactor.run().unwrap();
        };
        let thread = Some(thread::spawn(serve));
        let (address, remote) = started.recv_timeout(TIME_LIMIT).unwrap();
        Service { address, remote, thread }
    }

    /// Starts a service that accepts and never writes.
    pub fn silent(address: &str) -> Service {
        Service::start(address, || Silent)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking(), "the service panicked");
    }
}

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
}

/// Returns a local address that refuses connections. A socket that does not listen holds the port
/// until the test program ends, so that no other test gets it.
pub fn refusing_address() -> String {
    static TAKEN: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    address.to_string()
}

/// The time limit of a wait, long enough for the slowest machine. Only a failing test reaches it.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);
