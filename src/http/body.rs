//! Bodies of requests: bytes, or pieces that a program writes as they come.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The body of a request.
///
/// ```
/// use twistor::http::Body;
///
/// let whole = Body::from("level=1");
/// assert_eq!(whole.length(), Some(7));
///
/// let (sender, streamed) = Body::stream(None);
/// assert_eq!(streamed.length(), None);
/// sender.write("level=")?;
/// sender.write("1")?;
/// sender.finish()?;
/// # Ok::<(), twistor::http::BodyError>(())
/// ```
#[derive(Clone)]
pub struct Body(Kind);

#[derive(Clone)]
enum Kind {
    Bytes(Rc<[u8]>),
    Streamed(Option<u64>, Rc<RefCell<Upload>>),
}

/// The writing end of a streamed body. (Twisted: `IBodyProducer`.)
///
/// It can be used before, while and after the request is started, in callbacks and in tasks. A
/// sender that is dropped before [`finish`](BodySender::finish) fails the request: the server must
/// not take a part for the whole.
pub struct BodySender {
    upload: Rc<RefCell<Upload>>,
}

/// Failure of writing a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The request is over: it failed, or the server answered without reading the body.
    Closed,
    /// More bytes were written than the length that was announced.
    TooLong(u64),
    /// Fewer bytes were written than the length that was announced.
    TooShort {
        /// The length that was announced.
        length: u64,
        /// Number of bytes that were written.
        written: u64,
    },
}

/// State shared by a sender and the request.
pub(super) struct Upload {
    /// Bytes that wait for the connection.
    pub(super) pending: Vec<u8>,
    pub(super) end: UploadEnd,
    length: Option<u64>,
    written: u64,
    /// Tells the connection that there is something to send.
    notify: Option<Rc<dyn Fn()>>,
    waker: Option<Waker>,
    ready: Option<Rc<dyn Fn()>>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadEnd {
    Open,
    /// All bytes are written.
    Finished,
    /// The sender was dropped.
    Dropped,
    /// The request is over.
    Closed,
}

impl Body {
    /// No body.
    pub fn empty() -> Body {
        Body(Kind::Bytes(Rc::new([])))
    }

    /// Creates a body that is written while it is sent. With a length it is sent with
    /// `Content-Length`, without as chunks.
    ///
    /// A request with such a body is sent once: it is not retried, and a redirect that keeps the
    /// body is not followed.
    pub fn stream(length: Option<u64>) -> (BodySender, Body) {
        let upload = Rc::new(RefCell::new(Upload {
            pending: Vec::new(),
            end: UploadEnd::Open,
            length,
            written: 0,
            notify: None,
            waker: None,
            ready: None,
        }));
        (BodySender { upload: Rc::clone(&upload) }, Body(Kind::Streamed(length, upload)))
    }

    /// The length in bytes; `None` for a stream without an announced length.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::Streamed(length, _) => *length,
        }
    }

    /// The bytes; `None` for a stream.
    pub(super) fn as_bytes(&self) -> Option<&Rc<[u8]>> {
        match &self.0 {
            Kind::Bytes(bytes) => Some(bytes),
            Kind::Streamed(..) => None,
        }
    }

    pub(super) fn upload(&self) -> Option<&Rc<RefCell<Upload>>> {
        match &self.0 {
            Kind::Bytes(_) => None,
            Kind::Streamed(_, upload) => Some(upload),
        }
    }

    pub(super) fn is_streamed(&self) -> bool {
        matches!(self.0, Kind::Streamed(..))
    }
}

impl BodySender {
    /// Queues bytes. The queue has no limit of its own: a writer of much waits for
    /// [`ready`](BodySender::ready), or uses [`send`](BodySender::send).
    ///
    /// # Errors
    /// - [`BodyError::Closed`].
    /// - [`BodyError::TooLong`]: nothing of `data` is queued.
    pub fn write(&self, data: impl AsRef<[u8]>) -> Result<(), BodyError> {
        let data = data.as_ref();
        let mut upload = self.upload.borrow_mut();
        if upload.end == UploadEnd::Closed {
            return Err(BodyError::Closed);
        }
        let written = upload.written + data.len() as u64;
        if let Some(length) = upload.length.filter(|length| written > *length) {
            return Err(BodyError::TooLong(length));
        }
        upload.written = written;
        upload.pending.extend_from_slice(data);
        drop(upload);
        self.notify();
        Ok(())
    }

    /// Queues bytes, and waits while the queue is [full](BodySender::is_full).
    ///
    /// # Errors
    /// Those of [`write`](BodySender::write).
    pub async fn send(&self, data: impl AsRef<[u8]>) -> Result<(), BodyError> {
        self.write(data)?;
        self.ready().await
    }

    /// Waits until the queue is not full.
    ///
    /// # Errors
    /// [`BodyError::Closed`].
    pub async fn ready(&self) -> Result<(), BodyError> {
        poll_fn(|context| {
            let mut upload = self.upload.borrow_mut();
            match upload.end {
                UploadEnd::Closed => Poll::Ready(Err(BodyError::Closed)),
                _ if upload.pending.len() < HIGH_WATER => Poll::Ready(Ok(())),
                _ => {
                    upload.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Sets a callback for when the queue is empty after it was not, and when the request is over.
    /// It may run inside [`Client`](super::Client)'s own callbacks, and should only queue or note
    /// something. (Twisted: `resumeProducing`.)
    pub fn on_ready(&self, call: impl Fn() + 'static) {
        self.upload.borrow_mut().ready = Some(Rc::new(call));
    }

    /// Whether 64 KiB or more are queued.
    pub fn is_full(&self) -> bool {
        self.upload.borrow().pending.len() >= HIGH_WATER
    }

    /// Whether the request is over, so that nothing more can be written.
    pub fn is_closed(&self) -> bool {
        self.upload.borrow().end == UploadEnd::Closed
    }

    /// Ends the body.
    ///
    /// # Errors
    /// - [`BodyError::Closed`].
    /// - [`BodyError::TooShort`]: the request fails.
    pub fn finish(self) -> Result<(), BodyError> {
        let mut upload = self.upload.borrow_mut();
        match (upload.end, upload.length) {
            (UploadEnd::Closed, _) => return Err(BodyError::Closed),
            (_, Some(length)) if upload.written < length => {
                return Err(BodyError::TooShort { length, written: upload.written });
            }
            _ => upload.end = UploadEnd::Finished,
        }
        drop(upload);
        self.notify();
        Ok(())
    }

    fn notify(&self) {
        let notify = self.upload.borrow().notify.clone();
        if let Some(notify) = notify {
            notify();
        }
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        let mut upload = self.upload.borrow_mut();
        if upload.end == UploadEnd::Open {
            upload.end = UploadEnd::Dropped;
        }
        drop(upload);
        self.notify();
    }
}

impl Upload {
    /// Attaches the connection. Returns `false` if the body was attached before.
    pub(super) fn attach(&mut self, notify: Rc<dyn Fn()>) -> bool {
        let first = self.notify.is_none() && self.end != UploadEnd::Closed;
        if first {
            self.notify = Some(notify);
        }
        first
    }

    /// Takes the queued bytes.
    pub(super) fn take(upload: &RefCell<Upload>) -> Vec<u8> {
        let taken = std::mem::take(&mut upload.borrow_mut().pending);
        if !taken.is_empty() {
            Upload::wake(upload);
        }
        taken
    }

    /// Ends it with the request.
    pub(super) fn close(upload: &RefCell<Upload>) {
        let mut closing = upload.borrow_mut();
        closing.end = UploadEnd::Closed;
        closing.pending = Vec::new();
        drop(closing);
        Upload::wake(upload);
        let mut closed = upload.borrow_mut();
        let parts = (closed.notify.take(), closed.ready.take());
        // Dropped without a borrow: they may own values that come back here.
        drop(closed);
        drop(parts);
    }

    fn wake(upload: &RefCell<Upload>) {
        let mut waking = upload.borrow_mut();
        let (waker, ready) = (waking.waker.take(), waking.ready.clone());
        drop(waking);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(ready) = ready {
            ready();
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(Kind::Bytes(bytes.into()))
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Body {
        Body(Kind::Bytes(bytes.into()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        text.into_bytes().into()
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Body {
        text.as_bytes().into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = f.debug_struct("Body");
        body.field("length", &self.length()).field("streamed", &self.is_streamed()).finish()
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upload = self.upload.borrow();
        f.debug_struct("BodySender").field("queued", &upload.pending.len()).field("end", &upload.end).finish()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Closed => f.write_str("the request is over"),
            BodyError::TooLong(length) => write!(f, "the body is longer than its {length} bytes"),
            BodyError::TooShort { length, written } => {
                write!(f, "the body ended after {written} of {length} bytes")
            }
        }
    }
}

impl std::error::Error for BodyError {}

/// The queue is full at this size.
const HIGH_WATER: usize = 64 << 10;
