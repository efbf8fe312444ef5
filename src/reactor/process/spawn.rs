//! Starting child processes, and access to running ones.

use crate::net::{ChildStream, Pipes, SpawnError, SpawnProcess, Token};
use crate::reactor::connection::{Connection, Pauses};
use crate::reactor::process::transport::{ProcessId, ProcessTransport};
use crate::reactor::process::{Pipe, PipeEnd, ProcessProtocol, ProcessSlot, State, find};
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Address, Error, Reactor, Result};

impl Reactor {
    /// Starts a child process with pipes to and from it. `process_started` of `protocol` is called
    /// from the loop, in the next turn. The call blocks until the program is loaded. (Twisted:
    /// `spawnProcess`.)
    ///
    /// The child inherits no file descriptors but those it was given. It is waited for as soon as
    /// it has exited. That requires process descriptors (Linux 5.3 and later).
    ///
    /// The child has the default action of SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM,
    /// SIGUSR1 and SIGUSR2. If this process ignores one of them (`nohup`, a background job of a
    /// script), the call gives it a handler that does nothing. Other ignored signals stay ignored.
    /// Signals that this thread blocks are blocked in the child.
    ///
    /// # Errors
    /// - [`Error::CannotSpawn`], with the program and the failing part
    ///   ([`SpawnFault`](crate::reactor::SpawnFault)): the program or its interpreter does not
    ///   exist; no permission to run it, to become that user or to enter that directory; too many
    ///   processes or descriptors.
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor is stopping or has
    ///   stopped.
    #[doc(alias("spawnProcess", "create_subprocess_exec", "create_subprocess_shell"))]
    pub fn spawn_process(
        &mut self,
        command: SpawnProcess,
        protocol: impl ProcessProtocol,
    ) -> Result<ProcessId> {
        self.check_not_stopping()?;
        let slot =
            ProcessSlot::new(Box::new(protocol), command.program.display().to_string(), command.kill_on_stop);
        let process = self.registry.insert(Source::Process(Box::new(slot)));
        let pipes = match command.terminal {
            Some(_) => {
                let terminal = self.reserve_pipe(process, Pipe::Terminal, &ChildStream::Pipe);
                Pipes { stdin: terminal, stdout: terminal, stderr: None }
            }
            None => Pipes {
                stdin: self.reserve_pipe(process, Pipe::In, &command.stdin),
                stdout: self.reserve_pipe(process, Pipe::Out, &command.stdout),
                stderr: self.reserve_pipe(process, Pipe::Err, &command.stderr),
            },
        };
        match self.net.spawn(process, pipes, &command) {
            Ok(number) => {
                if let Some(slot) = self.registry.process_mut(process) {
                    slot.number = number;
                    slot.pipes = pipes;
                }
                let id = ProcessId(process);
                log::debug!(process:% = id, pid = number; "process {id} runs {command}");
                self.queues.callbacks.push(Callback::StartProcess(process));
                Ok(id)
            }
            Err(SpawnError { fault, error: source }) => {
                for pipe in [pipes.stdin, pipes.stdout, pipes.stderr].into_iter().flatten() {
                    self.registry.remove(pipe);
                }
                self.statistics.spawn_failures += 1;
                let gone = self.registry.remove(process);
                drop(gone);
                Err(Error::CannotSpawn { program: command.program.display().to_string(), fault, source })
            }
        }
    }

    /// Creates the connection of a pipe. It has no public handle, and reading is paused until the
    /// process has started.
    fn reserve_pipe(&mut self, process: Token, pipe: Pipe, stream: &ChildStream) -> Option<Token> {
        match stream {
            ChildStream::Pipe => {}
            ChildStream::Inherit | ChildStream::Null | ChildStream::Descriptor(_) => return None,
        }
        let mut connection = Connection::new(Address::Pipe, process, self.has_small_marks());
        connection.cold().child_pipe = true;
        connection.protocol = Some(Box::new(PipeEnd { process, pipe }));
        connection.pauses.set(Pauses::PROTOCOL, true);
        Some(self.registry.insert(Source::Connection(connection)))
    }

    /// The transport of a child process; `None` when the process is gone.
    pub fn process_transport(&mut self, id: ProcessId) -> Option<ProcessTransport<'_>> {
        self.registry.process(id.0)?;
        Some(ProcessTransport { reactor: self, token: id.0 })
    }

    /// Calls `call` with another process's protocol of type `P`.
    ///
    /// Returns `None` in these cases:
    /// - The process is gone.
    /// - Its protocol is of another type.
    /// - Its protocol is the one whose callback is running.
    pub fn with_process<P: ProcessProtocol, R>(
        &mut self,
        id: ProcessId,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) -> R,
    ) -> Option<R> {
        let token = id.0;
        let mut protocol = self.registry.process_mut(token)?.protocol.take()?;
        let result = self.between_turns(|reactor| {
            let wanted = find::<P>(&mut *protocol)?;
            Some(call(wanted, &mut ProcessTransport { reactor, token }))
        });
        if let Some(slot) = self.registry.process_mut(token) {
            slot.protocol = Some(protocol);
        }
        // A panic belongs to the caller, not to the other process.
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The handles of all child processes that have not ended.
    pub fn processes(&self) -> Vec<ProcessId> {
        let open = |source: &Source| match source {
            Source::Process(slot) => !matches!(slot.state, State::Ended(_)),
            _ => false,
        };
        self.registry.tokens(open).into_iter().map(ProcessId).collect()
    }
}
