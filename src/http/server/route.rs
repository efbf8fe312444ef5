//! Routes: which handler answers a request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::handler::{BodyReceiver, Reply, Resource};
use super::path::{Parameters, Pattern};
use super::request::Request;

/// A method, a pattern of paths, and the handler of their requests.
///
/// A pattern consists of literal segments, of `{name}` for one segment, and of `{*name}` at the end
/// for all further ones. Values are percent-decoded: [`Request::parameter`]. Literal paths go
/// before patterns, and patterns in the order in which they were added.
///
/// ```
/// use twistor::http::server::{Response, Route, Site};
///
/// let upload = Route::new("PUT", "/files/{name}", |request| {
///     let name = request.parameter("name").unwrap_or_default();
///     Response::text(format!("{name}: {} bytes\n", request.body().len()))
/// });
/// let site = Site::new().route(upload.max_body(16 << 20));
/// # drop(site);
/// ```
pub struct Route {
    pub(super) method: Method,
    pub(super) pattern: String,
    pub(super) target: Target,
}

/// The handler of a route, and its limit.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) handler: Handler,
    pub(super) max_body: Option<usize>,
}

/// A handler. It is out of its cell while it runs.
#[derive(Clone)]
pub(super) enum Handler {
    /// Called with the whole body.
    Whole(Rc<RefCell<Whole>>),
    /// Called with the head.
    Streamed(Rc<RefCell<Stream>>),
    Resource(Rc<RefCell<dyn Resource>>),
}

type Whole = dyn FnMut(&mut Request<'_>) -> Reply;

type Stream = dyn FnMut(&mut Request<'_>) -> Result<Box<dyn BodyReceiver>, Reply>;

/// The method of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Any,
    One(String),
}

impl Method {
    fn accepts(&self, method: &str) -> bool {
        match self {
            Method::Any => true,
            Method::One(one) => one == method || method == "HEAD" && one == "GET",
        }
    }
}

impl Route {
    /// Creates a route. The handler is called when the body is complete. A route for `GET` answers
    /// `HEAD` as well. `method` is compared exactly, as methods are (RFC 9110, 9.1).
    pub fn new<R: Into<Reply>>(
        method: &str,
        pattern: &str,
        mut handler: impl FnMut(&mut Request<'_>) -> R + 'static,
    ) -> Route {
        let handler = move |request: &mut Request<'_>| handler(request).into();
        Route::of(Method::One(method.to_owned()), pattern, Handler::Whole(Rc::new(RefCell::new(handler))))
    }

    /// Creates a route whose handler returns a future, which runs as a task. The closure takes out
    /// of the request what the future needs. The time limit is that of all answers:
    /// [`SiteLimits::response_timeout`](super::SiteLimits::response_timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::http::server::{Response, Route, Site};
    /// use twistor::task;
    ///
    /// let slow = Route::task("GET", "/slow/{name}", |request| {
    ///     let name = request.parameter("name").unwrap_or_default().to_owned();
    ///     async move {
    ///         task::sleep(Duration::from_secs(1)).await;
    ///         Response::text(name)
    ///     }
    /// });
    /// let site = Site::new().route(slow);
    /// # drop(site);
    /// ```
    pub fn task<F>(
        method: &str,
        pattern: &str,
        mut handler: impl FnMut(&mut Request<'_>) -> F + 'static,
    ) -> Route
    where
        F: Future<Output: Into<Reply>> + 'static,
    {
        Route::new(method, pattern, move |request| {
            let future = handler(request);
            let responder = request.responder();
            let task = async move {
                if let Reply::Response(response) = future.await.into() {
                    responder.respond_from_task(response);
                }
            };
            request.reactor().spawn(task).detach();
            Reply::Later
        })
    }

    /// Creates a route whose handler is called when the head is there. It returns a receiver of the
    /// body, or an answer: then the connection is closed after it, unless there is no body.
    ///
    /// The limit on the body applies as on other routes.
    pub fn streamed<B: BodyReceiver, R: Into<Reply>>(
        method: &str,
        pattern: &str,
        mut handler: impl FnMut(&mut Request<'_>) -> Result<B, R> + 'static,
    ) -> Route {
        let handler = move |request: &mut Request<'_>| match handler(request) {
            Ok(receiver) => Ok(Box::new(receiver) as Box<dyn BodyReceiver>),
            Err(reply) => Err(reply.into()),
        };
        Route::of(Method::One(method.to_owned()), pattern, Handler::Streamed(Rc::new(RefCell::new(handler))))
    }

    /// Creates a route for all methods of a path. The resource decides.
    pub fn resource(pattern: &str, resource: impl Resource) -> Route {
        Route::of(Method::Any, pattern, Handler::Resource(Rc::new(RefCell::new(resource))))
    }

    fn of(method: Method, pattern: &str, handler: Handler) -> Route {
        Route { method, pattern: pattern.to_owned(), target: Target { handler, max_body: None } }
    }

    /// Sets the limit on the body of a request in bytes. Default: [`SiteLimits::max_body`].
    ///
    /// [`SiteLimits::max_body`]: super::SiteLimits::max_body
    pub fn max_body(mut self, bytes: usize) -> Route {
        self.target.max_body = Some(bytes);
        self
    }
}

/// All routes of a site.
#[derive(Default)]
pub(super) struct Routes {
    literal: BTreeMap<String, Vec<(Method, Target)>>,
    patterns: Vec<(Pattern, Vec<(Method, Target)>)>,
}

/// The result of a search.
pub(super) enum Found<'a> {
    Target(&'a Target, Parameters<'a>),
    /// Routes of the path have other methods.
    MethodNotAllowed(String),
    Nothing,
}

impl Routes {
    pub(super) fn add(&mut self, route: Route) {
        let pattern = Pattern::parse(&route.pattern);
        let entry = (route.method, route.target);
        if pattern.is_literal() {
            return self.literal.entry(route.pattern).or_default().push(entry);
        }
        match self.patterns.iter_mut().find(|(known, _)| *known == pattern) {
            Some((_, entries)) => entries.push(entry),
            None => self.patterns.push((pattern, vec![entry])),
        }
    }

    /// Finds the route of a method and a path.
    pub(super) fn find<'a>(&'a self, method: &str, path: &'a str) -> Found<'a> {
        let mut allowed: Vec<&str> = Vec::new();
        if let Some(entries) = self.literal.get(path)
            && let Some(target) = of_method(entries, method, &mut allowed)
        {
            return Found::Target(target, Vec::new());
        }
        for (pattern, entries) in &self.patterns {
            if let Some(parameters) = pattern.matches(path)
                && let Some(target) = of_method(entries, method, &mut allowed)
            {
                return Found::Target(target, parameters);
            }
        }
        match allowed.is_empty() {
            true => Found::Nothing,
            false => {
                if allowed.contains(&"GET") {
                    allowed.push("HEAD");
                }
                allowed.push("OPTIONS");
                allowed.sort_unstable();
                allowed.dedup();
                Found::MethodNotAllowed(allowed.join(", "))
            }
        }
    }
}

fn of_method<'a>(
    entries: &'a [(Method, Target)],
    method: &str,
    allowed: &mut Vec<&'a str>,
) -> Option<&'a Target> {
    let found = entries.iter().find(|(accepted, _)| accepted.accepts(method));
    if found.is_none() {
        allowed.extend(entries.iter().filter_map(|(accepted, _)| match accepted {
            Method::One(one) => Some(one.as_str()),
            Method::Any => None,
        }));
    }
    found.map(|(_, target)| target)
}
