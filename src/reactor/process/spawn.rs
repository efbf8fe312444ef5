//! Beginning child processes, and reaching those that run.

use std::any::Any;

use crate::net::{ChildStream, Pipes, SpawnError, SpawnProcess, Token};
use crate::reactor::connection::{Connection, Pauses};
use crate::reactor::process::transport::{ProcessId, ProcessTransport};
use crate::reactor::process::{Pipe, PipeEnd, ProcessProtocol, ProcessSlot, State};
use crate::reactor::queues::Callback;
use crate::reactor::registry::Source;
use crate::reactor::{Address, Error, Reactor, Result};

impl Reactor {
    /// Begins a child process, with pipes to and from it; `process_started` of `protocol` is called from the loop, in the next turn.
    /// The child has nothing of this process's open but what it was given. The call waits until the program is loaded.
    /// (Twisted: `spawnProcess`.)
    ///
    /// It is waited for as soon as it has ended, whether anybody asks or not. The system needs descriptors of
    /// processes for that (Linux 5.3 and later).
    ///
    /// The child has the default action of SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2. If this
    /// process ignores one of them (`nohup`, a background job of a script), the call gives it a handler that does
    /// nothing. Other ignored signals stay ignored, and signals that this thread blocks are blocked in the child.
    ///
    /// # Errors
    /// [`Error::CannotSpawn`], which names the program and what is at fault ([`SpawnFault`](crate::reactor::SpawnFault)): there is no such
    /// program or interpreter, no right to run it, to be that user or to enter that directory; too many processes or descriptors.
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn spawn_process(&mut self, what: SpawnProcess, protocol: impl ProcessProtocol) -> Result<ProcessId> {
        self.check_begins()?;
        let slot =
            ProcessSlot::new(Box::new(protocol), what.program.display().to_string(), what.kill_on_stop);
        let process = self.registry.insert(Source::Process(Box::new(slot)));
        let pipes = match what.terminal {
            Some(_) => {
                let terminal = self.reserve_pipe(process, Pipe::Terminal, &ChildStream::Pipe);
                Pipes { stdin: terminal, stdout: terminal, stderr: None }
            }
            None => Pipes {
                stdin: self.reserve_pipe(process, Pipe::In, &what.stdin),
                stdout: self.reserve_pipe(process, Pipe::Out, &what.stdout),
                stderr: self.reserve_pipe(process, Pipe::Err, &what.stderr),
            },
        };
        match self.net.spawn(process, pipes, &what) {
            Ok(number) => {
                if let Some(slot) = self.registry.process_mut(process) {
                    slot.number = number;
                    slot.pipes = pipes;
                }
                let id = ProcessId(process);
                log::debug!(process:% = id, pid = number; "process {id} runs {what}");
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
                Err(Error::CannotSpawn { program: what.program.display().to_string(), fault, source })
            }
        }
    }

    /// A connection that nobody can name, and whose first callback has to wait.
    fn reserve_pipe(&mut self, process: Token, pipe: Pipe, stream: &ChildStream) -> Option<Token> {
        match stream {
            ChildStream::Pipe => {}
            ChildStream::Inherit | ChildStream::Null | ChildStream::Descriptor(_) => return None,
        }
        let mut connection = Connection::new(Address::Pipe, process, self.has_small_marks());
        connection.rare().child_pipe = true;
        connection.protocol = Some(Box::new(PipeEnd { process, pipe }));
        connection.pauses.set(Pauses::PROTOCOL, true);
        Some(self.registry.insert(Source::Connection(connection)))
    }

    /// A child process by name, if it still is there.
    pub fn process_transport(&mut self, id: ProcessId) -> Option<ProcessTransport<'_>> {
        self.registry.process(id.0)?;
        Some(ProcessTransport { reactor: self, token: id.0 })
    }

    /// Reaches another process's protocol, by its type. `None` when the process is gone, its protocol is of another type, or is the
    /// very one whose callback runs.
    pub fn with_process<P: ProcessProtocol, R>(
        &mut self,
        id: ProcessId,
        call: impl FnOnce(&mut P, &mut ProcessTransport<'_>) -> R,
    ) -> Option<R> {
        let token = id.0;
        let mut protocol = self.registry.process_mut(token)?.protocol.take()?;
        let result = self.between_turns(|reactor| {
            let wanted: &mut dyn Any = &mut *protocol;
            let wanted = wanted.downcast_mut::<P>()?;
            Some(call(wanted, &mut ProcessTransport { reactor, token }))
        });
        if let Some(slot) = self.registry.process_mut(token) {
            slot.protocol = Some(protocol);
        }
        // The panic is the caller's, not the other process's.
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The names of all child processes that have not ended.
    pub fn processes(&self) -> Vec<ProcessId> {
        let open = |source: &Source| match source {
            Source::Process(slot) => !matches!(slot.state, State::Ended(_)),
            _ => false,
        };
        self.registry.tokens(open).into_iter().map(ProcessId).collect()
    }
}
