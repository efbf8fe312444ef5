//! A resolver that answers in all ways, and look-ups that check its answers.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::{AddressFamily, Answer, Answers, NameError, Query, Reactor, Reason, Resolve, SystemResolver};

use super::ledger::Ledger;

/// A name that the program's own resolver knows, beside `late0.example` and so on. The system is
/// asked for all others.
const KNOWN: &str = "known.example";

/// Installs a resolver that finds the addresses of hosts one after another. Returns the name of one
/// of them.
pub fn late(ledger: &Ledger, reactor: &mut Reactor, hosts: &[SocketAddr]) -> String {
    ledger.acts("Reactor::set_resolver");
    reactor.set_resolver(Names { ledger: ledger.clone(), hosts: hosts.to_vec() });
    format!("late{}.example", ledger.random().index(hosts.len()))
}

/// Looks up a name with a resolver of its own.
pub fn ask(ledger: &Ledger, reactor: &mut Reactor, hosts: &[SocketAddr]) {
    late(ledger, reactor, hosts);
    ledger.acts("Query::new");
    let family = [AddressFamily::Any, AddressFamily::Ipv4, AddressFamily::Ipv6][ledger.random().index(3)];
    let timeout = Duration::from_millis(ledger.below(3000));
    let query = Query { family, timeout, ..Query::new(KNOWN, 80) };
    let began = reactor.now();
    let (ended, cancelled) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (ends, stopped) = (Rc::clone(&ended), Rc::clone(&cancelled));
    let mut all: Vec<SocketAddr> = Vec::new();
    ledger.acts("Reactor::look_up");
    let told = ledger.clone();
    let asked = reactor.look_up(query, move |reactor, answer| {
        assert!(!ends.get() && !stopped.get(), "an answer after the end");
        match answer {
            Answer::Addresses { addresses, .. } => {
                told.acts("AddressFamily::contains");
                assert!(!addresses.is_empty() && addresses.iter().all(|address| family.contains(*address)));
                assert!(addresses.iter().all(|address| !all.contains(address) && address.port() == 80));
                all.extend(addresses);
            }
            Answer::End(outcome) => {
                ends.set(true);
                // The injected delays of a turn come on top.
                match outcome {
                    Ok(resolution) => assert_eq!(resolution.addresses, all),
                    Err(Reason::LookupTimedOut { limit, .. }) => {
                        assert!(all.is_empty() && limit == timeout && reactor.now() >= began + timeout);
                    }
                    Err(_) => assert!(all.is_empty()),
                }
            }
        }
    });
    let lookup = asked.unwrap();
    let delay = Duration::from_millis(ledger.below(4000));
    let told = ledger.clone();
    reactor.call_later(delay, move |reactor| {
        told.acts("Lookup::cancel");
        cancelled.set(true);
        assert_eq!(lookup.cancel(reactor).is_err(), ended.get());
    });
}

struct Names {
    ledger: Ledger,
    hosts: Vec<SocketAddr>,
}

impl Names {
    /// Adds an address that may not answer, then that of a host, then the end. Each step may come
    /// later.
    fn answer_late(&self, reactor: &mut Reactor, host: SocketAddr, answers: Answers) {
        let nowhere = SocketAddr::from(([198, 51, 100, 1], 0));
        if self.ledger.below(2) == 0 {
            answers.add([nowhere], None);
        }
        let ledger = self.ledger.clone();
        let delay = move || Duration::from_millis(ledger.below(3) * ledger.below(300));
        let end = self.ledger.below(4);
        reactor.call_later(delay(), move |reactor| {
            answers.add([SocketAddr::new(host.ip(), 0)], Some(Duration::from_secs(1)));
            reactor.call_later(delay(), move |_| match end {
                0 => answers.fail(NameError::TimedOut(Duration::from_secs(1))),
                1 => drop(answers),
                _ => answers.finish_with([nowhere], None),
            });
        });
    }
}

impl Resolve for Names {
    fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> twistor::Result<()> {
        let acts = |name| self.ledger.acts(name);
        let late = query.host.strip_prefix("late").and_then(|rest| rest.strip_suffix(".example"));
        if let Some(host) = late.and_then(|number| self.hosts.get(number.parse::<usize>().ok()?)) {
            self.answer_late(reactor, *host, answers);
            return Ok(());
        }
        if query.host != KNOWN {
            return SystemResolver.resolve(reactor, query, answers);
        }
        acts("Answers::on_cancel");
        let cancelled = Rc::new(Cell::new(0));
        let counts = Rc::clone(&cancelled);
        answers.on_cancel(reactor, move |_| {
            counts.set(counts.get() + 1);
            assert_eq!(counts.get(), 1);
        });
        let ipv4 = SocketAddr::from(([198, 51, 100, 1], 0));
        let ipv6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 0));
        let later = Duration::from_millis(self.ledger.below(2000));
        match self.ledger.below(5) {
            0 => {
                acts("Answers::finish_with");
                acts("Answers::unordered");
                let unordered = self.ledger.below(2) == 0;
                let answers = if unordered { answers.unordered() } else { answers };
                answers.finish_with([ipv4, ipv6], None);
            }
            1 => {
                acts("Answers::add");
                acts("Answers::finish");
                answers.add([ipv4], Some(Duration::from_secs(60)));
                reactor.call_later(later, move |_| {
                    answers.add([ipv6, ipv4], None);
                    answers.finish();
                });
            }
            2 => {
                acts("Answers::fail");
                answers.fail(NameError::Failed("SERVFAIL".to_owned()));
            }
            3 => drop(answers),
            _ => {
                reactor.call_later(later, move |_| drop(answers));
            }
        }
        Ok(())
    }
}
