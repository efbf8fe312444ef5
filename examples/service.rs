//! A complete daemon: an echo server, a client that stays connected to it, and a timer that makes
//! the client send.
//!
//! Try `cargo run --example service`, then Ctrl-C or `kill -HUP`. Or run it as a systemd unit with
//! `Type=notify`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use twistor::escape::EscapedBytes;
use twistor::service::{ClientService, MultiService, StreamServerService, TimerService};
use twistor::{ConnectTcp, ListenTcp, Protocol, Transport};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

struct Print;

impl Protocol for Print {
    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        let _ = writeln!(std::io::stdout(), "{}", EscapedBytes(data.trim_ascii_end()));
    }
}

fn main() -> ExitCode {
    let server = StreamServerService::new(ListenTcp::new(([127, 0, 0, 1], 4007)), || Echo).named("echo");
    let client = ClientService::new(ConnectTcp::new("localhost", 4007), || Print).named("client");
    let speaker = client.clone();
    let timer = TimerService::new(Duration::from_secs(1), move |reactor, tick| {
        speaker.when_connected(reactor, move |reactor, connection| {
            if let Some(mut transport) = connection.ok().and_then(|id| reactor.transport(id)) {
                transport.write(format!("second {}\n", tick.count).as_bytes());
            }
        });
    });
    let services = MultiService::new();
    // The names are distinct, so adding cannot fail.
    let _ = (services.add(server), services.add(client), services.add(timer));
    twistor::run(services)
}
