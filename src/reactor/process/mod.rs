//! Child processes: their slots, pipes and callbacks.
//!
//! A child's pipes are ordinary connections whose protocols forward to the process's protocol. So
//! budgets, water marks and limits are the same. The poll reports a child's exit as an event, and
//! the loop then waits for the child at once.

pub(in crate::reactor) mod output;
pub(in crate::reactor) mod spawn;
pub(in crate::reactor) mod stdio;
pub(in crate::reactor) mod transport;
use crate::escape::{Escaped, EscapedBytes};
use std::any::{Any, TypeId};
use std::time::Duration;

use crate::net::{Close, ExitReason, Pipes, ProcessSignal, Token};
use crate::reactor::process::transport::{ProcessId, ProcessTransport};
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{CallbackKind, DelayedCall, ProcessCall, Protocol, Reactor, Reason, Transport};

/// The behaviour of a child process. (Twisted: `ProcessProtocol`.)
///
/// The calls for a process are:
/// - `process_started` once, first,
/// - the other calls, in any number,
/// - the loss of each pipe, once,
/// - `process_exited` once; output may arrive after it,
/// - `process_ended` once, last, when the process has exited and all its pipes are closed.
///
/// No call comes from inside another callback. A panic ends only this process: it is killed and its
/// pipes are closed. `process_exited` and `process_ended` follow with [`ExitReason::Panicked`].
///
/// ```
/// use twistor::{ExitReason, ProcessProtocol, ProcessTransport, Reactor, SpawnProcess};
///
/// struct Count(usize);
///
/// impl ProcessProtocol for Count {
///     fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
///         process.write(b"one\ntwo\n");
///         process.close_stdin();
///     }
///     fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
///         self.0 += data.iter().filter(|byte| **byte == b'\n').count();
///     }
///     fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
///         assert!(reason.is_clean() && self.0 == 2);
///         process.reactor().stop();
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// reactor.spawn_process(SpawnProcess::new("cat", [""; 0]), Count(0))?;
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("IProcessProtocol", "SubprocessProtocol"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol of a child process",
    label = "does not implement `ProcessProtocol`",
    note = "implement `ProcessProtocol` for it: all methods have defaults",
    note = "a process takes the protocol itself, not a factory: `Child`, not `|| Child`"
)]
pub trait ProcessProtocol: Any {
    /// Called when the process is running. (Twisted: `connectionMade`.)
    #[doc(alias = "connectionMade")]
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        let _ = process;
    }

    /// Called with data from its standard output, split at any point. By default it is dropped.
    #[doc(alias("outReceived", "pipe_data_received"))]
    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        let _ = (process, data);
    }

    /// Called with data from its standard error. By default it is logged at info level.
    #[doc(alias = "errReceived")]
    fn err_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        let id = process.id();
        log::info!(process:% = id; "process {id}: {}", EscapedBytes(data.trim_ascii_end()));
    }

    /// Called when the pipe to its standard input is closed. The reason is [`Reason::Done`] after
    /// `close_stdin`, when all data was written, or [`Reason::Lost`] when the pipe has no reader
    /// left, for example because the process has exited.
    #[doc(alias = "inConnectionLost")]
    fn in_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
        let _ = (process, reason);
    }

    /// Called when the pipe from its standard output is closed: no process has it open any more, or
    /// this side closed it.
    #[doc(alias("outConnectionLost", "pipe_connection_lost"))]
    fn out_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
        let _ = (process, reason);
    }

    /// Called when the pipe from its standard error is closed.
    #[doc(alias = "errConnectionLost")]
    fn err_connection_lost(&mut self, process: &mut ProcessTransport<'_>, reason: &Reason) {
        let _ = (process, reason);
    }

    /// Called when unsent input exceeds the high-water mark. The protocol should stop writing until
    /// `resume_writing`.
    fn pause_writing(&mut self, process: &mut ProcessTransport<'_>) {
        let _ = process;
    }

    /// Called when unsent input has fallen to the low-water mark.
    fn resume_writing(&mut self, process: &mut ProcessTransport<'_>) {
        let _ = process;
    }

    /// Called when the process has exited. It can no longer be signalled, but output may still
    /// arrive. Not called for a process that keeps running when the reactor stops.
    #[doc(alias = "processExited")]
    fn process_exited(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let _ = (process, reason);
    }

    /// Called when the process has exited and all its pipes are closed. A child of the process that
    /// holds the pipes open delays this call.
    #[doc(alias = "processEnded")]
    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let _ = (process, reason);
    }

    /// Returns the wrapped protocol, for a protocol that wraps one. With it,
    /// [`Reactor::with_process`](crate::Reactor::with_process) and
    /// [`ProcessTransport::call_later`] find it by its type.
    fn downcast_inner(&mut self, want: TypeId) -> Option<&mut dyn Any> {
        let _ = want;
        None
    }
}

/// The protocol itself or the one it wraps, as a `P`.
fn find<P: ProcessProtocol>(protocol: &mut dyn ProcessProtocol) -> Option<&mut P> {
    let outer: &dyn Any = protocol;
    if outer.is::<P>() {
        let outer: &mut dyn Any = protocol;
        return outer.downcast_mut();
    }
    protocol.downcast_inner(TypeId::of::<P>())?.downcast_mut()
}

/// A child process in the registry.
pub(in crate::reactor) struct ProcessSlot {
    /// `None` while one of its callbacks runs.
    pub(in crate::reactor) protocol: Option<Box<dyn ProcessProtocol>>,
    pub(in crate::reactor) program: String,
    pub(in crate::reactor) number: u32,
    pub(in crate::reactor) state: State,
    /// The open pipes.
    pub(in crate::reactor) pipes: Pipes,
    pub(in crate::reactor) kill_on_stop: bool,
    panicked: Option<String>,
    pub(in crate::reactor) timers: Vec<DelayedCall>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum State {
    /// `process_started` is queued.
    Starting,
    Running,
    /// The child was waited for, or left running. Pipes may still be open.
    Exited(ExitReason),
    /// `process_ended` is queued or running.
    Ended(ExitReason),
}

/// A pipe of a child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reactor) enum Pipe {
    In,
    Out,
    Err,
    /// Standard input and output of a pseudo-terminal.
    Terminal,
}

impl ProcessSlot {
    pub(in crate::reactor) fn new(
        protocol: Box<dyn ProcessProtocol>,
        program: String,
        kill_on_stop: bool,
    ) -> ProcessSlot {
        ProcessSlot {
            protocol: Some(protocol),
            program,
            number: 0,
            state: State::Starting,
            pipes: Pipes::default(),
            kill_on_stop,
            panicked: None,
            timers: Vec::new(),
        }
    }

    pub(in crate::reactor) fn pipe(&self, which: Pipe) -> Option<Token> {
        match which {
            Pipe::In => self.pipes.stdin,
            Pipe::Out | Pipe::Terminal => self.pipes.stdout,
            Pipe::Err => self.pipes.stderr,
        }
    }

    /// Whether standard input and output are a terminal.
    pub(in crate::reactor) fn is_on_terminal(&self) -> bool {
        self.pipes.stdin.is_some() && self.pipes.stdin == self.pipes.stdout
    }

    fn forget_pipe(&mut self, which: Pipe) {
        match which {
            Pipe::In => self.pipes.stdin = None,
            Pipe::Out => self.pipes.stdout = None,
            Pipe::Err => self.pipes.stderr = None,
            Pipe::Terminal => (self.pipes.stdin, self.pipes.stdout) = (None, None),
        }
    }

    fn open_pipes(&self) -> impl Iterator<Item = Token> + use<> {
        [self.pipes.stdin, self.pipes.stdout, self.pipes.stderr].into_iter().flatten()
    }

    pub(in crate::reactor) fn runs(&self) -> bool {
        matches!(self.state, State::Starting | State::Running)
    }
}

/// The protocol of a pipe, which forwards to the process's protocol.
pub(in crate::reactor) struct PipeEnd {
    pub(in crate::reactor) process: Token,
    pub(in crate::reactor) pipe: Pipe,
}

impl Protocol for PipeEnd {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let reactor = transport.reactor();
        match self.pipe {
            Pipe::Out | Pipe::Terminal => {
                reactor.call_process(self.process, CallbackKind::OutReceived, |protocol, process| {
                    protocol.out_received(process, data);
                })
            }
            Pipe::Err => {
                reactor.call_process(self.process, CallbackKind::ErrReceived, |protocol, process| {
                    protocol.err_received(process, data);
                })
            }
            Pipe::In => {}
        }
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.reactor().call_process(self.process, CallbackKind::PauseWriting, |protocol, process| {
            protocol.pause_writing(process);
        });
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.reactor().call_process(self.process, CallbackKind::ResumeWriting, |protocol, process| {
            protocol.resume_writing(process);
        });
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        transport.reactor().pipe_lost(self.process, self.pipe, reason);
    }
}

impl Reactor {
    pub(in crate::reactor) fn start_process(&mut self, token: Token) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        if slot.state != State::Starting {
            return;
        }
        slot.state = State::Running;
        let pipes = slot.pipes;
        self.statistics.spawns += 1;
        for pipe in [pipes.stdin, pipes.stdout, pipes.stderr].into_iter().flatten() {
            if let Some(mut transport) = self.transport(crate::reactor::ConnectionId(pipe)) {
                // Reading was paused until `process_started` could be called. The queue is read
                // after this call.
                transport.resume_reading();
                self.schedule_resume(pipe);
            }
        }
        self.call_process(token, CallbackKind::ProcessStarted, |protocol, process| {
            protocol.process_started(process);
        });
        // The exit may have been reported before the start.
        self.look_at_process(token);
    }

    /// Handles an event of a child process: checks whether it has exited.
    pub(in crate::reactor) fn look_at_process(&mut self, token: Token) {
        match self.registry.process(token) {
            Some(slot) if slot.state == State::Running => {}
            _ => return,
        }
        match self.net.exit_reason(token, Duration::ZERO) {
            Ok(None) => {}
            Ok(Some(reason)) => self.process_exited(token, reason),
            Err(error) => {
                log_error!("cannot wait for process {}: {}", ProcessId(token), Escaped(error));
                self.process_exited(token, ExitReason::Unknown);
            }
        }
    }

    fn process_exited(&mut self, token: Token, reason: ExitReason) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        let reason = slot.panicked.clone().map_or(reason, ExitReason::Panicked);
        slot.state = State::Exited(reason.clone());
        self.call_process(token, CallbackKind::ProcessExited, |protocol, process| {
            protocol.process_exited(process, &reason);
        });
        self.end_process(token);
    }

    fn pipe_lost(&mut self, token: Token, pipe: Pipe, reason: &Reason) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        slot.forget_pipe(pipe);
        if matches!(reason, Reason::BufferLimit(_) | Reason::CloseTimedOut(_)) {
            // The child must not mistake the input so far for all of it.
            self.kill_process(token);
        }
        if let Pipe::In | Pipe::Terminal = pipe {
            self.call_process(token, CallbackKind::InConnectionLost, |protocol, process| {
                protocol.in_connection_lost(process, reason);
            });
        }
        if let Pipe::Out | Pipe::Terminal = pipe {
            self.call_process(token, CallbackKind::OutConnectionLost, |protocol, process| {
                protocol.out_connection_lost(process, reason);
            });
        }
        if let Pipe::Err = pipe {
            self.call_process(token, CallbackKind::ErrConnectionLost, |protocol, process| {
                protocol.err_connection_lost(process, reason);
            });
        }
        self.end_process(token);
    }

    /// Queues `process_ended`, if the process has exited and all pipes are closed.
    fn end_process(&mut self, token: Token) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        if slot.open_pipes().next().is_none()
            && let State::Exited(reason) = &slot.state
        {
            slot.state = State::Ended(reason.clone());
            self.queues.callbacks.push(Callback::ProcessEnded(token));
        }
    }

    pub(in crate::reactor) fn process_ended(&mut self, token: Token) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        let State::Ended(reason) = slot.state.clone() else { return };
        for timer in std::mem::take(&mut slot.timers) {
            self.drop_timer(timer);
        }
        self.call_process(token, CallbackKind::ProcessEnded, |protocol, process| {
            protocol.process_ended(process, &reason);
        });
        self.net.close(token, Close::Graceful);
        if let Some(Source::Process(mut slot)) = self.registry.remove(token) {
            for timer in std::mem::take(&mut slot.timers) {
                self.drop_timer(timer);
            }
            self.call(CallbackKind::Drop, |_| drop(slot));
        }
    }

    pub(in crate::reactor) fn run_process_timer(&mut self, token: Token, call: ProcessCall) {
        if self.registry.process(token).is_some_and(|slot| slot.panicked.is_none()) {
            self.statistics.timed_calls += 1;
            self.call_process(token, CallbackKind::TimedCall, call);
        } else {
            self.call(CallbackKind::Drop, |_| drop(call));
        }
    }

    /// Calls a process's protocol, which is out of its slot meanwhile.
    pub(in crate::reactor) fn call_process(
        &mut self,
        token: Token,
        place: CallbackKind,
        call: impl FnOnce(&mut dyn ProcessProtocol, &mut ProcessTransport<'_>),
    ) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        // After a panic, only the exit and the end are reported.
        let last = matches!(place, CallbackKind::ProcessExited | CallbackKind::ProcessEnded);
        if slot.panicked.is_some() && !last {
            return;
        }
        let Some(mut protocol) = slot.protocol.take() else { return };
        let called = self.run_user_code(place, None, |reactor| {
            call(&mut *protocol, &mut ProcessTransport { reactor, token });
        });
        if let Some(slot) = self.registry.process_mut(token) {
            slot.protocol = Some(protocol);
        }
        if let Err(text) = called {
            self.end_panicked_process(token, text);
        }
    }

    #[cold]
    fn end_panicked_process(&mut self, token: Token, text: String) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        log_error!(
            "process {} ({}) is killed: its protocol panicked",
            ProcessId(token),
            Escaped(&slot.program)
        );
        slot.panicked.get_or_insert(text);
        let pipes = slot.open_pipes();
        self.kill_process(token);
        for pipe in pipes {
            self.abort_connection(pipe);
        }
    }

    /// Kills the process. Returns whether a signal was sent.
    pub(in crate::reactor) fn kill_process(&mut self, token: Token) -> bool {
        let runs = self.registry.process(token).is_some_and(ProcessSlot::runs);
        runs && self.net.signal_process(token, ProcessSignal::KILL).is_ok()
    }

    /// Asks a child to end, when the reactor stops gracefully. The child can still write output.
    pub(in crate::reactor) fn ask_process_to_end(&mut self, token: Token) {
        self.start_process(token);
        let Some(slot) = self.registry.process(token) else { return };
        if !slot.kill_on_stop {
            return self.leave_process(token);
        }
        let (terminal, runs) = (slot.is_on_terminal(), slot.runs());
        // Closing a terminal would hang it up.
        let input = slot.pipes.stdin.filter(|_| !terminal);
        if runs && let Err(error) = self.net.signal_process(token, ProcessSignal::TERMINATE) {
            log::debug!("cannot send SIGTERM to process {}: {}", ProcessId(token), Escaped(error));
        }
        if let Some(input) = input {
            self.lose_connection(input, None);
        }
    }

    /// Kills and waits for a child, or leaves it running, when the reactor stops.
    pub(in crate::reactor) fn stop_process(&mut self, token: Token) {
        // `process_started` comes before the last calls.
        self.start_process(token);
        let Some(slot) = self.registry.process(token) else { return };
        if !slot.kill_on_stop {
            return self.leave_process(token);
        }
        if !slot.runs() {
            return;
        }
        let timeout = if self.kill_process(token) { KILL_TIMEOUT } else { Duration::ZERO };
        // A process is left behind only if it must not be killed, or is blocked in the kernel.
        match self.net.exit_reason(token, timeout) {
            Ok(None) => {
                log_error!("process {} cannot be killed, or does not end", ProcessId(token));
                self.leave_process(token);
            }
            _ => self.look_at_process(token),
        }
    }

    /// Leaves the child running without this process.
    fn leave_process(&mut self, token: Token) {
        let Some(slot) = self.registry.process_mut(token) else { return };
        if slot.runs() {
            slot.state = State::Exited(ExitReason::StillRunning);
        }
        for pipe in slot.open_pipes() {
            self.queue_loss(pipe, Reason::Stopped);
        }
        self.end_process(token);
    }
}

/// Time that the end of the reactor waits for a killed process.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
