//! The same question again and again: answers a second, and latencies.

use super::json::{line, millis};
use super::question::Question;
use super::text::transport;
use crate::cli::output::grouped;
use crate::dns::{DnsError, Resolver, ResolverConfig, Response, Transport};
use crate::load::Distribution;
use crate::report::HumanDuration;
use crate::{Instant, Reactor};
use serde_json::{Map, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A measurement in progress.
pub(super) struct Bench {
    question: Question,
    until: Instant,
    began: Instant,
    results: RefCell<Results>,
}

/// The results so far.
#[derive(Default)]
struct Results {
    latencies: Distribution,
    /// Responses by their code.
    codes: BTreeMap<String, u64>,
    /// Queries without a response, by the reason.
    failures: BTreeMap<String, u64>,
    in_flight: usize,
    bytes: u64,
    from: Option<(SocketAddr, Transport)>,
    ended: Option<Instant>,
}

impl Bench {
    /// Starts a measurement, which stops the reactor at its end.
    pub(super) fn start(
        reactor: &mut Reactor,
        question: Question,
        config: &ResolverConfig,
        duration: Duration,
        depth: usize,
    ) -> Rc<Bench> {
        let began = reactor.now();
        let results = RefCell::default();
        let bench = Rc::new(Bench { question, until: began + duration, began, results });
        // Equal questions of one resolver are joined, so each in flight has a resolver of its own.
        let config = ResolverConfig { max_cache_entries: 0, ..config.clone() };
        for _ in 0..depth {
            Rc::clone(&bench).ask(reactor, Resolver::new(config.clone()));
        }
        let timed = Rc::clone(&bench);
        reactor.call_later(duration, move |reactor| timed.end(reactor));
        bench
    }

    fn ask(self: Rc<Bench>, reactor: &mut Reactor, resolver: Resolver) {
        let asked_at = reactor.now();
        let (bench, own) = (Rc::clone(&self), resolver.clone());
        let done = move |reactor: &mut Reactor, outcome: Result<Response, DnsError>| {
            let now = reactor.now();
            if outcome.is_err() && reactor.handle().is_stopping() {
                // A signal ends the query, and not the server.
                return;
            }
            bench.note(now, asked_at, outcome);
            match now < bench.until {
                true => bench.ask(reactor, own),
                false => bench.end(reactor),
            }
        };
        self.results.borrow_mut().in_flight += 1;
        let Question { name, record_type, .. } = &self.question;
        if let Err(error) = resolver.query(reactor, name, *record_type, done) {
            // A question that cannot be asked now cannot be asked in the next moment either.
            self.note(asked_at, asked_at, Err(error));
            reactor.call_later(Duration::ZERO, move |reactor| self.end(reactor));
        }
    }

    fn note(&self, now: Instant, asked_at: Instant, outcome: Result<Response, DnsError>) {
        let mut results = self.results.borrow_mut();
        results.in_flight -= 1;
        if results.ended.is_some() {
            return;
        }
        match outcome {
            Ok(response) => {
                results.latencies.record(now - asked_at, 1);
                *results.codes.entry(response.code().to_string()).or_default() += 1;
                results.bytes += response.message().len() as u64;
                results.from = Some((response.server(), response.transport()));
            }
            Err(error) => *results.failures.entry(reason(&error)).or_default() += 1,
        }
    }

    /// Ends the measurement. Queries in flight do not count, unless no query has ended before.
    fn end(&self, reactor: &mut Reactor) {
        let mut results = self.results.borrow_mut();
        let is_over = !results.latencies.is_empty() || !results.failures.is_empty() || results.in_flight == 0;
        if is_over && results.ended.is_none() {
            results.ended = Some(reactor.now());
            reactor.stop();
        }
    }

    /// The report, at the end of the measurement or earlier.
    pub(super) fn report(&self, now: Instant) -> Report {
        let results = self.results.take();
        let elapsed = results.ended.unwrap_or(now) - self.began;
        Report { question: self.question.clone(), elapsed, results }
    }
}

/// The reason of a failure, without parts that differ each time.
fn reason(error: &DnsError) -> String {
    match error {
        DnsError::TimedOut { .. } => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// The results of a measurement. `Display` prints them for people.
pub(super) struct Report {
    question: Question,
    elapsed: Duration,
    results: Results,
}

impl Report {
    pub(super) fn answers(&self) -> u64 {
        self.results.latencies.count()
    }

    pub(super) fn failures(&self) -> u64 {
        self.results.failures.values().sum()
    }

    fn per_second(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => self.answers() as f64 / seconds,
        }
    }

    pub(super) fn to_json(&self) -> String {
        let Report { question, elapsed, results } = self;
        let times = &results.latencies;
        let counts = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(what, count)| (what.clone(), (*count).into())).collect::<Map<_, _>>()
        };
        let mut latency: Map<_, _> = PERCENTILES
            .iter()
            .map(|(name, percent)| (name.replace('.', "_"), json!(times.percentile(*percent).map(millis))))
            .collect();
        for (name, time) in [("min", times.min()), ("mean", times.mean()), ("max", times.max())] {
            latency.insert(name.to_owned(), json!(time.map(millis)));
        }
        line(json!({
            "name": question.name.to_string(),
            "type": question.record_type.to_string(),
            "server": results.from.map(|(server, _)| server.to_string()),
            "transport": results.from.map(|(_, by)| transport(by).to_ascii_lowercase()),
            "elapsed_s": elapsed.as_secs_f64(),
            "answers": self.answers(),
            "per_second": self.per_second(),
            "failures": self.failures(),
            "codes": counts(&results.codes),
            "reasons": counts(&results.failures),
            "latency_ms": if times.is_empty() { serde_json::Value::Null } else { latency.into() },
        }))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { question, elapsed, results } = self;
        let times = &results.latencies;
        write!(f, "{}  {}", question.name, question.record_type)?;
        if let Some((server, by)) = results.from {
            write!(f, "  {server} over {}", transport(by))?;
        }
        writeln!(f, "\n")?;
        let (answers, failures) = (grouped(self.answers()), grouped(self.failures()));
        let per_second = grouped(self.per_second().round() as u64);
        writeln!(f, "  answers   {answers} in {}: {per_second} a second", HumanDuration(*elapsed))?;
        writeln!(f, "  failures  {failures}")?;
        for (what, count) in results.failures.iter() {
            writeln!(f, "            {} {what}", grouped(*count))?;
        }
        if !times.is_empty() {
            let codes = results.codes.iter().map(|(code, count)| format!("{} {code}", grouped(*count)));
            writeln!(f, "  codes     {}", codes.collect::<Vec<_>>().join(", "))?;
            let shown = |(name, percent): &(&str, f64)| {
                let time = times.percentile(*percent).unwrap_or_default();
                format!("{name} {}", HumanDuration(time))
            };
            let percentiles = PERCENTILES.iter().map(shown).collect::<Vec<_>>().join("  ");
            let max = HumanDuration(times.max().unwrap_or_default());
            writeln!(f, "  latency   {percentiles}  max {max}")?;
        }
        Ok(())
    }
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
