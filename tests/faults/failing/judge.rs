//! What has to hold at the end, whatever failed; and what a certain failure may and has to do.

use twistor::Reason;
use twistor::sim::{Host, Simulation};

use super::Outcome;
use super::scenario::{Book, End, Place, REFUSED, is_refused, message};

/// What one call that fails does to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is made again, or did not matter.
    Harmless,
    /// One connection is lost, and its reason has the error.
    Connection,
    /// One attempt to connect fails, and its reason has the error.
    Attempt,
    /// One client of a port without a listener gets this error instead of the refusal.
    Refusal,
    /// A listener could not listen: its caller was told why.
    Listener,
    /// One accepted connection is closed before anything was done with it.
    Accepted,
    /// Those that waited to be accepted are closed, and counted.
    Waiting,
    /// A job was not taken.
    Job,
    /// A name was not found.
    Name,
    /// One connection is made late or lost in the end, by a timeout.
    Late,
}

/// Everything that does not depend on the fault.
pub fn in_any_case(simulation: &Simulation, place: &Place) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, what: &dyn Fn() -> String| {
        if !holds {
            wrong.push(what());
        }
    };
    for book in [&place.book, &place.bystanders] {
        let book = book.borrow();
        for (number, end) in &book.clients {
            let (told, attempts) = (end.gone + end.failed.len(), end.made + end.failed.len());
            check(attempts == 1, &|| format!("client {number}: made or failed {attempts} times"));
            check(told == 1, &|| format!("client {number}: its factory was told {told} times"));
            check(is_whole(end), &|| format!("client {number}: {}", describe(end)));
        }
        for end in &book.served {
            check(end.made == 1 && is_whole(end), &|| format!("served: {}", describe(end)));
            let counterpart = end.client.and_then(|number| book.clients.get(&number));
            let clean = |end: &End| end.lost == [Reason::Done];
            // A sender got all of it back, if both ends were closed cleanly.
            let whole = counterpart
                .is_none_or(|client| !clean(client) || !clean(end) || client.received == end.received);
            check(whole, &|| format!("bytes are missing although it was closed cleanly: {}", describe(end)));
        }
        check(book.jobs_done + book.jobs_refused == 24 || book.jobs_done == 0, &|| "jobs are missing".into());
    }
    let others = place.bystanders.borrow();
    check(unserved(&others) == [] as [usize; 0], &|| "bystanders were harmed".into());
    for host in [place.server, place.client, place.near, place.far] {
        at_rest(simulation, host).into_iter().for_each(|text| check(false, &|| text.clone()));
    }
    for (one, other) in [(place.server, place.client), (place.near, place.far)] {
        let counted =
            |host| simulation.reactor_ref(host).map(twistor::Reactor::statistics).unwrap_or_default();
        let (one, other) = (counted(one), counted(other));
        let adds_up = one.bytes_received <= other.bytes_sent && other.bytes_received <= one.bytes_sent;
        check(adds_up, &|| "more bytes were received than were sent".into());
    }
    check(simulation.connections() == 0, &|| format!("{} connections are left", simulation.connections()));
    check(simulation.panics() == 0, &|| "a callback panicked".into());
    wrong
}

/// Nothing is left on a host, and its counters add up.
fn at_rest(simulation: &Simulation, host: Host) -> Vec<String> {
    let name = simulation.name(host);
    let Some(reactor) = simulation.reactor_ref(host) else { return vec![format!("{name} has no reactor")] };
    let counted = reactor.statistics();
    let mut left = vec![
        ("in use", reactor.resource_count()),
        ("timers", reactor.delayed_call_count()),
        ("open sockets", simulation.sockets(host)),
        ("connections", counted.connections),
    ];
    let made = counted.accepts + counted.connects;
    left.push((
        "connections made and not lost",
        made.abs_diff(counted.connections_lost + counted.connections_refused) as usize,
    ));
    let left = left.into_iter().filter(|(_, count)| *count > 0);
    left.map(|(what, count)| format!("{name}: {count} {what}")).collect()
}

/// What this fault may not do, or should have done.
pub fn of_a_failure(outcome: &Outcome, harm: Harm, code: i32, on_server: bool) -> Vec<String> {
    let book = &outcome.book;
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: usize, expected: std::ops::RangeInclusive<usize>| {
        if !expected.contains(&found) {
            wrong.push(format!("{what}: {found}, expected {expected:?}"));
        }
    };
    let unserved = unserved(book).len();
    let has_code = |reason: &Reason| reason.system_error().is_some_and(|error| error.code == Some(code));
    let with_code =
        |ends: &mut dyn Iterator<Item = &End>| ends.filter(|end| end.lost.iter().any(has_code)).count();
    let lost = match on_server {
        true => with_code(&mut book.served.iter()),
        false => with_code(&mut book.clients.values()),
    };
    let refused = book.clients.values().flat_map(|end| &end.failed);
    let failed = refused.clone().filter(|reason| has_code(reason)).count();
    let plainly = refused.filter(|reason| matches!(reason, Reason::Refused(_)) && !has_code(reason)).count();
    let one = |harms: &[Harm]| usize::from(harms.contains(&harm));
    use Harm::*;
    let shed = outcome.server.accepts_shed as usize;
    let most = if harm == Waiting { shed } else { one(&[Connection, Attempt, Accepted, Name, Late]) };
    let least = one(&[Attempt, Accepted]);
    let is_refusal = code == twistor::sim::Errno::ECONNREFUSED.raw();
    // The attempt that failed may be one to a port without a listener.
    check("clients not served", unserved, 0..=most);
    check("connections lost with this error", lost, one(&[Connection])..=one(&[Connection]));
    if !is_refusal {
        let expected = one(&[Attempt, Refusal]);
        check("attempts that failed with this error", failed, expected..=expected);
        let others = unserved + REFUSED - plainly;
        check("attempts not refused, or not served", others, least.max(one(&[Refusal]))..=most.max(1));
    }
    check("listeners that failed", book.listens_failed.len(), one(&[Listener])..=one(&[Listener]));
    check("jobs refused", book.jobs_refused, one(&[Job])..=one(&[Job]));
    let names = book.names_missed.iter().chain(book.clients.values().flat_map(|end| &end.failed));
    let missed = names.filter(|reason| was_not_asked(reason, code)).count();
    check("names not found", missed, one(&[Name])..=one(&[Name]));
    check("idle timeouts", book.idle, 0..=2 * one(&[Late]));
    for error in &book.listens_failed {
        let found = match error {
            twistor::Error::CannotListen { source, .. } => source.raw_os_error(),
            _ => None,
        };
        check("error of the listener", usize::from(found == Some(code)), 1..=1);
    }
    wrong
}

/// The clients that did not get everything back and a clean end.
pub fn unserved(book: &Book) -> Vec<usize> {
    let served = |end: &End, number| end.lost == [Reason::Done] && *end.received == *message(number);
    let clients = book.clients.iter().filter(|(number, _)| !is_refused(**number));
    clients.filter(|(number, end)| !served(end, **number)).map(|(number, _)| *number).collect()
}

/// Told in order, once, and no byte that was not sent.
fn is_whole(end: &End) -> bool {
    let prefix = end.client.is_none_or(|number| message(number).starts_with(&end.received));
    end.lost.len() == end.made && end.made <= 1 && end.after_the_end == 0 && prefix
}

fn was_not_asked(reason: &Reason, code: i32) -> bool {
    matches!(reason, Reason::LookupFailed { why, .. } if why.ends_with(&format!("(os error {code})")))
}

fn describe(end: &End) -> String {
    let End { client, made, lost, failed, gone, received, after_the_end } = end;
    format!(
        "client {client:?}, made {made}, lost {lost:?}, failed {failed:?}, gone {gone}, {} bytes, \
         {after_the_end} calls after the end",
        received.len()
    )
}
