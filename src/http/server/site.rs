//! Sites: factories of HTTP servers.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::channel::Channel;
use super::files::StaticFiles;
use super::handler::{Reply, Resource};
use super::limits::SiteLimits;
use super::request::Request;
use super::response::Response;
use super::route::{Handler, Route, Routes, Target};
use super::table::Table;
use crate::{BuildContext, Factory, Instant, Layer, Protocol, Reactor};

/// A web site: a [`Factory`] of connections that answer HTTP/1.1 requests. (Twisted: `Site`.)
///
/// Requests of a connection are answered in order: the next one is parsed when the response to the
/// last one was written.
///
/// ```
/// use twistor::Reactor;
/// use twistor::http::server::{Response, Site};
///
/// let site = Site::new()
///     .get("/", |_| Response::text("Hello, world!"))
///     .get("/hello/{name}", |request| {
///         let name = request.parameter("name").unwrap_or_default();
///         Response::text(format!("Hello, {name}!\n"))
///     })
///     .post("/length", |request| Response::text(format!("{}\n", request.body().len())));
/// let mut reactor = Reactor::new()?;
/// reactor.listen_tcp("127.0.0.1:0", site)?;
/// # reactor.call_when_running(|reactor| { reactor.stop(); });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Default)]
pub struct Site {
    parts: Parts,
    core: Option<Rc<Core>>,
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Parts {
    routes: Routes,
    fallback: Option<Target>,
    limits: SiteLimits,
    access_log: bool,
    gzip: bool,
}

/// The part of a site that its connections share.
pub(super) struct Core {
    pub(super) routes: Routes,
    pub(super) fallback: Option<Target>,
    pub(super) limits: SiteLimits,
    pub(super) access_log: bool,
    /// Whether bodies are compressed.
    pub(super) gzip: bool,
    pub(super) table: RefCell<Table>,
    pub(super) counts: Rc<Counts>,
    /// The buffer in which heads are composed.
    pub(super) scratch: Cell<Vec<u8>>,
    date: Cell<Date>,
}

/// The current date in the form of HTTP.
#[derive(Clone, Copy)]
struct Date {
    text: [u8; DATE_LENGTH],
    /// The time at which it has to be made again.
    until: Option<Instant>,
}

/// The length of "Sun, 06 Nov 1994 08:49:37 GMT".
pub(super) const DATE_LENGTH: usize = 29;

/// Counters of a site. It can be kept, and asked while the site is served.
#[derive(Clone, Debug)]
pub struct SiteStatistics(Rc<Counts>);

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: Cell<u64>,
    pub(super) requests: Cell<u64>,
    pub(super) refused: Cell<u64>,
    pub(super) timeouts: Cell<u64>,
    pub(super) evicted: Cell<u64>,
}

/// Adds one to a counter.
pub(super) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl SiteStatistics {
    /// Accepted connections.
    pub fn connections(&self) -> u64 {
        self.0.connections.get()
    }

    /// Requests with a complete head.
    pub fn requests(&self) -> u64 {
        self.0.requests.get()
    }

    /// Requests that were refused before a handler saw them, because of their form or a limit.
    pub fn refused(&self) -> u64 {
        self.0.refused.get()
    }

    /// Connections that were ended because the client was too slow.
    pub fn timeouts(&self) -> u64 {
        self.0.timeouts.get()
    }

    /// Connections that gave way to others.
    pub fn evicted(&self) -> u64 {
        self.0.evicted.get()
    }
}

impl Site {
    /// Creates a site without routes. It answers everything with 404.
    pub fn new() -> Site {
        Site::default()
    }

    /// Adds a route.
    pub fn route(mut self, route: Route) -> Site {
        self.parts.routes.add(route);
        self
    }

    /// Adds a handler of `GET` and `HEAD` for the paths of a [pattern](Route).
    pub fn get<R: Into<Reply>>(
        self,
        pattern: &str,
        handler: impl FnMut(&mut Request<'_>) -> R + 'static,
    ) -> Site {
        self.route(Route::new("GET", pattern, handler))
    }

    /// Adds a handler of `POST`.
    pub fn post<R: Into<Reply>>(
        self,
        pattern: &str,
        handler: impl FnMut(&mut Request<'_>) -> R + 'static,
    ) -> Site {
        self.route(Route::new("POST", pattern, handler))
    }

    /// Adds a handler of `PUT`.
    pub fn put<R: Into<Reply>>(
        self,
        pattern: &str,
        handler: impl FnMut(&mut Request<'_>) -> R + 'static,
    ) -> Site {
        self.route(Route::new("PUT", pattern, handler))
    }

    /// Adds a handler of `DELETE`.
    pub fn delete<R: Into<Reply>>(
        self,
        pattern: &str,
        handler: impl FnMut(&mut Request<'_>) -> R + 'static,
    ) -> Site {
        self.route(Route::new("DELETE", pattern, handler))
    }

    /// Adds a [`Resource`] for all methods of the paths of a pattern.
    pub fn resource(self, pattern: &str, resource: impl Resource) -> Site {
        self.route(Route::resource(pattern, resource))
    }

    /// Serves the files of a directory below a path of the site, such as `/` or `/static/`.
    pub fn files(self, path: &str, files: StaticFiles) -> Site {
        let path = path.trim_matches('/');
        let pattern = match path.is_empty() {
            true => "/{*path}".to_owned(),
            false => format!("/{path}/{{*path}}"),
        };
        self.resource(&pattern, files)
    }

    /// Compresses text with gzip for clients that accept it, if the body is between 1 KiB and 128
    /// KiB and written as a whole. This takes CPU time on the loop: about a millisecond for the
    /// longest. Needs the feature `gzip`, and is ignored without it. Default: off.
    pub fn gzip(mut self, on: bool) -> Site {
        self.parts.gzip = on;
        self
    }

    /// Sets the handler of requests for paths without a route. Default: 404.
    pub fn fallback<R: Into<Reply>>(mut self, handler: impl FnMut(&mut Request<'_>) -> R + 'static) -> Site {
        self.parts.fallback = Some(Route::new("", "", handler).target);
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: SiteLimits) -> Site {
        self.parts.limits = limits;
        self
    }

    /// Logs each request in the combined format, as a record of level `Info` and target
    /// `twistor::http::access`. Default: off.
    pub fn access_log(mut self, on: bool) -> Site {
        self.parts.access_log = on;
        self
    }

    /// Counters, which stay valid when the site is listening.
    pub fn statistics(&self) -> SiteStatistics {
        SiteStatistics(Rc::clone(&self.counts))
    }

    /// The shared part, made at first use. Later changes of the site have no effect.
    fn core(&mut self, reactor: &Reactor) -> Rc<Core> {
        let core = self.core.get_or_insert_with(|| {
            let parts = std::mem::take(&mut self.parts);
            let mut limits = parts.limits;
            let room = reactor.settings().max_connections;
            limits.max_connections = limits.max_connections.min(room - room / 16).max(1);
            Rc::new(Core {
                routes: parts.routes,
                fallback: parts.fallback,
                limits,
                access_log: parts.access_log,
                gzip: parts.gzip,
                table: RefCell::default(),
                counts: Rc::clone(&self.counts),
                scratch: Cell::default(),
                date: Cell::new(Date { text: [0; DATE_LENGTH], until: None }),
            })
        });
        Rc::clone(core)
    }
}

impl Factory for Site {
    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        let core = self.core(context.reactor());
        core.admit(context);
        Vec::new()
    }

    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let core = self.core(context.reactor());
        let place = core.table.borrow_mut().place(context.id());
        let place = match place {
            Some(place) => place,
            // A wrapping factory has not asked for the layers.
            None => {
                core.admit(context);
                core.table.borrow_mut().place(context.id())?
            }
        };
        count(&core.counts.connections);
        Some(Box::new(Channel::new(core, place, context.reactor().now())))
    }
}

impl Core {
    /// Makes room for a connection, and adds it.
    fn admit(&self, context: &mut BuildContext<'_>) {
        let id = context.id();
        let reactor = context.reactor();
        let mut table = self.table.borrow_mut();
        while table.open() >= self.limits.max_connections {
            let Some((victim, place)) = table.least_progress() else { break };
            table.forget(victim, place);
            if let Some(mut transport) = reactor.transport(victim) {
                count(&self.counts.evicted);
                transport.abort_connection();
            }
        }
        table.admit(id, reactor.now());
    }

    /// The current date.
    pub(super) fn date(&self, reactor: &Reactor) -> [u8; DATE_LENGTH] {
        let date = self.date.get();
        let now = reactor.now();
        if date.until.is_some_and(|until| now < until) {
            return date.text;
        }
        let time = reactor.system_time();
        let nanoseconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let until = now + (Duration::from_secs(1) - Duration::from_nanos(nanoseconds.into()));
        let text = http_date(time);
        self.date.set(Date { text, until: Some(until) });
        text
    }
}

/// Formats a time as HTTP does (RFC 9110, 5.6.7). Times that have no such form become the epoch.
pub(super) fn http_date(time: SystemTime) -> [u8; DATE_LENGTH] {
    let text = httpdate::HttpDate::from(time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST)).to_string();
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

/// The year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = self.core.as_ref().map_or(&self.parts.limits, |core| &core.limits);
        f.debug_struct("Site").field("limits", limits).finish_non_exhaustive()
    }
}

/// Calls a handler with a request whose body is complete.
pub(super) fn handle(handler: &Handler, request: &mut Request<'_>) -> Reply {
    // A handler that runs already: it has run the reactor inside its own call.
    let busy = || Reply::Response(Response::of_status(503));
    match handler {
        Handler::Whole(handler) => match handler.try_borrow_mut() {
            Ok(mut handler) => handler(request),
            Err(_) => busy(),
        },
        Handler::Resource(resource) => match resource.try_borrow_mut() {
            Ok(mut resource) => resource.handle(request),
            Err(_) => busy(),
        },
        Handler::Streamed(_) => busy(),
    }
}
