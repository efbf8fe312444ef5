//! Streams: connections that tasks read and write with `await`.
//!
//! - [`open_connection`] connects. [`start_server`] runs a task per connection. [`listen`] hands
//!   the connections to [`accept`](StreamListener::accept). All provide a [`StreamReader`] and a
//!   [`StreamWriter`].
//! - [`StreamReader::read_message`] and [`StreamWriter::write_message`] use the codecs of
//!   [`framing`](crate::framing), or one of your own. [`copy_bidirectional`] joins two connections.
//! - [`open_datagram`] opens a datagram socket.
//! - [`spawn_process`] starts a child process and [`process_output`] collects its output.
//! - [`duplex`] joins two ends in memory.
//! - [`stdio`] opens this process's input and output.
//! - [`AsyncFd`] awaits the readiness of any other descriptor.
//!
//! The API follows asyncio's streams. Like those it is built on [`Protocol`](crate::Protocol), so
//! that endpoints, layers, policies, limits and the simulated network apply to streams too.
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
//! # Guarantees
//!
//! - **Cancellation safety.** Every future here can be dropped while it waits. Received bytes stay
//!   for the next read, written bytes are sent, and a connection attempt is aborted.
//! - **No endless waits.** When a connection ends, all its futures complete. Unless it ended
//!   cleanly, they return [`StreamError::Lost`] with the [`Reason`](crate::Reason). This also holds
//!   when the reactor stops.
//! - **Backpressure in both directions.** A reader that does not read stops the peer at twice its
//!   [limit](StreamReader::set_limit). [`drain`](StreamWriter::drain) suspends a writer whose peer
//!   does not read.
//! - **Independent halves.** Reader and writer may be used by different tasks. EOF in one direction
//!   does not end the other one. When both are dropped, written data is sent and the connection is
//!   closed.

mod async_fd;
mod buffer;
mod child;
mod connect;
mod copy;
mod datagram;
mod duplex;
mod error;
#[cfg(feature = "futures-io")]
mod futures_io;
mod into_endpoint;
mod listener;
mod protocol;
mod reader;
mod server;
mod state;
mod wakers;
mod writer;

pub use self::async_fd::AsyncFd;
pub use self::child::{Child, ProcessError, process_output, spawn_process};
pub use self::connect::{open_connection, stdio};
pub use self::copy::{CopyError, copy_bidirectional};
pub use self::datagram::{DatagramStream, open_datagram};
pub use self::duplex::duplex;
pub use self::error::{ConnectError, ReadError, StreamError};
pub use self::into_endpoint::IntoEndpoint;
pub use self::listener::{StreamListener, listen, listen_with};
pub use self::reader::StreamReader;
pub use self::server::{
    HandlerResult, Server, ServerOptions, StreamFactory, factory, start_server, start_server_with,
};
pub use self::writer::StreamWriter;
