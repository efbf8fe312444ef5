//! Fetches pages in turn over one connection for each server, and shows where the time goes.
//!
//! `cargo run --example http_get [URL]...`; without URLs it starts a small server itself.

use twistor::escape::{Escaped, EscapedBytes};
use twistor::http::{Client, FetchError, Timings};
use twistor::stream::{StreamReader, StreamWriter, start_server};
use twistor::{block_on, println_or_exit};

/// Fetches a page and prints its status, its first bytes and the times of its phases.
async fn show(client: &Client, url: &str) -> Result<(), FetchError> {
    let fetched = client.get(url).header("Accept", "text/*").await?;
    let start = fetched.body.get(..40).unwrap_or(&fetched.body);
    println_or_exit!("{} from {}: {}", fetched.status, fetched.url, EscapedBytes(start));
    let Timings { connect, tls, first_byte, transfer, .. } = fetched.timings;
    match connect {
        Some(connect) => println_or_exit!("  connected in {connect:.1?}, TLS {tls:.1?}"),
        None => println_or_exit!("  on the same connection"),
    }
    println_or_exit!("  first byte after {first_byte:.1?}, the rest {transfer:.1?}");
    Ok(())
}

/// Reads a body of any size, a piece at a time.
async fn measure(client: &Client, url: &str) -> Result<usize, FetchError> {
    let mut response = client.get(url).stream().await?;
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await? {
        bytes += piece.len();
    }
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    block_on(async move {
        let server = start_server(
            "tcp:0:interface=127.0.0.1",
            |mut reader: StreamReader, writer: StreamWriter| async move {
                while let Ok(Some(_)) = reader.read_until(b"\r\n\r\n", 4096).await {
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n");
                }
            },
        )?;
        if urls.is_empty() {
            urls = vec![format!("http://{}/", server.address()); 2];
        }
        let client = Client::default();
        for url in &urls {
            if let Err(error) = show(&client, url).await {
                println_or_exit!("{}: {error}", Escaped(url));
            }
        }
        if let Some(url) = urls.first() {
            println_or_exit!("{} bytes in all", measure(&client, url).await?);
        }
        Ok(())
    })?
}
