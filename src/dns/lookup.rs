//! Look-ups of the addresses of host names, as a [`Resolve`]: special names, the search list, and
//! both families at a time.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::dns::cache::Outcome;
use crate::dns::engine::Engine;
use crate::dns::engine::flight::Ask;
use crate::dns::message::answer::AnswerKind;
use crate::dns::message::question::Question;
use crate::dns::reload::Means;
use crate::dns::{DnsError, RecordType, Resolver, ResolverConfig};
use crate::{AddressFamily, Answers, Error, NameError, Query, Reactor, Resolve, SystemResolver};

impl Resolve for Resolver {
    fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> crate::Result<()> {
        let host = query.host.strip_suffix('.').unwrap_or(&query.host);
        if is_in(host, "localhost") {
            let loopback = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
            answers.finish_with(loopback.map(|address| SocketAddr::new(address, 0)), None);
            return Ok(());
        }
        if is_in(host, "invalid") {
            answers.fail(NameError::NotFound("the name is reserved as one that does not exist".to_owned()));
            return Ok(());
        }
        let Some(files) = &self.files else { return self.look_up(reactor, query, answers) };
        files.refresh(reactor, &self.engine);
        if files.is_loaded() {
            return self.look_up_by_system(reactor, query, answers);
        }
        if !files.is_loading() {
            // No thread was free to read them.
            return SystemResolver.resolve(reactor, query, answers);
        }
        let (resolver, query) = (self.clone(), query.clone());
        files.when_loaded(reactor.handle(), move |reactor| {
            // The end of `answers` reports the failure.
            if let Err(error) = resolver.look_up_by_system(reactor, &query, answers) {
                log::debug!("a look-up was not started: {error}");
            }
        });
        Ok(())
    }
}

impl Resolver {
    /// Looks up a name as the system does: with other means than files and DNS for some names.
    fn look_up_by_system(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> crate::Result<()> {
        match self.files.as_ref().map_or(Means::HostsAndServers, |files| files.means(&query.host)) {
            Means::System => SystemResolver.resolve(reactor, query, answers),
            Means::HostsAndServers => self.look_up(reactor, query, answers),
            Means::Servers => self.look_up_by_servers(reactor, query, answers),
            Means::Hosts => {
                if let Some(answers) = self.answer_from_hosts(query, answers) {
                    answers.fail(NameError::NotFound("the name is not in the table of hosts".to_owned()));
                }
                Ok(())
            }
        }
    }

    fn look_up(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> crate::Result<()> {
        match self.answer_from_hosts(query, answers) {
            Some(answers) => self.look_up_by_servers(reactor, query, answers),
            None => Ok(()),
        }
    }

    /// Answers from the table of hosts. Returns `answers` if it has no address of the family.
    fn answer_from_hosts(&self, query: &Query, answers: Answers) -> Option<Answers> {
        let config = self.engine.config();
        if config.hosts.is_empty() {
            return Some(answers);
        }
        let found = config.hosts.addresses(&query.host).filter(|found| query.family.contains(*found));
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Some(answers);
        }
        answers.unordered().finish_with(found, None);
        None
    }

    fn look_up_by_servers(
        &self,
        reactor: &mut Reactor,
        query: &Query,
        answers: Answers,
    ) -> crate::Result<()> {
        let absolute = query.host.ends_with('.');
        let host = query.host.strip_suffix('.').unwrap_or(&query.host);
        let config = self.engine.config();
        let family = match query.family {
            AddressFamily::Any if config.no_aaaa => AddressFamily::Ipv4,
            family => family,
        };
        let candidates = Candidates::new(&config, host, absolute);
        let answers = answers.unordered();
        let Some(answers) = self.answer_from_cache(reactor, family, &candidates, answers) else {
            return Ok(());
        };
        let lookup = Rc::new(AddressLookup {
            engine: Rc::clone(&self.engine),
            state: RefCell::new(LookupState {
                answers: Some(answers),
                host: host.into(),
                absolute,
                family,
                candidate: 0,
                asks: [None; 2],
                outstanding: 0,
                found: false,
                failure: None,
                negative: None,
            }),
        });
        lookup.begin(reactor)?;
        let cancelled = Rc::clone(&lookup);
        let state = lookup.state.borrow();
        if let Some(answers) = &state.answers {
            answers.on_cancel(reactor, move |reactor| cancelled.cancel(reactor));
        }
        Ok(())
    }

    /// Answers from the cache, if it has addresses of the first candidate in all wanted families.
    /// Returns `answers` otherwise.
    fn answer_from_cache(
        &self,
        reactor: &mut Reactor,
        wanted: AddressFamily,
        candidates: &Candidates<'_>,
        answers: Answers,
    ) -> Option<Answers> {
        let Some(mut question) = candidates.question(0) else { return Some(answers) };
        let now = reactor.now();
        let mut state = self.engine.state.borrow_mut();
        let mut outcomes = [None, None];
        let mut positive = false;
        for ((record_type, family), outcome) in TYPES.iter().zip(&mut outcomes) {
            if !wants(wanted, *family) {
                continue;
            }
            question.set_type(record_type.0);
            match state.cache.get(&mut question, now) {
                Some(Ok(response)) if response.kind().is_some() => {
                    positive |= !response.addresses().is_empty();
                    *outcome = Some(response);
                }
                _ => return Some(answers),
            }
        }
        if !positive {
            return Some(answers);
        }
        state.statistics.cache_hits += 1;
        drop(state);
        let found = outcomes.iter().flatten().flat_map(|response| response.addresses());
        let ttl = outcomes.iter().flatten().filter(|response| !response.addresses().is_empty());
        let ttl = ttl.map(|response| response.ttl()).min();
        answers.finish_with(found.map(|address| SocketAddr::new(*address, 0)), ttl);
        None
    }
}

/// A look-up of one host name, which asks for its candidates one after the other.
struct AddressLookup {
    engine: Rc<Engine>,
    state: RefCell<LookupState>,
}

struct LookupState {
    /// `None` after the end.
    answers: Option<Answers>,
    host: Box<str>,
    absolute: bool,
    family: AddressFamily,
    /// Index of the candidate that is being asked for.
    candidate: usize,
    /// Queries for A and AAAA.
    asks: [Option<Ask>; 2],
    outstanding: u8,
    found: bool,
    /// The failure of a query of this candidate, or of an earlier one.
    failure: Option<DnsError>,
    /// The kind of the last negative answer.
    negative: Option<AnswerKind>,
}

impl AddressLookup {
    /// Asks for the first valid candidate.
    fn begin(self: &Rc<AddressLookup>, reactor: &mut Reactor) -> crate::Result<()> {
        match self.ask(reactor) {
            Ok(()) => Ok(()),
            Err(DnsError::QueueFull(limit)) => Err(Error::QueueFull(limit)),
            Err(error) => {
                self.fail(&error);
                Ok(())
            }
        }
    }

    /// Asks for the addresses of the candidate, and skips those that are too long.
    fn ask(self: &Rc<AddressLookup>, reactor: &mut Reactor) -> Result<(), DnsError> {
        let (mut question, family) = {
            let mut state = self.state.borrow_mut();
            loop {
                let config = self.engine.config();
                let candidates = Candidates::new(&config, &state.host, state.absolute);
                if let Some(question) = candidates.question(state.candidate) {
                    break (question, state.family);
                }
                if state.candidate >= candidates.count() {
                    drop(state);
                    self.end();
                    return Ok(());
                }
                state.candidate += 1;
            }
        };
        for (index, (record_type, of_type)) in TYPES.iter().enumerate() {
            if !wants(family, *of_type) {
                continue;
            }
            question.set_type(record_type.0);
            let cached = self.engine.cached(&mut question, reactor.now());
            let asked = match cached {
                Some(outcome) => {
                    // Counted first, so that the second family is asked for before the end.
                    self.state.borrow_mut().outstanding += 1;
                    let lookup = Rc::clone(self);
                    reactor.handle().call(move |reactor| lookup.answered(reactor, index, outcome));
                    continue;
                }
                None => {
                    let lookup = Rc::clone(self);
                    let done = move |reactor: &mut Reactor, outcome| lookup.answered(reactor, index, outcome);
                    self.engine.ask(reactor, &mut question, Box::new(done))
                }
            };
            match asked {
                Ok(ask) => {
                    let mut state = self.state.borrow_mut();
                    state.outstanding += 1;
                    if let Some(place) = state.asks.get_mut(index) {
                        *place = Some(ask);
                    }
                }
                Err(error) => {
                    self.cancel(reactor);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Handles the outcome of one query.
    fn answered(self: &Rc<AddressLookup>, reactor: &mut Reactor, index: usize, outcome: Outcome) {
        let mut state = self.state.borrow_mut();
        if state.answers.is_none() {
            return;
        }
        if let Some(ask) = state.asks.get_mut(index) {
            *ask = None;
        }
        state.outstanding -= 1;
        let last = state.outstanding == 0;
        match outcome {
            Ok(response) => match response.kind() {
                Some(AnswerKind::Positive) if !response.addresses().is_empty() => {
                    let addresses = response.addresses().iter();
                    let addresses = addresses.map(|address| SocketAddr::new(*address, 0));
                    let ttl = Some(response.ttl());
                    state.found = true;
                    if last && state.failure.is_none() {
                        if let Some(answers) = state.answers.take() {
                            drop(state);
                            answers.finish_with(addresses, ttl);
                        }
                        return;
                    }
                    if let Some(answers) = &state.answers {
                        answers.add(addresses, ttl);
                    }
                }
                Some(kind) => {
                    // A server that says so for one family says it for both.
                    if state.negative != Some(AnswerKind::NoData) {
                        state.negative = Some(kind);
                    }
                }
                None => {
                    let (server, code) = (response.server(), response.code());
                    state.failure = Some(DnsError::Refused { server, code });
                }
            },
            Err(error) => state.failure = Some(error),
        }
        if !last {
            return;
        }
        // A server that is not there is not asked for the other candidates. One that fails for a
        // name may have an answer to the next.
        let stops = state.found || !matches!(state.failure, None | Some(DnsError::Refused { .. }));
        if stops {
            drop(state);
            return self.end();
        }
        state.candidate += 1;
        drop(state);
        if let Err(error) = self.ask(reactor) {
            self.fail(&error);
        }
    }

    /// Ends the look-up, when no candidate is left or one was found.
    fn end(&self) {
        let mut state = self.state.borrow_mut();
        let Some(answers) = state.answers.take() else { return };
        match (&state.failure, state.negative) {
            (Some(error), _) => answers.fail(name_error(error)),
            (None, _) if state.found => answers.finish(),
            (None, Some(AnswerKind::NoData)) => {
                answers.fail(NameError::NotFound("the name has no address (NODATA)".to_owned()));
            }
            (None, Some(_)) => {
                answers.fail(NameError::NotFound("the name does not exist (NXDOMAIN)".to_owned()));
            }
            (None, None) => answers.fail(NameError::NotFound("the name is not valid in the DNS".to_owned())),
        }
    }

    fn fail(&self, error: &DnsError) {
        let answers = self.state.borrow_mut().answers.take();
        if let Some(answers) = answers {
            answers.fail(name_error(error));
        }
    }

    fn cancel(&self, reactor: &mut Reactor) {
        let (asks, answers) = {
            let mut state = self.state.borrow_mut();
            (std::mem::take(&mut state.asks), state.answers.take())
        };
        for ask in asks.into_iter().flatten() {
            self.engine.cancel(reactor, ask);
        }
        drop(answers);
    }
}

/// The names to be tried for a host: as it is, and with each suffix of the search list.
struct Candidates<'a> {
    config: &'a ResolverConfig,
    host: &'a str,
    absolute: bool,
    /// The name as it is comes first.
    as_is_first: bool,
}

impl<'a> Candidates<'a> {
    fn new(config: &'a ResolverConfig, host: &'a str, absolute: bool) -> Candidates<'a> {
        let as_is_first = absolute
            || config.search.is_empty()
            || host.bytes().filter(|byte| *byte == b'.').count() >= usize::from(config.ndots);
        Candidates { config, host, absolute, as_is_first }
    }

    fn count(&self) -> usize {
        if self.absolute { 1 } else { 1 + self.config.search.len() }
    }

    /// The question for a candidate; `None` if it is too long, excluded, or there is none.
    fn question(&self, index: usize) -> Option<Question> {
        if index >= self.count() {
            return None;
        }
        let as_is = index == if self.as_is_first { 0 } else { self.config.search.len() };
        let excluded = self.config.no_tld_query && !self.absolute && !self.config.search.is_empty();
        if as_is && excluded && !self.host.contains('.') {
            return None;
        }
        let suffix = match (self.as_is_first, index) {
            (true, 0) => None,
            (true, index) => Some(self.config.search.get(index - 1)?),
            (false, index) => self.config.search.get(index),
        };
        Question::of_host(self.host, suffix.map(|suffix| suffix.as_wire()), RecordType::A.0)
    }
}

/// Whether a host is this name or below it.
fn is_in(host: &str, domain: &str) -> bool {
    let Some(start) = host.len().checked_sub(domain.len()) else { return false };
    let tail = host.as_bytes().get(start..).unwrap_or_default();
    tail.eq_ignore_ascii_case(domain.as_bytes())
        && (start == 0 || host.as_bytes().get(start - 1) == Some(&b'.'))
}

fn wants(wanted: AddressFamily, family: AddressFamily) -> bool {
    wanted == AddressFamily::Any || wanted == family
}

fn name_error(error: &DnsError) -> NameError {
    match error {
        DnsError::TimedOut { after, .. } => NameError::TimedOut(round(*after)),
        error => NameError::Failed(error.to_string()),
    }
}

/// Drops the part below a millisecond, which is the loop's own delay.
fn round(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The types of addresses and their families. IPv6 is asked for first: its addresses are tried
/// first, and a connect waits for them.
const TYPES: [(RecordType, AddressFamily); 2] =
    [(RecordType::AAAA, AddressFamily::Ipv6), (RecordType::A, AddressFamily::Ipv4)];
