//! Fetches ten pages at once, each as a Deferred, and gathers them.
//!
//! `cargo run --example fetch_many [HOST[:PORT]]...`; without servers it starts ten small ones
//! itself.

use std::time::Duration;
use twistor::endpoint::connect_protocol;
use twistor::escape::EscapedBytes;
use twistor::{ConnectTcp, Deferred, Failure, Protocol, Reactor, Reason, Resolver, Transport, gather};

const LIMIT: Duration = Duration::from_secs(5);

/// Requests a page, and fires the resolver with it when the server has closed.
struct Fetch {
    request: String,
    page: Vec<u8>,
    resolver: Resolver<Vec<u8>>,
}

impl Protocol for Fetch {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        transport.write(self.request.as_bytes());
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.page.extend_from_slice(data);
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        // Fails if the timeout has fired the Deferred before.
        let _ = match reason {
            Reason::Done => self.resolver.callback(std::mem::take(&mut self.page)),
            reason => self.resolver.errback(reason.clone()),
        };
    }
}

fn fetch(reactor: &mut Reactor, server: &str) -> twistor::Result<Deferred<Vec<u8>>> {
    let (resolver, page) = Deferred::new(&reactor.handle());
    let to = server.parse().unwrap_or_else(|_| ConnectTcp::new(server, 80));
    let request = format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", to.host);
    let fetching = Fetch { request, page: Vec::new(), resolver: resolver.clone() };
    connect_protocol(reactor, &to, fetching, move |_, reason| {
        let _ = resolver.errback(reason.clone());
    })?;
    Ok(page.timeout(reactor, LIMIT))
}

/// Formats a result as a line: status, size, time.
fn line(server: &str, page: Result<Vec<u8>, Failure>, took: Duration) -> String {
    let (said, size) = page.map_or_else(
        |failure| (failure.to_string(), 0),
        |page| {
            let status = page.split(|byte| *byte == b'\r').next().unwrap_or_default();
            (EscapedBytes(status).to_string(), page.len())
        },
    );
    let (milliseconds, bar) = (took.as_millis(), "█".repeat((took.as_millis() / 10) as usize));
    format!("{server:20}  {said:20} {size:>7} bytes {milliseconds:>5} ms  {bar}")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reactor = Reactor::new()?;
    let mut servers: Vec<String> = std::env::args().skip(1).collect();
    for number in 1..=if servers.is_empty() { 10 } else { 0 } {
        servers.push(reactor.listen_tcp("127.0.0.1:0", move || Page { number })?.address().to_string());
    }
    let (began, mut pages) = (reactor.now(), Vec::new());
    for server in servers {
        pages.push(fetch(&mut reactor, &server)?.then_always(move |reactor, page| {
            let took = reactor.now() - began;
            twistor::println_or_exit!("{}", line(&server, page, took));
            Ok(took)
        }));
    }
    gather(&reactor.handle(), pages).done(move |reactor, times| {
        let sum: Duration = times.iter().flatten().sum();
        let all = reactor.now() - began;
        twistor::println_or_exit!("\nall within {all:.0?}; one after the other it would be {sum:.0?}");
        reactor.stop();
    });
    Ok(reactor.run()?)
}

/// A small server that answers after a delay.
struct Page {
    number: u64,
}

impl Protocol for Page {
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        let delay = Duration::from_millis(self.number * 70 % 110 * 2);
        transport.call_later(delay, |this: &mut Page, transport| {
            transport.write(b"HTTP/1.0 200 OK\r\n\r\n");
            transport.write(&vec![b'.'; this.number as usize * 1234]);
            transport.lose_connection();
        });
    }
}
