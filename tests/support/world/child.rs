//! A promise that needs a process of its own: for limits and signals that concern all of it.
//!
//! The test runs its own program again, for itself alone, and finds itself in the child.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::Turn;

use rustix::process::{Pid, Signal, kill_process};

/// A child that runs the same test; what it writes to stderr is read here.
pub struct Child {
    process: std::process::Child,
    _turn: Turn,
    said: BufReader<ChildStderr>,
}

/// The name of a test function as the test runner has it: its path in the program.
pub fn test_path<F: Fn()>(_test: F) -> &'static str {
    std::any::type_name::<F>().split_once("::").expect("the crate's name comes first").1
}

/// In the child: `None`, go on. In the parent: the child, started by the shell after `first` (`ulimit -n 64;`); `test`
/// is the [`test_path`] of the caller.
pub fn begin(test: &str, first: &str) -> Option<Child> {
    if inside() {
        eprintln!("{STARTED}");
        // A child that hangs fails its promise, and is not left behind.
        std::thread::spawn(|| {
            std::thread::sleep(LONGEST);
            eprintln!("the child hangs");
            std::process::abort();
        });
        return None;
    }
    let turn = Turn::take();
    let process = Command::new("sh")
        .args(["-c", &format!("{first} exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "yes")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut process = process.unwrap();
    let said = BufReader::new(process.stderr.take().unwrap());
    let mut child = Child { process, _turn: turn, said };
    // A wrong name would run no test, and succeed.
    child.says(STARTED);
    Some(child)
}

/// Whether this is the child.
pub fn inside() -> bool {
    env::var_os(MARK).is_some()
}

/// Runs `body` in a child and checks that it succeeds there.
pub fn alone(test: &str, first: &str, body: impl FnOnce()) {
    match begin(test, first) {
        None => body(),
        Some(child) => child.succeeds(),
    }
}

impl Child {
    /// Waits for a line of this text.
    pub fn says(&mut self, text: &str) {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            if self.said.read_line(&mut line).unwrap() == 0 {
                panic!("the child did not say {text:?}, but:\n{seen}");
            }
            if line.trim_end() == text {
                return;
            }
            seen += &line;
        }
    }

    /// Waits for a line that says this, as a complaint of a program does behind its name.
    pub fn complains(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.lines().any(|line| line.contains(&format!(": {text}"))) {
            let mut line = String::new();
            if self.said.read_line(&mut line).unwrap() == 0 {
                panic!("the child did not complain {text:?}, but:\n{seen}");
            }
            seen += &line;
        }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for its end, and returns its exit code.
    pub fn code(mut self) -> i32 {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        status.code().unwrap_or_else(|| panic!("{status}:\n{rest}"))
    }

    pub fn kill(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn ends(mut self) -> ExitStatus {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let status = self.process.wait().unwrap();
        if !status.success() && status.signal().is_none() {
            panic!("the child failed:\n{rest}");
        }
        status
    }

    pub fn succeeds(self) {
        let status = self.ends();
        assert!(status.success(), "{status}");
    }

    /// It ends as a program does that does not handle this signal.
    pub fn dies_of(self, signal: Signal) {
        assert_eq!(self.ends().signal(), Some(signal.as_raw()));
    }
}

/// Sends this very thread a signal, which is delivered before this returns. One for the process could go to
/// another thread, and be in the middle of its handlers while this one goes on.
pub fn raise(signal: Signal) {
    signal_hook::low_level::raise(signal.as_raw()).unwrap();
}

/// How long a child may live, however busy the machine is.
const LONGEST: Duration = Duration::from_secs(150);

/// The first line of a child.
const STARTED: &str = "the test runs in its child";

const MARK: &str = "TWISTOR_TEST_CHILD";
