//! Promises that need a process of their own, because limits and signals affect the whole process.
//!
//! The test runs its own program again with this test alone, and detects that it is the child.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::Turn;

use rustix::process::{Pid, Signal, kill_process};

/// A child process that runs the same test. Its standard error is read here.
pub struct Child {
    process: std::process::Child,
    _turn: Turn,
    said: BufReader<ChildStderr>,
}

/// Returns the name of a test function in the test runner: its path in the program.
pub fn test_path<F: Fn()>(_test: F) -> &'static str {
    std::any::type_name::<F>().split_once("::").expect("the crate's name comes first").1
}

/// In the child, returns `None`. In the parent, returns the child, started by the shell after the
/// command `first` (`ulimit -n 64;`). `test` is the [`test_path`] of the caller.
pub fn begin(test: &str, first: &str) -> Option<Child> {
    if inside() {
        eprintln!("{STARTED}");
        // A child that hangs is killed, and fails its promise.
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
    // A wrong name would run no test and succeed.
    child.says(STARTED);
    Some(child)
}

/// Returns whether this is the child.
pub fn inside() -> bool {
    env::var_os(MARK).is_some()
}

/// Runs `body` in a child and checks that it succeeds.
pub fn alone(test: &str, first: &str, body: impl FnOnce()) {
    match begin(test, first) {
        None => body(),
        Some(child) => child.succeeds(),
    }
}

impl Child {
    /// Waits for a line with exactly this text.
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

    /// Waits for a line that has this text after a colon, such as an error message.
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

    /// Waits for the child's end, and returns its exit code.
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

    /// Checks that the child is killed by this signal.
    pub fn dies_of(self, signal: Signal) {
        assert_eq!(self.ends().signal(), Some(signal.as_raw()));
    }
}

/// Sends a signal to this thread, which receives it before this returns. A signal for the process
/// could go to another thread, whose handlers would run concurrently.
pub fn raise(signal: Signal) {
    signal_hook::low_level::raise(signal.as_raw()).unwrap();
}

/// The time limit of a child, long enough for a busy machine.
const LONGEST: Duration = Duration::from_secs(150);

/// The first line of a child.
const STARTED: &str = "the test runs in its child";

const MARK: &str = "TWISTOR_TEST_CHILD";
