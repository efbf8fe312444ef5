//! The processes of a load, seen from the parent. Each runs a share of the load; they start to run
//! together, and their totals are merged.
//!
//! A process ends with its parent, even if the parent is killed, because its standard input closes.
//! If a process dies, this is reported, its share counts as lost, and the others continue.

use super::ipc::{GO, Message, STOP};
use super::live::{Live, Notifier};
use super::{CLOSE_TIMEOUT, threads};
use crate::cli::{Failure, parent_pipe, writer};
use crate::load::{Limit, LoadConfig, Report, Totals};
use crate::{
    ChildStream, ExitReason, Phase, PhaseGuard, ProcessId, ProcessProtocol, ProcessTransport, Reactor,
    Settings, SpawnProcess, SystemEvent,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// The parent's state.
struct Parent {
    endpoint: String,
    config: LoadConfig,
    processes: Vec<ProcessId>,
    /// Number of processes that are still connecting.
    opening: usize,
    running: usize,
    open: u64,
    totals: Totals,
    failure: Option<String>,
    /// Delays the shutdown until all processes have ended.
    hold: Option<PhaseGuard>,
    live: Arc<Live>,
    notifier: Arc<Mutex<Notifier>>,
}

/// Runs a load on this number of processes, and merges their reports.
pub(super) fn run(text: &str, config: &LoadConfig, processes: usize) -> Result<Report, Failure> {
    let mut reactor =
        Reactor::with_settings(Settings { graceful_stop_timeout: CLOSE_TIMEOUT, ..Settings::default() })?;
    let parent = Rc::new(RefCell::new(Parent {
        endpoint: text.to_owned(),
        config: config.clone(),
        processes: Vec::new(),
        opening: processes,
        running: 0,
        open: 0,
        totals: Totals::default(),
        failure: None,
        hold: None,
        live: Arc::new(Live::for_terminal(processes)),
        notifier: Arc::default(),
    }));
    for index in 0..processes {
        start(&mut reactor, &parent, index, processes)?;
    }
    let (live, notifier) = (Arc::clone(&parent.borrow().live), Arc::clone(&parent.borrow().notifier));
    live.show(&mut reactor, config, notifier);
    let ends = Rc::clone(&parent);
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
        if ends.borrow().running > 0 {
            writer::limit_finish();
            ends.borrow_mut().hold = Some(hold);
            send_to_all(&ends, reactor, STOP);
        }
    });
    reactor.run()?;
    let parent = parent.borrow();
    match &parent.failure {
        Some(failure) => Err(Failure::Run(failure.clone())),
        None => Ok(Report::new(parent.endpoint.clone(), config.clone(), parent.totals.clone())),
    }
}

fn start(
    reactor: &mut Reactor,
    parent: &Rc<RefCell<Parent>>,
    index: usize,
    parts: usize,
) -> Result<(), Failure> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Run(format!("cannot find this program: {error}")))?;
    let part = ["--part".to_owned(), index.to_string()];
    let what = SpawnProcess {
        // Ctrl-C at a terminal reaches only the parent, which ends the children.
        own_group: true,
        stderr: ChildStream::Inherit,
        ..SpawnProcess::new(program, parent_pipe::arguments_with(part))
    };
    let share = parent.borrow().config.part(index, parts).connections as u64;
    let worker = Worker {
        parent: Rc::clone(parent),
        index,
        share,
        pid: 0,
        rest: Vec::new(),
        opening: true,
        ended: false,
    };
    let id = reactor.spawn_process(what, worker)?;
    let mut parent = parent.borrow_mut();
    parent.processes.push(id);
    parent.running += 1;
    Ok(())
}

fn send_to_all(parent: &Rc<RefCell<Parent>>, reactor: &mut Reactor, word: &str) {
    let processes = parent.borrow().processes.clone();
    for id in processes {
        if let Some(mut process) = reactor.process_transport(id) {
            process.write_sequence(&[word.as_bytes(), b"\n"]);
        }
    }
}

/// A child process, as seen by the parent.
struct Worker {
    parent: Rc<RefCell<Parent>>,
    index: usize,
    /// Number of connections it has to make.
    share: u64,
    pid: u32,
    rest: Vec<u8>,
    opening: bool,
    /// Whether its totals or its error have arrived.
    ended: bool,
}

impl Worker {
    fn message(&mut self, reactor: &mut Reactor, message: Message) {
        let mut parent = self.parent.borrow_mut();
        match message {
            Message::Opened(open) => {
                parent.open += open;
                drop(parent);
                self.opened(reactor);
            }
            Message::Progress(figures) => parent.live.put(self.index, figures),
            Message::Trouble(text) => parent.print(&text),
            Message::Ended(endpoint, totals) => {
                self.ended = true;
                parent.endpoint = endpoint;
                parent.totals.merge(&totals);
            }
            Message::Failed(why) => {
                self.ended = true;
                parent.failure.get_or_insert(why);
                drop(parent);
                reactor.stop_gracefully();
            }
        }
    }

    /// Notes that a process has made its connections or has ended. When all have, they start to
    /// run.
    fn opened(&mut self, reactor: &mut Reactor) {
        if !std::mem::take(&mut self.opening) {
            return;
        }
        let mut parent = self.parent.borrow_mut();
        parent.opening -= 1;
        let (all, open) = (parent.opening == 0, parent.open);
        drop(parent);
        if all {
            threads::log_open(open);
            send_to_all(&self.parent, reactor, GO);
        }
    }
}

impl Parent {
    fn print(&self, text: &str) {
        // A poisoned lock is ignored.
        if let Ok(mut notifier) = self.notifier.lock() {
            notifier.print(text);
        }
    }

    /// Counts the share of a process that ended without sending its totals.
    fn lose(&mut self, worker: &Worker, reason: &ExitReason) {
        let (number, pid, share) = (worker.index + 1, worker.pid, worker.share);
        if let Ok(mut notifier) = self.notifier.lock() {
            notifier.print_always(&format!(
                "twistor: process {number} of the load ({pid}) ended: {reason}; its {share} connections are lost"
            ));
        }
        let mut lost = Totals { started: share, lost: share, ..Totals::default() };
        lost.errors.insert(("lost", format!("a process of the load ended: {reason}")), share);
        lost.limits.insert(Limit::Workers, share);
        self.totals.merge(&lost);
    }
}

impl ProcessProtocol for Worker {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        self.pid = process.pid().unwrap_or_default();
    }

    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        for line in parent_pipe::whole_lines(&mut self.rest, data) {
            if let Some(message) = Message::read(&line) {
                self.message(process.reactor(), message);
            }
        }
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let parent = Rc::clone(&self.parent);
        if !self.ended {
            parent.borrow_mut().lose(self, reason);
        }
        self.opened(process.reactor());
        parent.borrow_mut().running -= 1;
        if parent.borrow().running == 0 {
            drop(parent.borrow_mut().hold.take());
            process.reactor().stop_gracefully();
        }
    }
}
