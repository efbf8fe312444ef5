//! The report of a load, as text for people.

mod histogram;
pub mod json;
pub(super) mod number_format;
pub mod svg;

use self::number_format::{bytes, count, counted, rate, time, time_or_none};
use crate::escape::Escaped;
use crate::load::config::{LoadConfig, Workload};
use crate::load::totals::{Bottleneck, Distribution, Limit, Totals};
use std::fmt;

/// The report of a load. `Display` prints it as text of at most 80 columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The endpoint as text.
    pub endpoint: String,
    /// The configuration.
    pub config: LoadConfig,
    /// The totals.
    pub totals: Totals,
    /// The limits that kept connections from being made or held. The command adds their present
    /// values and how to raise them.
    pub bottlenecks: Vec<Bottleneck>,
}

impl Report {
    /// Creates a report. The limits are taken from the totals.
    pub fn new(endpoint: String, config: LoadConfig, totals: Totals) -> Report {
        let bottlenecks = bottlenecks(&config, &totals);
        Report { endpoint, config, totals, bottlenecks }
    }

    /// Whether the load succeeded: messages were answered without a failed or lost connection, a
    /// wrong byte or an unanswered message.
    ///
    /// Unsent messages of the schedule are a measurement of the server, not a failure. Lost
    /// datagrams are not a failure either, unless all are lost.
    pub fn is_success(&self) -> bool {
        let totals = &self.totals;
        totals.error_count() == 0 && totals.connected > 0 && (totals.messages > 0 || totals.dropped == 0)
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadConfig { work, connections, size, depth, rate: wanted, .. } = &self.config;
        let connections = counted(*connections as u64, "connection");
        let size = counted(*size as u64, "byte");
        match work {
            Workload::Echo => {
                write!(f, "{}: {connections}, messages of {size}", Escaped(&self.endpoint))?;
                match wanted {
                    Some(wanted) => write!(f, ", {} a second", rate(*wanted))?,
                    None => write!(f, ", {depth} under way on each")?,
                }
            }
            Workload::Churn => {
                write!(f, "{}: connections with a message of {size}, ", Escaped(&self.endpoint))?;
                match wanted {
                    Some(wanted) => write!(f, "{} a second", rate(*wanted))?,
                    None => write!(f, "{} at a time", count(self.config.connections as u64))?,
                }
            }
            Workload::Hold { .. } => write!(f, "{}: {connections} held", Escaped(&self.endpoint))?,
        }
        writeln!(f, "\n")
    }

    fn connections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        let made = match totals.connected == totals.started {
            true => count(totals.connected),
            false => format!("{} of {}", count(totals.connected), count(totals.started)),
        };
        write!(f, "connections  {made} made")?;
        if !totals.opening.is_zero() {
            write!(f, " in {}", time(totals.opening))?;
        }
        if totals.lost > 0 {
            write!(f, ", {} lost", count(totals.lost))?;
        }
        if matches!(self.config.work, Workload::Hold { .. }) {
            write!(f, ", {} stand after {}", count(totals.open), time(totals.elapsed))?;
        }
        writeln!(f)?;
        row(f, "connecting", &totals.connects)
    }

    fn messages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        match self.config.work {
            Workload::Churn => writeln!(
                f,
                "exchanges    {} in {}: {} connections a second",
                count(totals.messages),
                time(totals.elapsed),
                rate(totals.rate())
            )?,
            Workload::Hold { interval: None } => writeln!(f, "messages     {}", count(totals.messages))?,
            Workload::Echo | Workload::Hold { interval: Some(_) } => writeln!(
                f,
                "messages     {} in {}: {} a second, {}/s each way",
                count(totals.messages),
                time(totals.elapsed),
                rate(totals.rate()),
                bytes(totals.bytes_rate())
            )?,
        }
        if totals.dropped > 0 || totals.repeated > 0 {
            let all = (totals.messages + totals.dropped).max(1);
            let share = 100.0 * totals.dropped as f64 / all as f64;
            let (dropped, repeated) = (count(totals.dropped), count(totals.repeated));
            writeln!(f, "lost         {dropped} datagrams ({share:.2} %), {repeated} came again or late")?;
        }
        for (reason, times) in &totals.unsendable {
            for (number, line) in
                wrapped(&format!("{} of them: {reason}", count(*times)), TEXT_WIDTH).iter().enumerate()
            {
                let name = if number == 0 { "refused here" } else { "" };
                writeln!(f, "{name:<12} {}", Escaped(line))?;
            }
        }
        if totals.unsent > 0 {
            let unsent = counted(totals.unsent, "message");
            writeln!(f, "not sent     {unsent} of the schedule: their connections were busy or gone")?;
        }
        let (answered, due) = (totals.messages, totals.latencies.count());
        if due > 0 {
            let rest = if answered < due { " (the rest: its wait so far)" } else { "" };
            writeln!(f, "answered     {} of {} due{rest}", count(answered), count(due))?;
        }
        row(f, "latency", &totals.latencies)?;
        row(f, "since sent", &totals.since_sent)?;
        row(f, "own delay", &totals.lateness)
    }

    fn distribution(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { latencies, since_sent, .. } = &self.totals;
        if latencies.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nlatency\n{}", histogram::draw(latencies))?;
        let columns: Vec<_> = [("latency", latencies), ("since sent", since_sent)]
            .into_iter()
            .filter(|(_, times)| !times.is_empty())
            .collect();
        write!(f, "percentile")?;
        for (name, _) in &columns {
            write!(f, "{name:>13}")?;
        }
        writeln!(f)?;
        let is_shown = |(_, percent): &&(&str, f64)| {
            // A percentile is shown only if at least one message is beyond it.
            latencies.count() as f64 * (100.0 - percent) / 100.0 >= 1.0
        };
        let spectrum = SPECTRUM.iter().filter(is_shown).map(|(name, percent)| (*name, *percent));
        for (name, percent) in spectrum.chain([("max", 100.0)]) {
            write!(f, "{name:>10}")?;
            for (_, times) in &columns {
                write!(f, "{:>13}", time_or_none(times.percentile(percent)))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        if totals.connected == 0 && totals.errors.is_empty() {
            return writeln!(f, "\nerrors       nothing connected");
        }
        if totals.errors.is_empty() {
            let none = match totals.dropped {
                0 => "none: every byte came back as it was sent",
                _ if totals.messages == 0 => "nothing came back",
                _ => "none: what came back is what was sent",
            };
            return writeln!(f, "\nerrors       {none}");
        }
        writeln!(f, "\nerrors       {}", count(totals.error_count()))?;
        for ((kind, reason), times) in &totals.errors {
            writeln!(f, "  {:>9} x {kind}: {}", count(*times), Escaped(reason))?;
        }
        if !totals.first_errors.is_empty() {
            writeln!(f, "\nthe first of them")?;
        }
        totals.first_errors.iter().try_for_each(|trouble| writeln!(f, "  {trouble}"))
    }

    fn bottlenecks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bottlenecks.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nwhat stopped it")?;
        for Bottleneck { limit, connections, now, raise } in &self.bottlenecks {
            writeln!(f, "  {:>9} x {limit}", count(*connections))?;
            for (name, text) in [("now:", now), ("for more:", raise)] {
                for (number, line) in wrapped(text, LIMIT_TEXT_WIDTH).into_iter().enumerate() {
                    let name = if number == 0 { name } else { "" };
                    writeln!(f, "              {name:<9} {}", Escaped(line))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.connections(f)?;
        self.messages(f)?;
        self.distribution(f)?;
        self.errors(f)?;
        self.bottlenecks(f)
    }
}

/// Returns the limits that connections ran into, the most frequent first. With [`Workload::Churn`]
/// only local limits count; those of the server are errors.
fn bottlenecks(config: &LoadConfig, totals: &Totals) -> Vec<Bottleneck> {
    let churns = config.work == Workload::Churn;
    if !churns && totals.open >= config.connections as u64 && totals.unanswered == 0 {
        return Vec::new();
    }
    let hit = totals.limits.iter().filter(|(limit, count)| **count > 0 && (!churns || limit.is_local()));
    let stop = |(limit, count): (&Limit, &u64)| Bottleneck {
        limit: *limit,
        connections: *count,
        now: String::new(),
        raise: String::new(),
    };
    let mut bottlenecks: Vec<Bottleneck> = hit.map(stop).collect();
    bottlenecks.sort_by_key(|stop| std::cmp::Reverse(stop.connections));
    bottlenecks
}

/// Writes a distribution on one line, or nothing if it is empty.
fn row(f: &mut fmt::Formatter<'_>, name: &str, times: &Distribution) -> fmt::Result {
    if times.is_empty() {
        return Ok(());
    }
    let figures = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];
    let figures =
        figures.map(|(name, percent)| format!("{name} {}", time_or_none(times.percentile(percent))));
    writeln!(f, "{name:<12} {}", figures.join("  "))
}

/// Wraps text into lines of at most `width` characters. Only a longer word exceeds it.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns for a text after a row's name.
const TEXT_WIDTH: usize = 67;

/// Columns for the text about a limit: the page has 80.
const LIMIT_TEXT_WIDTH: usize = 56;

/// The percentiles of the report.
const SPECTRUM: [(&str, f64); 11] = [
    ("10 %", 10.0),
    ("25 %", 25.0),
    ("50 %", 50.0),
    ("75 %", 75.0),
    ("90 %", 90.0),
    ("95 %", 95.0),
    ("99 %", 99.0),
    ("99.9 %", 99.9),
    ("99.99 %", 99.99),
    ("99.999 %", 99.999),
    ("99.9999 %", 99.9999),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report() -> Report {
        let mut totals = Totals {
            started: 2,
            connected: 2,
            messages: 1_000,
            bytes: 64_000,
            elapsed: Duration::from_secs(2),
            ..Totals::default()
        };
        for number in 1..=1_000_u64 {
            totals.latencies.record(Duration::from_micros(number * number), 1);
        }
        totals.open = 2;
        Report::new("tcp:h:7".into(), LoadConfig { connections: 2, ..LoadConfig::default() }, totals)
    }

    #[test]
    fn the_text_has_the_figures_and_fits_on_a_page() {
        let text = report().to_string();
        assert!(
            text.starts_with("tcp:h:7: 2 connections, messages of 64 bytes, 1 under way on each\n"),
            "{text}"
        );
        assert!(text.contains("1,000 in 2.00 s: 500 a second, 32.0 kB/s each way"), "{text}");
        assert!(text.contains("latency      p50 250 ms  p90 810 ms  p99 980 ms"), "{text}");
        assert!(text.ends_with("errors       none: every byte came back as it was sent\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.contains("99.99 %"), "a thousand messages have no ten-thousandth: {text}");
    }

    #[test]
    fn what_went_wrong_is_told_and_is_not_right() {
        let mut report = report();
        assert!(report.is_success());
        report.totals.note(&crate::load::LoadError::Unanswered { connection: 2, messages: 3 });
        let text = report.to_string();
        assert!(text.contains("3 x unanswered: no answer") && !report.is_success(), "{text}");
        assert!(!Report { totals: Totals::default(), ..report }.is_success());
    }

    #[test]
    fn what_this_machine_did_not_send_is_told_with_its_reason() {
        let mut report = report();
        report.totals.dropped = 1_500;
        report.totals.unsendable =
            [("a datagram of 60000 bytes is larger than this machine or the way takes".into(), 1_234)].into();
        let text = report.to_string();
        let told = "\nrefused here 1,234 of them: a datagram of 60000 bytes is larger than this\n             machine or the way takes\n";
        assert!(text.contains(told), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn a_report_with_missing_connections_names_the_limit() {
        let config =
            LoadConfig { connections: 10, work: Workload::Hold { interval: None }, ..LoadConfig::default() };
        let totals = Totals { open: 7, limits: [(Limit::Descriptors, 3)].into(), ..Totals::default() };
        let mut report = Report::new("tcp:h:7".into(), config.clone(), totals);
        report.bottlenecks[0].now = "20 (ulimit -n)".into();
        report.bottlenecks[0].raise = "--processes 2 ".repeat(10);
        let text = report.to_string();
        assert!(text.contains("\nwhat stopped it\n          3 x descriptors of a process\n"), "{text}");
        assert!(
            text.contains("now:      20 (ulimit -n)\n              for more: --processes 2 --"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches("--processes 2").count(), 10);
        let totals = Totals { open: 10, limits: [(Limit::Descriptors, 3)].into(), ..Totals::default() };
        assert_eq!(Report::new("tcp:h:7".into(), config, totals).bottlenecks, [], "all stand");
    }
}
