//! Operations on a child process.

use std::time::Duration;

use crate::net::{ExitReason, ProcessSignal, TerminalSize, Token};
use crate::reactor::process::{Pipe, ProcessProtocol, State, find};
use crate::reactor::registry::source_id;
use crate::reactor::{ConnectionId, DelayedCall, Error, Instant, Reactor, Result, TimedCall, Transport};

source_id! {
    /// A handle to a child process. It may outlive the process and then refers to nothing.
    pub struct ProcessId;
}

/// A child process as seen by its protocol. (Twisted: `IProcessTransport`.)
///
/// No method calls a callback. Operations on a closed or missing pipe do nothing.
#[doc(alias("IProcessTransport", "SubprocessTransport", "Child"))]
pub struct ProcessTransport<'a> {
    pub(crate) reactor: &'a mut Reactor,
    pub(crate) token: Token,
}

impl ProcessTransport<'_> {
    /// The handle of the process.
    pub fn id(&self) -> ProcessId {
        ProcessId(self.token)
    }

    /// The process ID; `None` once the process has exited, because the ID can be reused. (Twisted:
    /// `pid`.)
    pub fn pid(&self) -> Option<u32> {
        self.reactor.registry.process(self.token).filter(|slot| slot.runs()).map(|slot| slot.number)
    }

    /// The exit reason, if the process has exited.
    pub fn exit_reason(&self) -> Option<&ExitReason> {
        match &self.reactor.registry.process(self.token)?.state {
            State::Exited(reason) | State::Ended(reason) => Some(reason),
            State::Starting | State::Running => None,
        }
    }

    /// The current time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Queues data for its standard input. Data is written in order.
    ///
    /// Writing more than
    /// [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit) after
    /// `pause_writing` kills the process. Otherwise it would mistake partial input for all of it.
    pub fn write(&mut self, data: impl AsRef<[u8]>) {
        if let Some(mut pipe) = self.pipe(Pipe::In) {
            pipe.write(data);
        }
    }

    /// Writes several pieces, as one `write` for each.
    pub fn write_sequence(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.write(piece);
        }
    }

    /// The number of bytes written that the kernel has not accepted yet.
    pub fn write_buffer_size(&mut self) -> usize {
        self.pipe(Pipe::In).map_or(0, |pipe| pipe.write_buffer_size())
    }

    /// Whether unsent bytes exceeded the high-water mark and have not fallen to the low-water mark,
    /// as [`Transport::writing_paused`].
    pub fn writing_paused(&mut self) -> bool {
        self.pipe(Pipe::In).is_some_and(|pipe| pipe.writing_paused())
    }

    /// Sets the water marks of its standard input in bytes, as [`Transport::set_water_marks`].
    pub fn set_water_marks(&mut self, high: usize, low: usize) {
        if let Some(mut pipe) = self.pipe(Pipe::In) {
            pipe.set_water_marks(high, low);
        }
    }

    /// Closes its standard input after all buffered data is written, however long the process takes
    /// to read it. A terminal stays open: its end-of-input character, Ctrl-D, is written instead.
    /// (Twisted: `closeStdin`.)
    #[doc(alias = "closeStdin")]
    pub fn close_stdin(&mut self) {
        match self.reactor.registry.process(self.token).is_some_and(|slot| slot.is_on_terminal()) {
            true => self.write([END_OF_INPUT]),
            false => self.close(Pipe::In),
        }
    }

    /// Closes its standard output. Unread output is lost, and SIGPIPE may end the process when it
    /// writes more. A terminal is hung up (SIGHUP). (Twisted: `closeStdout`.)
    #[doc(alias = "closeStdout")]
    pub fn close_stdout(&mut self) {
        self.close(Pipe::Out);
    }

    /// Closes its standard error, in the same way. (Twisted: `closeStderr`.)
    #[doc(alias = "closeStderr")]
    pub fn close_stderr(&mut self) {
        self.close(Pipe::Err);
    }

    /// Closes all pipes. (Twisted: `loseConnection`.)
    #[doc(alias = "loseConnection")]
    pub fn close_pipes(&mut self) {
        for pipe in [Pipe::In, Pipe::Out, Pipe::Err] {
            self.close(pipe);
        }
    }

    /// Stops reading its standard output. When the kernel's buffer is full, the process blocks.
    pub fn pause_stdout(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Out) {
            pipe.pause_reading();
        }
    }

    /// Resumes reading its standard output.
    pub fn resume_stdout(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Out) {
            pipe.resume_reading();
        }
    }

    /// Stops reading its standard error.
    pub fn pause_stderr(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Err) {
            pipe.pause_reading();
        }
    }

    /// Resumes reading its standard error.
    pub fn resume_stderr(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Err) {
            pipe.resume_reading();
        }
    }

    /// Sets the size of its terminal and notifies it with SIGWINCH.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no terminal, or the terminal is closed.
    pub fn resize_terminal(&mut self, size: TerminalSize) -> Result<()> {
        let terminal = self.reactor.registry.process(self.token).and_then(|slot| slot.pipes.stdout);
        let resized = self.reactor.net.resize_terminal(terminal.unwrap_or(Token::NONE), size);
        resized.map_err(|source| Error::System { call: "ioctl", source })
    }

    /// Sends a signal to the process, or to its whole group if it has its own
    /// ([`SpawnProcess::own_group`](crate::SpawnProcess::own_group)). (Twisted: `signalProcess`.)
    ///
    /// The signal never reaches another process that reuses the [`pid`](ProcessTransport::pid).
    ///
    /// # Errors
    /// - [`Error::ProcessExited`] when the process has exited. (Twisted: `ProcessExitedAlready`.)
    /// - [`Error::System`] when the system refuses the signal or does not know it.
    #[doc(alias("signalProcess", "send_signal"))]
    pub fn signal(&mut self, signal: impl Into<ProcessSignal>) -> Result<()> {
        match self.pid() {
            None => Err(Error::ProcessExited),
            Some(_) => self
                .reactor
                .net
                .signal_process(self.token, signal.into())
                .map_err(|source| Error::System { call: "kill", source }),
        }
    }

    /// Kills the process; `false` when it has exited. `process_exited` and `process_ended` follow.
    pub fn kill(&mut self) -> bool {
        self.reactor.kill_process(self.token)
    }

    /// Calls `call` with this process's protocol after `delay`. The call is dropped if the process
    /// ends first, or if the protocol is not a `P`.
    pub fn call_later<P: ProcessProtocol>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) + 'static,
    ) -> DelayedCall {
        let token = self.token;
        let call = move |protocol: &mut dyn ProcessProtocol, process: &mut ProcessTransport<'_>| {
            if let Some(protocol) = find::<P>(protocol) {
                call(protocol, process);
            }
        };
        let at = self.reactor.now() + delay;
        let timer = self.reactor.timers.set(at, TimedCall::Process(token, Box::new(call)));
        let reactor = &mut *self.reactor;
        match reactor.registry.process_mut(token) {
            Some(slot) => {
                // Drops inactive handles each time before the list would grow.
                if slot.timers.len() == slot.timers.capacity() {
                    slot.timers.retain(|timer| reactor.timers.due(*timer).is_some());
                }
                slot.timers.push(timer);
            }
            None => reactor.drop_timer(timer),
        }
        timer
    }

    fn pipe(&mut self, which: Pipe) -> Option<Transport<'_>> {
        let token = self.reactor.registry.process(self.token)?.pipe(which)?;
        self.reactor.transport(ConnectionId(token))
    }

    fn close(&mut self, which: Pipe) {
        if let Some(mut pipe) = self.pipe(which) {
            pipe.lose_connection();
        }
    }
}

/// Ctrl-D, the end-of-input character of a terminal.
const END_OF_INPUT: u8 = 4;
