//! Reads a road-traffic feed every ten seconds until Ctrl-C, over a keep-alive connection.
//!
//! `cargo run --example traffic [URL]`

use std::time::Duration;
use twistor::escape::EscapedJson;
use twistor::http::{Client, FetchError, FetchResult, Url};
use twistor::{Reactor, println_or_exit};

const FEED: &str = "http://127.0.0.1:8080/traffic.json";
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request, and another one ten seconds later, regardless of the answer.
fn monitor_traffic(reactor: &mut Reactor, client: Client, url: Url) {
    client.get(&url).timeout(TIMEOUT).start(reactor, |_, result| show(result));
    reactor.call_later(INTERVAL, move |reactor| monitor_traffic(reactor, client, url));
}

fn show(result: Result<FetchResult, FetchError>) {
    let fetched = match result {
        Ok(fetched) => fetched,
        Err(error) => return println_or_exit!("no answer: {error}"),
    };
    match fetched.json::<serde_json::Value>() {
        Ok(traffic) => println_or_exit!(
            "{} vehicles, congestion {}, in {:.1?}{}",
            EscapedJson(&traffic["vehicles"]),
            EscapedJson(&traffic["congestion"]["level"]),
            fetched.latency,
            if fetched.reused { " on the same connection" } else { "" },
        ),
        Err(error) => println_or_exit!("status {}: {error}", fetched.status),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url: Url = std::env::args().nth(1).unwrap_or_else(|| FEED.to_owned()).parse()?;
    let mut reactor = Reactor::new()?;
    let client = Client::default();
    reactor.call_when_running(|reactor| monitor_traffic(reactor, client, url));
    reactor.run()?;
    println_or_exit!("bye");
    Ok(())
}
