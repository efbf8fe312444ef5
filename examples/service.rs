//! A whole daemon: an echo server, a client that is kept connected to it, and a timer that lets the client speak.
//!
//! Try `cargo run --example service`, then Ctrl-C; or `kill -HUP` it, or run it as a unit of systemd with `Type=notify`.

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
    // No two have the same name.
    let _ = (services.add(server), services.add(client), services.add(timer));
    twistor::run(services)
}
