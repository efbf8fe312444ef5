//! The processes of a load, seen from the one that started them: each does a share of the plan, they begin to run together, and
//! what they come to is put together.
//!
//! A process ends with this one, however that ends: its standard input closes then. One that dies is told, its share
//! counts as lost, and the others go on.

use super::live::{Live, Teller};
use super::news::{GO, News, STOP};
use super::{CLOSING, crew};
use crate::cli::{Failure, parent_pipe, writer};
use crate::load::{Limit, LoadConfig, Report, Totals};
use crate::{
    ChildStream, ExitReason, Phase, PhaseGuard, ProcessId, ProcessProtocol, ProcessTransport, Reactor,
    Settings, SpawnProcess, SystemEvent,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// What all processes are to this one.
struct Team {
    endpoint: String,
    plan: LoadConfig,
    processes: Vec<ProcessId>,
    /// Those whose connections are being made.
    opening: usize,
    running: usize,
    standing: u64,
    tally: Totals,
    failure: Option<String>,
    /// Holds the end up until all have ended.
    hold: Option<PhaseGuard>,
    live: Arc<Live>,
    teller: Arc<Mutex<Teller>>,
}

/// Runs a load on so many processes, and puts their reports together.
pub(super) fn run(text: &str, plan: &LoadConfig, processes: usize) -> Result<Report, Failure> {
    let mut reactor =
        Reactor::with_settings(Settings { graceful_stop_timeout: CLOSING, ..Settings::default() })?;
    let team = Rc::new(RefCell::new(Team {
        endpoint: text.to_owned(),
        plan: plan.clone(),
        processes: Vec::new(),
        opening: processes,
        running: 0,
        standing: 0,
        tally: Totals::default(),
        failure: None,
        hold: None,
        live: Arc::new(Live::for_people(processes)),
        teller: Arc::default(),
    }));
    for index in 0..processes {
        start(&mut reactor, &team, index, processes)?;
    }
    let (live, teller) = (Arc::clone(&team.borrow().live), Arc::clone(&team.borrow().teller));
    live.show(&mut reactor, plan, teller);
    let ends = Rc::clone(&team);
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, hold| {
        if ends.borrow().running > 0 {
            writer::hurry();
            ends.borrow_mut().hold = Some(hold);
            tell_all(&ends, reactor, STOP);
        }
    });
    reactor.run()?;
    let team = team.borrow();
    match &team.failure {
        Some(failure) => Err(Failure::Run(failure.clone())),
        None => Ok(Report::new(team.endpoint.clone(), plan.clone(), team.tally.clone())),
    }
}

fn start(reactor: &mut Reactor, team: &Rc<RefCell<Team>>, index: usize, parts: usize) -> Result<(), Failure> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Run(format!("cannot find this program: {error}")))?;
    let part = ["--part".to_owned(), index.to_string()];
    let what = SpawnProcess {
        // Ctrl-C at a terminal reaches this one, and it ends the others.
        own_group: true,
        stderr: ChildStream::Inherit,
        ..SpawnProcess::new(program, parent_pipe::arguments_with(part))
    };
    let share = team.borrow().plan.part(index, parts).connections as u64;
    let worker =
        Worker { team: Rc::clone(team), index, share, pid: 0, rest: Vec::new(), opening: true, ended: false };
    let id = reactor.spawn_process(what, worker)?;
    let mut team = team.borrow_mut();
    team.processes.push(id);
    team.running += 1;
    Ok(())
}

fn tell_all(team: &Rc<RefCell<Team>>, reactor: &mut Reactor, word: &str) {
    let processes = team.borrow().processes.clone();
    for id in processes {
        if let Some(mut process) = reactor.process_transport(id) {
            process.write_sequence(&[word.as_bytes(), b"\n"]);
        }
    }
}

/// A process that does a share, seen from the one that started it.
struct Worker {
    team: Rc<RefCell<Team>>,
    index: usize,
    /// Connections that it has to make.
    share: u64,
    pid: u32,
    rest: Vec<u8>,
    opening: bool,
    /// Its tally has come, or why there is none.
    ended: bool,
}

impl Worker {
    fn news(&mut self, reactor: &mut Reactor, news: News) {
        let mut team = self.team.borrow_mut();
        match news {
            News::Opened(standing) => {
                team.standing += standing;
                drop(team);
                self.opened(reactor);
            }
            News::Progress(figures) => team.live.put(self.index, figures),
            News::Trouble(text) => team.tell(&text),
            News::Ended(endpoint, tally) => {
                self.ended = true;
                team.endpoint = endpoint;
                team.tally.merge(&tally);
            }
            News::Failed(why) => {
                self.ended = true;
                team.failure.get_or_insert(why);
                drop(team);
                reactor.stop_gracefully();
            }
        }
    }

    /// All run together, those too that have nothing to run with.
    fn opened(&mut self, reactor: &mut Reactor) {
        if !std::mem::take(&mut self.opening) {
            return;
        }
        let mut team = self.team.borrow_mut();
        team.opening -= 1;
        let (all, standing) = (team.opening == 0, team.standing);
        drop(team);
        if all {
            crew::stand(standing);
            tell_all(&self.team, reactor, GO);
        }
    }
}

impl Team {
    fn tell(&self, text: &str) {
        // Nobody panics while he tells.
        if let Ok(mut teller) = self.teller.lock() {
            teller.tell(text);
        }
    }

    /// A process ended without a word of what it has done.
    fn lose(&mut self, worker: &Worker, reason: &ExitReason) {
        let (number, pid, share) = (worker.index + 1, worker.pid, worker.share);
        if let Ok(mut teller) = self.teller.lock() {
            teller.tell_always(&format!(
                "twistor: process {number} of the load ({pid}) ended: {reason}; its {share} connections are lost"
            ));
        }
        let mut lost = Totals { begun: share, lost: share, ..Totals::default() };
        lost.errors.insert(("lost", format!("a process of the load ended: {reason}")), share);
        lost.limits.insert(Limit::Workers, share);
        self.tally.merge(&lost);
    }
}

impl ProcessProtocol for Worker {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        self.pid = process.pid().unwrap_or_default();
    }

    fn out_received(&mut self, process: &mut ProcessTransport<'_>, data: &[u8]) {
        for line in parent_pipe::whole_lines(&mut self.rest, data) {
            if let Some(news) = News::read(&line) {
                self.news(process.reactor(), news);
            }
        }
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        let team = Rc::clone(&self.team);
        if !self.ended {
            team.borrow_mut().lose(self, reason);
        }
        self.opened(process.reactor());
        team.borrow_mut().running -= 1;
        if team.borrow().running == 0 {
            drop(team.borrow_mut().hold.take());
            process.reactor().stop_gracefully();
        }
    }
}
