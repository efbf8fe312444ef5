//! The echo server on twistor's streams, as anyone would write it.

use twistor::stream::{StreamError, StreamReader, StreamWriter, start_server};
use twistor::task::channel;
use twistor::{Address, Reactor, Settings};

use super::Result;
use super::twistor_echo::{MOST_CONNECTIONS, slow_callback};

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> std::result::Result<(), StreamError> {
    while let chunk @ [_, ..] = reader.read_chunk(64 * 1024).await? {
        writer.write(chunk);
        writer.drain().await?;
    }
    Ok(())
}

/// Serves until the lifeline closes.
pub fn serve() -> Result<()> {
    let mut reactor = Reactor::with_settings(Settings {
        max_connections: MOST_CONNECTIONS,
        slow_callback: slow_callback(),
        ..Settings::default()
    })?;
    reactor.block_on(async {
        let (closes, mut closed) = channel(1);
        let echo = start_server("127.0.0.1:0", echo)?;
        let lifeline =
            start_server("127.0.0.1:0", async move |mut reader: StreamReader, _writer: StreamWriter| {
                // However it ends.
                let _ = reader.read_to_end(0).await;
                let _ = closes.try_send(());
            })?;
        let port = |address: &Address| address.port().unwrap_or_default();
        println!("{} {}", port(echo.address()), port(lifeline.address()));
        closed.recv().await;
        Ok(())
    })?
}
