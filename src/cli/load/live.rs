//! Live output of a load: a progress line on a terminal, and losses when they happen.

use super::ipc::Message;
use crate::cli::{output, writer};
use crate::escape::Escaped;
use crate::load::{LoadConfig, LoadError, LoadTest, Workload};
use crate::report::fit;
use crate::{Instant, Reactor};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The progress of each thread.
pub(super) struct Live {
    parts: Vec<Part>,
    shown: Shown,
}

/// The recipient of the progress.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    None,
    /// The terminal on stderr.
    Terminal,
    /// The parent process, which shows it.
    Parent,
}

#[derive(Default)]
struct Part {
    open: AtomicU64,
    messages: AtomicU64,
    errors: AtomicU64,
    /// Milliseconds of running plus 1; 0 before the start.
    running: AtomicU64,
}

impl Part {
    fn figures(&self) -> [&AtomicU64; 4] {
        [&self.open, &self.messages, &self.errors, &self.running]
    }
}

impl Live {
    /// Creates the progress of this process, or of several children.
    pub(super) fn for_terminal(parts: usize) -> Live {
        Live::shown(parts, Shown::Terminal)
    }

    /// Creates the progress of a child process, which its parent shows.
    pub(super) fn for_parent(parts: usize) -> Live {
        Live::shown(parts, Shown::Parent)
    }

    /// Without a terminal the progress is not shown. The processes of a load share one terminal.
    fn shown(parts: usize, shown: Shown) -> Live {
        let shown = if output::is_screen(&io::stderr()) { shown } else { Shown::None };
        Live { parts: (0..parts).map(|_| Part::default()).collect(), shown }
    }

    /// Stores the progress of a child process.
    pub(super) fn put(&self, index: usize, figures: [u64; 4]) {
        if let Some(part) = self.parts.get(index) {
            for (counter, figure) in part.figures().into_iter().zip(figures) {
                counter.store(figure, Ordering::Relaxed);
            }
        }
    }

    /// Publishes the progress of a thread periodically.
    pub(super) fn watch(self: &Arc<Live>, reactor: &mut Reactor, load: &LoadTest, index: usize) {
        let Some(part) = self.parts.get(index).filter(|_| self.shown != Shown::None && !load.is_finished())
        else {
            return;
        };
        let progress = load.progress(reactor.now());
        part.open.store(progress.open, Ordering::Relaxed);
        part.messages.store(progress.messages, Ordering::Relaxed);
        part.errors.store(progress.errors, Ordering::Relaxed);
        let running = progress.running.map_or(0, |running| running.as_millis() as u64 + 1);
        part.running.store(running, Ordering::Relaxed);
        let (live, load) = (Arc::clone(self), load.clone());
        reactor.call_later(PUBLISH_INTERVAL, move |reactor| live.watch(reactor, &load, index));
    }

    /// Shows the total progress periodically.
    pub(super) fn show(
        self: &Arc<Live>,
        reactor: &mut Reactor,
        config: &LoadConfig,
        notifier: Arc<Mutex<Notifier>>,
    ) {
        match self.shown {
            Shown::None => {}
            Shown::Terminal => {
                let now = reactor.now();
                self.show_next(reactor, config.clone(), notifier, (now, 0));
            }
            Shown::Parent => self.send_to_parent(reactor),
        }
    }

    fn send_to_parent(self: &Arc<Live>, reactor: &mut Reactor) {
        let running = self.parts.iter().map(|part| part.running.load(Ordering::Relaxed)).max().unwrap_or(0);
        let (open, messages) = (self.sum(|part| &part.open), self.sum(|part| &part.messages));
        let errors = self.sum(|part| &part.errors);
        Message::Progress([open, messages, errors, running]).send();
        let live = Arc::clone(self);
        reactor.call_later(PUBLISH_INTERVAL, move |reactor| live.send_to_parent(reactor));
    }

    fn show_next(
        self: &Arc<Live>,
        reactor: &mut Reactor,
        config: LoadConfig,
        notifier: Arc<Mutex<Notifier>>,
        before: (Instant, u64),
    ) {
        let live = Arc::clone(self);
        reactor.call_later(DISPLAY_INTERVAL, move |reactor| {
            let now = reactor.now();
            let messages = live.sum(|part| &part.messages);
            let passed = (now - before.0).as_secs_f64().max(0.001);
            let rate = (messages - before.1) as f64 / passed;
            if let Ok(mut notifier) = notifier.lock() {
                notifier.progress(&live.line(&config, rate));
            }
            live.show_next(reactor, config, notifier, (now, messages));
        });
    }

    fn line(&self, config: &LoadConfig, rate: f64) -> String {
        let (open, errors) = (self.sum(|part| &part.open), self.sum(|part| &part.errors));
        let running = self.parts.iter().map(|part| part.running.load(Ordering::Relaxed)).max().unwrap_or(0);
        let all = config.warm_up + config.duration;
        let stage = match running.checked_sub(1) {
            None => "connecting".to_owned(),
            Some(running) => {
                let running = Duration::from_millis(running);
                let warming = if running < config.warm_up { " (warming up)" } else { "" };
                format!("{} of {} s{warming}", running.as_secs().min(all.as_secs()), all.as_secs_f64())
            }
        };
        let flow = match config.work {
            Workload::Echo => format!("   {rate:.0} messages/s"),
            Workload::Churn => format!("   {rate:.0} connections/s"),
            Workload::Hold { .. } => String::new(),
        };
        format!("{stage}   {open} connections{flow}   {errors} errors")
    }

    fn sum(&self, figure: impl Fn(&Part) -> &AtomicU64) -> u64 {
        self.parts.iter().map(|part| figure(part).load(Ordering::Relaxed)).sum()
    }
}

/// Writes errors and the progress line to stderr.
#[derive(Default)]
pub(super) struct Notifier {
    /// Whether a progress line is on the terminal.
    line: bool,
    printed: u64,
    /// Reasons of failed connections. Only the first error of each reason is printed.
    reasons: BTreeSet<String>,
}

impl Notifier {
    /// Whether an error is worth a line. A limit stops many connections for the same reason.
    pub(super) fn is_worth_printing(&mut self, trouble: &LoadError) -> bool {
        match trouble {
            LoadError::NotConnected { reason, .. } => self.reasons.insert(reason.clone()),
            _ => true,
        }
    }

    /// Prints an error, up to a maximum number of errors.
    pub(super) fn print(&mut self, trouble: &str) {
        self.printed += 1;
        match self.printed {
            ..=MAX_PRINTED => self.write(&format!("{}\n", Escaped(trouble))),
            n if n == MAX_PRINTED + 1 => self.write("more losses follow; the report counts them\n"),
            _ => {}
        }
    }

    /// Passes an error to the parent process, which prints it.
    pub(super) fn send_to_parent(&mut self, trouble: &str) {
        self.printed += 1;
        // One more than the parent prints, so that it notices the excess.
        if self.printed <= MAX_PRINTED + 1 {
            Message::Trouble(trouble.to_owned()).send();
        }
    }

    /// Prints a text regardless of the maximum.
    pub(super) fn print_always(&mut self, what: &str) {
        self.write(&format!("{}\n", Escaped(what)));
    }

    fn progress(&mut self, line: &str) {
        self.line = true;
        // A closed stderr is ignored.
        let _ = writer::stderr().frame(frame(line, output::columns(io::stderr())).as_bytes());
    }

    fn write(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.line) { CLEAR } else { "" };
        let _ = writer::stderr().write_all(format!("{clear}{text}").as_bytes());
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        if self.line {
            self.write("");
        }
    }
}

/// Formats the line in place of the previous one, cut to the terminal: a wrapped line could not be
/// cleared.
fn frame(line: &str, columns: u16) -> String {
    // The terminal may echo ^C after the line.
    format!("{CLEAR}{}", fit(line, usize::from(columns).saturating_sub(ROOM_FOR_KEYS)))
}

/// Two columns for `^C`, and the last column, after which some terminals wrap.
const ROOM_FOR_KEYS: usize = 3;

/// Clears the progress line.
const CLEAR: &str = "\r\x1b[K";

/// Intervals at which a thread publishes its progress, and at which the total is shown.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(200);
const DISPLAY_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of errors printed one by one.
const MAX_PRINTED: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_stays_in_one_row() {
        let line = "1 of 10 s   100 connections   51954 messages/s   0 errors";
        assert_eq!(frame(line, 80), format!("{CLEAR}{line}"));
        assert_eq!(frame(line, 20), format!("{CLEAR}1 of 10 s   100 …"));
        assert_eq!((frame(line, 1), frame(line, 0)), (CLEAR.to_owned(), CLEAR.to_owned()));
    }
}
