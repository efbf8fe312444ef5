//! Watches one server, like a first Twisted script: a factory, a protocol, six callbacks.
//!
//! `cargo run --example monitor [HOST PORT]`

use twistor::{
    BuildContext, ClientFactory, Connector, Factory, Protocol, Reactor, Reason, Transport, println_or_exit,
};

struct NetworkMonitorProtocol;

impl Protocol for NetworkMonitorProtocol {
    fn connection_made(&mut self, _transport: &mut Transport<'_>) {
        println_or_exit!("Connected to the server.");
    }

    fn connection_lost(&mut self, _transport: &mut Transport<'_>, _reason: &Reason) {
        println_or_exit!("Disconnected from the server.");
    }

    fn data_received(&mut self, _transport: &mut Transport<'_>, data: &[u8]) {
        println_or_exit!("Received data: b'{}'", data.escape_ascii());
    }
}

struct NetworkMonitorFactory;

impl Factory for NetworkMonitorFactory {
    fn build_protocol(&mut self, _context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(NetworkMonitorProtocol))
    }
}

impl ClientFactory for NetworkMonitorFactory {
    fn started_connecting(&mut self, _connector: &mut Connector<'_>) {
        println_or_exit!("Connecting to the server...");
    }

    fn client_connection_failed(&mut self, _connector: &mut Connector<'_>, reason: &Reason) {
        println_or_exit!("Connection failed: {reason}");
    }

    fn client_connection_lost(&mut self, _connector: &mut Connector<'_>, reason: &Reason) {
        println_or_exit!("Connection lost: {reason}");
    }
}

// Change HOST and PORT to the appropriate values, or name them on the command line.
const HOST: &str = "localhost";
const PORT: u16 = 1234;

fn main() -> twistor::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let host = arguments.first().map_or(HOST, String::as_str);
    let port = arguments.get(1).and_then(|port| port.parse().ok()).unwrap_or(PORT);
    let mut reactor = Reactor::new()?;
    reactor.connect_tcp((host, port), NetworkMonitorFactory)?;
    reactor.run()
}
