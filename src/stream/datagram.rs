//! Datagram sockets for tasks.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{ConnectError, IntoEndpoint, StreamError};
use crate::endpoint::DatagramEndpoint;
use crate::reactor::Handle;
use crate::stream::wakers::WakerSlot;
use crate::{Address, DatagramId, DatagramProtocol, DatagramTransport, Error, Reactor, Reason, Result};

/// Opens a datagram socket on the reactor of the calling task, either bound to a local port or
/// connected to one peer. (asyncio: `create_datagram_endpoint`.)
///
/// ```
/// use twistor::stream::open_datagram;
///
/// twistor::block_on(async {
///     let mut server = open_datagram("udp:0:interface=127.0.0.1").await?;
///     let client = open_datagram(format!("udp:{}", server.host())).await?;
///     client.send(b"hello")?;
///     let (hello, from) = server.recv_from().await?;
///     assert_eq!((hello.as_slice(), from), (&b"hello"[..], client.host().clone()));
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`ConnectError::BadEndpoint`]: the text is not a valid endpoint.
/// - [`ConnectError::Reactor`]: the socket cannot be opened, or the caller is not inside a task.
#[doc(alias("create_datagram_endpoint", "UdpSocket"))]
pub async fn open_datagram(
    endpoint: impl IntoEndpoint<dyn DatagramEndpoint>,
) -> Result<DatagramStream, ConnectError> {
    let endpoint = endpoint.into_endpoint()?;
    let handle = Handle::current()?;
    let queue = Rc::new(Queue::default());
    let protocol = Datagrams { queue: Rc::clone(&queue) };
    let (id, host, peer) = handle.with_reactor(|reactor| {
        let id = endpoint.open(reactor, Box::new(protocol))?;
        let socket = reactor.datagram_transport(id).ok_or(Error::NotConnected)?;
        Ok::<_, Error>((id, socket.host(), socket.peer().cloned()))
    })??;
    Ok(DatagramStream { handle, id, host, peer, queue, last: RefCell::default() })
}

/// A datagram socket. Dropping it closes the socket.
///
/// Received datagrams are queued until they are read. Datagrams over the queue limit are dropped
/// and [counted](DatagramStream::dropped). Default: 1,024 datagrams and 1 MiB.
#[doc(alias = "UdpSocket")]
pub struct DatagramStream {
    handle: Handle,
    id: DatagramId,
    host: Address,
    peer: Option<Address>,
    queue: Rc<Queue>,
    /// Sender and local destination address of the datagram received last.
    last: RefCell<Option<(Address, IpAddr)>>,
}

impl DatagramStream {
    /// Receives the next datagram and its sender. Dropping the future loses no data.
    ///
    /// On a socket bound to the unspecified address, replies to this sender use the local address
    /// that the datagram was sent to ([`reply_source`](DatagramStream::reply_source)). This applies
    /// until the next datagram is received.
    ///
    /// # Errors
    /// - [`StreamError::Refused`]: the connected peer reported that its port is closed. Returned
    ///   once.
    /// - [`StreamError::Lost`]: the socket is closed. Queued datagrams are returned first.
    pub async fn recv_from(&mut self) -> Result<(Vec<u8>, Address), StreamError> {
        poll_fn(|context| self.poll_recv_from(context)).await
    }

    /// Receives the next datagram.
    ///
    /// # Errors
    /// Same as [`recv_from`](DatagramStream::recv_from).
    pub async fn recv(&mut self) -> Result<Vec<u8>, StreamError> {
        Ok(self.recv_from().await?.0)
    }

    fn poll_recv_from(&self, context: &mut Context<'_>) -> Poll<Result<(Vec<u8>, Address), StreamError>> {
        if self.queue.refused.take() {
            return Poll::Ready(Err(StreamError::Refused));
        }
        let next = self.queue.datagrams.borrow_mut().pop_front();
        if let Some(Received { data, from, reply_source }) = next {
            self.queue.bytes.set(self.queue.bytes.get().saturating_sub(data.len()));
            *self.last.borrow_mut() = reply_source.map(|source| (from.clone(), source));
            return Poll::Ready(Ok((data, from)));
        }
        match self.queue.end.get() {
            Some(reason) => return Poll::Ready(Err(StreamError::Lost(reason.clone()))),
            None if self.handle.finished() => return Poll::Ready(Err(StreamError::Lost(Reason::Stopped))),
            None => {}
        }
        self.queue.receiver.wait(context);
        Poll::Pending
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    /// - [`Error::NoPeer`]: the socket is not connected to a peer.
    /// - [`Error::DatagramTooLong`]: the datagram is too long.
    /// - [`Error::QueueFull`]: the send queue is full.
    /// - [`Error::NotConnected`]: the socket is closed.
    /// - [`Error::ReactorUnavailable`]: the reactor cannot be reached from here.
    pub fn send(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.with_socket(|socket| socket.write(data.as_ref()))
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    /// Same as [`send`](DatagramStream::send).
    pub fn send_to(&self, data: impl AsRef<[u8]>, to: &Address) -> Result<()> {
        let data = data.as_ref();
        let answers = self.last.borrow().as_ref().filter(|(from, _)| from == to).map(|(_, source)| *source);
        match answers {
            Some(source) => self.send_from(data, to, source),
            None => self.with_socket(|socket| socket.write_to(data, to)),
        }
    }

    /// Sends a datagram from a given local address, like
    /// [`DatagramTransport::write_from`](crate::DatagramTransport::write_from).
    ///
    /// # Errors
    /// Same as [`DatagramTransport::write_from`](crate::DatagramTransport::write_from).
    pub fn send_from(&self, data: impl AsRef<[u8]>, to: &Address, source: IpAddr) -> Result<()> {
        self.with_socket(|socket| socket.write_from(data.as_ref(), to, source))
    }

    /// The local address that a reply to the last received datagram is sent from. It is the address
    /// that the datagram was sent to. `None` if the socket is bound to a specific address, or if
    /// the destination was a multicast or broadcast address.
    pub fn reply_source(&self) -> Option<IpAddr> {
        self.last.borrow().as_ref().map(|(_, source)| *source)
    }

    fn with_socket<R>(&self, call: impl FnOnce(&mut DatagramTransport<'_>) -> Result<R>) -> Result<R> {
        self.handle.with_reactor(|reactor| {
            call(&mut reactor.datagram_transport(self.id).ok_or(Error::NotConnected)?)
        })?
    }

    /// Number of received datagrams dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.get()
    }

    /// Number of queued datagrams.
    pub fn len(&self) -> usize {
        self.queue.datagrams.borrow().len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the queue limit: number of datagrams, and their total bytes. Default: 1,024 and 1 MiB.
    pub fn set_queue_limit(&self, datagrams: usize, bytes: usize) {
        self.queue.limit.set((datagrams, bytes));
    }

    /// The local address.
    #[doc(alias = "local_addr")]
    pub fn host(&self) -> &Address {
        &self.host
    }

    /// The connected peer, if there is one.
    #[doc(alias = "peer_addr")]
    pub fn peer(&self) -> Option<&Address> {
        self.peer.as_ref()
    }

    /// The id of the socket, for
    /// [`Reactor::datagram_transport`](crate::Reactor::datagram_transport): options, groups.
    pub fn id(&self) -> DatagramId {
        self.id
    }

    /// Closes the socket. Queued datagrams can still be received.
    pub fn close(&self) {
        let id = self.id;
        let stop = move |reactor: &mut Reactor| {
            if let Some(mut socket) = reactor.datagram_transport(id) {
                socket.stop_listening();
            }
        };
        if self.handle.with_reactor(stop).is_err() {
            self.handle.call(stop);
        }
    }
}

impl Drop for DatagramStream {
    fn drop(&mut self) {
        if self.queue.end.get().is_none() {
            self.close();
        }
    }
}

impl fmt::Debug for DatagramStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DatagramStream");
        shown.field("host", &self.host).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A queued datagram.
struct Received {
    data: Vec<u8>,
    from: Address,
    reply_source: Option<IpAddr>,
}

/// The receive queue, shared by the protocol and the receiver.
struct Queue {
    datagrams: RefCell<VecDeque<Received>>,
    bytes: Cell<usize>,
    limit: Cell<(usize, usize)>,
    dropped: Cell<u64>,
    refused: Cell<bool>,
    receiver: WakerSlot,
    end: OnceCell<Reason>,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            datagrams: RefCell::default(),
            bytes: Cell::new(0),
            limit: Cell::new((MAX_DATAGRAMS, MAX_BYTES)),
            dropped: Cell::new(0),
            refused: Cell::new(false),
            receiver: WakerSlot::default(),
            end: OnceCell::new(),
        }
    }
}

impl Queue {
    fn ended(&self, reason: &Reason) {
        if self.end.set(reason.clone()).is_ok() {
            self.receiver.wake();
        }
    }
}

struct Datagrams {
    queue: Rc<Queue>,
}

impl DatagramProtocol for Datagrams {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        let queue = &self.queue;
        let bytes = queue.bytes.get() + data.len();
        let (max_datagrams, max_bytes) = queue.limit.get();
        if queue.datagrams.borrow().len() >= max_datagrams || bytes > max_bytes {
            queue.dropped.set(queue.dropped.get() + 1);
            return;
        }
        queue.bytes.set(bytes);
        queue.datagrams.borrow_mut().push_back(Received {
            data: data.to_vec(),
            from: from.clone(),
            reply_source: transport.reply_source(),
        });
        queue.receiver.wake();
    }

    fn connection_refused(&mut self, _: &mut DatagramTransport<'_>) {
        self.queue.refused.set(true);
        self.queue.receiver.wake();
    }

    fn stop_protocol(&mut self, _: &mut DatagramTransport<'_>, reason: &Reason) {
        self.queue.ended(reason);
    }
}

/// Reports that the reactor finished without calling `stop_protocol`.
impl Drop for Datagrams {
    fn drop(&mut self) {
        self.queue.ended(&Reason::Stopped);
    }
}

/// Default limit of queued datagrams.
const MAX_DATAGRAMS: usize = 1024;

/// Default limit of queued bytes.
const MAX_BYTES: usize = 1024 * 1024;
