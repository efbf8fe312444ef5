//! A recording protocol of child processes.
#![allow(dead_code, reason = "each promise uses its share")]

use std::cell::RefCell;
use std::rc::Rc;

use twistor::{ExitReason, ProcessProtocol, ProcessTransport, Reactor, Reason, SpawnProcess};

use crate::world::World;

/// The reason why these promises need the real network.
pub const REAL: &str = "children are the system's";

/// The recorded callbacks of a process protocol.
#[derive(Clone, Default)]
pub struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    pub fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Returns the position of a callback in the record.
    pub fn place(&self, what: &str) -> usize {
        let all = self.all();
        all.iter().position(|seen| seen == what).unwrap_or_else(|| panic!("no {what:?} in {all:?}"))
    }

    pub fn ended(&self) -> bool {
        self.0.borrow().last().is_some_and(|last| last.starts_with("ended"))
    }
}

pub type Started = Box<dyn FnMut(&mut ProcessTransport<'_>)>;

/// Records all callbacks, and calls `started` when the child has started.
pub struct Watcher {
    pub seen: Seen,
    pub started: Started,
}

impl ProcessProtocol for Watcher {
    fn process_started(&mut self, process: &mut ProcessTransport<'_>) {
        self.seen.note("started");
        (self.started)(process);
    }

    fn out_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
        self.seen.note(format!("out {}", data.escape_ascii()));
    }

    fn err_received(&mut self, _: &mut ProcessTransport<'_>, data: &[u8]) {
        self.seen.note(format!("err {}", data.escape_ascii()));
    }

    fn in_connection_lost(&mut self, _: &mut ProcessTransport<'_>, reason: &Reason) {
        self.seen.note(format!("lost in{}", if reason.is_clean() { "" } else { " badly" }));
    }

    fn out_connection_lost(&mut self, _: &mut ProcessTransport<'_>, _: &Reason) {
        self.seen.note("lost out");
    }

    fn err_connection_lost(&mut self, _: &mut ProcessTransport<'_>, _: &Reason) {
        self.seen.note("lost err");
    }

    fn process_exited(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        assert_eq!(process.pid(), None, "its number may be another's");
        assert_eq!(process.exit_reason(), Some(reason));
        self.seen.note(format!("exited: {reason}"));
    }

    fn process_ended(&mut self, process: &mut ProcessTransport<'_>, reason: &ExitReason) {
        assert_eq!(process.exit_reason(), Some(reason));
        self.seen.note(format!("ended: {reason}"));
    }
}

pub fn spawn(reactor: &mut Reactor, what: SpawnProcess) -> Seen {
    spawn_and(reactor, what, |_| {})
}

pub fn spawn_and(
    reactor: &mut Reactor,
    what: SpawnProcess,
    started: impl FnMut(&mut ProcessTransport<'_>) + 'static,
) -> Seen {
    let seen = Seen::default();
    let protocol = Watcher { seen: seen.clone(), started: Box::new(started) };
    reactor.spawn_process(what, protocol).unwrap();
    seen
}

pub fn run(world: &World, reactor: &mut Reactor, what: SpawnProcess) -> Vec<String> {
    let seen = spawn(reactor, what);
    world.run_until(reactor, "the end of the process", |_| seen.ended());
    world.run_until_idle(reactor);
    assert_eq!(zombies(), 0);
    seen.all()
}

/// Returns all of the child's standard output.
pub fn said(seen: &[String]) -> String {
    seen.iter().filter_map(|seen| seen.strip_prefix("out ")).collect()
}

/// Returns the number of this process's zombies.
pub fn zombies() -> usize {
    let me = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").unwrap();
    let stats = all.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let fields = stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()));
    fields.filter(|fields| fields.starts_with(&format!("Z {me} "))).count()
}
