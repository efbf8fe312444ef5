//! The host name look-ups of one process: waiting, running, and the requests for each.
//!
//! Each back end has one [`Lookups`]. The operating system's runs look-ups on threads, the
//! simulation's in virtual time.
//! - Look-ups start first in, first out, at most `max_running` at a time.
//! - A name has one look-up at a time. A request for a name that waits or runs joins its look-up,
//!   and every request is answered.
//! - A name whose requests are all cancelled leaves the queue. A running look-up cannot be stopped:
//!   it keeps its place among the running ones, and a new request for the same name joins it. A
//!   look-up that hangs therefore never occupies a second thread, however often its name is
//!   requested.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Instant;
use crate::numbered::Numbered;

/// Callback for the outcome of a look-up.
pub(crate) type Answer = Box<dyn FnOnce(LookedUp) + Send>;

/// The outcome of a look-up.
#[derive(Debug)]
pub(crate) struct LookedUp {
    /// Time at which the resolver was asked. The look-up may have waited for a thread before.
    pub(crate) began: Instant,
    /// The addresses, in the resolver's order.
    pub(crate) found: Result<Vec<SocketAddr>, NameError>,
}

impl LookedUp {
    /// The addresses of `found` with this port.
    pub(crate) fn new(began: Instant, found: &Result<Vec<SocketAddr>, NameError>, port: u16) -> LookedUp {
        let with_port = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            address
        };
        let found = found.as_ref().map(|found| found.iter().map(with_port).collect());
        LookedUp { began, found: found.map_err(NameError::clone) }
    }
}

/// Reason why a look-up was not started.
#[derive(Debug)]
pub(crate) enum NotAsked {
    /// The limit of look-ups that run or wait is reached.
    QueueFull,
    /// No thread runs, and starting one failed.
    NoThread(io::Error),
}

/// Error of a resolver: the reason why a look-up found no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The resolver answered that the name has no address.
    NotFound(String),
    /// The resolver could not be asked, or had no definite answer.
    Failed(String),
    /// The resolver's servers did not answer for this time.
    TimedOut(Duration),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::NotFound(why) => write!(f, "no address: {why}"),
            NameError::Failed(why) => write!(f, "the look-up failed: {why}"),
            NameError::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
        }
    }
}

impl std::error::Error for NameError {}

/// The id of one request for the addresses of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LookupId {
    lookup: u64,
    asker: u64,
}

impl LookupId {
    /// The id of a request that is over already.
    pub(crate) const OVER: LookupId = LookupId { lookup: 0, asker: 0 };
}

/// The progress of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookupProgress {
    /// The look-up waits in the queue.
    Waiting,
    /// The look-up has been running since this time.
    Running(Instant),
    /// The request was answered or cancelled, or its answer is being delivered.
    Over,
}

/// The look-ups of one process.
pub(crate) struct Lookups {
    max_running: usize,
    /// Max unanswered requests.
    max_asked: usize,
    asked: usize,
    /// Waiting look-ups by number, which is the order in which they start.
    waiting: Numbered<Lookup>,
    running: Numbered<Lookup>,
    /// Numbers of waiting and running look-ups, by name in lower case.
    by_name: HashMap<Arc<str>, u64>,
    count: u64,
}

struct Lookup {
    name: Arc<str>,
    askers: Numbered<(u16, Answer)>,
    /// Start time, while the look-up runs.
    began: Option<Instant>,
}

impl Lookups {
    pub(crate) fn new(max_running: usize, max_asked: usize) -> Lookups {
        Lookups {
            max_running: max_running.max(1),
            max_asked,
            asked: 0,
            waiting: Numbered::new(),
            running: Numbered::new(),
            by_name: HashMap::new(),
            count: 0,
        }
    }

    /// Adds a request. Returns the answer callback when the limit of requests is reached.
    pub(crate) fn ask(&mut self, host: &str, port: u16, answer: Answer) -> Result<LookupId, Answer> {
        if self.asked >= self.max_asked {
            return Err(answer);
        }
        self.asked += 1;
        self.count += 1;
        let asker = self.count;
        let name: Arc<str> = host.to_ascii_lowercase().into();
        let number = *self.by_name.entry(Arc::clone(&name)).or_insert(asker);
        match self.running.get_mut(number).or_else(|| self.waiting.get_mut(number)) {
            Some(known) => drop(known.askers.insert(asker, (port, answer))),
            None => {
                let mut askers = Numbered::new();
                askers.insert(asker, (port, answer));
                self.waiting.insert(number, Lookup { name, askers, began: None });
            }
        }
        Ok(LookupId { lookup: number, asker })
    }

    /// Starts the next look-up and returns its number and name. `None` when no look-up waits, or
    /// the max is running.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<(u64, Arc<str>)> {
        if self.running.len() >= self.max_running {
            return None;
        }
        let (number, mut lookup) = self.waiting.pop_first()?;
        lookup.began = Some(now);
        let name = Arc::clone(&lookup.name);
        self.running.insert(number, lookup);
        Some((number, name))
    }

    /// Ends a running look-up. Returns its start time and the callbacks to answer, with their
    /// ports.
    pub(crate) fn finish(&mut self, number: u64) -> Option<(Instant, Vec<(u16, Answer)>)> {
        let lookup = self.running.remove(number)?;
        self.by_name.remove(&lookup.name);
        self.asked -= lookup.askers.len();
        Some((lookup.began?, lookup.askers.into_values().collect()))
    }

    /// Cancels a request and returns its answer callback. `None` when the request is over.
    pub(crate) fn cancel(&mut self, id: LookupId) -> Option<Answer> {
        let lookup = match self.running.get_mut(id.lookup) {
            Some(running) => running,
            None => self.waiting.get_mut(id.lookup)?,
        };
        let (_, answer) = lookup.askers.remove(id.asker)?;
        self.asked -= 1;
        if lookup.askers.is_empty() && lookup.began.is_none() {
            let name = Arc::clone(&lookup.name);
            self.waiting.remove(id.lookup);
            self.by_name.remove(&name);
        }
        Some(answer)
    }

    /// The progress of a request.
    pub(crate) fn progress(&self, id: LookupId) -> LookupProgress {
        let asks = |lookup: &&Lookup| lookup.askers.contains(id.asker);
        if self.waiting.get(id.lookup).filter(asks).is_some() {
            return LookupProgress::Waiting;
        }
        let running = self.running.get(id.lookup).filter(asks);
        running.and_then(|lookup| lookup.began).map_or(LookupProgress::Over, LookupProgress::Running)
    }

    /// Number of names whose look-up has not started.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn lookups(max_running: usize, max_asked: usize) -> Lookups {
        Lookups::new(max_running, max_asked)
    }

    fn nothing() -> Answer {
        Box::new(|_| {})
    }

    fn ask(lookups: &mut Lookups, host: &str) -> LookupId {
        lookups.ask(host, 80, nothing()).ok().expect("room for one more")
    }

    fn begin(lookups: &mut Lookups) -> Option<String> {
        lookups.begin(Instant::default()).map(|(_, name)| name.to_string())
    }

    #[test]
    fn look_ups_begin_in_order_and_within_the_limit() {
        let mut lookups = lookups(2, 10);
        for name in ["c", "a", "b"] {
            ask(&mut lookups, name);
        }
        let (first, name) = lookups.begin(Instant::default()).unwrap();
        assert_eq!((&*name, begin(&mut lookups).as_deref()), ("c", Some("a")));
        assert_eq!(begin(&mut lookups), None, "two run");
        assert_eq!(lookups.finish(first).unwrap().1.len(), 1);
        assert_eq!(begin(&mut lookups).as_deref(), Some("b"));
    }

    #[test]
    fn a_cancelled_look_up_leaves_the_queue_and_its_room() {
        let mut lookups = lookups(1, 2);
        let first = ask(&mut lookups, "first");
        ask(&mut lookups, "second");
        assert!(lookups.ask("third", 80, nothing()).is_err(), "above the limit");
        assert!(lookups.cancel(first).is_some() && lookups.cancel(first).is_none());
        assert_eq!(lookups.progress(first), LookupProgress::Over);
        ask(&mut lookups, "third");
        assert_eq!(begin(&mut lookups).as_deref(), Some("second"));
    }

    #[test]
    fn equal_names_are_looked_up_once_and_each_asker_is_answered() {
        let mut lookups = lookups(2, 10);
        let ports = Arc::new(Mutex::new(Vec::new()));
        for (host, port) in [("Name", 1), ("name", 2), ("NAME", 3)] {
            let ports = Arc::clone(&ports);
            let answer = move |_| ports.lock().unwrap().push(port);
            assert!(lookups.ask(host, port, Box::new(answer)).is_ok());
        }
        let (number, _) = lookups.begin(Instant::default()).unwrap();
        assert_eq!(begin(&mut lookups), None);
        let late = ask(&mut lookups, "name");
        assert_eq!((begin(&mut lookups), lookups.waiting()), (None, 0), "it joins the one that runs");
        assert!(lookups.cancel(late).is_some());
        let (_, askers) = lookups.finish(number).unwrap();
        let asked: Vec<u16> = askers.iter().map(|(port, _)| *port).collect();
        assert_eq!(asked, [1, 2, 3]);
        ask(&mut lookups, "name");
        assert_eq!(begin(&mut lookups).as_deref(), Some("name"), "the next time it is looked up again");
    }

    #[test]
    fn one_asker_that_leaves_takes_nothing_from_the_others() {
        let mut lookups = lookups(1, 10);
        let leaves = ask(&mut lookups, "name");
        let stays = ask(&mut lookups, "name");
        assert!(lookups.cancel(leaves).is_some());
        assert_eq!(lookups.progress(stays), LookupProgress::Waiting);
        let (number, _) = lookups.begin(Instant::default()).unwrap();
        assert_eq!(lookups.progress(stays), LookupProgress::Running(Instant::default()));
        assert_eq!(lookups.finish(number).unwrap().1.len(), 1);
        assert_eq!(lookups.progress(stays), LookupProgress::Over);
    }

    #[test]
    fn a_running_look_up_without_askers_keeps_its_name() {
        let mut lookups = lookups(2, 1);
        let gone = ask(&mut lookups, "hangs");
        let (number, _) = lookups.begin(Instant::default()).unwrap();
        assert!(lookups.cancel(gone).is_some());
        let stays = ask(&mut lookups, "hangs");
        assert_eq!(begin(&mut lookups), None, "no second thread for it");
        assert_eq!(lookups.progress(stays), LookupProgress::Running(Instant::default()));
        assert_eq!(lookups.finish(number).unwrap().1.len(), 1);
    }
}
