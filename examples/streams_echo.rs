//! An echo server and its clients, as asyncio's documentation has them: each connection a task, read and written in order.
//!
//! `cargo run --example streams_echo` asks itself; `cargo run --example streams_echo 127.0.0.1:7007` serves there until Ctrl-C.

use std::io::Write;
use std::time::Duration;

use twistor::Address;
use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{join_all, sleep, stopping};

/// As `println!`, which panics when the reader has gone (`| head`): this ends the program.
macro_rules! say {
    ($($line:tt)*) => { if writeln!(std::io::stdout(), $($line)*).is_err() { std::process::exit(1) } };
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
    say!("server  {} came", writer.peer());
    let mut bytes = 0;
    while let chunk @ [_, ..] = reader.read_chunk(1024).await? {
        bytes += chunk.len();
        writer.write(chunk);
        // Waits if the client does not read.
        writer.drain().await?;
    }
    say!("server  {} went, {bytes} bytes", writer.peer());
    Ok(())
}

async fn ask(server: &Address, name: &str, pause: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (mut reader, writer) = open_connection(server).await?;
    for line in ["hello", "how are you?", "good-bye"] {
        say!("{name:<7} > {line}");
        writer.write_sequence(&[line.as_bytes(), b"\n"]);
        let answer = reader.read_line().await?.unwrap_or_default();
        say!("{name:<7} < {}", answer.escape_ascii());
        sleep(Duration::from_millis(pause)).await;
    }
    writer.close();
    say!("{name:<7} {}", writer.wait_closed().await);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let serves = std::env::args().nth(1);
    twistor::block_on(async {
        let server = start_server(serves.as_deref().unwrap_or("127.0.0.1:0"), echo)?;
        say!("server  listens on {}", server.address());
        if serves.is_some() {
            // Ctrl-C, or SIGTERM.
            stopping().await;
            return Ok(());
        }
        let asked = join_all([ask(server.address(), "ada", 20), ask(server.address(), "grace", 30)]).await;
        server.close();
        server.wait_closed().await;
        asked.into_iter().collect()
    })?
}
