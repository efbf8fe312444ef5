//! Opening connections for streams.

use std::future::poll_fn;
use std::rc::Rc;

use crate::endpoint::ClientEndpoint;
use crate::reactor::Handle;
use crate::stream::protocol::Stream;
use crate::stream::state::StreamState;
use crate::stream::{ConnectError, IntoEndpoint, StreamReader, StreamWriter};
use crate::{BuildContext, ClientFactory, Connector, ConnectorId, Factory, Protocol, Reactor, Reason};

/// Opens a connection on the reactor of the calling task. Dropping the future, for example by a
/// [`timeout`](crate::task::timeout), aborts the attempt and frees its resources. (asyncio:
/// `open_connection`.)
///
/// ```
/// use twistor::stream::{open_connection, start_server};
///
/// twistor::block_on(async {
///     let server = start_server("127.0.0.1:0", async |mut reader, writer| {
///         writer.write(reader.read_chunk(1024).await?);
///         writer.drain().await
///     })?;
///     let (mut reader, writer) = open_connection(server.address()).await?;
///     writer.write(b"hello");
///     writer.write_eof();
///     assert_eq!(reader.read_to_end(1024).await?, b"hello");
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// - [`ConnectError::BadEndpoint`]: the text is not a valid endpoint.
/// - [`ConnectError::Failed`]: the connection attempt failed.
/// - [`ConnectError::Reactor`]: the caller is not inside a task.
#[doc(alias("TcpStream", "connect"))]
pub async fn open_connection(
    endpoint: impl IntoEndpoint<dyn ClientEndpoint>,
) -> Result<(StreamReader, StreamWriter), ConnectError> {
    let endpoint = endpoint.into_endpoint()?;
    let handle = Handle::current()?;
    let link = StreamState::new(handle.clone());
    let factory = Opener { link: Rc::clone(&link) };
    let connector = handle.with_reactor(|reactor| endpoint.connect(reactor, Box::new(factory)))??;
    let attempt = Attempt { handle, connector: Some(connector) };
    poll_fn(|context| link.poll_made(context)).await.map_err(ConnectError::Failed)?;
    attempt.succeeded();
    Ok(link.halves())
}

/// Opens this process's standard input and output as a stream. See [`Reactor::standard_streams`]
/// for the supported file types.
///
/// ```no_run
/// use twistor::stream;
///
/// twistor::block_on(async {
///     let (mut reader, writer) = stream::stdio().await?;
///     while let Some(line) = reader.read_line().await? {
///         writer.write_sequence(&[b"you said: ", line, b"\n"]);
///     }
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ConnectError::Reactor`]: the caller is not inside a task, or the streams cannot be opened.
#[doc(alias("stdin", "stdout"))]
pub async fn stdio() -> Result<(StreamReader, StreamWriter), ConnectError> {
    let handle = Handle::current()?;
    let link = StreamState::new(handle.clone());
    let protocol = Stream::new(Rc::clone(&link));
    let id = handle.with_reactor(|reactor| reactor.standard_streams(protocol))??;
    let mut guard = CloseOnDrop(Some((handle, id)));
    poll_fn(|context| link.poll_made(context)).await.map_err(ConnectError::Failed)?;
    guard.0 = None;
    Ok(link.halves())
}

/// A guard that aborts a connection attempt.
struct Attempt {
    handle: Handle,
    connector: Option<ConnectorId>,
}

impl Attempt {
    fn succeeded(mut self) {
        self.connector = None;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(id) = self.connector else { return };
        let give_up = move |reactor: &mut Reactor| {
            if let Some(mut connector) = reactor.connector(id) {
                connector.disconnect();
            }
        };
        if self.handle.with_reactor(give_up).is_err() {
            self.handle.call(give_up);
        }
    }
}

/// A guard that closes an adopted connection.
struct CloseOnDrop(Option<(Handle, crate::ConnectionId)>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let Some((handle, id)) = self.0.take() else { return };
        let close = move |reactor: &mut Reactor| {
            if let Some(mut transport) = reactor.transport(id) {
                transport.lose_connection();
            }
        };
        if handle.with_reactor(close).is_err() {
            handle.call(close);
        }
    }
}

/// A factory for the protocol of one stream.
struct Opener {
    link: Rc<StreamState>,
}

impl Factory for Opener {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Stream::new(Rc::clone(&self.link))))
    }
}

impl ClientFactory for Opener {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        self.link.ended(reason);
    }

    // The stream's protocol reports the loss.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}

/// Reports that the reactor finished before the attempt ended. An established connection is
/// reported by its protocol.
impl Drop for Opener {
    fn drop(&mut self) {
        if self.link.id().is_none() {
            self.link.ended(&Reason::Stopped);
        }
    }
}
