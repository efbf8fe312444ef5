//! Notification of a requested stop.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Either, current_handle, select};
use crate::reactor::Handle;

/// Waits until the reactor of the first polling task is told to stop: by SIGINT or SIGTERM, by
/// [`stop_gracefully`](crate::Reactor::stop_gracefully) or by [`stop`](crate::Reactor::stop).
/// (tokio: `signal::ctrl_c`, `CancellationToken::cancelled`.)
///
/// Connections are still open at that time:
///
/// - The future of [`block_on`](crate::block_on()) gets
///   [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) to end, if it or
///   any other task awaits this. Connections stay open in the meantime, and new ones can be made.
/// - Other tasks are polled once before connections are closed, and the data that they write then
///   is sent. A task that needs longer must be awaited by the future of `block_on`, or delay the
///   shutdown by a [trigger](crate::Reactor::add_system_event_trigger).
///
/// After that each connection is asked to finish ([`Protocol::drain`](crate::Protocol::drain)): a
/// stream server's handler can finish its request, the others are closed. New operations fail with
/// [`Error::Stopping`](crate::Error::Stopping).
///
/// ```
/// use std::time::Duration;
/// use twistor::stream::start_server;
/// use twistor::task::{self, sleep, stopping};
///
/// # let program = async {
/// let server = start_server("127.0.0.1:0", async |mut reader, writer| {
///     writer.write(reader.read_chunk(1024).await?);
///     writer.drain().await
/// })?;
/// # twistor::Handle::current()?.call(|reactor| drop(reactor.stop_gracefully()));
/// // Until Ctrl-C or SIGTERM.
/// stopping().await;
/// server.close();
/// while server.connections() > 0 {
///     sleep(Duration::from_millis(10)).await;
/// }
/// # Ok::<_, twistor::stream::ConnectError>(())
/// # };
/// # twistor::block_on(program)??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("ctrl_c", "CancellationToken"))]
pub fn stopping() -> Stopping {
    Stopping { place: None }
}

/// Runs a future until it ends or the reactor is told to stop. Returns `None` at the stop, and the
/// future is dropped then. So the normal stop of a program that runs forever is no error. (tokio:
/// `CancellationToken::run_until_cancelled`.)
///
/// ```
/// use twistor::stream::listen;
/// use twistor::task::{spawn, until_stopping};
///
/// let stopped = twistor::block_on(until_stopping(async {
///     let listener = listen("127.0.0.1:0")?;
/// #   twistor::Handle::current()?.call(|reactor| drop(reactor.stop_gracefully()));
///     while let Some((mut reader, writer)) = listener.accept().await {
///         spawn(async move {
///             writer.write(reader.read_chunk(1024).await?);
///             writer.drain().await
///         }).detach();
///     }
///     Ok::<_, twistor::stream::ConnectError>(())
/// }))?;
/// assert!(stopped.is_none(), "Ctrl-C or SIGTERM");
/// # Ok::<(), twistor::Error>(())
/// ```
///
/// # Panics
/// The future panics outside of a task, because there is no reactor.
pub async fn until_stopping<F: Future>(future: F) -> Option<F::Output> {
    match select(future, stopping()).await {
        Either::Left(result) => Some(result),
        Either::Right(()) => None,
    }
}

/// The future of [`stopping`].
#[must_use = "a future does nothing until it is awaited"]
#[derive(Debug)]
pub struct Stopping {
    /// The reactor, and the key of the registered waker.
    place: Option<(Handle, Option<usize>)>,
}

impl Future for Stopping {
    type Output = ();

    /// # Panics
    /// Outside of a task, because there is no reactor.
    fn poll(mut self: Pin<&mut Stopping>, context: &mut Context<'_>) -> Poll<()> {
        let (handle, key) = self.place.get_or_insert_with(|| (current_handle(), None));
        match handle.awaits_stop(key, context.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        if let Some((handle, Some(key))) = self.place.take() {
            handle.awaits_stop_no_more(key);
        }
    }
}
