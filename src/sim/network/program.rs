//! Programs of simulated hosts: scripts of child processes, in virtual time.
//!
//! A child is not a process of the world and has no sockets. Its parent process advances it in its
//! polls. Rules and faults do not apply to its pipes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::net::{Event, ExitReason, Pipes, ProcessSignal, Readiness, SpawnProcess, Token, nanoseconds};
use crate::sim::world::World;
use crate::sim::world::events::EventKind;
use crate::sim::{Errno, Host, Network};

/// The script of a simulated child process. After the last step it exits with code 0.
///
/// SIGKILL ends it at any time. So does any other signal that it does not
/// [catch](SimProgram::at_signal) or [ignore](SimProgram::ignore_signal), except SIGCHLD, SIGWINCH,
/// SIGSTOP and SIGCONT, which do nothing. Stopping and continuing are not modelled.
///
/// Each pipe holds 64 KiB, as on Linux. Output to a closed or missing pipe is discarded. A terminal
/// is a pipe in both directions.
#[derive(Debug, Default)]
pub struct SimProgram {
    steps: VecDeque<Step>,
    traps: BTreeMap<ProcessSignal, VecDeque<Step>>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Output, Vec<u8>),
    Wait(Duration),
    /// A `Wait` that has started, with its end.
    WaitUntil(u64),
    ReadLine,
    Echo,
    Exit(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Stdout,
    Stderr,
}

impl SimProgram {
    /// Writes to standard output; waits while the pipe is full.
    pub fn stdout(&mut self, text: impl AsRef<[u8]>) -> &mut SimProgram {
        self.step(Step::Write(Output::Stdout, text.as_ref().to_vec()))
    }

    /// Writes to standard error; waits while the pipe is full.
    pub fn stderr(&mut self, text: impl AsRef<[u8]>) -> &mut SimProgram {
        self.step(Step::Write(Output::Stderr, text.as_ref().to_vec()))
    }

    /// Waits for a duration of virtual time.
    pub fn sleep(&mut self, time: Duration) -> &mut SimProgram {
        self.step(Step::Wait(time))
    }

    /// Reads a line of any length from standard input, or to its end.
    pub fn read_line(&mut self) -> &mut SimProgram {
        self.step(Step::ReadLine)
    }

    /// Copies standard input to standard output until the end of the input.
    pub fn cat(&mut self) -> &mut SimProgram {
        self.step(Step::Echo)
    }

    /// Exits with this code.
    pub fn exit(&mut self, code: i32) -> &mut SimProgram {
        self.step(Step::Exit(code))
    }

    /// Replaces the remaining steps with other ones when this signal arrives.
    pub fn at_signal(
        &mut self,
        signal: impl Into<ProcessSignal>,
        act: impl FnOnce(&mut SimProgram),
    ) -> &mut SimProgram {
        let mut then = SimProgram::default();
        act(&mut then);
        self.traps.insert(signal.into(), then.steps);
        self
    }

    /// Ignores this signal.
    pub fn ignore_signal(&mut self, signal: impl Into<ProcessSignal>) -> &mut SimProgram {
        self.traps.insert(signal.into(), VecDeque::new());
        self
    }

    fn step(&mut self, step: Step) -> &mut SimProgram {
        self.steps.push_back(step);
        self
    }
}

impl Network {
    /// Installs a program of this name on a host, for
    /// [`Reactor::spawn_process`](crate::Reactor::spawn_process). `write` is called for each child
    /// with the spawn request, and writes the child's script.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::sim::Simulation;
    /// use twistor::{OutputOptions, SpawnProcess};
    ///
    /// let mut simulation = Simulation::new(1);
    /// let host = simulation.host("server");
    /// simulation.program(host, "backup", |script, _| {
    ///     script.stdout("begun\n").sleep(Duration::from_secs(3600)).stdout("done\n").exit(3);
    /// });
    /// let backup = SpawnProcess::new("backup", ["--all"]);
    /// simulation.reactor(host).process_output(backup, OutputOptions::default(), |reactor, result| {
    ///     let output = result.unwrap();
    ///     assert_eq!((output.stdout.as_slice(), output.reason.code()), (&b"begun\ndone\n"[..], Some(3)));
    ///     reactor.stop();
    /// })?;
    /// simulation.run_for(Duration::from_secs(3601))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn program(
        &self,
        host: Host,
        name: &str,
        write: impl FnMut(&mut SimProgram, &SpawnProcess) + 'static,
    ) {
        let program: Program = Rc::new(RefCell::new(write));
        self.world.borrow_mut().programs.insert((host.0, name.to_owned()), program);
    }
}

/// Writes the script of a child.
pub(in crate::sim) type Program = Rc<RefCell<dyn FnMut(&mut SimProgram, &SpawnProcess)>>;

/// The children of one process.
#[derive(Default)]
pub(in crate::sim) struct Children {
    running: BTreeMap<Token, Child>,
    /// The child of each pipe.
    pipes: BTreeMap<Token, Token>,
    pending: Vec<(Token, Readiness)>,
    count: u32,
}

struct Child {
    script: SimProgram,
    pipes: Pipes,
    stdin: VecDeque<u8>,
    stdin_open: bool,
    stdout: VecDeque<u8>,
    stderr: VecDeque<u8>,
    exit: Option<ExitReason>,
}

impl Children {
    pub(in crate::sim) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.pipes.is_empty()
    }

    pub(in crate::sim) fn spawn(
        &mut self,
        world: &RefCell<World>,
        process: u32,
        (token, pipes): (Token, Pipes),
        request: &SpawnProcess,
    ) -> io::Result<u32> {
        let host = world.borrow().process(process).host;
        let name = (host, request.program.display().to_string());
        let program = world.borrow().programs.get(&name).cloned();
        let mut script = SimProgram::default();
        match program.as_ref().map(|program| program.try_borrow_mut()) {
            Some(Ok(mut write)) => write(&mut script, request),
            Some(Err(_)) => return Err(Errno::EAGAIN.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        let stdin_open = pipes.stdin.is_some();
        let (stdin, stdout, stderr) = Default::default();
        self.running.insert(token, Child { script, pipes, stdin, stdin_open, stdout, stderr, exit: None });
        for pipe in [pipes.stdin, pipes.stdout, pipes.stderr].into_iter().flatten() {
            self.pipes.insert(pipe, token);
        }
        self.count += 1;
        self.advance(world, process, token);
        Ok(self.count)
    }

    /// Advances all children and appends their readiness.
    pub(in crate::sim) fn poll(&mut self, world: &RefCell<World>, process: u32, events: &mut Vec<Event>) {
        let all: Vec<Token> = self.running.keys().copied().collect();
        for token in all {
            self.advance(world, process, token);
        }
        events.extend(self.pending.drain(..).map(|(token, ready)| Event::Ready(token, ready)));
    }

    pub(in crate::sim) fn exit_reason(&self, token: Token) -> io::Result<Option<ExitReason>> {
        let child = self.running.get(&token).ok_or(io::ErrorKind::NotFound)?;
        Ok(child.exit.clone())
    }

    pub(in crate::sim) fn signal(
        &mut self,
        world: &RefCell<World>,
        process: u32,
        token: Token,
        signal: ProcessSignal,
    ) -> io::Result<()> {
        let child = self.running.get_mut(&token).ok_or(io::ErrorKind::NotFound)?;
        if child.exit.is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        match child.script.traps.get(&signal) {
            Some(steps) if signal != ProcessSignal::KILL => {
                if !steps.is_empty() {
                    child.script.steps = steps.clone();
                }
            }
            None if IGNORED.contains(&signal) => {}
            _ => self.end(token, ExitReason::Signal { signal, core_dumped: false }),
        }
        self.advance(world, process, token);
        Ok(())
    }

    /// Reads from a pipe. `None`: the token is not a pipe of a child.
    pub(in crate::sim) fn recv(
        &mut self,
        world: &RefCell<World>,
        process: u32,
        pipe: Token,
        buffer: &mut [u8],
    ) -> Option<io::Result<usize>> {
        let token = *self.pipes.get(&pipe)?;
        let child = self.running.get_mut(&token)?;
        let ended = child.exit.is_some();
        // A terminal is both input and output.
        let out = if child.pipes.stdout == Some(pipe) {
            &mut child.stdout
        } else if child.pipes.stderr == Some(pipe) {
            &mut child.stderr
        } else {
            return Some(Err(if ended { Errno::EPIPE.into() } else { io::ErrorKind::WouldBlock.into() }));
        };
        if out.is_empty() {
            return Some(if ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) });
        }
        let count = out.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(out.drain(..count)) {
            *place = byte;
        }
        // The child may be waiting for room in the pipe.
        self.advance(world, process, token);
        Some(Ok(count))
    }

    /// Writes to a pipe. `None`: the token is not a pipe of a child.
    pub(in crate::sim) fn send(
        &mut self,
        world: &RefCell<World>,
        process: u32,
        pipe: Token,
        data: &[u8],
    ) -> Option<io::Result<usize>> {
        let token = *self.pipes.get(&pipe)?;
        let child = self.running.get_mut(&token)?;
        if child.exit.is_some() {
            return Some(Err(Errno::EPIPE.into()));
        }
        let count = data.len().min(ROOM - child.stdin.len().min(ROOM));
        if count == 0 {
            return Some(Err(io::ErrorKind::WouldBlock.into()));
        }
        child.stdin.extend(data.get(..count).unwrap_or_default());
        self.advance(world, process, token);
        Some(Ok(count))
    }

    /// Closes a child or a pipe. Returns whether the token was one. A running child is dropped with
    /// its script.
    pub(in crate::sim) fn close(&mut self, world: &RefCell<World>, process: u32, closed: Token) -> bool {
        if self.running.remove(&closed).is_some() {
            self.pipes.retain(|_, owner| *owner != closed);
            return true;
        }
        let Some(token) = self.pipes.remove(&closed) else { return false };
        if let Some(child) = self.running.get_mut(&token) {
            let Pipes { stdin, stdout, stderr } = &mut child.pipes;
            if *stdin == Some(closed) {
                child.stdin_open = false;
            }
            for pipe in [stdin, stdout, stderr] {
                *pipe = pipe.filter(|pipe| *pipe != closed);
            }
            self.advance(world, process, token);
        }
        true
    }

    /// Runs the steps of a child that can proceed now.
    fn advance(&mut self, world: &RefCell<World>, process: u32, token: Token) {
        let now = world.borrow().local_now(process);
        while let Some(child) = self.running.get_mut(&token)
            && child.exit.is_none()
        {
            let Some(step) = child.script.steps.pop_front() else {
                self.end(token, ExitReason::Code(0));
                break;
            };
            match step {
                Step::Exit(code) => self.end(token, ExitReason::Code(code)),
                Step::Wait(time) => {
                    let at = now.saturating_add(nanoseconds(time));
                    child.script.steps.push_front(Step::WaitUntil(at));
                    world.borrow_mut().schedule(at, EventKind::Program, 0, process, 0);
                }
                Step::WaitUntil(at) if at <= now => {}
                Step::Write(output, mut bytes) => {
                    let (pipe, out) = match output {
                        Output::Stdout => (child.pipes.stdout, &mut child.stdout),
                        Output::Stderr => (child.pipes.stderr, &mut child.stderr),
                    };
                    // The pipe is closed or missing: the output is discarded.
                    let Some(pipe) = pipe else { continue };
                    let rest = bytes.split_off(bytes.len().min(ROOM - out.len().min(ROOM)));
                    if !bytes.is_empty() {
                        out.extend(bytes);
                        self.pending.push((pipe, Readiness::READABLE));
                    }
                    if !rest.is_empty() {
                        child.script.steps.push_front(Step::Write(output, rest));
                        break;
                    }
                }
                Step::ReadLine => {
                    let line = child.stdin.iter().position(|byte| *byte == b'\n');
                    // An incomplete line is consumed as well, so that a line longer than the pipe
                    // can end.
                    let read = line.map_or(child.stdin.len(), |end| end + 1);
                    child.stdin.drain(..read);
                    if read > 0 {
                        self.pending.extend(child.pipes.stdin.map(|pipe| (pipe, Readiness::WRITABLE)));
                    }
                    if line.is_none() && child.stdin_open {
                        child.script.steps.push_front(Step::ReadLine);
                        break;
                    }
                }
                Step::Echo => {
                    let read = Vec::from(std::mem::take(&mut child.stdin));
                    // Readiness without any progress would wake the process endlessly.
                    if !read.is_empty() {
                        self.pending.extend(child.pipes.stdin.map(|pipe| (pipe, Readiness::WRITABLE)));
                    }
                    let more = child.stdin_open;
                    if more {
                        child.script.steps.push_front(Step::Echo);
                    }
                    if !read.is_empty() {
                        child.script.steps.push_front(Step::Write(Output::Stdout, read));
                    } else if more {
                        break;
                    }
                }
                step @ Step::WaitUntil(_) => {
                    child.script.steps.push_front(step);
                    break;
                }
            }
        }
        if !self.pending.is_empty() {
            let mut world = world.borrow_mut();
            world.process_mut(process).woken = true;
            world.wake(process);
        }
    }

    fn end(&mut self, token: Token, reason: ExitReason) {
        let Some(child) = self.running.get_mut(&token) else { return };
        child.exit = Some(reason);
        let Pipes { stdin, stdout, stderr } = child.pipes;
        let all = [stdin, stdout, stderr, Some(token)].into_iter().flatten();
        self.pending.extend(all.map(|token| (token, Readiness::ALL)));
    }
}

/// The capacity of a pipe, as on Linux.
const ROOM: usize = 64 * 1024;

/// Signals that do nothing by default.
const IGNORED: &[ProcessSignal] =
    &[ProcessSignal::CHILD, ProcessSignal::WINDOW_CHANGE, ProcessSignal::STOP, ProcessSignal::CONTINUE];
