//! Sends one datagram, prints the answer, and ends, like asyncio's UDP client example.
//!
//! ```console
//! $ cargo run --example udp_client -- 127.0.0.1:9999 'Hello, World!'
//! send: Hello, World!
//! received: Hello, World!
//! ```

use std::io::Write;
use std::time::Duration;

use twistor::escape::{Escaped, EscapedBytes};
use twistor::{Address, DatagramProtocol, DatagramTransport, Reactor, Reason, println_or_exit};

struct Client {
    message: String,
}

impl DatagramProtocol for Client {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        println_or_exit!("send: {}", Escaped(&self.message));
        if let Err(error) = transport.write(self.message.as_bytes()) {
            let _ = writeln!(std::io::stderr(), "{error}");
            transport.stop_listening();
        }
        // A lost datagram is not reported, so use a timeout.
        transport.call_later(Duration::from_secs(3), |_: &mut Client, transport| {
            let _ = writeln!(std::io::stderr(), "no answer");
            transport.stop_listening();
        });
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], _: &Address) {
        println_or_exit!("received: {}", EscapedBytes(data));
        transport.stop_listening();
    }

    fn connection_refused(&mut self, transport: &mut DatagramTransport<'_>) {
        let _ = writeln!(std::io::stderr(), "connection refused");
        transport.stop_listening();
    }

    fn stop_protocol(&mut self, transport: &mut DatagramTransport<'_>, _: &Reason) {
        transport.reactor().stop();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let peer = arguments.next().unwrap_or("127.0.0.1:9999".into());
    let message = arguments.next().unwrap_or("Hello, World!".into());
    let mut reactor = Reactor::new()?;
    reactor.connect_udp(peer, Client { message })?;
    Ok(reactor.run()?)
}
