//! An echo server and its clients with asyncio-style streams: each connection is a task that reads
//! and writes in order.
//!
//! `cargo run --example streams_echo` runs server and clients; `cargo run --example streams_echo
//! 127.0.0.1:7007` only serves there until Ctrl-C.

use std::time::Duration;

use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{join_all, sleep, stopping};
use twistor::{Address, println_or_exit};

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
    println_or_exit!("server  {} came", writer.peer());
    let mut bytes = 0;
    while let chunk @ [_, ..] = reader.read_chunk(1024).await? {
        bytes += chunk.len();
        writer.write(chunk);
        // Backpressure: waits while the client does not read.
        writer.drain().await?;
    }
    println_or_exit!("server  {} went, {bytes} bytes", writer.peer());
    Ok(())
}

async fn ask(server: &Address, name: &str, pause: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (mut reader, writer) = open_connection(server).await?;
    for line in ["hello", "how are you?", "good-bye"] {
        println_or_exit!("{name:<7} > {line}");
        writer.write_sequence(&[line.as_bytes(), b"\n"]);
        let answer = reader.read_line().await?.unwrap_or_default();
        println_or_exit!("{name:<7} < {}", answer.escape_ascii());
        sleep(Duration::from_millis(pause)).await;
    }
    writer.close();
    println_or_exit!("{name:<7} {}", writer.wait_closed().await);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let serves = std::env::args().nth(1);
    twistor::block_on(async {
        let server = start_server(serves.as_deref().unwrap_or("127.0.0.1:0"), echo)?;
        println_or_exit!("server  listens on {}", server.address());
        if serves.is_some() {
            // Waits for Ctrl-C or SIGTERM.
            stopping().await;
            return Ok(());
        }
        let asked = join_all([ask(server.address(), "ada", 20), ask(server.address(), "grace", 30)]).await;
        server.close();
        server.wait_closed().await;
        asked.into_iter().collect()
    })?
}
