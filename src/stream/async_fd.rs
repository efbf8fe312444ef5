//! Foreign descriptors for tasks.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::Poll;

use super::wakers::WakerSet;
use crate::reactor::Handle;
use crate::{Error, FdId, FdInterest, FdProtocol, FdTransport, Reactor, Reason, Result};

/// A descriptor of other code whose readiness tasks can await: a timer, an inotify, a device, the
/// socket of a C library. (tokio: `AsyncFd`; asyncio: `loop.add_reader`.)
///
/// The descriptor has to be non-blocking. Readiness is edge-triggered, as for
/// [`FdProtocol`](crate::FdProtocol#draining-readiness): from the first report of the kernel on, it
/// is assumed until a call in [`try_io`](AsyncFd::try_io) has failed with
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// The reactor watches a duplicate of the descriptor. Dropping this ends the watch.
///
/// ```
/// use rustix::event::{EventfdFlags, eventfd};
/// use rustix::io::{read, write};
/// use twistor::FdInterest;
/// use twistor::stream::AsyncFd;
///
/// twistor::block_on(async {
///     let counter = AsyncFd::new(eventfd(0, EventfdFlags::NONBLOCK)?)?;
///     write(counter.get_ref(), &3_u64.to_ne_bytes())?;
///     let mut count = [0; 8];
///     counter.async_io(FdInterest::Readable, |fd| Ok(read(fd, &mut count)?)).await?;
///     assert_eq!(u64::from_ne_bytes(count), 3);
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncFd<T: AsFd> {
    inner: T,
    watch: Watch,
}

/// The watch of the duplicate. Dropping it ends the watch.
struct Watch {
    handle: Handle,
    id: FdId,
    state: Rc<FdState>,
}

/// The readiness, shared with the protocol.
#[derive(Default)]
struct FdState {
    readable: Cell<bool>,
    writable: Cell<bool>,
    ended: Cell<bool>,
    readers: WakerSet,
    writers: WakerSet,
}

impl<T: AsFd> AsyncFd<T> {
    /// Watches a descriptor for both directions, on the reactor of the calling task.
    ///
    /// # Errors
    /// - [`Error::ReactorUnavailable`]: not inside a task
    /// - those of [`Reactor::watch_fd`]
    pub fn new(inner: T) -> Result<AsyncFd<T>> {
        AsyncFd::with_interest(inner, FdInterest::Both)
    }

    /// Same as [`new`](AsyncFd::new), for the given directions only. The other direction is never
    /// ready: waiting for it takes until the reactor stops.
    ///
    /// # Errors
    /// Same as [`new`](AsyncFd::new).
    pub fn with_interest(inner: T, interest: FdInterest) -> Result<AsyncFd<T>> {
        let handle = Handle::current()?;
        let duplicate = inner.as_fd().try_clone_to_owned();
        let duplicate = duplicate.map_err(|source| Error::System { call: "fcntl", source })?;
        let state = Rc::new(FdState::default());
        let protocol = Readiness(Rc::clone(&state));
        let id = handle.with_reactor(|reactor| reactor.watch_fd(duplicate, interest, protocol))??;
        Ok(AsyncFd { inner, watch: Watch { handle, id, state } })
    }

    /// The descriptor.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Ends the watch and returns the descriptor.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Waits until the descriptor may be read. (tokio: `readable`.)
    ///
    /// # Errors
    /// [`Error::Stopped`]: the reactor has stopped.
    pub async fn readable(&self) -> Result<()> {
        self.ready(FdInterest::Readable).await
    }

    /// Waits until the descriptor may be written. (tokio: `writable`.)
    ///
    /// # Errors
    /// Same as [`readable`](AsyncFd::readable).
    pub async fn writable(&self) -> Result<()> {
        self.ready(FdInterest::Writable).await
    }

    /// Calls `call` if the descriptor is known to be ready in one of the directions. If the call
    /// fails with [`WouldBlock`](io::ErrorKind::WouldBlock), the descriptor is not ready any more,
    /// and the next event of the kernel makes it so again. (tokio: `AsyncFdReadyGuard::try_io`.)
    ///
    /// # Errors
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock): not ready; `call` was not called, or has failed
    ///   with it
    /// - any other error of `call`
    pub fn try_io<R>(&self, interest: FdInterest, call: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        if !self.watch.state.is_ready(interest) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = call(&self.inner);
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.watch.state.clear(interest);
        }
        result
    }

    /// Waits and calls `call`, until it does not fail with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock). (tokio: `async_io`.)
    ///
    /// # Errors
    /// - [`Error::Stopped`], as an [`io::Error`]
    /// - any other error of `call`
    pub async fn async_io<R>(
        &self,
        interest: FdInterest,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            self.ready(interest).await.map_err(io::Error::other)?;
            match self.try_io(interest, &mut call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    async fn ready(&self, interest: FdInterest) -> Result<()> {
        let state = &self.watch.state;
        poll_fn(|context| {
            if state.ended.get() || self.watch.handle.finished() {
                return Poll::Ready(Err(Error::Stopped));
            }
            if state.is_ready(interest) {
                return Poll::Ready(Ok(()));
            }
            if interest != FdInterest::Writable {
                state.readers.wait(context);
            }
            if interest != FdInterest::Readable {
                state.writers.wait(context);
            }
            Poll::Pending
        })
        .await
    }
}

impl FdState {
    fn is_ready(&self, interest: FdInterest) -> bool {
        match interest {
            FdInterest::Readable => self.readable.get(),
            FdInterest::Writable => self.writable.get(),
            FdInterest::Both => self.readable.get() || self.writable.get(),
        }
    }

    fn clear(&self, interest: FdInterest) {
        if interest != FdInterest::Writable {
            self.readable.set(false);
        }
        if interest != FdInterest::Readable {
            self.writable.set(false);
        }
    }

    fn end(&self) {
        self.ended.set(true);
        self.readers.wake();
        self.writers.wake();
    }
}

/// The protocol of the watch.
struct Readiness(Rc<FdState>);

impl FdProtocol for Readiness {
    fn do_read(&mut self, _: &mut FdTransport<'_>) {
        self.0.readable.set(true);
        self.0.readers.wake();
    }

    fn do_write(&mut self, _: &mut FdTransport<'_>) {
        self.0.writable.set(true);
        self.0.writers.wake();
    }

    fn connection_lost(&mut self, _: &mut Reactor, _: &Reason) {
        self.0.end();
    }
}

/// Reports that the reactor finished without calling `connection_lost`.
impl Drop for Readiness {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let id = self.id;
        let stop = move |reactor: &mut Reactor| {
            if let Some(mut transport) = reactor.fd_transport(id) {
                transport.stop_watching();
            }
        };
        if self.handle.with_reactor(stop).is_err() {
            self.handle.call(stop);
        }
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).finish_non_exhaustive()
    }
}
