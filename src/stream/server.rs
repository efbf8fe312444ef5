//! Stream servers: each connection is served by its own task.

use std::cell::{Cell, RefCell};
use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;

use slab::Slab;

use super::protocol::{OnConnect, Stream};
use super::{ConnectError, IntoEndpoint, StreamError, StreamReader, StreamWriter};
use crate::endpoint::ServerEndpoint;
use crate::error_chain;
use crate::policy::{limit_per_peer, limit_total};
use crate::reactor::Handle;
use crate::stream::state::StreamState;
use crate::stream::wakers::WakerSet;
use crate::task::Task;
use crate::{Address, BuildContext, Factory, Listener, Protocol, Reactor};

/// Listens, and runs `handler` as a separate task for each connection. The task is named after the
/// peer's address. (asyncio: `start_server`.)
///
/// - When the handler returns, written data is sent and the connection is closed. Exception: a half
///   that the handler moved elsewhere keeps it open.
/// - An error returned by the handler is logged at level warn, or at level info if it is a lost
///   connection.
/// - A panic is logged, and the connection is reset. Other connections are not affected.
/// - When the reactor stops gracefully, a handler that has received input and does not wait for
///   more finishes its request first. The connection is closed once the handler waits for input, or
///   after [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout). Other
///   connections are closed at once.
///
/// ```
/// use twistor::stream::{open_connection, start_server};
///
/// twistor::block_on(async {
///     let server = start_server("tcp:0:interface=127.0.0.1", async |mut reader, writer| {
///         while let Some(line) = reader.read_line().await? {
///             writer.write_sequence(&[b"you said: ", line, b"\n"]);
///             writer.drain().await?;
///         }
///         Ok::<_, twistor::stream::StreamError>(())
///     })?;
///     let (mut reader, writer) = open_connection(server.address()).await?;
///     writer.write(b"hello\n");
///     assert_eq!(reader.read_line().await?, Some(&b"you said: hello"[..]));
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`ConnectError::BadEndpoint`]: the text is not a valid endpoint.
/// - [`ConnectError::Reactor`]: the server cannot listen, or the caller is not inside a task.
#[track_caller]
#[doc(alias("TcpListener", "accept"))]
pub fn start_server<R: HandlerResult>(
    endpoint: impl IntoEndpoint<dyn ServerEndpoint>,
    handler: impl AsyncFn(StreamReader, StreamWriter) -> R + 'static,
) -> Result<Server, ConnectError> {
    start_server_with(endpoint, ServerOptions::default(), handler)
}

/// Same as [`start_server`], with limits.
///
/// # Errors
/// Same as [`start_server`].
#[track_caller]
pub fn start_server_with<R: HandlerResult>(
    endpoint: impl IntoEndpoint<dyn ServerEndpoint>,
    options: ServerOptions,
    handler: impl AsyncFn(StreamReader, StreamWriter) -> R + 'static,
) -> Result<Server, ConnectError> {
    let endpoint = endpoint.into_endpoint()?;
    let handle = Handle::current()?;
    let factory = factory(handler);
    let connections = Rc::clone(&factory.serving.connections);
    let factory = limited(factory, options);
    let listener = handle.with_reactor(|reactor| endpoint.listen(reactor, Box::new(factory)))??;
    Ok(Server { handle, listener, listens: Cell::new(true), connections, detached: false })
}

pub(super) fn limited(factory: impl Factory, options: ServerOptions) -> impl Factory {
    limit_per_peer(limit_total(factory, options.max_connections), options.max_per_peer)
        .ipv4_prefix(options.ipv4_prefix)
        .ipv6_prefix(options.ipv6_prefix)
}

/// Connection limits of a server. Connections over a limit are closed at once.
///
/// ```
/// use twistor::stream::ServerOptions;
///
/// let few = ServerOptions { max_connections: 100, ..ServerOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Maximum number of open connections. Default: the reactor's
    /// [`Settings::max_connections`](crate::Settings::max_connections).
    pub max_connections: usize,
    /// Maximum number of open connections per peer, which is a network of the prefix lengths below.
    /// Default: no limit.
    pub max_per_peer: usize,
    /// Prefix length that identifies an IPv4 peer, at most 32. Default: 32.
    pub ipv4_prefix: u8,
    /// Prefix length that identifies an IPv6 peer, at most 128. Default: 64.
    pub ipv6_prefix: u8,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_connections: usize::MAX,
            max_per_peer: usize::MAX,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        }
    }
}

/// Creates a factory that serves each connection by a task, like [`start_server`]. Use it in
/// callback programs, or wrap it in [policies](crate::policy).
///
/// ```
/// use twistor::stream::{StreamReader, StreamWriter};
/// use twistor::{policy, stream};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let echo = stream::factory(async |mut reader: StreamReader, writer: StreamWriter| {
///     while let chunk @ [_, ..] = reader.read_chunk(4096).await? {
///         writer.write(chunk);
///         writer.drain().await?;
///     }
///     Ok::<_, stream::StreamError>(())
/// });
/// reactor.listen_tcp("127.0.0.1:0", policy::limit_per_peer(echo, 256))?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[track_caller]
pub fn factory<R: HandlerResult, H>(handler: H) -> StreamFactory<H>
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
{
    let serving = Serving { handler, connections: Rc::default(), place: Location::caller() };
    StreamFactory { serving: Rc::new(serving) }
}

/// The return type of [`factory`].
pub struct StreamFactory<H> {
    serving: Rc<Serving<H>>,
}

impl<R: HandlerResult, H> Factory for StreamFactory<H>
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
{
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        let serving = Rc::<Serving<H>>::clone(&self.serving);
        Some(Box::new(Stream::with_on_connect(StreamState::new(context.reactor().handle()), serving)))
    }
}

/// The return type of a handler: nothing, or a result whose error is logged.
pub trait HandlerResult: 'static {
    /// Logs the error, if there is one.
    fn report(self, peer: &Address);
}

impl HandlerResult for () {
    fn report(self, _: &Address) {}
}

impl<E: Into<Box<dyn StdError>> + 'static> HandlerResult for Result<(), E> {
    fn report(self, peer: &Address) {
        let Err(error) = self else { return };
        let error = error.into();
        let lost = is_lost(&*error);
        let error = error_chain(&*error);
        match lost {
            true => log::info!(peer:%; "{peer}: {error}"),
            false => log_warn!([peer:%] "{peer}: connection handler failed: {error}"),
        }
    }
}

/// Whether the cause is a lost connection, which is normal.
fn is_lost(error: &(dyn StdError + 'static)) -> bool {
    match error.downcast_ref() {
        Some(StreamError::Lost(_)) => true,
        _ => error.source().is_some_and(is_lost),
    }
}

/// A listening server and the tasks of its connections. (asyncio: `Server`.)
///
/// **Dropping it** stops listening and cancels the handlers. [`detach`](Server::detach) lets it run
/// without an owner.
#[must_use = "a server ends when this is dropped: keep it, await `wait_closed`, or detach it"]
#[doc(alias = "AbstractServer")]
pub struct Server {
    handle: Handle,
    listener: Listener,
    listens: Cell<bool>,
    connections: Rc<Connections>,
    /// Whether `detach` was called.
    detached: bool,
}

impl Server {
    /// The listening address.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Number of running handlers.
    pub fn connections(&self) -> usize {
        self.connections.tasks.borrow().len()
    }

    /// Stops listening. Open connections continue. (asyncio: `close`.)
    pub fn close(&self) {
        if !self.listens.replace(false) {
            return;
        }
        let listener = self.listener.clone();
        let stop = move |reactor: &mut Reactor| drop(reactor.stop_listening(&listener));
        if self.handle.with_reactor(stop.clone()).is_err() {
            self.handle.call(stop);
        }
        self.connections.waiting.wake();
    }

    /// Cancels all handlers. Written data is sent, and the connections are closed. (asyncio:
    /// `close_clients`.)
    pub fn close_clients(&self) {
        for served in self.connections.tasks.borrow().iter() {
            served.1.cancel();
        }
    }

    /// Resets all connections and cancels their handlers. (asyncio: `abort_clients`.)
    pub fn abort_clients(&self) {
        let links: Vec<_> =
            self.connections.tasks.borrow().iter().map(|(_, served)| Rc::clone(&served.link)).collect();
        for link in links {
            link.abort();
        }
        self.close_clients();
    }

    /// Waits until the server has stopped listening and all handlers have ended. (asyncio:
    /// `wait_closed`, `serve_forever`.)
    pub async fn wait_closed(&self) {
        poll_fn(|context| {
            let over = !self.listens.get() && self.connections() == 0;
            if over || self.handle.finished() {
                return Poll::Ready(());
            }
            self.connections.waiting.wait(context);
            Poll::Pending
        })
        .await
    }

    /// Lets the server run without an owner, until its reactor finishes.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.detached {
            self.close();
            self.close_clients();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Server");
        shown.field("address", self.address()).field("connections", &self.connections());
        shown.finish_non_exhaustive()
    }
}

struct Serving<H> {
    handler: H,
    connections: Rc<Connections>,
    /// Source location of the call that started the server, reported as that of its tasks.
    place: &'static Location<'static>,
}

/// The connections of a server.
#[derive(Default)]
struct Connections {
    tasks: RefCell<Slab<Served>>,
    waiting: WakerSet,
}

struct Served {
    link: Rc<StreamState>,
    /// `None` while the task is being created.
    task: Option<Task<()>>,
}

impl Served {
    fn cancel(&self) {
        if let Some(task) = &self.task {
            task.cancel();
        }
    }
}

impl<R: HandlerResult, H> OnConnect for Serving<H>
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
{
    fn begin(self: Rc<Self>, link: &Rc<StreamState>, _: &mut Reactor) {
        let (reader, writer) = link.halves();
        let (place, connections) = (self.place, Rc::clone(&self.connections));
        let index = connections.tasks.borrow_mut().insert(Served { link: Rc::clone(link), task: None });
        let guard = RemoveOnDrop { connections: Rc::clone(&connections), index };
        let peer = link.peer();
        let name = peer.to_string();
        let serve = async move {
            let _guard = guard;
            (self.handler)(reader, writer).await.report(&peer);
        };
        let task = Task::begin(link.handle(), serve, place).named(&name);
        match connections.tasks.borrow_mut().get_mut(index) {
            Some(served) => served.task = Some(task),
            // The reactor has finished and has dropped the handler already.
            None => task.detach(),
        }
    }
}

/// A guard that removes the connection from the list when its handler ends.
struct RemoveOnDrop {
    connections: Rc<Connections>,
    index: usize,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let gone = self.connections.tasks.borrow_mut().try_remove(self.index);
        if let Some(served) = gone {
            if std::thread::panicking() {
                served.link.abort();
            }
            if let Some(task) = served.task {
                task.detach();
            }
        }
        self.connections.waiting.wake();
    }
}
