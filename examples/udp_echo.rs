//! Sends every datagram back to whoever sent it.
//!
//! ```console
//! $ cargo run --example udp_echo -- 127.0.0.1:9999
//! listening on 127.0.0.1:9999
//! 127.0.0.1:45107: 13 bytes
//! ```

use twistor::{Address, DatagramProtocol, DatagramTransport, Reactor};

struct Echo;

impl DatagramProtocol for Echo {
    fn start_protocol(&mut self, transport: &mut DatagramTransport<'_>) {
        println!("listening on {}", transport.host());
    }

    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        println!("{from}: {} bytes", data.len());
        if let Err(error) = transport.write_to(data, from) {
            eprintln!("{from}: {error}");
        }
    }

    fn datagram_truncated(&mut self, _: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        eprintln!("{from}: longer than {} bytes, not echoed", data.len());
    }
}

fn main() -> twistor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:9999".into());
    let mut reactor = Reactor::new()?;
    reactor.listen_udp(address, Echo)?;
    reactor.run()
}
