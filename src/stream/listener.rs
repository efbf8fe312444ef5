//! Listening with `accept`.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::protocol::{OnConnect, Stream};
use super::{ConnectError, IntoEndpoint, ServerOptions, StreamReader, StreamWriter};
use crate::endpoint::ServerEndpoint;
use crate::reactor::Handle;
use crate::stream::server::limited;
use crate::stream::state::StreamState;
use crate::task::Notify;
use crate::{Address, BuildContext, Factory, Listener, Protocol, Reactor};

/// Listens, and hands the connections to [`StreamListener::accept`]. (tokio: `TcpListener::bind`,
/// `UnixListener::bind`.) [`start_server`](super::start_server) also runs a task for each.
///
/// ```
/// use twistor::stream::{StreamError, StreamReader, StreamWriter, listen, open_connection};
/// use twistor::task::spawn;
///
/// async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
///     while let chunk @ [_, ..] = reader.read_chunk(1024).await? {
///         writer.write(chunk);
///         writer.drain().await?;
///     }
///     Ok(())
/// }
///
/// twistor::block_on(async {
///     let listener = listen("127.0.0.1:0")?;
/// #   let address = listener.address().clone();
/// #   let client = twistor::task::spawn(async move {
/// #       let (mut reader, writer) = open_connection(address).await?;
/// #       writer.write(b"hello\n");
/// #       let line = reader.read_line().await?.map(<[u8]>::to_vec);
/// #       assert_eq!(line.as_deref(), Some(&b"hello"[..]));
/// #       twistor::Handle::current()?.call(|reactor| drop(reactor.stop_gracefully()));
/// #       Ok::<_, Box<dyn std::error::Error>>(())
/// #   });
///     // Until the reactor is told to stop.
///     while let Some((reader, writer)) = listener.accept().await {
///         println!("a connection from {}", reader.peer());
///         spawn(echo(reader, writer)).detach();
///     }
/// #   client.await?.unwrap();
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`ConnectError::BadEndpoint`]: the text is not a valid endpoint.
/// - [`ConnectError::Reactor`]: the address cannot be listened on, or the caller is not inside a
///   task.
pub fn listen(endpoint: impl IntoEndpoint<dyn ServerEndpoint>) -> Result<StreamListener, ConnectError> {
    listen_with(endpoint, ServerOptions::default())
}

/// Same as [`listen`], with limits.
///
/// # Errors
/// Same as [`listen`].
pub fn listen_with(
    endpoint: impl IntoEndpoint<dyn ServerEndpoint>,
    options: ServerOptions,
) -> Result<StreamListener, ConnectError> {
    let endpoint = endpoint.into_endpoint()?;
    let handle = Handle::current()?;
    let queue = Rc::new(AcceptQueue {
        handle: handle.clone(),
        listener: OnceCell::new(),
        waiting: RefCell::default(),
        limit: Cell::new(DEFAULT_LIMIT),
        paused: Cell::new(false),
        listens: Cell::new(true),
        dropped: Cell::new(false),
        arrived: Notify::new(),
    });
    let factory = limited(Acceptor { queue: Rc::clone(&queue) }, options);
    let listener = handle.with_reactor(|reactor| endpoint.listen(reactor, Box::new(factory)))??;
    // Set only here.
    let _ = queue.listener.set(listener.clone());
    Ok(StreamListener { listener, queue })
}

/// A listening socket whose connections are taken one by one. (tokio: `TcpListener`,
/// `UnixListener`.)
///
/// - **Backpressure.** Connections are accepted from the kernel ahead of
///   [`accept`](StreamListener::accept), up to a [limit](StreamListener::set_queue_limit). Further
///   ones stay in the kernel's backlog until the program has taken half of the queue. A full
///   backlog lets clients wait or fail, depending on the system.
/// - **A queued connection is open.** Its layers run, it receives up to twice the default
///   [limit](StreamReader::set_limit), and it counts in [`ServerOptions`]. The client may have
///   closed it by the time it is taken.
/// - **Failures of accepting**, such as a lack of descriptors, are logged and tried again, as for
///   each [`Listener`].
///
/// **Dropping it** stops listening and resets the connections in the queue. Those that were taken
/// continue.
pub struct StreamListener {
    listener: Listener,
    queue: Rc<AcceptQueue>,
}

impl StreamListener {
    /// Waits for the next connection. Its client's address is [`StreamReader::peer`].
    ///
    /// Returns `None` when the queue is empty and no connection can follow:
    /// [`close`](StreamListener::close) was called, or the reactor stops. At a graceful stop this
    /// is after the future of `block_on` has had its time to react to
    /// [`stopping`](crate::task::stopping()).
    ///
    /// Several tasks can wait at once: each connection goes to one of them, and wakes the one that
    /// has waited longest. Dropping the future loses no connection.
    pub async fn accept(&self) -> Option<(StreamReader, StreamWriter)> {
        loop {
            if let Some(link) = self.queue.take() {
                return Some(link.halves());
            }
            if !self.queue.listens.get() || self.queue.handle.finished() {
                return None;
            }
            self.queue.arrived.notified().await;
        }
    }

    /// The listening address, with the actual port where 0 was requested.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Sets the number of accepted connections that wait for [`accept`](StreamListener::accept)
    /// before the listener pauses. Minimum: 1. Connections whose layers are not ready yet, such as
    /// a TLS handshake, may exceed it. Default: 16.
    pub fn set_queue_limit(&self, connections: usize) {
        self.queue.limit.set(connections.max(1));
        self.queue.update_pause();
    }

    /// Number of connections in the queue.
    pub fn queued(&self) -> usize {
        self.queue.waiting.borrow().len()
    }

    /// Stops listening. Connections in the queue can still be accepted.
    pub fn close(&self) {
        if self.queue.listens.replace(false) {
            let listener = self.listener.clone();
            self.queue.on_reactor(move |reactor| drop(reactor.stop_listening(&listener)));
            self.queue.arrived.notify_waiters();
        }
    }
}

impl Drop for StreamListener {
    fn drop(&mut self) {
        self.close();
        self.queue.dropped.set(true);
        for link in self.queue.waiting.take() {
            link.abort();
        }
    }
}

impl fmt::Debug for StreamListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StreamListener");
        shown.field("address", self.address()).field("queued", &self.queued()).finish_non_exhaustive()
    }
}

/// Accepted connections that wait for `accept`.
struct AcceptQueue {
    handle: Handle,
    /// Empty until the call that listens has returned.
    listener: OnceCell<Listener>,
    waiting: RefCell<VecDeque<Rc<StreamState>>>,
    limit: Cell<usize>,
    /// Whether the listener was paused because the queue is full.
    paused: Cell<bool>,
    listens: Cell<bool>,
    /// The `StreamListener` is gone. Connections whose layers get ready after that are reset.
    dropped: Cell<bool>,
    arrived: Notify,
}

impl AcceptQueue {
    fn take(&self) -> Option<Rc<StreamState>> {
        let link = self.waiting.borrow_mut().pop_front();
        if link.is_some() && self.paused.get() {
            self.update_pause();
        }
        link
    }

    fn update_pause(&self) {
        if let Some(change) = self.pause_change() {
            self.on_reactor(change);
        }
    }

    /// The listener pauses at the limit, and resumes at half of it.
    fn pause_change(&self) -> Option<impl FnOnce(&mut Reactor) + Clone + 'static> {
        let (queued, limit) = (self.waiting.borrow().len(), self.limit.get());
        let pause = if self.paused.get() { queued > limit / 2 } else { queued >= limit };
        if self.paused.replace(pause) == pause || !self.listens.get() {
            return None;
        }
        let listener = self.listener.get()?.clone();
        // It fails for a listener that the reactor has stopped, which needs neither.
        Some(move |reactor: &mut Reactor| match pause {
            true => drop(reactor.pause_listening(&listener)),
            false => drop(reactor.resume_listening(&listener)),
        })
    }

    fn on_reactor(&self, call: impl FnOnce(&mut Reactor) + Clone + 'static) {
        if self.handle.with_reactor(call.clone()).is_err() {
            self.handle.call(call);
        }
    }
}

impl OnConnect for AcceptQueue {
    fn begin(self: Rc<Self>, link: &Rc<StreamState>, reactor: &mut Reactor) {
        if self.dropped.get() {
            if let Some(mut transport) = link.id().and_then(|id| reactor.transport(id)) {
                transport.abort_connection();
            }
            return;
        }
        self.waiting.borrow_mut().push_back(Rc::clone(link));
        if let Some(change) = self.pause_change() {
            change(reactor);
        }
        self.arrived.notify_one();
    }
}

/// The factory of a listener's connections.
struct Acceptor {
    queue: Rc<AcceptQueue>,
}

impl Factory for Acceptor {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let queue = Rc::<AcceptQueue>::clone(&self.queue);
        Some(Box::new(Stream::with_on_connect(StreamState::new(context.reactor().handle()), queue)))
    }
}

/// Reports that the listener has stopped, or that its reactor is gone.
impl Drop for Acceptor {
    fn drop(&mut self) {
        self.queue.listens.set(false);
        self.queue.arrived.notify_waiters();
    }
}

/// Default limit of the queue: the default of
/// [`Settings::accepts_per_turn`](crate::Settings::accepts_per_turn).
const DEFAULT_LIMIT: usize = 16;
