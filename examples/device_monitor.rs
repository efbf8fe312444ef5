//! Holds a connection to each of several devices, prints what they send, and reports a loss at
//! once.
//!
//! `cargo run --example device_monitor HOST[:PORT]...` (port 22 by default). It ends with the last
//! connection.

use std::io::Write;
use twistor::{
    BuildContext, ClientFactory, ConnectTcp, Connector, Factory, Protocol, Reactor, Reason, Transport,
    println_or_exit,
};

/// The connection to one device.
struct Device {
    name: String,
    received: usize,
}

impl Protocol for Device {
    fn connection_made(&mut self, _: &mut Transport<'_>) {
        println_or_exit!("{}: connected", self.name);
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.received += data.len();
        println_or_exit!("{}: {}", self.name, data.escape_ascii());
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        println_or_exit!("{}: {reason}, after {} bytes", self.name, self.received);
    }
}

/// Watches one device.
struct Watch {
    name: String,
}

impl Factory for Watch {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Device { name: self.name.clone(), received: 0 }))
    }
}

impl ClientFactory for Watch {
    fn client_connection_failed(&mut self, _: &mut Connector<'_>, reason: &Reason) {
        println_or_exit!("{}: {reason}", self.name);
    }
}

fn main() -> twistor::Result<()> {
    let devices: Vec<String> = std::env::args().skip(1).collect();
    if devices.is_empty() {
        let _ = writeln!(std::io::stderr(), "usage: device_monitor HOST[:PORT]...");
        std::process::exit(2);
    }
    let mut reactor = Reactor::new()?;
    for device in devices {
        let to = device.parse().unwrap_or_else(|_| ConnectTcp::new(device.clone(), 22));
        reactor.connect_tcp(to, Watch { name: device })?;
    }
    // A connector is removed after its connection is lost, so the loop ends with the last one.
    while reactor.resource_count() > 0 && reactor.iterate(None)? {}
    Ok(())
}
