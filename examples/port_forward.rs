//! Forwards connections to a target, within limits, and prints the traffic once a second.
//!
//! `cargo run --example port_forward [TARGET [RATE]]`, with `echo_server` running: port 7009 is
//! forwarded to port 7007. TARGET is an endpoint, such as `tcp:example.org:80` or
//! `unix:/run/app.sock`. RATE is in bytes a second for each connection and direction.

use std::time::Duration;

use twistor::endpoint::client_from_string;
use twistor::escape::Escaped;
use twistor::policy::{
    PortForward, RateLimits, TrafficCounter, count_traffic, idle_timeout, limit_per_peer, throttled,
};
use twistor::{Reactor, println_or_exit};

fn show(reactor: &mut Reactor, traffic: TrafficCounter, shown: u64) {
    let total = traffic.total();
    if total.received + total.sent != shown {
        println_or_exit!(
            "{} connections, {} bytes there, {} back",
            traffic.open().len(),
            total.received,
            total.sent
        );
    }
    reactor.call_later(Duration::from_secs(1), move |reactor| {
        show(reactor, traffic, total.received + total.sent);
    });
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let target = client_from_string(&arguments.next().unwrap_or_else(|| "tcp:127.0.0.1:7007".to_owned()))?;
    let rate = arguments.next().map(|text| text.parse()).transpose()?;
    let described = Escaped(target.describe());

    let traffic = TrafficCounter::new();
    let forward = limit_per_peer(PortForward::new(target), 100);
    let forward = idle_timeout(forward, Duration::from_secs(600));
    let forward = throttled(forward, RateLimits { read: rate, write: rate, ..RateLimits::default() });
    let forward = count_traffic(forward, &traffic);

    let mut reactor = Reactor::new()?;
    let listener = reactor.listen_tcp("127.0.0.1:7009", forward)?;
    println_or_exit!("{} forwards to {described}", listener.address());
    show(&mut reactor, traffic, 0);
    Ok(reactor.run()?)
}
