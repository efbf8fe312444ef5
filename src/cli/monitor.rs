//! `twistor monitor`: targets on the command line, reports on stdout.

use super::output;
use super::{Failure, Outcome, complain, descriptors, span};
use crate::monitor::{
    Backoff, Event, Json, Kind, Lines, Monitor as Watcher, Page, Reporter, Settings, Summary, Target,
};
use crate::{Phase, Reactor, Signal, SystemEvent};
use clap::Args;
use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Watch services: hold connections open and tell when they are lost, or probe on an interval.
///
/// A target is hold://HOST:PORT (one connection is held open; its loss is the event, known as soon as
/// it happens; it is made again with growing waits) or tcp://HOST:PORT (a connection is made, timed
/// and closed on an interval), or an endpoint, such as tcp:HOST:PORT:timeout=2 or unix:PATH, which is
/// probed, or held with hold: before it. NAME=tcp://HOST:PORT gives it a name.
///
/// A held connection that its server closes (many close idle ones) is made again at once: the target stays up, the
/// first time is told, and further ones are counted (reconnects in the summary). It is down, since the close, if
/// that fails, or if three connections in a row are closed within a second. A target is unknown, and the time is
/// not counted, while this machine cannot look: out of descriptors or ports, or not permitted.
///
/// There is a line for each first result, each change of state and each new cause of being down;
/// --every-probe shows the results between as well. A summary comes at the end (SIGINT, SIGTERM,
/// --count) and on SIGHUP.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor monitor hold://localhost:22 tcp://localhost:80
  twistor monitor --watch db=hold://10.0.0.5:5432 web=tcp://10.0.0.6:443 --interval 2s
  twistor monitor --once tcp://localhost:22 && echo it is up
  twistor monitor --json hold://localhost:6379 | jq .
  twistor monitor app=unix:/run/app.sock db=hold:tcp:db.example:5432:timeout=2:attempt_delay=100ms

A line of --json has time, event (up, still_up, down, still_down, unknown, still_unknown, reconnected,
summary), target, name (if given); a result has first, took_ms, previous_s (how long the state before
lasted) and, unless up, reason (refused, timed_out, no_route, unresolved, closed, closes_at_once, reset,
broken, other; local when unknown) and detail; reconnected has after_s, idle, gap_ms, took_ms, count; a
summary has state, reason, lasted_s, uptime, losses, reconnects, connects, failures, median_ms, max_ms.

Exit codes: 0 ended as asked (with --once: all targets are up), 1 with --once: something is down or
unknown; or an error of this machine, 2 bad usage.")]
pub(super) struct Monitor {
    /// What to watch: [NAME=]hold://HOST:PORT, [NAME=]tcp://HOST:PORT, or [NAME=][hold:]ENDPOINT
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,

    /// Time between two probes of a target that is not held; probes are spread evenly over it
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::positive)]
    interval: Duration,

    /// How long connecting may take, looking up the name included; an endpoint's own timeout goes before it
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::positive)]
    timeout: Duration,

    /// Check each target once, print the results and end
    #[arg(long, conflicts_with_all = ["count", "watch"])]
    once: bool,

    /// End after N rounds: probes of each target, intervals for those that are held
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// Print one JSON object a line
    #[arg(long, conflicts_with = "watch")]
    json: bool,

    /// Show a live table (when stdout is a terminal; else lines as without it)
    #[arg(long)]
    watch: bool,

    /// Print every result, and not only changes
    #[arg(long)]
    every_probe: bool,

    /// Print no events, only the summary (with --once: nothing, the exit code tells)
    #[arg(long, short, conflicts_with_all = ["every_probe", "watch"])]
    quiet: bool,

    /// First wait before a lost hold:// target is connected to again
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span::positive)]
    backoff: Duration,

    /// Longest such wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span::positive)]
    backoff_max: Duration,

    /// Each wait is this many times the one before
    #[arg(long, value_name = "NUMBER", default_value_t = 1.5, value_parser = factor)]
    backoff_factor: f64,

    /// Silence on a held connection before the peer is asked for a sign of life; 0 for never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::parse)]
    keepalive: Duration,
}

impl Monitor {
    pub(super) fn run(mut self) -> Outcome {
        // Taken, because there may be thousands, and none is needed twice.
        let targets = std::mem::take(&mut self.targets);
        let targets = targets.into_iter().map(|text| text.parse()).collect::<Result<Vec<Target>, _>>();
        let targets = targets.map_err(|error| Failure::Usage(error.to_string()))?;
        let names = output::width_of(targets.iter().map(Target::name));
        let size = Rc::new(Cell::new(output::size()));
        let live = self.watch && io::stdout().is_terminal();
        let reporter: Box<dyn Reporter> = match (self.json, live) {
            (true, _) => Box::new(Json::new(io::stdout())),
            (false, true) => Box::new(Page::new(
                io::stdout(),
                output::clock(false),
                output::palette(),
                names,
                Rc::clone(&size),
            )),
            (false, false) => {
                Box::new(Lines::new(io::stdout(), output::clock(true), output::palette(), names))
            }
        };
        let reporter = Chosen { events: !self.quiet, summaries: !self.once, reporter };
        self.raise_descriptor_limit(&targets);
        let mut reactor = Reactor::new()?;
        let monitor = Watcher::start(&mut reactor, targets, self.settings(), reporter);
        monitor.on_finished(|reactor| {
            reactor.stop_gracefully();
        });
        let last = monitor.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, _| {
            last.finish(reactor);
        });
        let asked = monitor.clone();
        reactor.on_signal(Signal::Hangup, move |reactor| asked.summary(reactor))?;
        if live {
            let resized = monitor.clone();
            reactor.on_signal(Signal::WindowChange, move |reactor| {
                size.set(output::size());
                resized.summary(reactor);
            })?;
            let drawn = monitor.clone();
            reactor.call_when_running(move |reactor| draw(reactor, &drawn));
        }
        reactor.run()?;
        let code = match self.once && !monitor.all_up() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        };
        output::outcome(monitor.error(), code)
    }

    /// A descriptor for each connection that may be open at one time: where the system does not allow them, some
    /// targets will be unknown, and that is said at once.
    fn raise_descriptor_limit(&self, targets: &[Target]) {
        let held = targets.iter().filter(|target| target.kind() == Kind::Hold).count();
        let attempts = match self.once {
            true => self.timeout.as_millis() / 10 + 32,
            false => (self.timeout.as_nanos() * targets.len() as u128).div_ceil(self.interval.as_nanos()),
        };
        let attempts = usize::try_from(attempts).unwrap_or(usize::MAX);
        let (held, probed) = if self.once { (0, targets.len()) } else { (held, targets.len() - held) };
        let needed = held + probed.min(attempts) + OTHER_DESCRIPTORS;
        let allowed = descriptors::limit();
        if needed <= allowed {
            return;
        }
        let allowed = descriptors::raise_limit();
        if needed > allowed {
            let (needs, targets) = (grouped(needed), grouped(targets.len()));
            let allowed = grouped(allowed);
            complain(&format_args!(
                "{targets} targets need {needs} descriptors, {allowed} allowed; raise with ulimit -n {needed}"
            ));
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            interval: self.interval,
            timeout: self.timeout,
            backoff: Backoff {
                initial: self.backoff.min(self.backoff_max),
                factor: self.backoff_factor,
                max: self.backoff_max,
                ..Backoff::default()
            },
            keepalive: Some(self.keepalive).filter(|idle| !idle.is_zero()),
            rounds: if self.once { Some(1) } else { self.count },
            // Below the live table is the place for news alone.
            every_result: self.every_probe,
        }
    }
}

/// A reporter of which only a part is wanted.
struct Chosen {
    events: bool,
    summaries: bool,
    reporter: Box<dyn Reporter>,
}

impl Reporter for Chosen {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if self.events { self.reporter.event(event) } else { Ok(()) }
    }

    fn summary(&mut self, summary: &Summary<'_>) -> io::Result<()> {
        if self.summaries { self.reporter.summary(summary) } else { Ok(()) }
    }
}

/// Draws a frame now and then again and again: a summary is a frame there.
fn draw(reactor: &mut Reactor, monitor: &Watcher) {
    monitor.summary(reactor);
    let monitor = monitor.clone();
    reactor.call_later(FRAME, move |reactor| draw(reactor, &monitor));
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok(factor),
        _ => Err("it has to be a number from 1 to 100".into()),
    }
}

/// 1,234,567.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Descriptors that are no connections: the standard streams, the poll, the waker, signals, a spare one.
const OTHER_DESCRIPTORS: usize = 10;
/// Four frames a second: a loss is seen at once, and a second never seems to stand still.
const FRAME: Duration = Duration::from_millis(250);
