//! Streamed responses in tasks.

use super::FetchError;
use super::call::{Call, Cancelling, RequestHandle};
use super::sink::{StreamEnd, StreamEvent};
use crate::http::event_stream::{EventStreamDecoder, ServerEvent};
use crate::http::json_lines::JsonLines;
use crate::http::{Headers, ResponseHead};
use crate::{Handle, Reactor, Reason};
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A response whose body is read while it arrives. Dropping it closes the connection, unless the
/// body was read to its end.
///
/// ```no_run
/// # async fn read(client: twistor::http::Client) -> Result<(), twistor::http::FetchError> {
/// let mut response = client.get("http://127.0.0.1/large").stream().await?;
/// let mut bytes = 0;
/// while let Some(piece) = response.chunk().await? {
///     bytes += piece.len();
/// }
/// println!("{bytes} bytes");
/// # Ok(()) }
/// ```
///
/// At most 256 KiB that were not read wait here, then the server has to wait.
#[doc(alias("StreamReader", "iter_chunked", "bytes_stream"))]
pub struct StreamedResponse {
    head: ResponseHead,
    body: Rc<RefCell<Buffered>>,
    cancelling: Cancelling,
}

/// State shared with the callback of the request.
#[derive(Default)]
struct Buffered {
    head: Option<ResponseHead>,
    bytes: Vec<u8>,
    end: Option<Result<StreamEnd, FetchError>>,
    paused: bool,
    request: Option<RequestHandle>,
    waker: Option<Waker>,
}

/// Starts a request and waits for its head.
pub(super) async fn open(call: Call) -> Result<StreamedResponse, FetchError> {
    let stopped = || FetchError::Connect(Reason::Stopped);
    let handle = Handle::current().map_err(|_| stopped())?;
    let body = Rc::<RefCell<Buffered>>::default();
    let writing = Writing(Rc::clone(&body));
    let each = move |reactor: &mut Reactor, event: StreamEvent<'_>| writing.take(reactor, event);
    let request = handle.with_reactor(|reactor| call.stream_with(reactor, each)).map_err(|_| stopped())?;
    body.borrow_mut().request = Some(request.clone());
    let cancelling = Cancelling { request, handle };
    let head = poll_fn(|context| {
        let mut buffered = body.borrow_mut();
        if let Some(head) = buffered.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(Err(error)) = &buffered.end {
            return Poll::Ready(Err(error.clone()));
        }
        wait(&mut buffered, context);
        Poll::Pending
    })
    .await?;
    Ok(StreamedResponse { head, body, cancelling })
}

impl StreamedResponse {
    /// Status, from 200 to 599.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Header fields.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// The head.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Waits for the next bytes of the body, and returns all that are there. `None` at the end.
    ///
    /// # Errors
    /// The response fails. Bytes that arrived before come first.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, FetchError>> {
        let mut buffered = self.body.borrow_mut();
        if !buffered.bytes.is_empty() {
            let bytes = std::mem::take(&mut buffered.bytes);
            if std::mem::take(&mut buffered.paused) {
                let request = self.cancelling.request.clone();
                self.cancelling.handle.call(move |reactor| request.resume(reactor));
            }
            return Poll::Ready(Ok(Some(bytes)));
        }
        match &buffered.end {
            Some(Ok(_)) => Poll::Ready(Ok(None)),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => {
                wait(&mut buffered, context);
                Poll::Pending
            }
        }
    }

    /// Details of the request; `None` before the end of the body.
    pub fn end(&self) -> Option<StreamEnd> {
        self.body.borrow().end.as_ref()?.as_ref().ok().cloned()
    }

    /// Reads the body as server-sent events.
    pub fn events(self) -> ServerEvents {
        ServerEvents { response: self, decoder: EventStreamDecoder::default(), bytes: Vec::new() }
    }

    /// Reads the body as lines, such as NDJSON.
    pub fn lines(self) -> BodyLines {
        BodyLines { response: self, decoder: JsonLines::default(), bytes: Vec::new(), ended: false }
    }
}

/// Server-sent events of a response. See [`StreamedResponse::events`].
///
/// ```no_run
/// # async fn read(client: twistor::http::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let call = client.get("http://127.0.0.1/events").header("Accept", "text/event-stream");
/// let mut events = call.stream().await?.events();
/// while let Some(event) = events.next().await? {
///     println!("{}: {}", event.event, event.data);
/// }
/// # Ok(()) }
/// ```
pub struct ServerEvents {
    response: StreamedResponse,
    decoder: EventStreamDecoder,
    /// Bytes that are not decoded yet.
    bytes: Vec<u8>,
}

impl ServerEvents {
    /// The response.
    pub fn response(&self) -> &StreamedResponse {
        &self.response
    }

    /// The decoder, with the last event id and the reconnection time.
    pub fn decoder(&self) -> &EventStreamDecoder {
        &self.decoder
    }

    /// Waits for the next event. `None` at the end.
    ///
    /// # Errors
    /// The response fails, or a line is too long.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, FetchError> {
        loop {
            let mut rest = self.bytes.as_slice();
            let event = self.decoder.next(&mut rest).map_err(FetchError::Http)?;
            let used = self.bytes.len() - rest.len();
            self.bytes.drain(..used);
            if event.is_some() {
                return Ok(event);
            }
            match self.response.chunk().await? {
                Some(bytes) => self.bytes = bytes,
                None => return Ok(None),
            }
        }
    }
}

/// Lines of a response. See [`StreamedResponse::lines`].
pub struct BodyLines {
    response: StreamedResponse,
    decoder: JsonLines,
    bytes: Vec<u8>,
    ended: bool,
}

impl BodyLines {
    /// The response.
    pub fn response(&self) -> &StreamedResponse {
        &self.response
    }

    /// Waits for the next line that is not empty, without its end. `None` at the end.
    ///
    /// # Errors
    /// The response fails, or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FetchError> {
        loop {
            let mut rest = self.bytes.as_slice();
            let line = self.decoder.next(&mut rest).map_err(FetchError::Http)?;
            let used = self.bytes.len() - rest.len();
            self.bytes.drain(..used);
            if line.is_some() {
                return Ok(line);
            }
            if self.ended {
                return Ok(None);
            }
            match self.response.chunk().await? {
                Some(bytes) => self.bytes = bytes,
                None => {
                    self.ended = true;
                    return Ok(self.decoder.finish());
                }
            }
        }
    }

    /// Waits for the next line, and parses it as JSON.
    ///
    /// # Errors
    /// Those of [`next`](BodyLines::next), and those of the parser.
    #[cfg(feature = "json")]
    pub async fn next_json<T: serde::de::DeserializeOwned>(
        &mut self,
    ) -> Result<Option<T>, Box<dyn std::error::Error + Send + Sync>> {
        match self.next().await? {
            Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
            None => Ok(None),
        }
    }
}

fn wait(buffered: &mut Buffered, context: &mut Context<'_>) {
    buffered.waker = Some(context.waker().clone());
}

/// The callback's end. Dropped without an end, it reports the end of the reactor.
struct Writing(Rc<RefCell<Buffered>>);

impl Writing {
    fn take(&self, reactor: &mut Reactor, event: StreamEvent<'_>) {
        let mut buffered = self.0.borrow_mut();
        let mut pausing = None;
        match event {
            StreamEvent::Head(head) => buffered.head = Some(head),
            StreamEvent::Piece(piece) => {
                buffered.bytes.extend_from_slice(piece);
                if buffered.bytes.len() >= MAX_BUFFERED && !std::mem::replace(&mut buffered.paused, true) {
                    pausing = buffered.request.clone();
                }
            }
            StreamEvent::End(end) => buffered.end = Some(end),
        }
        let waker = buffered.waker.take();
        drop(buffered);
        if let Some(request) = pausing {
            request.pause(reactor);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut buffered = self.0.borrow_mut();
        buffered.end.get_or_insert(Err(FetchError::Connect(Reason::Stopped)));
        let waker = buffered.waker.take();
        drop(buffered);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for StreamedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffered = self.body.borrow().bytes.len();
        f.debug_struct("StreamedResponse").field("head", &self.head).field("buffered", &buffered).finish()
    }
}

impl fmt::Debug for ServerEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvents").field("response", &self.response).finish_non_exhaustive()
    }
}

impl fmt::Debug for BodyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyLines").field("response", &self.response).finish_non_exhaustive()
    }
}

/// Reading is paused at this number of bytes.
const MAX_BUFFERED: usize = 256 << 10;
