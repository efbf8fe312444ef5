//! Running a program for what it says: all of its output, up to a limit.

use std::fmt;
use std::time::Duration;

use crate::reactor::{
    ExitReason, ProcessId, ProcessProtocol, ProcessTransport, Reactor, Result, SpawnProcess,
};

/// What a program is run with by [`Reactor::process_output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputOptions {
    /// What it gets as its standard input, which ends behind it. Default: nothing.
    pub input: Vec<u8>,
    /// How many bytes of its standard output, and as many of its standard error, are collected; one that writes more is killed.
    /// Default: 1 MiB.
    pub limit: usize,
    /// How long it may take until it has exited and its output is closed; then it is killed. Default: as long as it takes.
    pub timeout: Option<Duration>,
}

impl Default for OutputOptions {
    fn default() -> OutputOptions {
        OutputOptions { input: Vec::new(), limit: 1024 * 1024, timeout: None }
    }
}

/// What a program has said, and how it ended. (Twisted: the result of `getProcessOutputAndValue`.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessOutput {
    /// How it ended; look whether [`is_clean`](ExitReason::is_clean).
    pub reason: ExitReason,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

/// Why a program's output was not collected to its end: it was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputError {
    /// What it did.
    pub why: OutputErrorKind,
    /// What it had said until then.
    pub output: ProcessOutput,
}

/// See [`OutputError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputErrorKind {
    /// It wrote more than the limit, in bytes, to its standard output.
    StdoutLimit(usize),
    /// It wrote more than the limit, in bytes, to its standard error.
    StderrLimit(usize),
    /// It took longer than this.
    TimedOut(Duration),
}

impl Reactor {
    /// Runs a program and hands over what it said when it has ended, or was killed for saying or taking too much. (Twisted:
    /// `getProcessOutput`, `getProcessValue`, `getProcessOutputAndValue`.)
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
    /// As [`spawn_process`](Reactor::spawn_process); `done` is dropped then.
    pub fn process_output(
        &mut self,
        what: SpawnProcess,
        how: OutputOptions,
        done: impl FnOnce(&mut Reactor, Result<ProcessOutput, OutputError>) + 'static,
    ) -> Result<ProcessId> {
        let output = ProcessOutput { reason: ExitReason::Unknown, stdout: Vec::new(), stderr: Vec::new() };
        self.spawn_process(what, Collector { how, output, unfinished: None, done: Some(Box::new(done)) })
    }
}

type Done = Box<dyn FnOnce(&mut Reactor, Result<ProcessOutput, OutputError>)>;

struct Collector {
    how: OutputOptions,
    output: ProcessOutput,
    unfinished: Option<OutputErrorKind>,
    done: Option<Done>,
}

impl Collector {
    fn give_up(&mut self, process: &mut ProcessTransport<'_>, why: OutputErrorKind) {
        self.unfinished.get_or_insert(why);
        process.kill();
        // What it has started may hold them open for long.
        process.close_pipes();
    }
}

impl ProcessProtocol for Collector {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        let input = std::mem::take(&mut self.how.input);
        process.write(&input);
        process.close_stdin();
        if let Some(timeout) = self.how.timeout {
            process.call_later(timeout, move |this: &mut Collector, process| {
                this.give_up(process, OutputErrorKind::TimedOut(timeout));
            });
        }
    }

    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        let limit = self.how.limit;
        if !collect(&mut self.output.stdout, data, limit) {
            self.give_up(process, OutputErrorKind::StdoutLimit(limit));
        }
    }

    fn err_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        let limit = self.how.limit;
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

/// Whether there was room for all of it.
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
