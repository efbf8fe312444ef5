//! Streams: connections that tasks read and write, with `await`.
//!
//! [`open_connection`] connects, [`start_server`] runs a task for each connection, and both have a [`StreamReader`] and a
//! [`StreamWriter`]. [`open_datagram`] has a socket of datagrams, [`stdio`] this process's input and output. They are asyncio's
//! streams, built as it builds its own: on [`Protocol`](crate::Protocol), so that all there is below (endpoints, layers,
//! policies, limits, the simulated network) is below them too.
//!
//! ```
//! use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
//!
//! async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
//!     while let chunk @ [_, ..] = reader.read_chunk(1024).await? {
//!         writer.write(chunk);
//!         writer.drain().await?;
//!     }
//!     Ok(())
//! }
//!
//! twistor::block_on(async {
//!     let server = start_server("127.0.0.1:0", echo)?;
//!     let (mut reader, writer) = open_connection(server.address()).await?;
//!     writer.write(b"hello\n");
//!     assert_eq!(reader.read_line().await?, Some(&b"hello"[..]));
//!     writer.close();
//!     assert!(writer.wait_closed().await.is_clean());
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - **Nothing is lost by giving up.** Every future here can be dropped while it waits: bytes that came stay for the next
//!   read, bytes that were written are sent, an attempt to connect is ended.
//! - **Nobody waits for ever for what cannot come.** When the connection ends, every future of it ends, with
//!   [`StreamError::Lost`] and the [`Reason`](crate::Reason) if that was no clean end; so it is when the reactor stops.
//! - **Neither side floods the other.** A reader that does not read stops the peer at twice its
//!   [limit](StreamReader::set_limit); [`drain`](StreamWriter::drain) stops a writer whose peer does not read.
//! - **Reader and writer go their own ways**, into different tasks if need be. The end of what comes does not end what goes. When both
//!   are dropped the connection is closed, and what was written is sent before.

mod buffer;
mod connect;
mod datagram;
mod error;
#[cfg(feature = "futures-io")]
mod futures_io;
mod into_endpoint;
mod protocol;
mod reader;
mod server;
mod state;
mod wakers;
mod writer;

pub use self::connect::{open_connection, stdio};
pub use self::datagram::{DatagramStream, open_datagram};
pub use self::error::{ConnectError, StreamError};
pub use self::into_endpoint::IntoEndpoint;
pub use self::reader::StreamReader;
pub use self::server::{
    HandlerResult, Server, ServerOptions, StreamFactory, factory, start_server, start_server_with,
};
pub use self::writer::StreamWriter;
