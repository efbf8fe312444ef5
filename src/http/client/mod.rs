//! The client: requests over a pool of connections.

mod call;
mod connection;
mod dispatch;
mod error;
mod exchange;
mod pool;
mod proxy;
mod redirect;
mod result;
mod secure;
mod send;
mod settings;
mod sink;
mod streamed;

pub use self::call::{Call, FetchFuture, RequestHandle};
pub use self::error::{FetchError, FetchStage};
pub use self::proxy::{Proxies, Proxy, ProxyError};
pub use self::result::{FetchResult, Timings};
pub use self::settings::{ClientSettings, Timeouts};
pub use self::sink::{StreamEnd, StreamEvent};
pub use self::streamed::{BodyLines, ServerEvents, StreamedResponse};

use self::pool::Pool;
use super::body::Body;
use super::cookies::Cookies;
use super::method::Method;
use super::request::Request;
use super::url::{Url, UrlError};
use crate::Reactor;
use crate::endpoint::ClientEndpoint;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// An HTTP/1.1 client with a pool of connections. Clones share the pool. (Twisted: `Agent` and
/// `HTTPConnectionPool`.)
///
/// A request is made by [`get`](Client::get) and its relatives. There are three ways to run it:
/// ```
/// use twistor::http::Client;
/// # use twistor::{Protocol, Reactor, Transport};
/// # struct Server;
/// # impl Protocol for Server {
/// #     fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
/// #         transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
/// #     }
/// # }
///
/// let mut reactor = Reactor::new()?;
/// # let listener = reactor.listen_tcp("127.0.0.1:0", || Server)?;
/// # let url = format!("http://{}/", listener.address());
/// let client = Client::default();
/// // A callback.
/// client.get(url.as_str()).start(&mut reactor, move |reactor, fetched| {
///     assert_eq!(fetched.unwrap().status, 200);
///     // A Deferred.
///     client.get(url.as_str()).defer(reactor).done(move |reactor, fetched| {
///         assert!(fetched.unwrap().reused);
///         // A future.
///         reactor.spawn(async move {
///             assert_eq!(client.get(url.as_str()).await?.body, b"hello");
///             # let _ = twistor::Handle::current().unwrap().with_reactor(|reactor| reactor.stop());
///             Ok::<_, twistor::http::FetchError>(())
///         }).detach();
///     });
/// });
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias("Agent", "HTTPConnectionPool", "ClientSession"))]
pub struct Client {
    pub(super) shared: Rc<Shared>,
}

/// State shared by the clones of a client and its connections.
pub(super) struct Shared {
    settings: ClientSettings,
    /// Endpoint of all connections, instead of the URLs' hosts.
    via: RefCell<Option<Rc<dyn ClientEndpoint>>>,
    pool: RefCell<Pool>,
    tls: secure::Connectors,
    cookies: RefCell<Cookies>,
}

impl Default for Client {
    fn default() -> Client {
        Client::new(ClientSettings::default())
    }
}

impl Client {
    /// Creates a client with an empty pool.
    pub fn new(settings: ClientSettings) -> Client {
        let shared = Shared {
            via: RefCell::new(None),
            pool: RefCell::new(Pool::new(&settings)),
            tls: secure::Connectors::new(&settings),
            cookies: RefCell::default(),
            settings,
        };
        Client { shared: Rc::new(shared) }
    }

    /// Makes this client and its clones connect to one endpoint for all URLs, such as a service on
    /// a UNIX socket. Requests still contain the URL's host. (Twisted:
    /// `Agent.usingEndpointFactory`.)
    ///
    /// ```
    /// use twistor::ConnectUnix;
    /// use twistor::http::Client;
    ///
    /// let client = Client::default().via(ConnectUnix::at("/run/service.sock")?);
    /// # drop(client);
    /// # Ok::<(), twistor::Error>(())
    /// ```
    pub fn via(self, endpoint: impl ClientEndpoint) -> Client {
        *self.shared.via.borrow_mut() = Some(Rc::new(endpoint));
        self
    }

    /// Makes a GET request.
    pub fn get<U>(&self, url: U) -> Call
    where
        U: TryInto<Url>,
        U::Error: Into<UrlError>,
    {
        self.call(Method::GET, url)
    }

    /// Makes a POST request with this body.
    pub fn post<U>(&self, url: U, body: impl Into<Body>) -> Call
    where
        U: TryInto<Url>,
        U::Error: Into<UrlError>,
    {
        self.call(Method::POST, url).body(body)
    }

    /// Makes a request with any method. A bad URL is the result of the call.
    pub fn call<U>(&self, method: Method, url: U) -> Call
    where
        U: TryInto<Url>,
        U::Error: Into<UrlError>,
    {
        let request = url.try_into().map(|url| Request::new(method, &url));
        Call::new(self.clone(), request.map_err(|error| FetchError::Url(error.into())))
    }

    /// Makes a call of a request.
    pub fn request(&self, request: Request) -> Call {
        Call::new(self.clone(), Ok(request))
    }

    /// The settings.
    pub fn settings(&self) -> &ClientSettings {
        &self.shared.settings
    }

    /// Closes the idle connections.
    pub fn close(&self, reactor: &mut Reactor) {
        let idle = self.shared.pool.borrow_mut().take_all_idle(reactor);
        for id in idle {
            if let Some(mut transport) = reactor.transport(id) {
                transport.lose_connection();
            }
        }
    }

    /// Number of idle connections.
    pub fn idle_connections(&self) -> usize {
        self.shared.pool.borrow().idle_count()
    }

    /// Number of connections, also those that are being made.
    pub fn connections(&self) -> usize {
        self.shared.pool.borrow().total()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = self.shared.pool.borrow();
        f.debug_struct("Client")
            .field("settings", &self.shared.settings)
            .field("via", &self.shared.via.borrow().as_ref().map(|endpoint| endpoint.describe()))
            .field("connections", &pool.total())
            .field("idle", &pool.idle_count())
            .finish()
    }
}
