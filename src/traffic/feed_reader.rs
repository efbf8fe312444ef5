//! The feed reader: all feeds on one reactor, over keep-alive connections.

use super::body;
use super::feed::{Feed, Pointer};
use super::observer::{FeedError, FeedEvent, FeedObserver};
use super::payload::{PayloadError, PayloadLimits};
use super::reading::{Reading, Values};
use crate::http::{Client, FetchError, FetchResult, FetchStage, Request, RequestError, Url};
use crate::report::rounds::Rounds;
use crate::report::warning::WarningLog;
use crate::{DelayedCall, Instant, Reactor, Reason};
use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// The settings of a feed reader.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// Time between two readings of a feed. Default: 10 s.
    pub interval: Duration,
    /// Maximum time for one reading, connecting included. Default: 5 s.
    pub timeout: Duration,
    /// The values to report. If empty, a few members that are present are chosen. Default: empty.
    pub fields: Vec<Pointer>,
    /// The payload's own timestamp. Default: `None`.
    pub timestamp: Option<Pointer>,
    /// Maximum number of readings of each feed; `None` means no limit. Default: `None`.
    pub rounds: Option<u32>,
    /// The HTTP client, with its limits on responses. Readers with clones of it share its
    /// connections. Default: a client with default limits.
    pub client: Client,
    /// Limits of a payload.
    pub payload: PayloadLimits,
}

impl Default for FeedSettings {
    fn default() -> FeedSettings {
        FeedSettings {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            fields: Vec::new(),
            timestamp: None,
            rounds: None,
            client: Client::default(),
            payload: PayloadLimits::default(),
        }
    }
}

/// A reader that reads feeds from a reactor and reports to a [`FeedObserver`]. A clone is another
/// handle to the same reader.
#[derive(Clone)]
pub struct FeedReader {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    settings: FeedSettings,
    rounds: Rounds,
    watched: Vec<Watched>,
    observer: Box<dyn FeedObserver>,
    /// Warnings about local trouble.
    warnings: WarningLog,
}

struct Watched {
    feed: Feed,
    request: Request,
    values: Values,
    requested_at: Instant,
    /// Whether the feed was read at least once.
    read: bool,
    /// Whether the last attempt failed locally.
    in_trouble: bool,
    next: Option<DelayedCall>,
}

impl FeedReader {
    /// Starts a reader. Nothing is read before the reactor runs.
    pub fn start(
        reactor: &mut Reactor,
        feeds: Vec<Feed>,
        settings: FeedSettings,
        observer: impl FeedObserver,
    ) -> FeedReader {
        let now = reactor.now();
        let new = |feed: Feed| {
            let request = Request::get(&feed.url);
            Watched {
                request: accept_json(request.clone()).unwrap_or(request),
                feed,
                values: Values::default(),
                requested_at: now,
                read: false,
                in_trouble: false,
                next: None,
            }
        };
        let shared = Shared {
            rounds: Rounds::new(now, settings.interval, feeds.len(), settings.rounds),
            warnings: WarningLog::new(feeds.len(), |warned| log_warn!("unread feeds: {warned}")),
            watched: feeds.into_iter().map(new).collect(),
            observer: Box::new(observer),
            settings,
        };
        let traffic = FeedReader { shared: Rc::new(RefCell::new(shared)) };
        let count = traffic.borrow().rounds.targets();
        for index in 0..count {
            let delay = traffic.borrow().rounds.until_first(index, now);
            traffic.schedule_request(reactor, index, delay);
        }
        traffic
    }

    /// Sets a callback for when every feed has had its readings, or when the observer failed. It is
    /// called once.
    pub fn on_finished(&self, call: impl FnOnce(&mut Reactor) + 'static) {
        self.borrow().rounds.on_finished(call);
    }

    /// Stops reading: closes the connections and reports nothing more.
    pub fn stop(&self, reactor: &mut Reactor) {
        let mut shared = self.borrow();
        shared.rounds.stop();
        let calls: Vec<_> = shared.watched.iter_mut().filter_map(|watched| watched.next.take()).collect();
        let (client, warnings) = (shared.settings.client.clone(), shared.warnings.clone());
        drop(shared);
        warnings.flush(reactor);
        for call in calls {
            // A timer that is just running cannot be cancelled.
            let _ = call.cancel(reactor);
        }
        client.close(reactor);
    }

    /// Returns the number of feeds that were never read.
    pub fn unread(&self) -> usize {
        self.borrow().watched.iter().filter(|watched| !watched.read).count()
    }

    /// Takes the error of the observer, if it failed.
    pub fn take_error(&self) -> Option<io::Error> {
        self.borrow().rounds.take_error()
    }

    fn schedule_request(&self, reactor: &mut Reactor, index: u32, delay: Duration) {
        let this = self.clone();
        let next = reactor.call_later(delay, move |reactor| this.send_request(reactor, index));
        if let Some(watched) = self.borrow().watched.get_mut(index as usize) {
            watched.next = Some(next);
        }
    }

    fn send_request(&self, reactor: &mut Reactor, index: u32) {
        let now = reactor.now();
        let mut shared = self.borrow();
        let (client, timeout, stopped) =
            (shared.settings.client.clone(), shared.settings.timeout, shared.rounds.is_stopped());
        let Some(watched) = shared.watched.get_mut(index as usize).filter(|_| !stopped) else {
            return;
        };
        (watched.requested_at, watched.next) = (now, None);
        let request = watched.request.clone();
        drop(shared);
        let this = self.clone();
        let done = move |reactor: &mut Reactor, result| this.answered(reactor, index, result);
        client.request(request).timeout(timeout).start(reactor, done);
    }

    fn answered(&self, reactor: &mut Reactor, index: u32, result: Result<FetchResult, FetchError>) {
        let (now, wall) = (reactor.now(), reactor.system_time());
        let mut guard = self.borrow();
        let shared = &mut *guard;
        let Some(watched) = shared.watched.get_mut(index as usize).filter(|_| !shared.rounds.is_stopped())
        else {
            return;
        };
        let latency = result.as_ref().map_or(now - watched.requested_at, |fetched| fetched.latency);
        let reading = read(result, &mut watched.values, &shared.settings, wall);
        let event = FeedEvent { wall, feed: &watched.feed, latency, result: reading.as_ref() };
        let reported = shared.observer.event(&event);
        watched.read |= reading.is_ok();
        let local = reading.as_ref().err().and_then(|error| local_reason(error, &watched.feed.url));
        let before = std::mem::replace(&mut watched.in_trouble, local.is_some());
        shared.warnings.count(before, local.is_some());
        let failed = reported.is_err();
        shared.rounds.reported(reactor, reported);
        shared.rounds.end_round(reactor, index);
        let ends = failed || shared.rounds.is_done(index);
        let delay = shared.rounds.until_next(index, watched.requested_at, now);
        let warnings = shared.warnings.clone();
        drop(guard);
        if let Some(reason) = local {
            warnings.warn(reactor, &reason);
        }
        if !ends {
            self.schedule_request(reactor, index, delay);
        }
    }

    /// Never borrowed twice: an observer cannot reach its reader, and callbacks do not nest.
    fn borrow(&self) -> RefMut<'_, Shared> {
        self.shared.borrow_mut()
    }
}

/// Returns the reason of a local error, or `None` for an error of the feed.
fn local_reason(error: &FeedError, url: &Url) -> Option<Reason> {
    match error {
        FeedError::Fetch(FetchError::TimedOut(limit, FetchStage::LookingUp)) => {
            Some(Reason::LookupTimedOut { host: url.host().to_owned(), limit: *limit })
        }
        FeedError::Fetch(
            FetchError::Connect(reason) | FetchError::Closed(reason) | FetchError::Lost(reason),
        ) => Some(reason.clone()).filter(Reason::is_local),
        _ => None,
    }
}

fn read(
    result: Result<FetchResult, FetchError>,
    values: &mut Values,
    settings: &FeedSettings,
    wall: std::time::SystemTime,
) -> Result<Reading, FeedError> {
    let response = result.map_err(FeedError::Fetch)?.response;
    if response.status != 200 {
        return Err(FeedError::Status(response.status));
    }
    let text = body::text(&response)?;
    let (fields, timestamp) = (&settings.fields, settings.timestamp.as_ref());
    values.read(text, &response.headers, fields, timestamp, &settings.payload, wall).map_err(|error| {
        match error {
            PayloadError::Json(error) => FeedError::Json(format!("{error} ({})", body::describe(&response))),
            PayloadError::Depth(_) => FeedError::Limit(error.to_string()),
        }
    })
}

fn accept_json(request: Request) -> Result<Request, RequestError> {
    request.header("Accept", "application/json")
}
