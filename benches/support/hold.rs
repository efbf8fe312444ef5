//! Connections that are held: what they take of the server's memory while they say nothing, and what answering each once
//! costs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Result;
use super::load::Pattern;
use super::server::Server;
use super::source;

/// Resident bytes of the server, read while it sleeps, and what a message on each connection took.
pub struct Held {
    pub before: u64,
    /// With all of the connections, none of which has said anything.
    pub idle: u64,
    /// After a message on each.
    pub used: u64,
    /// With all of them closed.
    pub after: u64,
    /// One message on each, there and back.
    pub elapsed: Duration,
    pub cpu: Duration,
}

/// Opens `count` connections, exchanges a message on each, and closes them. So many as `warm_up` come and go before, so that
/// what a server allocates once is not counted as a connection's.
pub fn run(server: &Server, count: usize, warm_up: usize) -> Result<Held> {
    let pattern = Pattern::new();
    server.settled_cpu()?; // it may still open descriptors of its own
    let own = server.open_descriptors()?;
    let mut connections = open(server, own, warm_up)?;
    exchange(&mut connections, &pattern)?;
    drop(connections);
    let before = at_rest(server, own)?;

    let mut connections = open(server, own, count)?;
    let idle = at_rest(server, own + count)?;
    let cpu = server.settled_cpu()?;
    let start = Instant::now();
    exchange(&mut connections, &pattern)?;
    let elapsed = start.elapsed();
    let cpu = server.settled_cpu()? - cpu;
    let used = at_rest(server, own + count)?;
    drop(connections);
    let after = at_rest(server, own)?;
    Ok(Held { before, idle, used, after, elapsed, cpu })
}

fn open(server: &Server, own: usize, count: usize) -> Result<Vec<TcpStream>> {
    let address: SocketAddr = server.address;
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        for _ in 0..GROUP.min(count - connections.len()) {
            connections.push(source::connect(address, connections.len() as u64)?);
        }
        wait_for_descriptors(server, own + connections.len())?;
    }
    Ok(connections)
}

fn exchange(connections: &mut [TcpStream], pattern: &Pattern) -> Result<()> {
    for group in connections.chunks_mut(GROUP) {
        for stream in group.iter_mut() {
            stream.write_all(pattern.at(0, MESSAGE))?;
        }
        for stream in group {
            let mut echo = [0; MESSAGE];
            stream.read_exact(&mut echo)?;
            pattern.compare(0, &echo)?;
        }
    }
    Ok(())
}

/// Resident bytes, once the server has so many descriptors and sleeps.
fn at_rest(server: &Server, descriptors: usize) -> Result<u64> {
    wait_for_descriptors(server, descriptors)?;
    server.settled_cpu()?;
    server.resident()
}

fn wait_for_descriptors(server: &Server, count: usize) -> Result<()> {
    let start = Instant::now();
    while server.open_descriptors()? != count {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(format!("{count} descriptors expected, {} open", server.open_descriptors()?).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

const MESSAGE: usize = 64;

/// Connections opened at once; well below every server's backlog.
const GROUP: usize = 256;
