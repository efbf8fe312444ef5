//! What may be done with a child process.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::net::{ExitReason, ProcessSignal, TerminalSize, Token};
use crate::reactor::process::{Pipe, ProcessProtocol, State};
use crate::reactor::{ConnectionId, DelayedCall, Error, Instant, Reactor, Result, TimedCall, Transport};

/// A child process by name: it can be kept, and used after the process is gone, when it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub(crate) Token);

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessId({:?})", self.0)
    }
}

/// The index, a dot, and the generation.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A child process, as its protocol sees it. (Twisted: `IProcessTransport`.)
///
/// Nothing here calls back. What is said to a pipe that is closed, or never was one, does nothing.
pub struct ProcessTransport<'a> {
    pub(crate) reactor: &'a mut Reactor,
    pub(crate) token: Token,
}

impl ProcessTransport<'_> {
    /// The process's name in the reactor.
    pub fn id(&self) -> ProcessId {
        ProcessId(self.token)
    }

    /// The system's number of it; `None` once it has exited, when the number can be another process's. (Twisted: `pid`.)
    pub fn pid(&self) -> Option<u32> {
        self.reactor.registry.process(self.token).filter(|slot| slot.runs()).map(|slot| slot.number)
    }

    /// How it ended, if it has.
    pub fn exit_reason(&self) -> Option<&ExitReason> {
        match &self.reactor.registry.process(self.token)?.state {
            State::Exited(reason) | State::Ended(reason) => Some(reason),
            State::Starting | State::Running => None,
        }
    }

    /// The time, as [`Reactor::now`].
    pub fn now(&mut self) -> Instant {
        self.reactor.now()
    }

    /// The reactor: timers, other processes, connections.
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor
    }

    /// Writes to its standard input, sooner or later, in order. To write more than
    /// [`Settings::write_buffer_limit`](crate::reactor::Settings::write_buffer_limit) after `pause_writing` kills the process: without the rest it would
    /// take what it has for all.
    pub fn write(&mut self, data: &[u8]) {
        if let Some(mut pipe) = self.pipe(Pipe::In) {
            pipe.write(data);
        }
    }

    /// Writes several pieces, as one `write` of each in turn.
    pub fn write_sequence(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.write(piece);
        }
    }

    /// Bytes written that the system has not taken yet.
    pub fn write_buffer_size(&mut self) -> usize {
        self.pipe(Pipe::In).map_or(0, |pipe| pipe.write_buffer_size())
    }

    /// Whether more bytes wait than the high-water mark, and have not come down to the low one: as
    /// [`Transport::writing_paused`].
    pub fn writing_paused(&mut self) -> bool {
        self.pipe(Pipe::In).is_some_and(|pipe| pipe.writing_paused())
    }

    /// Sets the water marks of its standard input, in bytes: as [`Transport::set_water_marks`].
    pub fn set_water_marks(&mut self, high: usize, low: usize) {
        if let Some(mut pipe) = self.pipe(Pipe::In) {
            pipe.set_water_marks(high, low);
        }
    }

    /// Writes what waits, however long the process takes to read it, then closes its standard input. A terminal is not closed: the
    /// character that means the end of its input, Ctrl-D, is written to it. (Twisted: `closeStdin`.)
    pub fn close_stdin(&mut self) {
        match self.reactor.registry.process(self.token).is_some_and(|slot| slot.is_on_terminal()) {
            true => self.write(&[END_OF_INPUT]),
            false => self.close(Pipe::In),
        }
    }

    /// Closes its standard output: what it has written there and was not read is lost, and SIGPIPE may end it when it writes more. For a
    /// terminal that is to hang up: SIGHUP. (Twisted: `closeStdout`.)
    pub fn close_stdout(&mut self) {
        self.close(Pipe::Out);
    }

    /// Closes its standard error, likewise. (Twisted: `closeStderr`.)
    pub fn close_stderr(&mut self) {
        self.close(Pipe::Err);
    }

    /// Closes all three. (Twisted: `loseConnection`.)
    pub fn close_pipes(&mut self) {
        for pipe in [Pipe::In, Pipe::Out, Pipe::Err] {
            self.close(pipe);
        }
    }

    /// Leaves what it writes to its standard output with the system, which holds it up when that has enough.
    pub fn pause_stdout(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Out) {
            pipe.pause_reading();
        }
    }

    /// Reads its standard output again.
    pub fn resume_stdout(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Out) {
            pipe.resume_reading();
        }
    }

    /// Leaves what it writes to its standard error with the system.
    pub fn pause_stderr(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Err) {
            pipe.pause_reading();
        }
    }

    /// Reads its standard error again.
    pub fn resume_stderr(&mut self) {
        if let Some(mut pipe) = self.pipe(Pipe::Err) {
            pipe.resume_reading();
        }
    }

    /// Tells it that its terminal has another size: SIGWINCH.
    ///
    /// # Errors
    /// [`Error::System`] when it has no terminal, or that is closed.
    pub fn resize_terminal(&mut self, size: TerminalSize) -> Result<()> {
        let terminal = self.reactor.registry.process(self.token).and_then(|slot| slot.pipes.stdout);
        let resized = self.reactor.net.resize_terminal(terminal.unwrap_or(Token::NONE), size);
        resized.map_err(|source| Error::System { call: "ioctl", source })
    }

    /// Sends it a signal; to its whole group, if it has one of its own
    /// ([`SpawnProcess::own_group`](crate::SpawnProcess::own_group)). Never reaches another process: see
    /// [`pid`](ProcessTransport::pid). (Twisted: `signalProcess`.)
    ///
    /// # Errors
    /// [`Error::ProcessExited`] (Twisted: `ProcessExitedAlready`); [`Error::System`] when the system refuses, or knows no such
    /// signal.
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

    /// Kills it; `false` when it has exited already. `process_exited` and `process_ended` follow.
    pub fn kill(&mut self) -> bool {
        self.reactor.kill_process(self.token)
    }

    /// Calls `call` with this process's protocol after `delay`, unless the process has ended before: then the call is dropped. A
    /// protocol of another type than `P` is not called.
    pub fn call_later<P: ProcessProtocol>(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) + 'static,
    ) -> DelayedCall {
        let token = self.token;
        let call = move |protocol: &mut dyn ProcessProtocol, process: &mut ProcessTransport<'_>| {
            let protocol: &mut dyn Any = protocol;
            if let Some(protocol) = protocol.downcast_mut::<P>() {
                call(protocol, process);
            }
        };
        let at = self.reactor.now() + delay;
        let timer = self.reactor.timers.set(at, TimedCall::Process(token, Box::new(call)));
        let reactor = &mut *self.reactor;
        match reactor.registry.process_mut(token) {
            Some(slot) => {
                // Forgets those that were called or cancelled each time the list would grow.
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

/// Ctrl-D.
const END_OF_INPUT: u8 = 4;
