//! Servers: each connection is a task of its own.

use crate::escape::Escaped;
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
use crate::policy::{limit_per_peer, limit_total};
use crate::reactor::Handle;
use crate::stream::state::StreamState;
use crate::stream::wakers::WakerSet;
use crate::task::Task;
use crate::{Address, Error, Factory, Listener, Protocol, Reactor};

/// Listens, and runs `handler` as a task of its own for each connection, named by the peer's address. (asyncio: `start_server`.)
///
/// When the handler returns, its connection is closed, once what was written is sent; but for a half that it has put elsewhere. What it
/// returns as an error is logged, as a warning, or for information if it is that the peer went. A panic is logged, and its
/// connection is reset. Neither concerns anybody else.
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
/// [`ConnectError::BadEndpoint`] for a text that is none; [`ConnectError::Reactor`] when it cannot be listened on, and outside of a task.
#[track_caller]
pub fn start_server<R: HandlerResult>(
    endpoint: impl IntoEndpoint<dyn ServerEndpoint>,
    handler: impl AsyncFn(StreamReader, StreamWriter) -> R + 'static,
) -> Result<Server, ConnectError> {
    start_server_with(endpoint, ServerOptions::default(), handler)
}

/// As [`start_server`], with limits.
///
/// # Errors
/// As [`start_server`].
#[track_caller]
pub fn start_server_with<R: HandlerResult>(
    endpoint: impl IntoEndpoint<dyn ServerEndpoint>,
    options: ServerOptions,
    handler: impl AsyncFn(StreamReader, StreamWriter) -> R + 'static,
) -> Result<Server, ConnectError> {
    let endpoint = endpoint.into_endpoint()?;
    let handle = Handle::current().ok_or(Error::ReactorUnavailable)?;
    let factory = factory(handler);
    let roster = Rc::clone(&factory.serving.roster);
    let factory = limit_per_peer(limit_total(factory, options.max_connections), options.max_per_peer)
        .ipv4_prefix(options.ipv4_prefix)
        .ipv6_prefix(options.ipv6_prefix);
    let listener = handle.with_reactor(|reactor| endpoint.listen(reactor, Box::new(factory)))??;
    Ok(Server { handle, listener, listens: Cell::new(true), roster, kept: false })
}

/// The limits of a server; connections over them are closed at once.
///
/// ```
/// use twistor::stream::ServerOptions;
///
/// let few = ServerOptions { max_connections: 100, ..ServerOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Connections that may be open at a time. Default: as many as the reactor's
    /// [`Settings::max_connections`](crate::Settings::max_connections).
    pub max_connections: usize,
    /// Connections that may be open at a time with one peer, which is a network of the prefixes below. Default: no limit.
    pub max_per_peer: usize,
    /// Leading bits of IPv4 addresses that make one peer, at most 32. Default: 32.
    pub ipv4_prefix: u8,
    /// Leading bits of IPv6 addresses that make one peer, at most 128. Default: 64.
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

/// A factory whose connections are tasks, as those of [`start_server`]: for callback programs, and to be wrapped in
/// [policies](crate::policy).
///
/// ```
/// use twistor::{policy, stream};
///
/// let mut reactor = twistor::Reactor::new()?;
/// let echo = stream::factory(async |mut reader: stream::StreamReader, writer: stream::StreamWriter| {
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
    let serving = Serving { handler, roster: Rc::default(), place: Location::caller() };
    StreamFactory { serving: Rc::new(serving) }
}

/// See [`factory`].
pub struct StreamFactory<H> {
    serving: Rc<Serving<H>>,
}

impl<R: HandlerResult, H> Factory for StreamFactory<H>
where
    H: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
{
    fn build_protocol(&mut self, reactor: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        let serving = Rc::<Serving<H>>::clone(&self.serving);
        Some(Box::new(Stream::begun_by(StreamState::new(reactor.handle()), serving)))
    }
}

/// What a handler may return: nothing, or a result whose error is logged.
pub trait HandlerResult: 'static {
    /// Logs what went wrong, if anything did.
    fn report(self, peer: &Address);
}

impl HandlerResult for () {
    fn report(self, _: &Address) {}
}

impl<E: Into<Box<dyn StdError>> + 'static> HandlerResult for Result<(), E> {
    fn report(self, peer: &Address) {
        let Err(error) = self else { return };
        let error = error.into();
        match error.downcast_ref::<StreamError>() {
            // That is what peers do.
            Some(StreamError::Lost(_)) => log::info!(peer:%; "{peer}: {error}"),
            _ => log_warn!([peer:%] "{peer}: the handler of its connection failed: {}", Escaped(&error)),
        }
    }
}

/// A server that listens, and the tasks of its connections. (asyncio: `Server`.)
///
/// **Dropped**, it listens no more, and its handlers are cancelled, so that nothing goes on unseen; [`detach`](Server::detach)
/// lets it go on by itself.
#[must_use = "a server ends when this is dropped: keep it, await `wait_closed`, or detach it"]
pub struct Server {
    handle: Handle,
    listener: Listener,
    listens: Cell<bool>,
    roster: Rc<Roster>,
    /// It was detached.
    kept: bool,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// How many handlers have not ended.
    pub fn connections(&self) -> usize {
        self.roster.tasks.borrow().len()
    }

    /// Listens no more; connections go on. (asyncio: `close`.)
    pub fn close(&self) {
        if !self.listens.replace(false) {
            return;
        }
        let listener = self.listener.clone();
        let stop = move |reactor: &mut Reactor| drop(reactor.stop_listening(&listener));
        if self.handle.with_reactor(stop.clone()).is_err() {
            self.handle.call(stop);
        }
        self.roster.waiting.wake();
    }

    /// Cancels all handlers: each ends where it waits, and its connection is closed, once what was written is sent. (asyncio:
    /// `close_clients`.)
    pub fn close_clients(&self) {
        for seat in self.roster.tasks.borrow().iter() {
            seat.1.cancel();
        }
    }

    /// Resets all connections and cancels their handlers. (asyncio: `abort_clients`.)
    pub fn abort_clients(&self) {
        let links: Vec<_> =
            self.roster.tasks.borrow().iter().map(|(_, seat)| Rc::clone(&seat.link)).collect();
        for link in links {
            link.abort();
        }
        self.close_clients();
    }

    /// Waits until it listens no more and all handlers have ended. (asyncio: `wait_closed`, `serve_forever`.)
    pub async fn wait_closed(&self) {
        poll_fn(|context| {
            let over = !self.listens.get() && self.connections() == 0;
            if over || self.handle.finished() {
                return Poll::Ready(());
            }
            self.roster.waiting.wait(context);
            Poll::Pending
        })
        .await
    }

    /// Lets it go on by itself, as long as its reactor.
    pub fn detach(mut self) {
        self.kept = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.kept {
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
    roster: Rc<Roster>,
    /// Where the server was started: the place of its tasks.
    place: &'static Location<'static>,
}

/// The connections of a server.
#[derive(Default)]
struct Roster {
    tasks: RefCell<Slab<Served>>,
    waiting: WakerSet,
}

struct Served {
    link: Rc<StreamState>,
    /// Empty while it is begun.
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
    fn begin(self: Rc<Self>, link: &Rc<StreamState>) {
        let (reader, writer) = link.halves();
        let (place, roster) = (self.place, Rc::clone(&self.roster));
        let index = roster.tasks.borrow_mut().insert(Served { link: Rc::clone(link), task: None });
        let presence = Presence { roster: Rc::clone(&roster), index };
        let peer = link.peer();
        let name = peer.to_string();
        let serve = async move {
            let _presence = presence;
            (self.handler)(reader, writer).await.report(&peer);
        };
        let task = Task::begin(link.handle(), serve, place).named(&name);
        match roster.tasks.borrow_mut().get_mut(index) {
            Some(served) => served.task = Some(task),
            // The reactor has finished.
            None => task.detach(),
        }
    }
}

/// A handler that has not ended.
struct Presence {
    roster: Rc<Roster>,
    index: usize,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let gone = self.roster.tasks.borrow_mut().try_remove(self.index);
        if let Some(served) = gone {
            if std::thread::panicking() {
                served.link.abort();
            }
            if let Some(task) = served.task {
                task.detach();
            }
        }
        self.roster.waiting.wake();
    }
}
