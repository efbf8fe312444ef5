//! `twistor traffic`: reads the feeds given on the command line, with readings on stdout.

use super::client_options::ClientOptions;
use super::{Failure, Outcome, number, span};
use super::{output, writer};
use crate::escape::Escaped;
use crate::http::ClientSettings;
use crate::report::{JsonReporter, Schedule, TextReporter};
use crate::traffic::{Feed, FeedObserver, FeedReader as Reader, FeedSettings, Pointer, PointerError};
use crate::{Phase, Reactor, SystemEvent};
use clap::Args;
use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Read JSON feeds over HTTP or HTTPS and report how their values change.
///
/// Each feed is read periodically over a keep-alive connection. A line has the chosen values and
/// their changes, the age of the feed and its source (the payload or the headers), and the time
/// that the answer took. An error is a line like any other, and does not end the command. Trouble
/// of this machine itself is marked as such, and also reported on stderr, at most once a second.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor traffic http://localhost:8080/roads.json --field /congestion/level
  twistor traffic north=http://10.0.0.5/feed south=http://10.0.0.6/feed --interval 2s --json
  twistor traffic http://localhost:8080/roads.json --timestamp /updated --count 3
  twistor traffic https://localhost:8443/roads.json --ca ca.pem
  twistor traffic http://app/status --via unix:/run/app.sock

A line of --json has time, event (reading, error), feed, name (if given) and latency_ms; a reading has
values, changes (added or was), missing, problems (reason and detail of single values), age_s (below
zero: in the future), age_source and age_zone (assumed_utc: the time had no zone); an error has reason
(connect, timed_out, closed, http, redirect, proxy, status, encoding, json, limit; local for trouble of this machine, such as
no descriptor or no route, which says nothing about the feed) and detail.

Only the chosen values of a payload are kept: at most 64 KiB of text each and 1 MiB in all, out of
a body of at most 16 MiB with at most 128 levels.

Exit codes: 0 ended as asked, 1 with --count a feed that could never be read, or an error of this
machine, 2 bad usage.")]
pub(super) struct Traffic {
    /// Feeds: [NAME=]http://HOST[:PORT]/PATH, or https://
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,

    /// A value to report, as a JSON pointer such as /congestion/level [default: the first few
    /// simple ones]
    #[arg(long = "field", value_name = "POINTER")]
    fields: Vec<String>,

    /// The payload's own timestamp, as a JSON pointer: RFC 3339 (UTC without a zone), or seconds,
    /// milliseconds, microseconds or nanoseconds since 1970
    #[arg(long, value_name = "POINTER")]
    timestamp: Option<String>,

    /// Time between two readings of a feed; feeds are spread evenly over it [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = span::positive)]
    interval: Option<Duration>,

    /// Maximum time for one reading
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::positive)]
    timeout: Duration,

    /// End after N readings of each feed
    #[arg(long, value_name = "N", value_parser = number::whole::<u32>(1..=u64::MAX))]
    count: Option<u32>,

    #[command(flatten)]
    client: ClientOptions,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Traffic {
    pub(super) fn run(&self) -> Outcome {
        self.refuse_idle_options()?;
        let feeds = self.urls.iter().map(|text| feed(text)).collect::<Result<Vec<_>, _>>()?;
        let mut settings = self.settings().map_err(|error| Failure::Usage(error.to_string()))?;
        settings.client = self.client.client(ClientSettings::default())?;
        let names = output::width_of(feeds.iter().map(|feed| feed.name.as_str()));
        let observer: Box<dyn FeedObserver> = match self.json {
            true => Box::new(JsonReporter::new(writer::stdout())),
            false => {
                Box::new(TextReporter::new(writer::stdout(), output::clock(true), output::palette(), names))
            }
        };
        let mut reactor = Reactor::new()?;
        output::end_with_stdout(&reactor, false);
        let traffic = Reader::start(&mut reactor, feeds, settings, observer);
        let finished = Rc::new(Cell::new(false));
        let done = Rc::clone(&finished);
        traffic.on_finished(move |reactor| {
            done.set(true);
            reactor.stop_gracefully();
        });
        let last = traffic.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |reactor, _| {
            if !finished.get() {
                writer::limit_finish();
            }
            last.stop(reactor);
        });
        reactor.run()?;
        let failed = self.count.is_some() && traffic.unread() > 0;
        let code = if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        output::outcome(traffic.take_error(), code)
    }

    /// Refuses options without effect.
    fn refuse_idle_options(&self) -> Result<(), Failure> {
        // With more than a hundred feeds, the first readings are spread over the interval.
        let pace = |interval| Schedule::new(interval, self.urls.len()).first(1);
        match self.interval {
            Some(interval)
                if self.count == Some(1) && pace(interval) == pace(FeedSettings::default().interval) =>
            {
                let why = "--interval has no effect: with --count 1 each feed is read once (see --help)";
                Err(Failure::Usage(why.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn settings(&self) -> Result<FeedSettings, PointerError> {
        let usual = FeedSettings::default();
        Ok(FeedSettings {
            interval: self.interval.unwrap_or(usual.interval),
            timeout: self.timeout,
            fields: self.fields.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            timestamp: self.timestamp.as_deref().map(str::parse::<Pointer>).transpose()?,
            rounds: self.count,
            ..usual
        })
    }
}

/// Parses a URL with an optional name before it.
fn feed(text: &str) -> Result<Feed, Failure> {
    let scheme = text.find("://").unwrap_or(text.len());
    let (name, url) = match text[..scheme].rsplit_once('=') {
        Some((name, _)) => (Some(name), &text[name.len() + 1..]),
        None => (None, text),
    };
    let bad = |why: &dyn std::fmt::Display| Failure::Usage(format!("bad URL \"{}\": {why}", Escaped(text)));
    let mut feed = Feed::new(url.parse().map_err(|error| bad(&error))?);
    match name {
        Some(name) if name.is_empty() || name.contains(char::is_control) => {
            Err(bad(&"the name is empty or unreadable"))
        }
        Some(name) => {
            feed.name = name.to_owned();
            Ok(feed)
        }
        None => Ok(feed),
    }
}
