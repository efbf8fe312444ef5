//! Child processes for tasks.

use std::cell::{Cell, OnceCell};
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::{StreamReader, StreamWriter};
use crate::reactor::Handle;
use crate::stream::state::{ChildPipe, StreamState};
use crate::stream::wakers::WakerSet;
use crate::{
    ChildStream, Error, ExitReason, OutputError, OutputOptions, ProcessId, ProcessOutput, ProcessProtocol,
    ProcessSignal, ProcessTransport, Reactor, Reason, Result, SpawnProcess,
};

/// Starts a child process whose pipes are streams. See [`Reactor::spawn_process`]. (asyncio:
/// `create_subprocess_exec`; tokio: [`process::Command::spawn`][tokio].)
///
/// ```
/// use twistor::SpawnProcess;
/// use twistor::stream::spawn_process;
///
/// twistor::block_on(async {
///     let mut sort = spawn_process(SpawnProcess::new("sort", ["-n"]))?;
///     let (input, mut output) = (sort.stdin.take().unwrap(), sort.stdout.take().unwrap());
///     input.write(b"10\n9\n");
///     input.write_eof();
///     assert_eq!(output.read_to_end(1000).await?, b"9\n10\n");
///     assert!(sort.wait().await.is_clean());
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - Those of [`Reactor::spawn_process`].
/// - [`Error::ReactorUnavailable`] outside of a task.
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/process/struct.Command.html
pub fn spawn_process(command: SpawnProcess) -> Result<Child> {
    let handle = Handle::current()?;
    let is_pipe = |stream: &ChildStream| match &command.terminal {
        Some(_) => true,
        None => matches!(stream, ChildStream::Pipe),
    };
    let state = |wanted: bool| wanted.then(|| StreamState::new(handle.clone()));
    let pipes = Pipes {
        stdin: state(is_pipe(&command.stdin)),
        stdout: state(is_pipe(&command.stdout)),
        // A terminal carries standard error with the output.
        stderr: state(command.terminal.is_none() && is_pipe(&command.stderr)),
    };
    let exit = Rc::new(Exit::default());
    let protocol = ChildProtocol { pipes: pipes.clone(), exit: Rc::clone(&exit) };
    let id = handle.with_reactor(|reactor| reactor.spawn_process(command, protocol))??;
    for (state, pipe) in [
        (&pipes.stdin, ChildPipe::Stdin),
        (&pipes.stdout, ChildPipe::Stdout),
        (&pipes.stderr, ChildPipe::Stderr),
    ] {
        if let Some(state) = state {
            state.set_child(id, pipe);
        }
    }
    Ok(Child {
        stdin: pipes.stdin.map(|state| state.only_writer()),
        stdout: pipes.stdout.map(|state| state.only_reader()),
        stderr: pipes.stderr.map(|state| state.only_reader()),
        handle,
        id,
        exit,
        detached: false,
    })
}

/// A child process of a task. (asyncio: `Process`; tokio: [`Child`][tokio].)
///
/// - **The streams** are there where [`SpawnProcess`] has a pipe, which is its default, or a
///   terminal. They can be taken out, and used by other tasks. Both outputs have to be read: at
///   twice the [limit](StreamReader::set_limit) of unread bytes the reader pauses, and the process
///   blocks once the pipe is full as well.
/// - **Dropping a reader** discards the output from then on. The process does not notice.
/// - **Dropping or closing the writer** closes standard input after the written data. `abort` does
///   the same. A terminal gets Ctrl-D instead.
///
/// **Dropping the `Child`** kills the process, and closes its pipes that were not taken out.
/// [`detach`](Child::detach) lets it run without an owner.
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/process/struct.Child.html
#[must_use = "a process is killed when this is dropped: keep it, await `wait`, or detach it"]
pub struct Child {
    /// Its standard input.
    pub stdin: Option<StreamWriter>,
    /// Its standard output.
    pub stdout: Option<StreamReader>,
    /// Its standard error.
    pub stderr: Option<StreamReader>,
    handle: Handle,
    id: ProcessId,
    exit: Rc<Exit>,
    detached: bool,
}

impl Child {
    /// Closes standard input, unless it was taken out, and waits until the process has exited.
    /// Output may still arrive. Dropping the future loses nothing. (asyncio: `wait`.)
    ///
    /// The result is [`ExitReason::StillRunning`] if the reactor stopped first, which kills the
    /// process or lets it run ([`SpawnProcess::kill_on_stop`]).
    pub async fn wait(&mut self) -> ExitReason {
        self.stdin = None;
        poll_fn(|context| match self.exit_reason() {
            Some(reason) => Poll::Ready(reason),
            None => {
                self.exit.waiting.wait(context);
                Poll::Pending
            }
        })
        .await
    }

    /// The reason why the process has exited, or `None` while it runs. (tokio: `try_wait`.)
    pub fn exit_reason(&self) -> Option<ExitReason> {
        match self.exit.reason.get() {
            None if self.handle.finished() => Some(ExitReason::StillRunning),
            reason => reason.cloned(),
        }
    }

    /// The handle of the process, for [`Reactor::process_transport`].
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// The process ID; `None` once the process has exited, and outside of a task.
    pub fn pid(&self) -> Option<u32> {
        self.with_process(|process| process.pid()).ok().flatten()
    }

    /// Sends a signal. See [`ProcessTransport::signal`].
    ///
    /// # Errors
    /// - [`Error::ProcessExited`] when the process has exited.
    /// - [`Error::System`] when the system refuses the signal or does not know it.
    /// - [`Error::ReactorUnavailable`] outside of a task.
    pub fn signal(&self, signal: impl Into<ProcessSignal>) -> Result<()> {
        self.with_process(|process| process.signal(signal))?
    }

    /// Kills the process. Its exit is reported by [`wait`](Child::wait).
    pub fn kill(&self) {
        let id = self.id;
        on_reactor(&self.handle, move |reactor| {
            if let Some(mut process) = reactor.process_transport(id) {
                process.kill();
            }
        });
    }

    /// Lets the process run without an owner, until it ends or the reactor stops. The streams that
    /// were not taken out are dropped.
    pub fn detach(mut self) {
        self.detached = true;
    }

    fn with_process<R>(&self, call: impl FnOnce(&mut ProcessTransport<'_>) -> R) -> Result<R> {
        let called = self.handle.with_reactor(|reactor| {
            reactor.process_transport(self.id).map(|mut process| call(&mut process))
        })?;
        called.ok_or(Error::ProcessExited)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        let (id, close_stdout, close_stderr) = (self.id, self.stdout.is_some(), self.stderr.is_some());
        on_reactor(&self.handle, move |reactor| {
            if let Some(mut process) = reactor.process_transport(id) {
                process.kill();
                // Its own children may hold the pipes open for long.
                if close_stdout {
                    process.close_stdout();
                }
                if close_stderr {
                    process.close_stderr();
                }
            }
        });
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Child");
        shown.field("id", &self.id).field("exit_reason", &self.exit_reason()).finish_non_exhaustive()
    }
}

fn on_reactor(handle: &Handle, call: impl FnOnce(&mut Reactor) + Clone + 'static) {
    if handle.with_reactor(call.clone()).is_err() {
        handle.call(call);
    }
}

/// The streams of a child's pipes.
#[derive(Clone)]
struct Pipes {
    stdin: Option<Rc<StreamState>>,
    stdout: Option<Rc<StreamState>>,
    stderr: Option<Rc<StreamState>>,
}

#[derive(Default)]
struct Exit {
    reason: OnceCell<ExitReason>,
    waiting: WakerSet,
}

impl Exit {
    fn set(&self, reason: ExitReason) {
        if self.reason.set(reason).is_ok() {
            self.waiting.wake();
        }
    }
}

/// A protocol that passes its events to the streams.
struct ChildProtocol {
    pipes: Pipes,
    exit: Rc<Exit>,
}

fn lost(pipe: Option<&Rc<StreamState>>, reason: &Reason) {
    if let Some(state) = pipe {
        state.ended(reason);
    }
}

impl ProcessProtocol for ChildProtocol {
    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        if self.pipes.stdout.as_ref().is_some_and(|state| state.received_from_child(data)) {
            process.pause_stdout();
        }
    }

    fn err_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        if self.pipes.stderr.as_ref().is_some_and(|state| state.received_from_child(data)) {
            process.pause_stderr();
        }
    }

    fn in_connection_lost(&mut self, _: &mut ProcessTransport<'_>, reason: &Reason) {
        lost(self.pipes.stdin.as_ref(), reason);
    }

    fn out_connection_lost(&mut self, _: &mut ProcessTransport<'_>, reason: &Reason) {
        lost(self.pipes.stdout.as_ref(), reason);
    }

    fn err_connection_lost(&mut self, _: &mut ProcessTransport<'_>, reason: &Reason) {
        lost(self.pipes.stderr.as_ref(), reason);
    }

    fn pause_writing(&mut self, _: &mut ProcessTransport<'_>) {
        if let Some(state) = &self.pipes.stdin {
            state.set_write_paused(true);
        }
    }

    fn resume_writing(&mut self, _: &mut ProcessTransport<'_>) {
        if let Some(state) = &self.pipes.stdin {
            state.set_write_paused(false);
        }
    }

    fn process_exited(&mut self, _: &mut ProcessTransport<'_>, reason: &ExitReason) {
        self.exit.set(reason.clone());
    }

    fn process_ended(&mut self, _: &mut ProcessTransport<'_>, reason: &ExitReason) {
        self.exit.set(reason.clone());
    }
}

/// Reports that the reactor finished without the calls of the end.
impl Drop for ChildProtocol {
    fn drop(&mut self) {
        for pipe in [&self.pipes.stdin, &self.pipes.stdout, &self.pipes.stderr] {
            lost(pipe.as_ref(), &Reason::Stopped);
        }
        self.exit.set(ExitReason::StillRunning);
    }
}

/// Runs a program and collects its output, as [`Reactor::process_output`]. Dropping the future
/// kills the program. (asyncio: `communicate`; tokio: [`process::Command::output`][tokio].)
///
/// ```
/// use twistor::stream::process_output;
/// use twistor::{OutputOptions, SpawnProcess};
///
/// let output = twistor::block_on(async {
///     let options = OutputOptions { input: b"hello".to_vec(), ..OutputOptions::default() };
///     process_output(SpawnProcess::new("tr", ["a-z", "A-Z"]), options).await
/// })??;
/// assert!(output.reason.is_clean());
/// assert_eq!(output.stdout, b"HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`ProcessError::Reactor`]: the program could not be started, or the caller is not inside a
///   task.
/// - [`ProcessError::Output`]: a limit was exceeded, and the program was killed.
///
/// [tokio]: https://docs.rs/tokio/latest/tokio/process/struct.Command.html#method.output
pub async fn process_output(
    command: SpawnProcess,
    options: OutputOptions,
) -> Result<ProcessOutput, ProcessError> {
    let handle = Handle::current()?;
    let collected = Rc::new(Collected::default());
    let there = Rc::clone(&collected);
    let id = handle.with_reactor(|reactor| {
        reactor.process_output(command, options, move |_, result| {
            there.result.set(Some(result));
            there.waiting.wake();
        })
    })??;
    let mut guard = KillOnDrop(Some((handle.clone(), id)));
    let result = poll_fn(|context| match collected.result.take() {
        Some(result) => Poll::Ready(result.map_err(ProcessError::Output)),
        None if handle.finished() => Poll::Ready(Err(Error::ReactorFinished.into())),
        None => {
            collected.waiting.wait(context);
            Poll::Pending
        }
    })
    .await;
    guard.0 = None;
    result
}

#[derive(Default)]
struct Collected {
    result: Cell<Option<Result<ProcessOutput, OutputError>>>,
    waiting: WakerSet,
}

struct KillOnDrop(Option<(Handle, ProcessId)>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let Some((handle, id)) = self.0.take() else { return };
        on_reactor(&handle, move |reactor| {
            if let Some(mut process) = reactor.process_transport(id) {
                process.kill();
                process.close_pipes();
            }
        });
    }
}

/// Error of [`process_output`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program could not be started.
    Reactor(Error),
    /// The program exceeded a limit and was killed. Contains its output until then.
    Output(OutputError),
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessError::Reactor(error) => error.fmt(f),
            ProcessError::Output(error) => error.fmt(f),
        }
    }
}

impl StdError for ProcessError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            ProcessError::Reactor(error) => error.source(),
            ProcessError::Output(error) => error.source(),
        }
    }
}

impl From<Error> for ProcessError {
    fn from(error: Error) -> ProcessError {
        ProcessError::Reactor(error)
    }
}
