//! Collecting the output of a program, up to a limit.

use std::fmt;
use std::time::Duration;

use crate::reactor::{
    ExitReason, ProcessId, ProcessProtocol, ProcessTransport, Reactor, Result, SpawnProcess,
};

/// Options of [`Reactor::process_output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputOptions {
    /// Data for its standard input, which is closed after it. Default: none.
    pub input: Vec<u8>,
    /// Limit in bytes on collected standard output, and on standard error. A program that writes
    /// more is killed. Default: 1 MiB.
    pub limit: usize,
    /// Time limit until the program has exited and its output is closed. Then it is killed.
    /// Default: none.
    pub timeout: Option<Duration>,
}

impl Default for OutputOptions {
    fn default() -> OutputOptions {
        OutputOptions { input: Vec::new(), limit: 1024 * 1024, timeout: None }
    }
}

/// The output of a program and its exit reason. (Twisted: the result of
/// `getProcessOutputAndValue`.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessOutput {
    /// The exit reason; check whether it [`is_clean`](ExitReason::is_clean).
    pub reason: ExitReason,
    /// All standard output.
    pub stdout: Vec<u8>,
    /// All standard error.
    pub stderr: Vec<u8>,
}

/// The error for a program that was killed before all its output was collected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputError {
    /// The exceeded limit.
    pub why: OutputErrorKind,
    /// The output until then.
    pub output: ProcessOutput,
}

/// The kind of an [`OutputError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputErrorKind {
    /// The program wrote more than this limit in bytes to its standard output.
    StdoutLimit(usize),
    /// The program wrote more than this limit in bytes to its standard error.
    StderrLimit(usize),
    /// The program took longer than this limit.
    TimedOut(Duration),
}

impl Reactor {
    /// Runs a program and calls `done` with its output when it has ended. It is killed when it
    /// exceeds a limit. (Twisted: `getProcessOutput`, `getProcessValue`,
    /// `getProcessOutputAndValue`.)
    ///
    /// ```
    /// use twistor::{OutputOptions, Reactor, SpawnProcess};
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.process_output(SpawnProcess::new("uname", ["-s"]), OutputOptions::default(), |reactor, result| {
    ///     let output = result.expect("it says little");
    ///     assert!(output.reason.is_clean() && !output.stdout.is_empty());
    ///     reactor.stop();
    /// })?;
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn_process`](Reactor::spawn_process). `done` is dropped then.
    #[doc(alias("getProcessOutput", "getProcessValue", "getProcessOutputAndValue"))]
    pub fn process_output(
        &mut self,
        command: SpawnProcess,
        options: OutputOptions,
        done: impl FnOnce(&mut Reactor, Result<ProcessOutput, OutputError>) + 'static,
    ) -> Result<ProcessId> {
        let output = ProcessOutput { reason: ExitReason::Unknown, stdout: Vec::new(), stderr: Vec::new() };
        self.spawn_process(
            command,
            Collector { options, output, unfinished: None, done: Some(Box::new(done)) },
        )
    }
}

type Done = Box<dyn FnOnce(&mut Reactor, Result<ProcessOutput, OutputError>)>;

struct Collector {
    options: OutputOptions,
    output: ProcessOutput,
    unfinished: Option<OutputErrorKind>,
    done: Option<Done>,
}

impl Collector {
    fn give_up(&mut self, process: &mut ProcessTransport<'_>, why: OutputErrorKind) {
        self.unfinished.get_or_insert(why);
        process.kill();
        // Its own children may hold the pipes open for long.
        process.close_pipes();
    }
}

impl ProcessProtocol for Collector {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        let input = std::mem::take(&mut self.options.input);
        process.write(&input);
        process.close_stdin();
        if let Some(timeout) = self.options.timeout {
            process.call_later(timeout, move |this: &mut Collector, process| {
                this.give_up(process, OutputErrorKind::TimedOut(timeout));
            });
        }
    }

    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        let limit = self.options.limit;
        if !collect(&mut self.output.stdout, data, limit) {
            self.give_up(process, OutputErrorKind::StdoutLimit(limit));
        }
    }

    fn err_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        let limit = self.options.limit;
        if !collect(&mut self.output.stderr, data, limit) {
            self.give_up(process, OutputErrorKind::StderrLimit(limit));
        }
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let (stdout, stderr) =
            (std::mem::take(&mut self.output.stdout), std::mem::take(&mut self.output.stderr));
        let output = ProcessOutput { reason: reason.clone(), stdout, stderr };
        let result = match self.unfinished {
            None => Ok(output),
            Some(why) => Err(OutputError { why, output }),
        };
        if let Some(done) = self.done.take() {
            done(process.reactor(), result);
        }
    }
}

/// Appends data up to the limit. Returns whether all of it fitted.
fn collect(into: &mut Vec<u8>, data: &[u8], limit: usize) -> bool {
    let room = limit.saturating_sub(into.len());
    into.extend_from_slice(data.get(..room).unwrap_or(data));
    data.len() <= room
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            OutputErrorKind::StdoutLimit(limit) => {
                write!(f, "killed: it wrote more than {limit} bytes to its standard output")
            }
            OutputErrorKind::StderrLimit(limit) => {
                write!(f, "killed: it wrote more than {limit} bytes to its standard error")
            }
            OutputErrorKind::TimedOut(limit) => write!(f, "killed: it took longer than {limit:?}"),
        }
    }
}

impl std::error::Error for OutputError {}
