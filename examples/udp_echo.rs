//! Sends datagrams back to their senders, but not to another echo server, which would cause an
//! endless loop.
//!
//! ```console
//! $ cargo run --example udp_echo -- 127.0.0.1:9999
//! listening on 127.0.0.1:9999
//! 127.0.0.1:45107: 13 bytes
//! ```

use std::io::Write;
use twistor::policy::EchoGuard;
use twistor::{Address, DatagramProtocol, DatagramTransport, Reactor, println_or_exit};

struct Echo {
    guard: EchoGuard,
}

impl DatagramProtocol for Echo {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        println_or_exit!("listening on {}", transport.host());
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        println_or_exit!("{from}: {} bytes", data.len());
        if !self.guard.allows(transport, data, from) {
            let _ = writeln!(std::io::stderr(), "{from}: possibly an echo server, not echoed");
        } else if let Err(error) = transport.write_to(data, from) {
            let _ = writeln!(std::io::stderr(), "{from}: {error}");
        }
    }

    fn datagram_truncated(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        let _ = writeln!(std::io::stderr(), "{from}: longer than {} bytes, not echoed", data.len());
    }
}

fn main() -> twistor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:9999".into());
    let mut reactor = Reactor::new()?;
    reactor.listen_udp(address, Echo { guard: EchoGuard::new() })?;
    reactor.run()
}
