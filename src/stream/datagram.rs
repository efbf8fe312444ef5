//! Datagrams, awaited.

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

/// Opens a socket of datagrams, on the reactor of the task that awaits it: at a port of one's own, or with one peer. (asyncio:
/// `create_datagram_endpoint`.)
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
/// [`ConnectError::BadEndpoint`] for a text that is none; [`ConnectError::Reactor`] when the socket cannot be opened, and outside of a
/// task.
pub async fn open_datagram(
    endpoint: impl IntoEndpoint<dyn DatagramEndpoint>,
) -> Result<DatagramStream, ConnectError> {
    let endpoint = endpoint.into_endpoint()?;
    let handle = Handle::current().ok_or(Error::ReactorUnavailable)?;
    let queue = Rc::new(Queue::default());
    let protocol = Datagrams { queue: Rc::clone(&queue) };
    let (id, host, peer) = handle.with_reactor(|reactor| {
        let id = endpoint.open(reactor, Box::new(protocol))?;
        let socket = reactor.datagram_transport(id).ok_or(Error::NotConnected)?;
        Ok::<_, Error>((id, socket.host(), socket.peer().cloned()))
    })??;
    Ok(DatagramStream { handle, id, host, peer, queue, last: RefCell::default() })
}

/// A socket of datagrams. Dropped, it is closed.
///
/// What comes waits here until it is received: at most 1,024 datagrams and 1 MiB of them. What comes when there is no room is dropped,
/// and [counted](DatagramStream::dropped).
pub struct DatagramStream {
    handle: Handle,
    id: DatagramId,
    host: Address,
    peer: Option<Address>,
    queue: Rc<Queue>,
    /// The sender of the last datagram that was received, and the address that it had sent that to.
    last: RefCell<Option<(Address, IpAddr)>>,
}

impl DatagramStream {
    /// The next datagram, and where it came from. Given up while it waits, nothing is lost.
    ///
    /// Of a socket that is bound to any address, what is sent to that address before the next one is received leaves from the address
    /// that the datagram was sent to ([`reply_source`](DatagramStream::reply_source)).
    ///
    /// # Errors
    /// [`StreamError::Refused`] when the one peer said that nobody listens there, once; [`StreamError::Lost`] when the socket is
    /// closed, after all that had come.
    pub async fn recv_from(&mut self) -> Result<(Vec<u8>, Address), StreamError> {
        poll_fn(|context| self.poll_recv_from(context)).await
    }

    /// The next datagram.
    ///
    /// # Errors
    /// As [`recv_from`](DatagramStream::recv_from).
    pub async fn recv(&mut self) -> Result<Vec<u8>, StreamError> {
        Ok(self.recv_from().await?.0)
    }

    fn poll_recv_from(&self, context: &mut Context<'_>) -> Poll<Result<(Vec<u8>, Address), StreamError>> {
        if self.queue.refused.take() {
            return Poll::Ready(Err(StreamError::Refused));
        }
        let next = self.queue.waiting.borrow_mut().pop_front();
        if let Some(Waiting { data, from, reply_source }) = next {
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

    /// Sends a datagram to the one peer.
    ///
    /// # Errors
    /// [`Error::NoPeer`]; [`Error::DatagramTooLong`]; [`Error::QueueFull`] when too many wait; [`Error::NotConnected`] when the
    /// socket is closed; [`Error::ReactorUnavailable`].
    pub fn send(&self, data: &[u8]) -> Result<()> {
        self.reach(|socket| socket.write(data))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// As [`send`](DatagramStream::send).
    pub fn send_to(&self, data: &[u8], to: &Address) -> Result<()> {
        let answers = self.last.borrow().as_ref().filter(|(from, _)| from == to).map(|(_, source)| *source);
        match answers {
            Some(source) => self.send_from(data, to, source),
            None => self.reach(|socket| socket.write_to(data, to)),
        }
    }

    /// Sends a datagram from an address of this host, as
    /// [`DatagramTransport::write_from`](crate::DatagramTransport::write_from).
    ///
    /// # Errors
    /// As there.
    pub fn send_from(&self, data: &[u8], to: &Address, source: IpAddr) -> Result<()> {
        self.reach(|socket| socket.write_from(data, to, source))
    }

    /// The address that an answer to the last datagram that was received leaves from, of a socket that is bound to any address:
    /// the one that it was sent to. `None` if that was a group or a broadcast address.
    pub fn reply_source(&self) -> Option<IpAddr> {
        self.last.borrow().as_ref().map(|(_, source)| *source)
    }

    fn reach<R>(&self, call: impl FnOnce(&mut DatagramTransport<'_>) -> Result<R>) -> Result<R> {
        self.handle.with_reactor(|reactor| {
            call(&mut reactor.datagram_transport(self.id).ok_or(Error::NotConnected)?)
        })?
    }

    /// How many datagrams came for which there was no room.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.get()
    }

    /// How many datagrams wait to be received.
    pub fn len(&self) -> usize {
        self.queue.waiting.borrow().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes how much may wait: how many datagrams, and how many bytes of them.
    pub fn set_queue_limit(&self, datagrams: usize, bytes: usize) {
        self.queue.room.set((datagrams, bytes));
    }

    /// This side's address.
    pub fn host(&self) -> &Address {
        &self.host
    }

    /// The one peer, if there is one.
    pub fn peer(&self) -> Option<&Address> {
        self.peer.as_ref()
    }

    /// The socket's name, for [`Reactor::datagram_transport`](crate::Reactor::datagram_transport): options, groups.
    pub fn id(&self) -> DatagramId {
        self.id
    }

    /// Closes the socket. What has come can still be received.
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

/// A datagram that waits to be received.
struct Waiting {
    data: Vec<u8>,
    from: Address,
    reply_source: Option<IpAddr>,
}

/// What came, between the protocol and the one who receives it.
struct Queue {
    waiting: RefCell<VecDeque<Waiting>>,
    bytes: Cell<usize>,
    room: Cell<(usize, usize)>,
    dropped: Cell<u64>,
    refused: Cell<bool>,
    receiver: WakerSlot,
    end: OnceCell<Reason>,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            waiting: RefCell::default(),
            bytes: Cell::new(0),
            room: Cell::new((DATAGRAMS, BYTES)),
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
        let (most, most_bytes) = queue.room.get();
        if queue.waiting.borrow().len() >= most || bytes > most_bytes {
            queue.dropped.set(queue.dropped.get() + 1);
            return;
        }
        queue.bytes.set(bytes);
        queue.waiting.borrow_mut().push_back(Waiting {
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

/// Nobody will tell any more: the reactor went without a word.
impl Drop for Datagrams {
    fn drop(&mut self) {
        self.queue.ended(&Reason::Stopped);
    }
}

/// Datagrams that may wait to be received.
const DATAGRAMS: usize = 1024;

/// Bytes of them.
const BYTES: usize = 1024 * 1024;
