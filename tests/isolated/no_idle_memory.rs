//! A connection that waits owns no buffer, whatever it has sent and received before.

#[path = "../support/world/mod.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use twistor::{Protocol, Settings, Transport};
use world::on_the_real_network;
use world::peer::{Peer, turns};

/// The system's allocator, which counts the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// Safety: everything is handed on to the system's allocator.
#[expect(unsafe_code, reason = "an allocator cannot be written without; it is the test's alone")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// It has no size itself.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
        if data.len() > 1000 {
            // And something that has to wait, the peer being slow.
            transport.write(&vec![b'e'; 8_000_000 / data.len()]);
        }
    }
}

#[test]
fn an_idle_connection_takes_at_most_256_bytes_after_any_load() {
    on_the_real_network("the memory of the process is counted", |world| {
        let connections = world.connections(1000);
        let mut reactor =
            world.reactor_with(Settings { max_connections: connections, ..Settings::default() });
        let listener = reactor.listen_tcp(world.anywhere(), || Echo).unwrap();
        let mut peers: Vec<Peer> = Vec::with_capacity(connections);
        turns(&mut reactor);
        let empty = Cell::new(IN_USE.load(Ordering::Relaxed));
        let each = || IN_USE.load(Ordering::Relaxed).saturating_sub(empty.get()) / connections;
        while peers.len() < connections {
            peers.push(world.connect(listener.address()));
            let count = peers.len();
            world.run_until(&mut reactor, "accepted", |reactor| reactor.statistics().connections == count);
        }
        assert!(each() <= 256, "{} bytes each when they are made", each());
        for peer in &mut peers {
            peer.send(&[b'?'; 4000]);
        }
        turns(&mut reactor);
        loop {
            let unsent: usize = reactor
                .connections()
                .into_iter()
                .map(|id| reactor.transport(id).map_or(0, |transport| transport.write_buffer_size()))
                .sum();
            let read: usize = peers.iter_mut().map(|peer| peer.read_some(100_000).len()).sum();
            if unsent + read == 0 {
                break;
            }
            turns(&mut reactor);
        }
        assert!(reactor.statistics().bytes_sent >= connections as u64 * 4000);
        // A few spare buffers are kept for all of them together.
        assert!(each() <= 256 + 1024, "{} bytes each after they were busy", each());
        peers.clear();
        world.run_until(&mut reactor, "all are lost", |reactor| reactor.statistics().connections == 0);
        assert!(each() <= 256 + 1024, "{} bytes each when they are gone", each());
        world.close(&mut reactor, &listener);
    });
}
