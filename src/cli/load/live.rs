//! What is told while the load runs: a progress line on a terminal, and losses when they happen.

use super::news::News;
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

/// How far each thread is.
pub(super) struct Live {
    parts: Vec<Part>,
    shown: Shown,
}

/// Who looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nobody,
    /// People, at a terminal.
    Here,
    /// The process that started this one shows it.
    Elsewhere,
}

#[derive(Default)]
struct Part {
    standing: AtomicU64,
    messages: AtomicU64,
    errors: AtomicU64,
    /// Milliseconds, and one more, since it runs; 0 before.
    running: AtomicU64,
}

impl Part {
    fn figures(&self) -> [&AtomicU64; 4] {
        [&self.standing, &self.messages, &self.errors, &self.running]
    }
}

impl Live {
    /// Of this process, or of several.
    pub(super) fn for_people(parts: usize) -> Live {
        Live::shown(parts, Shown::Here)
    }

    /// Of a process of several.
    pub(super) fn for_others(parts: usize) -> Live {
        Live::shown(parts, Shown::Elsewhere)
    }

    /// Nobody looks where there is no terminal; the processes of a load have the same one.
    fn shown(parts: usize, shown: Shown) -> Live {
        let shown = if output::is_screen(&io::stderr()) { shown } else { Shown::Nobody };
        Live { parts: (0..parts).map(|_| Part::default()).collect(), shown }
    }

    /// How far a process is.
    pub(super) fn put(&self, index: usize, figures: [u64; 4]) {
        if let Some(part) = self.parts.get(index) {
            for (place, figure) in part.figures().into_iter().zip(figures) {
                place.store(figure, Ordering::Relaxed);
            }
        }
    }

    /// Publishes how far a thread's load is, a few times a second.
    pub(super) fn watch(self: &Arc<Live>, reactor: &mut Reactor, load: &LoadTest, index: usize) {
        let Some(part) = self.parts.get(index).filter(|_| self.shown != Shown::Nobody && !load.is_finished())
        else {
            return;
        };
        let progress = load.progress(reactor.now());
        part.standing.store(progress.standing, Ordering::Relaxed);
        part.messages.store(progress.messages, Ordering::Relaxed);
        part.errors.store(progress.errors, Ordering::Relaxed);
        let running = progress.running.map_or(0, |running| running.as_millis() as u64 + 1);
        part.running.store(running, Ordering::Relaxed);
        let (live, load) = (Arc::clone(self), load.clone());
        reactor.call_later(PUBLISHED, move |reactor| live.watch(reactor, &load, index));
    }

    /// Shows the progress of all once a second.
    pub(super) fn show(
        self: &Arc<Live>,
        reactor: &mut Reactor,
        plan: &LoadConfig,
        teller: Arc<Mutex<Teller>>,
    ) {
        match self.shown {
            Shown::Nobody => {}
            Shown::Here => {
                let now = reactor.now();
                self.show_next(reactor, plan.clone(), teller, (now, 0));
            }
            Shown::Elsewhere => self.pass_on(reactor),
        }
    }

    fn pass_on(self: &Arc<Live>, reactor: &mut Reactor) {
        let running = self.parts.iter().map(|part| part.running.load(Ordering::Relaxed)).max().unwrap_or(0);
        let (standing, messages) = (self.sum(|part| &part.standing), self.sum(|part| &part.messages));
        let errors = self.sum(|part| &part.errors);
        News::Progress([standing, messages, errors, running]).say();
        let live = Arc::clone(self);
        reactor.call_later(PUBLISHED, move |reactor| live.pass_on(reactor));
    }

    fn show_next(
        self: &Arc<Live>,
        reactor: &mut Reactor,
        plan: LoadConfig,
        teller: Arc<Mutex<Teller>>,
        before: (Instant, u64),
    ) {
        let live = Arc::clone(self);
        reactor.call_later(SHOWN, move |reactor| {
            let now = reactor.now();
            let messages = live.sum(|part| &part.messages);
            let passed = (now - before.0).as_secs_f64().max(0.001);
            let rate = (messages - before.1) as f64 / passed;
            if let Ok(mut teller) = teller.lock() {
                teller.progress(&live.line(&plan, rate));
            }
            live.show_next(reactor, plan, teller, (now, messages));
        });
    }

    fn line(&self, plan: &LoadConfig, rate: f64) -> String {
        let (standing, errors) = (self.sum(|part| &part.standing), self.sum(|part| &part.errors));
        let running = self.parts.iter().map(|part| part.running.load(Ordering::Relaxed)).max().unwrap_or(0);
        let all = plan.warm_up + plan.duration;
        let stage = match running.checked_sub(1) {
            None => "connecting".to_owned(),
            Some(running) => {
                let running = Duration::from_millis(running);
                let warming = if running < plan.warm_up { " (warming up)" } else { "" };
                format!("{} of {} s{warming}", running.as_secs().min(all.as_secs()), all.as_secs_f64())
            }
        };
        let flow = match plan.work {
            Workload::Echo => format!("   {rate:.0} messages/s"),
            Workload::Churn => format!("   {rate:.0} connections/s"),
            Workload::Hold { .. } => String::new(),
        };
        format!("{stage}   {standing} connections{flow}   {errors} errors")
    }

    fn sum(&self, figure: impl Fn(&Part) -> &AtomicU64) -> u64 {
        self.parts.iter().map(|part| figure(part).load(Ordering::Relaxed)).sum()
    }
}

/// Writes to stderr, for people.
#[derive(Default)]
pub(super) struct Teller {
    /// A progress line stands there.
    line: bool,
    told: u64,
    /// Why connections could not be made: of each reason the first is told.
    reasons: BTreeSet<String>,
}

impl Teller {
    /// Whether it is worth a line: a limit stops many connections, and each for the same reason.
    pub(super) fn is_news(&mut self, trouble: &LoadError) -> bool {
        match trouble {
            LoadError::NotConnected { reason, .. } => self.reasons.insert(reason.clone()),
            _ => true,
        }
    }

    /// A trouble, at once. After many of them the rest is left to the report.
    pub(super) fn tell(&mut self, trouble: &str) {
        self.told += 1;
        match self.told {
            ..=MOST_TOLD => self.write(&format!("{}\n", Escaped(trouble))),
            n if n == MOST_TOLD + 1 => self.write("more is lost; the report will count it\n"),
            _ => {}
        }
    }

    /// To the process that started this one, which tells it.
    pub(super) fn pass_on(&mut self, trouble: &str) {
        self.told += 1;
        // One more than it tells: so it knows that there was more.
        if self.told <= MOST_TOLD + 1 {
            News::Trouble(trouble.to_owned()).say();
        }
    }

    /// Something that is told in any case.
    pub(super) fn tell_always(&mut self, what: &str) {
        self.write(&format!("{}\n", Escaped(what)));
    }

    fn progress(&mut self, line: &str) {
        self.line = true;
        // Whoever closed stderr does not want to know.
        let _ = writer::stderr().frame(frame(line, output::columns(io::stderr())).as_bytes());
    }

    fn write(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.line) { CLEAR } else { "" };
        let _ = writer::stderr().write_all(format!("{clear}{text}").as_bytes());
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if self.line {
            self.write("");
        }
    }
}

/// The line in place of the one before, cut to the terminal: of a wrapped line only the last row could be taken away.
fn frame(line: &str, columns: u16) -> String {
    // The terminal shows ^C behind it.
    format!("{CLEAR}{}", fit(line, usize::from(columns).saturating_sub(ROOM_FOR_KEYS)))
}

/// Two columns of `^C`, and the last one, in which some terminals wrap at once.
const ROOM_FOR_KEYS: usize = 3;

/// Takes the progress line away.
const CLEAR: &str = "\r\x1b[K";

/// How often a thread tells how far it is, and how often all are shown.
const PUBLISHED: Duration = Duration::from_millis(200);
const SHOWN: Duration = Duration::from_secs(1);

/// Losses told one by one: a thousand lines would hide what they say.
const MOST_TOLD: u64 = 100;

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
