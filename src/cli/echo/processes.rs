//! The processes of an echo server: each listens on the same ports with its workers, and ends with the one that
//! started it. That one serves nobody: it starts them, tells of those that die, and ends them.

use super::{Failure, Outcome};
use crate::cli::{complain, output, parent_pipe, writer};
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

/// What the one that started the others knows of them.
struct Staff {
    wanted: u16,
    processes: Vec<ProcessId>,
    /// Where they listen, as the first one has said.
    places: Vec<String>,
    ready: u16,
    running: u16,
    stage: Stage,
    /// The exit code of the first one that ended by itself.
    first: Option<u8>,
    hold: Option<PhaseGuard>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    /// They are told to end.
    Stopping,
}

/// Runs so many processes of this program until a signal ends them, or all have ended.
pub(super) fn run(wanted: u16) -> Outcome {
    let settings = Settings { graceful_stop_timeout: PATIENCE, ..Settings::default() };
    let mut reactor = Reactor::with_settings(settings)?;
    output::end_with_stdout(&reactor, true);
    let staff = Rc::new(RefCell::new(Staff {
        wanted,
        processes: Vec::new(),
        places: Vec::new(),
        ready: 0,
        running: 0,
        stage: Stage::Starting,
        first: None,
        hold: None,
    }));
    // It says which ports the system chose; the others take the same.
    start(&mut reactor, &staff)?;
    let ends = Rc::clone(&staff);
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
        writer::hurry();
        let mut staff = ends.borrow_mut();
        staff.stage = Stage::Stopping;
        if staff.running > 0 {
            staff.hold = Some(hold);
        }
        let processes = staff.processes.clone();
        drop(staff);
        for id in processes {
            if let Some(mut process) = reactor.process_transport(id) {
                process.close_stdin();
            }
        }
        // One that does not listen is killed when the reactor stops.
        reactor.call_later(PATIENCE, move |_| drop(ends.borrow_mut().hold.take()));
    });
    reactor.run()?;
    let first = staff.borrow().first;
    Ok(first.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Starts one more.
fn start(reactor: &mut Reactor, staff: &Rc<RefCell<Staff>>) -> Result<(), Failure> {
    let number = staff.borrow().processes.len() + 1;
    let part = ["--part".to_owned(), number.to_string()];
    let at =
        staff.borrow().places.iter().flat_map(|place| ["--at".to_owned(), place.clone()]).collect::<Vec<_>>();
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Run(format!("cannot find this program: {error}")))?;
    let what = SpawnProcess {
        // Ctrl-C at a terminal reaches the one that started them, and it ends them.
        own_group: true,
        stderr: ChildStream::Inherit,
        ..SpawnProcess::new(program, parent_pipe::arguments_with(part.into_iter().chain(at)))
    };
    let worker = Worker { staff: Rc::clone(staff), number, pid: 0, rest: Vec::new(), ready: false };
    let id = reactor.spawn_process(what, worker)?;
    staff.borrow_mut().processes.push(id);
    staff.borrow_mut().running += 1;
    Ok(())
}

/// A process that serves, seen from the one that started it.
struct Worker {
    staff: Rc<RefCell<Staff>>,
    /// From 1.
    number: usize,
    pid: u32,
    rest: Vec<u8>,
    ready: bool,
}

impl Worker {
    /// It listens.
    fn is_ready(&mut self, reactor: &mut Reactor) {
        self.ready = true;
        let mut staff = self.staff.borrow_mut();
        staff.ready += 1;
        let (ready, wanted, stage) = (staff.ready, staff.wanted, staff.stage);
        if ready == wanted && stage == Stage::Starting {
            staff.stage = Stage::Serving;
            let mut out = writer::stdout();
            for place in &staff.places {
                // Whoever closed stdout does not want to know.
                let _ = writeln!(out, "{LISTENING}{}", Escaped(place));
            }
            let _ = out.flush();
        }
        drop(staff);
        if ready == 1 && stage == Stage::Starting {
            let started = (1..wanted).try_for_each(|_| start(reactor, &self.staff));
            if let Err(failure) = started {
                complain(&failure);
                self.staff.borrow_mut().first.get_or_insert(1);
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
                Some(place) if self.number == 1 => self.staff.borrow_mut().places.push(place.to_owned()),
                Some(_) => {}
                None if line == READY => self.is_ready(process.reactor()),
                None => {}
            }
        }
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let mut staff = self.staff.borrow_mut();
        staff.running -= 1;
        let last = staff.running == 0;
        if staff.stage == Stage::Stopping {
            if last {
                drop(staff.hold.take());
            }
            return;
        }
        staff.first.get_or_insert(exit_code(reason));
        // What keeps one from listening it has said itself.
        if self.ready || reason.code().is_none() {
            let (number, pid, wanted) = (self.number, self.pid, staff.wanted);
            let rest = staff.running;
            complain(&format_args!(
                "worker {number} (process {pid}) ended: {reason}; {rest} of {wanted} go on"
            ));
        }
        if last || staff.stage == Stage::Starting {
            drop(staff);
            process.reactor().stop();
        }
    }
}

/// As a shell has it: 128 and the number of the signal for what a signal ended.
fn exit_code(reason: &ExitReason) -> u8 {
    let signal = reason.signal().map(|signal| 128 + signal.number());
    let code = reason.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// What a process that serves says first, for each endpoint, and when it is ready.
pub(super) const LISTENING: &str = "listening on ";
pub(super) const READY: &str = "ready";

/// How long they may take to end when they are told to.
const PATIENCE: Duration = Duration::from_secs(5);
