//! The processes of an echo server.
//!
//! Each process listens on the same ports with its workers, and ends with its parent. The parent
//! accepts no connections: it starts the processes, reports those that die, and ends the others.

use super::{Failure, Outcome};
use crate::cli::{output, parent_pipe, print_error, writer};
use crate::escape::Escaped;
use crate::{
    ChildStream, ExitReason, Phase, PhaseGuard, ProcessId, ProcessProtocol, ProcessTransport, Reactor,
    Settings, SpawnProcess, SystemEvent,
};
use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// The parent's state.
struct Parent {
    wanted: u16,
    processes: Vec<ProcessId>,
    /// The addresses that the first process has printed.
    addresses: Vec<String>,
    ready: u16,
    running: u16,
    stage: Stage,
    /// The exit code of the first process that died.
    first: Option<u8>,
    hold: Option<PhaseGuard>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    /// The processes were asked to end.
    Stopping,
}

/// Runs this number of processes until a signal ends them, or all have ended.
pub(super) fn run(wanted: u16) -> Outcome {
    let settings = Settings { graceful_stop_timeout: STOP_TIMEOUT, ..Settings::default() };
    let mut reactor = Reactor::with_settings(settings)?;
    output::end_with_stdout(&reactor, true);
    let parent = Rc::new(RefCell::new(Parent {
        wanted,
        processes: Vec::new(),
        addresses: Vec::new(),
        ready: 0,
        running: 0,
        stage: Stage::Starting,
        first: None,
        hold: None,
    }));
    // The first process prints the ports that the system chose; the others use the same.
    start(&mut reactor, &parent)?;
    let ends = Rc::clone(&parent);
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
        writer::limit_finish();
        let mut parent = ends.borrow_mut();
        parent.stage = Stage::Stopping;
        if parent.running > 0 {
            parent.hold = Some(hold);
        }
        let processes = parent.processes.clone();
        drop(parent);
        for id in processes {
            if let Some(mut process) = reactor.process_transport(id) {
                process.close_stdin();
            }
        }
        // A process that does not react is killed when the reactor stops.
        reactor.call_later(STOP_TIMEOUT, move |_| drop(ends.borrow_mut().hold.take()));
    });
    reactor.run()?;
    let first = parent.borrow().first;
    Ok(first.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Starts another process.
fn start(reactor: &mut Reactor, parent: &Rc<RefCell<Parent>>) -> Result<(), Failure> {
    let number = parent.borrow().processes.len() + 1;
    let part = ["--part".to_owned(), number.to_string()];
    let at = parent
        .borrow()
        .addresses
        .iter()
        .flat_map(|address| ["--at".to_owned(), address.clone()])
        .collect::<Vec<_>>();
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Run(format!("cannot find this program: {error}")))?;
    let what = SpawnProcess {
        // Ctrl-C at a terminal reaches only the parent, which ends the children.
        own_group: true,
        stderr: ChildStream::Inherit,
        ..SpawnProcess::new(program, parent_pipe::arguments_with(part.into_iter().chain(at)))
    };
    let worker = Worker { parent: Rc::clone(parent), number, pid: 0, rest: Vec::new(), ready: false };
    let id = reactor.spawn_process(what, worker)?;
    parent.borrow_mut().processes.push(id);
    parent.borrow_mut().running += 1;
    Ok(())
}

/// A child process, as seen by the parent.
struct Worker {
    parent: Rc<RefCell<Parent>>,
    /// Number of the process, from 1.
    number: usize,
    pid: u32,
    rest: Vec<u8>,
    ready: bool,
}

impl Worker {
    /// Notes that the process listens.
    fn mark_ready(&mut self, reactor: &mut Reactor) {
        self.ready = true;
        let mut parent = self.parent.borrow_mut();
        parent.ready += 1;
        let (ready, wanted, stage) = (parent.ready, parent.wanted, parent.stage);
        if ready == wanted && stage == Stage::Starting {
            parent.stage = Stage::Serving;
            let mut out = writer::stdout();
            for address in &parent.addresses {
                // A closed stdout is ignored.
                let _ = writeln!(out, "{LISTENING}{}", Escaped(address));
            }
            let _ = out.flush();
        }
        drop(parent);
        if ready == 1 && stage == Stage::Starting {
            let started = (1..wanted).try_for_each(|_| start(reactor, &self.parent));
            if let Err(failure) = started {
                print_error(&failure);
                self.parent.borrow_mut().first.get_or_insert(1);
                reactor.stop();
            }
        }
    }
}

impl ProcessProtocol for Worker {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        self.pid = process.pid().unwrap_or_default();
    }

    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        for line in parent_pipe::whole_lines(&mut self.rest, data) {
            match line.strip_prefix(LISTENING) {
                Some(address) if self.number == 1 => {
                    self.parent.borrow_mut().addresses.push(address.to_owned())
                }
                Some(_) => {}
                None if line == READY => self.mark_ready(process.reactor()),
                None => {}
            }
        }
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let mut parent = self.parent.borrow_mut();
        parent.running -= 1;
        let last = parent.running == 0;
        if parent.stage == Stage::Stopping {
            if last {
                drop(parent.hold.take());
            }
            return;
        }
        parent.first.get_or_insert(exit_code(reason));
        // A process that could not listen has printed the reason itself.
        if self.ready || reason.code().is_none() {
            let (number, pid, wanted) = (self.number, self.pid, parent.wanted);
            let rest = parent.running;
            print_error(&format_args!(
                "worker {number} (process {pid}) ended: {reason}; {rest} of {wanted} continue"
            ));
        }
        if last || parent.stage == Stage::Starting {
            drop(parent);
            process.reactor().stop();
        }
    }
}

/// Returns the exit code as a shell shows it: 128 plus the signal number after a signal.
fn exit_code(reason: &ExitReason) -> u8 {
    let signal = reason.signal().map(|signal| 128 + signal.number());
    let code = reason.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// The lines that a child prints: one for each endpoint, and one when it is ready.
pub(super) const LISTENING: &str = "listening on ";
pub(super) const READY: &str = "ready";

/// Maximum time for the children to end after they were asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
