//! Sends a greeting to an echo server, checks the answer, and ends.
//!
//! `cargo run --example echo_client [HOST:PORT]`, with `echo_server` running.

use std::time::Duration;
use twistor::escape::EscapedBytes;
use twistor::{
    BuildContext, ClientFactory, Connector, Factory, Protocol, Reactor, Reason, Transport, println_or_exit,
};

const GREETING: &[u8] = b"Hello, reactor!";

#[derive(Default)]
struct EchoClient {
    received: Vec<u8>,
}

impl Protocol for EchoClient {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        println_or_exit!("connected to {}, saying \"{}\"", transport.peer(), EscapedBytes(GREETING));
        transport.write(GREETING);
        // Dropped with the connection, so it need not be cancelled.
        transport.call_later(Duration::from_secs(5), |_: &mut Self, transport| {
            println_or_exit!("no answer within five seconds");
            transport.abort_connection();
        });
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        // TCP delivers pieces of any size: collect until all bytes are there.
        self.received.extend_from_slice(data);
        if self.received.len() >= GREETING.len() {
            println_or_exit!("it answered \"{}\"", EscapedBytes(&self.received));
            transport.lose_connection();
        }
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        println_or_exit!("{reason}");
    }
}

struct Once;

impl Factory for Once {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(EchoClient::default()))
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        reactor.stop();
    }
}

impl ClientFactory for Once {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        println_or_exit!("cannot connect to {}: {reason}", connector.destination());
    }
}

fn main() -> twistor::Result<()> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".to_owned());
    let mut reactor = Reactor::new()?;
    reactor.connect_tcp(server, Once)?;
    reactor.run()
}
