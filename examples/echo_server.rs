//! Sends received data back. Try it with `nc 127.0.0.1 7007`.

use std::io::Write;
use twistor::{Protocol, Reactor, Transport};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    // Backpressure: while the peer does not read, its data stays in the kernel.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

fn main() -> twistor::Result<()> {
    let mut reactor = Reactor::new()?;
    let listener = reactor.listen_tcp("127.0.0.1:7007", || Echo)?;
    let _ = writeln!(std::io::stdout(), "listening on {}", listener.address());
    reactor.run()
}
