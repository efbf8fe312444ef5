//! The echo server on twistor, as anyone would write it.

use std::time::Duration;

use twistor::{Address, Listener, Protocol, Reactor, Reason, Settings, Transport};

use super::Result;
use super::server::UNDER_A_TOOL;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    // In bulk the client reads when it can: the rest waits with it, and not in this process.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

/// The connection that keeps the server alive.
struct Lifeline;

impl Protocol for Lifeline {
    fn data_received(&mut self, _transport: &mut Transport<'_>, _data: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _reason: &Reason) {
        transport.reactor().stop();
    }
}

/// The default, except under a tool: slowed down, callbacks look slow, and are timed one by one then. That would count
/// what the machine does beside.
pub fn slow_callback() -> Option<Duration> {
    Settings::default().slow_callback.filter(|_| std::env::var_os(UNDER_A_TOOL).is_none())
}

/// Serves until the lifeline closes; looks for work for so long before it sleeps.
pub fn serve(spin: Duration) -> Result<()> {
    // The default leaves half of the descriptors to other uses; this server has none.
    let mut reactor = Reactor::with_settings(Settings {
        max_connections: MOST_CONNECTIONS,
        slow_callback: slow_callback(),
        busy_poll: spin,
        ..Settings::default()
    })?;
    let echo = reactor.listen_tcp("127.0.0.1:0", || Echo)?;
    let lifeline = reactor.listen_tcp("127.0.0.1:0", || Lifeline)?;
    println!("{} {}", port(&echo)?, port(&lifeline)?);
    Ok(reactor.run()?)
}

fn port(listener: &Listener) -> Result<u16> {
    match listener.address() {
        Address::Tcp(address) => Ok(address.port()),
        address => Err(format!("listening on {address}, which has no port").into()),
    }
}

/// More than a process may open descriptors.
pub const MOST_CONNECTIONS: usize = 1_000_000;
