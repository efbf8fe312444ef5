//! A request that is about to be made, and its handle afterwards.

use super::exchange::{Exchange, Placed, leave};
use super::sink::{Collect, Pass, Sink, StreamEvent};
use super::streamed::{StreamedResponse, open};
use super::{Client, FetchError, FetchResult, Timeouts};
use crate::deferred::Deferred;
use crate::http::body::{Body, Upload};
use crate::http::{Request, RequestError};
use crate::{Handle, Reactor, Reason};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A request of a client, which has not been started. There are several ways to run it:
/// - [`start`](Call::start) takes a callback, and [`defer`](Call::defer) returns a [`Deferred`].
/// - In a task it is awaited: `client.get(url).await?`.
/// - [`stream_with`](Call::stream_with) and [`stream`](Call::stream) pass each part of the response
///   on as it arrives.
///
/// A URL or a header that is malformed is reported as its result.
#[must_use = "a request does nothing until it is started, deferred or awaited"]
pub struct Call {
    client: Client,
    request: Result<Request, FetchError>,
    timeouts: Timeouts,
}

/// A handle to a request in flight. Dropping it does nothing.
#[derive(Clone)]
pub struct RequestHandle {
    exchange: Weak<RefCell<Exchange>>,
}

impl Call {
    pub(super) fn new(client: Client, request: Result<Request, FetchError>) -> Call {
        let timeouts = client.settings().timeouts.clone();
        Call { client, request, timeouts }
    }

    /// Sets a header, as [`Request::header`].
    pub fn header(self, name: &str, value: &str) -> Call {
        self.change(|request| request.header(name, value))
    }

    /// Sets the body, as [`Request::body`].
    pub fn body(self, body: impl Into<Body>) -> Call {
        self.change(|request| Ok(request.body(body)))
    }

    /// Sets the body to JSON, as [`Request::json`].
    #[cfg(feature = "json")]
    pub fn json(self, value: &impl serde::Serialize) -> Call {
        self.change(|request| request.json(value))
    }

    /// Sets the credentials of basic authentication, as [`Request::basic_auth`].
    pub fn basic_auth(self, user: &str, password: &str) -> Call {
        self.change(|request| request.basic_auth(user, password))
    }

    /// Sets a bearer token, as [`Request::bearer_auth`].
    pub fn bearer_auth(self, token: &str) -> Call {
        self.change(|request| request.bearer_auth(token))
    }

    /// Waits for the server's agreement before the body, as [`Request::expect_continue`].
    pub fn expect_continue(self, patience: Duration) -> Call {
        self.change(|request| Ok(request.expect_continue(patience)))
    }

    /// Sets the time limit for the whole request. Default: that of the client.
    pub fn timeout(mut self, total: Duration) -> Call {
        self.timeouts.total = Some(total);
        self
    }

    /// Sets all time limits. Default: those of the client.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Call {
        self.timeouts = timeouts;
        self
    }

    fn change(mut self, change: impl FnOnce(Request) -> Result<Request, RequestError>) -> Call {
        self.request = self.request.and_then(|request| change(request).map_err(FetchError::Request));
        self
    }

    /// Starts the request, and calls `done` once with the result, which is never before this
    /// returns. It runs as soon as the response is complete, without another turn of the loop.
    ///
    /// `done` is called from a callback of the connection: if it panics, that connection is lost.
    pub fn start(
        self,
        reactor: &mut Reactor,
        done: impl FnOnce(&mut Reactor, Result<FetchResult, FetchError>) + 'static,
    ) -> RequestHandle {
        self.run(reactor, Box::new(Collect::new(done)))
    }

    /// Starts the request and returns a Deferred of the result. It fails with a [`FetchError`].
    /// Cancelling or dropping it cancels the request.
    #[track_caller]
    pub fn defer(self, reactor: &mut Reactor) -> Deferred<FetchResult> {
        let place = Rc::<RefCell<Option<RequestHandle>>>::default();
        let started = Rc::clone(&place);
        let handle = reactor.handle();
        let queue = handle.clone();
        let canceller = move |_: &mut Reactor, _: &crate::Resolver<FetchResult>| {
            if let Some(request) = started.borrow_mut().take() {
                queue.call(move |reactor| request.cancel(reactor));
            }
        };
        let (resolver, deferred) = Deferred::with_canceller(&handle, canceller);
        let request = self.start(reactor, move |_, result| {
            // The error is ignored: the Deferred may have been cancelled.
            let _ = match result {
                Ok(fetched) => resolver.callback(fetched),
                Err(error) => resolver.errback(error),
            };
        });
        *place.borrow_mut() = Some(request);
        deferred
    }

    /// Starts the request, and calls `each` with every part of the response as it arrives. The
    /// length of the body has no limit, and the total time is limited to the head.
    ///
    /// ```no_run
    /// use twistor::http::{Client, StreamEvent};
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let mut bytes = 0;
    /// Client::default().get("http://127.0.0.1/large").stream_with(&mut reactor, move |_, event| {
    ///     match event {
    ///         StreamEvent::Head(head) => println!("status {}", head.status),
    ///         StreamEvent::Piece(piece) => bytes += piece.len(),
    ///         StreamEvent::End(end) => println!("{bytes} bytes, {:?}", end.is_ok()),
    ///     }
    /// });
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn stream_with(
        self,
        reactor: &mut Reactor,
        each: impl FnMut(&mut Reactor, StreamEvent<'_>) + 'static,
    ) -> RequestHandle {
        self.run(reactor, Box::new(Pass(each)))
    }

    /// Starts the request in a task, and waits for the head of the response. The body is read from
    /// the result as it arrives, with backpressure.
    ///
    /// # Errors
    /// The request fails before its head.
    pub async fn stream(self) -> Result<StreamedResponse, FetchError> {
        open(self).await
    }

    fn run(self, reactor: &mut Reactor, sink: Box<dyn Sink>) -> RequestHandle {
        let Call { client, request, timeouts } = self;
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                reactor.handle().call(move |reactor| sink.end(reactor, Err(error)));
                return RequestHandle { exchange: Weak::new() };
            }
        };
        let now = reactor.now();
        let exchange = Rc::new(RefCell::new(Exchange::new(client.clone(), request, timeouts, sink, now)));
        client.begin(reactor, &exchange);
        RequestHandle { exchange: Rc::downgrade(&exchange) }
    }
}

impl RequestHandle {
    /// Cancels the request: its callback is dropped without a call, and a connection that carries
    /// it is closed. Does nothing when the request is over.
    pub fn cancel(&self, reactor: &mut Reactor) {
        let Some(exchange) = self.exchange.upgrade() else {
            return;
        };
        let mut cancelling = exchange.borrow_mut();
        if std::mem::replace(&mut cancelling.cancelled, true) {
            return;
        }
        let sink = cancelling.sink.take();
        let timer = cancelling.take_timer();
        let upload = cancelling.request.sent_body().upload().cloned();
        drop(cancelling);
        if let Some(timer) = timer {
            // Fails only if it has just expired.
            let _ = timer.cancel(reactor);
        }
        leave(reactor, &exchange);
        if let Some(upload) = upload {
            Upload::close(&upload);
        }
        drop(sink);
    }

    /// Stops reading the response. Data stays in the kernel, so that the server has to wait. What
    /// was read before is still passed on: at most a read buffer.
    pub fn pause(&self, reactor: &mut Reactor) {
        self.set_paused(reactor, true);
    }

    /// Continues reading.
    pub fn resume(&self, reactor: &mut Reactor) {
        self.set_paused(reactor, false);
    }

    fn set_paused(&self, reactor: &mut Reactor, paused: bool) {
        let Some(exchange) = self.exchange.upgrade() else {
            return;
        };
        exchange.borrow_mut().paused = paused;
        let place = match exchange.borrow().place {
            Placed::Connection(id) => Some(id),
            _ => None,
        };
        if let Some(mut transport) = place.and_then(|id| reactor.transport(id)) {
            match paused {
                true => transport.pause_reading(),
                false => transport.resume_reading(),
            }
        }
    }
}

/// A future of a request, from awaiting a [`Call`]. The request starts when it is first polled.
/// Dropping the future cancels the request.
///
/// It completes with [`FetchError::Connect`] of [`Reason::Stopped`] outside of a task, and when the
/// reactor is gone.
#[must_use = "a future does nothing until it is awaited"]
pub struct FetchFuture {
    state: State,
}

enum State {
    Created(Box<Call>),
    Started(Rc<RefCell<Slot>>, Cancelling),
    Ended,
}

/// The result, and the task that waits for it.
#[derive(Default)]
struct Slot {
    result: Option<Result<FetchResult, FetchError>>,
    waker: Option<Waker>,
}

/// Cancels a request when it is dropped.
pub(super) struct Cancelling {
    pub(super) request: RequestHandle,
    pub(super) handle: Handle,
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        if self.request.exchange.strong_count() > 0 {
            let request = self.request.clone();
            self.handle.call(move |reactor| request.cancel(reactor));
        }
    }
}

impl IntoFuture for Call {
    type Output = Result<FetchResult, FetchError>;
    type IntoFuture = FetchFuture;

    fn into_future(self) -> FetchFuture {
        FetchFuture { state: State::Created(Box::new(self)) }
    }
}

impl Future for FetchFuture {
    type Output = Result<FetchResult, FetchError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let stopped = || Err(FetchError::Connect(Reason::Stopped));
        let (slot, cancelling) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Created(call) => {
                let slot = Rc::<RefCell<Slot>>::default();
                let answering = Answering(Rc::clone(&slot));
                let Ok(handle) = Handle::current() else {
                    return Poll::Ready(stopped());
                };
                let done = move |_: &mut Reactor, result| answering.put(result);
                let Ok(request) = handle.with_reactor(|reactor| call.start(reactor, done)) else {
                    return Poll::Ready(stopped());
                };
                (slot, Cancelling { request, handle })
            }
            State::Started(slot, cancelling) => (slot, cancelling),
            // Polled after its end, which the contract of futures excludes.
            State::Ended => return Poll::Pending,
        };
        let result = slot.borrow_mut().result.take();
        if let Some(result) = result {
            return Poll::Ready(result);
        }
        let earlier = slot.borrow_mut().waker.replace(context.waker().clone());
        // Dropped without a borrow: the waker may own values that come back here.
        drop(earlier);
        self.state = State::Started(slot, cancelling);
        Poll::Pending
    }
}

/// The callback's end of a slot. Dropped without a call, it reports the end of the reactor.
struct Answering(Rc<RefCell<Slot>>);

impl Answering {
    fn put(&self, result: Result<FetchResult, FetchError>) {
        let mut slot = self.0.borrow_mut();
        slot.result.get_or_insert(result);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.put(Err(FetchError::Connect(Reason::Stopped)));
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).field("timeouts", &self.timeouts).finish()
    }
}

impl fmt::Debug for RequestHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHandle").field("over", &(self.exchange.strong_count() == 0)).finish()
    }
}

impl fmt::Debug for FetchFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchFuture").finish_non_exhaustive()
    }
}
