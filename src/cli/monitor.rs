//! `twistor monitor`: watches the targets given on the command line, with reports on stdout.

use super::keys::Key;
use super::output;
use super::terminal::Terminal;
use super::writer::{self, Out};
use super::{Failure, Outcome, number, print_error, span};
use crate::monitor::{
    Event, LiveTable, Monitor as Watcher, MonitorSettings, Reporter, Screen, Summary, Target, TargetKind,
    View,
};
use crate::net::system;
use crate::report::{HumanDuration, JsonReporter, Schedule, TextReporter};
use crate::service::Backoff;
use crate::{Phase, Reactor, Signal, SystemEvent};
use clap::Args;
use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Watch services: hold connections open and report their loss, or probe at an interval.
///
/// A target is hold://HOST:PORT (one connection is held open, its loss is reported, and it is made
/// again with growing delays) or tcp://HOST:PORT or HOST:PORT (a connection is made, timed and
/// closed at an interval). An endpoint, such as tcp:HOST:PORT:timeout=2 or unix:PATH, is probed, or
/// held with hold: before it. NAME=tcp://HOST:PORT gives a target a name.
///
/// tls://HOST:PORT or tls:HOST:PORT makes a TLS handshake as well, and hold:tls:HOST:PORT holds the
/// connection. A certificate that is not trusted is a target that is down; one that expires within
/// --cert-warning is a warning. tls:HOST:PORT:roots=PATH trusts the roots in a file, name=NAME
/// verifies another name than HOST, pin=HASH a key; twistor cert shows certificates and hashes.
///
/// hold:// works with any TCP server, and sends no data of its own. It notices at once when a
/// process ends, is killed or resets the connection. On Linux it notices a crashed host or a cut
/// link within --lost-after: the kernel sends keepalive probes to an idle peer every two fifths of
/// that time (two small packets, every 4 s by default; four lost in a row count as a loss then, one
/// at 3 s). It does not notice that a server accepts no new connections or answers no requests;
/// tcp:// notices the former.
///
/// If the server closes a held connection (many close idle ones), it is made again at once and the
/// target stays up. The first time is reported when the new connection has lasted a second, and
/// further ones are counted (reconnects in the summary). The target is down since the close if
/// reconnecting fails, if the new connection breaks within a second, or if three connections in a
/// row are closed within a second. A target is unknown, and the time is not counted, while this
/// machine cannot connect: no descriptors or ports, no route of its own (no default route, an
/// interface that is down), or no permission. A missing route farther on is no_route, and down.
///
/// There is a line for each first result, each change of state and each new cause of being down;
/// --every-probe also shows the results between. A summary comes at the end (SIGINT, SIGTERM,
/// --count) and on SIGHUP. The live table of --watch ends with q, and scrolls with the arrows; ?
/// shows all keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor monitor hold://localhost:22 tcp://localhost:80
  twistor monitor --watch db=hold://10.0.0.5:5432 web=tcp://10.0.0.6:443 --interval 2s
  twistor monitor --once tcp://localhost:22 && echo it is up
  twistor monitor --json hold://localhost:6379 | jq .
  twistor monitor tls://example.org:443 db=hold:tls:db.example:5432:roots=ca.pem
  twistor monitor app=unix:/run/app.sock db=hold:tcp:db.example:5432:timeout=2:attempt_delay=100ms

A line of --json has time, event (up, still_up, down, still_down, unknown, still_unknown, reconnected,
certificate_expires, summary), target, name (if given); a result has first, took_ms, previous_s (how long the state before
lasted) and, unless up, reason (refused, timed_out, no_route, unresolved, closed, closes_at_once, reset,
broken, bad_certificate, tls, other; local when unknown) and detail; one with TLS has tls (the version) and
certificate_days (left); certificate_expires has certificate_days and not_after; reconnected has after_s, idle, gap_ms, took_ms, count; a
summary has state, reason, lasted_s, uptime, losses, reconnects, connects, failures, median_ms and
max_ms (of connect times: the median is that of the last 64 results, or the last connect time when no connection
was made in them).

Exit codes: 0 ended as asked (with --once: all targets are up), 1 with --once: something is down or
unknown; or an error of this machine, 2 bad usage; a second SIGINT or SIGTERM ends it at once (130, 143).")]
pub(super) struct Monitor {
    /// Targets: [NAME=]hold://HOST:PORT, [NAME=][tcp://]HOST:PORT, or [NAME=][hold:]ENDPOINT
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,

    /// Time between two probes of a target that is not held, and the length of a round of one that
    /// is (for --count, --every-probe and --watch); probes are spread evenly over it [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = span::positive, conflicts_with = "once")]
    interval: Option<Duration>,

    /// Maximum time for connecting, name lookup included; an endpoint's own timeout overrides it
    /// [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = span::positive)]
    timeout: Option<Duration>,

    /// Check each target once, print the results and end
    #[arg(long, conflicts_with_all = ["count", "watch", "every_probe"])]
    once: bool,

    /// End after N rounds: probes of each target, intervals for those that are held
    #[arg(long, value_name = "N", value_parser = number::whole::<u32>(1..=u64::MAX))]
    count: Option<u32>,

    /// Print one JSON object a line
    #[arg(long, conflicts_with = "watch")]
    json: bool,

    /// Show a live table (on a terminal with escape sequences; elsewhere lines, as without it)
    #[arg(long)]
    watch: bool,

    /// Print every result, and not only changes
    #[arg(long)]
    every_probe: bool,

    /// Print no events, only the summary (with --once: nothing, only the exit code tells)
    #[arg(long, short, conflicts_with_all = ["every_probe", "watch"])]
    quiet: bool,

    /// First delay before a lost hold:// target is connected to again [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = span::positive, conflicts_with = "once")]
    backoff: Option<Duration>,

    /// Maximum delay [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = span::positive, conflicts_with = "once")]
    backoff_max: Option<Duration>,

    /// Factor between consecutive delays [default: 1.5]
    #[arg(long, value_name = "NUMBER", value_parser = number::decimal(1.0..=100.0), conflicts_with = "once")]
    backoff_factor: Option<f64>,

    /// Warn when the certificate of a tls: target expires within TIME: when it is first seen, and
    /// then once a day; 0 for never [default: 14d]
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    cert_warning: Option<Duration>,

    /// Maximum time until a vanished peer of a held TCP connection is detected, 3s to 9h; 0 for
    /// never [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = lost_after, conflicts_with = "once")]
    lost_after: Option<Duration>,
}

impl Monitor {
    pub(super) fn run(mut self) -> Outcome {
        // Taken instead of cloned, because there may be thousands.
        let targets = std::mem::take(&mut self.targets);
        let targets = targets.into_iter().map(|text| text.parse()).collect::<Result<Vec<Target>, _>>();
        let targets = targets.map_err(|error| Failure::Usage(error.to_string()))?;
        self.refuse_idle_options(&targets)?;
        let names = output::width_of(targets.iter().map(Target::name));
        let view = View::new(output::size());
        let live = self.watch && output::is_screen(&io::stdout());
        if self.watch && !live {
            let why = match io::stdout().is_terminal() {
                true => "TERM names a terminal without escape sequences",
                false => "stdout is not a terminal",
            };
            print_error(&format_args!("--watch shows lines instead of a live table: {why}"));
        }
        let reporter: Box<dyn Reporter> = match (self.json, live) {
            (true, _) => Box::new(JsonReporter::new(writer::stdout())),
            (false, true) => {
                let (out, clock) = (Frames(writer::stdout()), output::clock(false));
                Box::new(LiveTable::new(out, clock, output::palette(), view.clone()))
            }
            (false, false) => {
                Box::new(TextReporter::new(writer::stdout(), output::clock(true), output::palette(), names))
            }
        };
        let reporter = Chosen { events: !self.quiet, summaries: !self.once, reporter };
        self.raise_descriptor_limit(&targets);
        if live && io::stderr().is_terminal() {
            // Warnings would overwrite the table, which shows unknown targets itself.
            log::set_max_level(log::max_level().min(log::LevelFilter::Error));
        }
        let mut reactor = Reactor::new()?;
        output::end_with_stdout(&reactor, false);
        let monitor = Watcher::start(&mut reactor, targets, self.settings(), reporter);
        let finished = Rc::new(Cell::new(false));
        let done = Rc::clone(&finished);
        monitor.on_finished(move |reactor| {
            done.set(true);
            reactor.stop_gracefully();
        });
        let last = monitor.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, _| {
            if !finished.get() {
                writer::limit_finish();
            }
            last.finish(reactor);
        });
        if live {
            Live::start(&mut reactor, monitor.clone(), view)?;
        } else {
            let asked = monitor.clone();
            reactor.on_signal(Signal::Hangup, move |reactor| asked.summary(reactor))?;
        }
        reactor.run()?;
        let code = match self.once && !monitor.all_up() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        };
        output::outcome(monitor.take_error(), code)
    }

    /// Raises the descriptor limit to the number of connections that may be open at a time. If the
    /// system does not allow that, some targets will be unknown, which is reported at once.
    fn raise_descriptor_limit(&self, targets: &[Target]) {
        let held = targets.iter().filter(|target| target.kind() == TargetKind::Hold).count();
        let MonitorSettings { timeout, interval, .. } = self.settings();
        let attempts = match self.once {
            true => timeout.as_millis() / 10 + 32,
            false => (timeout.as_nanos() * targets.len() as u128).div_ceil(interval.as_nanos()),
        };
        let attempts = usize::try_from(attempts).unwrap_or(usize::MAX);
        let (held, probed) = if self.once { (0, targets.len()) } else { (held, targets.len() - held) };
        let needed = held + probed.min(attempts) + OTHER_DESCRIPTORS;
        let allowed = system::descriptor_limit();
        if needed <= allowed {
            return;
        }
        let allowed = system::raise_descriptor_limit();
        if needed > allowed {
            let (needs, targets) = (output::grouped(needed as u64), output::grouped(targets.len() as u64));
            let allowed = output::grouped(allowed as u64);
            print_error(&format_args!(
                "{targets} targets need {needs} descriptors, {allowed} allowed; raise with ulimit -n {needed}"
            ));
        }
    }

    /// Refuses options without effect.
    fn refuse_idle_options(&self, targets: &[Target]) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::Usage(format!("{why} (see --help)")));
        if self.count == Some(1) {
            for (option, given) in [
                ("--interval", self.interval.is_some()),
                ("--every-probe", self.every_probe),
                ("--backoff", self.backoff.is_some()),
                ("--backoff-max", self.backoff_max.is_some()),
                ("--backoff-factor", self.backoff_factor.is_some()),
                ("--lost-after", self.lost_after.is_some()),
            ] {
                if given {
                    return refuse(format!(
                        "{option} has no effect: with --count 1 each target has one result"
                    ));
                }
            }
        }
        let held = || targets.iter().filter(|target| target.kind() == TargetKind::Hold);
        for (option, given) in [
            ("--backoff", self.backoff.is_some()),
            ("--backoff-max", self.backoff_max.is_some()),
            ("--backoff-factor", self.backoff_factor.is_some()),
            ("--lost-after", self.lost_after.is_some()),
        ] {
            if given && held().next().is_none() {
                return refuse(format!("{option} has no effect: no target is held (hold://HOST:PORT)"));
            }
        }
        let vanishes = |target: &Target| target.host().is_some() && !target.has_own("keepalive");
        if self.lost_after.is_some() && !held().any(vanishes) {
            return refuse(
                "--lost-after has no effect: held targets are UNIX sockets or have a keepalive of their own"
                    .into(),
            );
        }
        if self.cert_warning.is_some() && !targets.iter().any(Target::is_tls) {
            return refuse("--cert-warning has no effect: no target has TLS (tls://HOST:PORT)".into());
        }
        if self.timeout.is_some() && targets.iter().all(|target| target.has_own("timeout")) {
            return refuse("--timeout has no effect: every target has a timeout of its own".into());
        }
        // With more than a hundred targets, the first checks are spread over an interval, also
        // those of held ones.
        let pace = |interval| Schedule::new(interval, targets.len()).first(1);
        let shows_rounds = self.count.is_some() || self.every_probe || self.watch;
        if let Some(interval) = self.interval
            && !shows_rounds
            && pace(interval) == pace(MonitorSettings::default().interval)
            && targets.iter().all(|target| target.kind() == TargetKind::Hold)
        {
            return refuse(
                "--interval has no effect: all targets are held, without --count, --every-probe and --watch"
                    .into(),
            );
        }
        let backoff = self.settings().backoff;
        if let Some(first) = self.backoff.filter(|first| *first > backoff.max) {
            let (first, longest) = (HumanDuration(first), HumanDuration(backoff.max));
            return refuse(format!("--backoff {first} is above --backoff-max {longest}"));
        }
        if self.backoff_factor.is_some() && backoff.initial >= backoff.max {
            return refuse("--backoff-factor has no effect: the first wait is the longest".into());
        }
        if self.once && self.quiet && self.json {
            return refuse("--json has no effect: --once --quiet prints nothing".into());
        }
        Ok(())
    }

    fn settings(&self) -> MonitorSettings {
        let usual = MonitorSettings::default();
        let Backoff { initial, factor, max, jitter } = usual.backoff;
        let max = self.backoff_max.unwrap_or(max);
        MonitorSettings {
            interval: self.interval.unwrap_or(usual.interval),
            timeout: self.timeout.unwrap_or(usual.timeout),
            backoff: Backoff {
                initial: self.backoff.unwrap_or(initial.min(max)),
                factor: self.backoff_factor.unwrap_or(factor),
                max,
                jitter,
            },
            lost_after: self.lost_after.or(usual.lost_after).filter(|limit| !limit.is_zero()),
            certificate_warning: self
                .cert_warning
                .or(usual.certificate_warning)
                .filter(|time| !time.is_zero()),
            rounds: if self.once { Some(1) } else { self.count },
            // The list below the live table shows only changes unless --every-probe is given.
            every_result: self.every_probe,
        }
    }
}

/// The terminal on stdout. A frame replaces the previous ones.
struct Frames(Out);

impl Screen for Frames {
    fn frame(&mut self, frame: &str) -> io::Result<()> {
        self.0.frame(frame.as_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        writer::prioritize(|| self.0.write_all(text.as_bytes()).and_then(|()| self.0.flush()))
    }
}

/// A reporter that passes on only events or only summaries.
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
        // A summary is more important than events, because it contains their results.
        if self.summaries { writer::prioritize(|| self.reporter.summary(summary)) } else { Ok(()) }
    }
}

/// The live table: frames, keys, and the signals of a terminal.
#[derive(Clone)]
struct Live {
    monitor: Watcher,
    terminal: Terminal,
}

impl Live {
    fn start(reactor: &mut Reactor, monitor: Watcher, view: View) -> Result<(), Failure> {
        let (watched, moved, sized) = (monitor.clone(), view.clone(), view.clone());
        let terminal = Terminal::new(view, move |reactor, key| {
            match key {
                Key::Up => moved.scroll(-1),
                Key::Down => moved.scroll(1),
                Key::PageUp => moved.scroll_pages(-1),
                Key::PageDown => moved.scroll_pages(1),
                Key::Home => moved.home(),
                Key::End => moved.end(),
                Key::Help => moved.toggle_help(),
                Key::Redraw => {}
                Key::Quit => {
                    reactor.stop_gracefully();
                    return;
                }
            }
            watched.summary(reactor);
        });
        let live = Live { monitor, terminal };
        let resized = live.clone();
        reactor.on_signal(Signal::WindowChange, move |reactor| {
            sized.resize(output::size());
            resized.draw(reactor);
        })?;
        let suspended = live.clone();
        reactor.on_signal(Signal::Suspend, move |reactor| suspended.terminal.suspend(reactor))?;
        let resumed = live.clone();
        reactor.on_signal(Signal::Continue, move |reactor| {
            resumed.terminal.resumed(reactor);
            resumed.draw(reactor);
        })?;
        // The default action of a second SIGINT would not restore the terminal, and a wrapper that
        // passes Ctrl-C on sends two at once.
        for (signal, number) in SIGNALS {
            let ended = live.terminal.clone();
            reactor.on_signal(signal, move |reactor| {
                if !reactor.stop_gracefully() {
                    ended.give_back_for_good(reactor);
                    std::process::exit(128 + number);
                }
            })?;
        }
        let last = live.terminal.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, _| {
            last.give_back_for_good(reactor);
        });
        reactor.call_when_running(move |reactor| live.draw_again(reactor));
        Ok(())
    }

    /// Draws a frame, which is a summary, if this process may use the terminal.
    fn draw(&self, reactor: &mut Reactor) {
        if self.terminal.is_ours(reactor) {
            self.monitor.summary(reactor);
        }
    }

    fn draw_again(self, reactor: &mut Reactor) {
        self.draw(reactor);
        reactor.call_later(FRAME, move |reactor| self.draw_again(reactor));
    }
}

/// Parses zero, or a time within the limits of the kernel's keepalive.
fn lost_after(text: &str) -> Result<Duration, String> {
    match span::parse(text)? {
        Duration::ZERO => Ok(Duration::ZERO),
        time if time < MonitorSettings::MIN_LOST_AFTER => {
            Err("the minimum is 3 s: the kernel counts whole seconds".into())
        }
        time if time > MonitorSettings::MAX_LOST_AFTER => Err("the maximum is 9 h".into()),
        time => Ok(time),
    }
}

/// Descriptors that are not connections: the standard streams, the poll, the waker, signals, a
/// spare one.
const OTHER_DESCRIPTORS: usize = 10;
/// Signals that end the live table, with their numbers. After a second one the exit code is that of
/// a shell.
const SIGNALS: [(Signal, i32); 4] =
    [(Signal::Hangup, 1), (Signal::Interrupt, 2), (Signal::Quit, 3), (Signal::Terminate, 15)];
/// Four frames a second: changes appear at once, and the seconds advance evenly.
const FRAME: Duration = Duration::from_millis(250);
