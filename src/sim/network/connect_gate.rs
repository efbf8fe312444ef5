//! Held connects, which the caller allows or fails, and the gateway, which receives all unknown
//! addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::net::Token;
use crate::sim::network::Network;
use crate::sim::world::World;
use crate::sim::world::tcp::connection::Phase;
use crate::sim::{Errno, Host};

/// A held connect: see [`Network::hold_connects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingConnect {
    serial: u32,
    /// The socket's token in the connecting process.
    pub(crate) token: Token,
    /// The local address.
    pub from: SocketAddr,
    /// The remote address.
    pub to: SocketAddr,
}

impl Network {
    /// Starts or stops holding the connects of a host's reactors. A held connect sends no handshake
    /// until [`allow_connect`](Network::allow_connect) or [`fail_connect`](Network::fail_connect).
    /// The kernel never times it out, but the caller of `connect` may. Connects of plain sockets
    /// ([`Network::connect`]) are not held.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::sim::{Errno, Simulation};
    ///
    /// # struct Nothing;
    /// # impl twistor::Protocol for Nothing {
    /// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
    /// # }
    /// let mut simulation = Simulation::new(1);
    /// let client = simulation.host("client");
    /// simulation.hold_connects(client, true);
    /// simulation.reactor(client).connect_tcp("192.0.2.1:80", || Nothing)?;
    /// simulation.run_for(Duration::from_secs(1))?;
    /// let held = simulation.held_connects(client);
    /// assert_eq!(held[0].to, ([192, 0, 2, 1], 80).into());
    /// assert!(simulation.fail_connect(held[0], Errno::ECONNREFUSED));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold_connects(&self, host: Host, on: bool) {
        self.world.borrow_mut().host_mut(host.0).holds_connects = on;
    }

    /// Returns the held connects of a host, in the order in which they were started.
    pub fn held_connects(&self, host: Host) -> Vec<PendingConnect> {
        let world = self.world.borrow();
        let held = world.connections.iter().filter(|(_, connection)| {
            let near = &connection.ends[0];
            connection.held && near.host == host.0 && near.phase == Phase::Connecting
        });
        let mut held: Vec<PendingConnect> = held
            .map(|(_, connection)| {
                let [near, far] = &connection.ends;
                PendingConnect {
                    serial: connection.serial,
                    token: near.token,
                    from: near.address,
                    to: far.address,
                }
            })
            .collect();
        held.sort_by_key(|connect| connect.serial);
        held
    }

    /// Sends the handshake of a held connect, to the host that has the address now. `false` when it
    /// is no longer held.
    pub fn allow_connect(&self, held: PendingConnect) -> bool {
        let mut world = self.world.borrow_mut();
        let Some(index) = world.release(held) else { return false };
        let to = world.route(index);
        world.start_handshake(index, to);
        true
    }

    /// Fails a held connect with an error. `false` when it is no longer held.
    pub fn fail_connect(&self, held: PendingConnect, errno: Errno) -> bool {
        let mut world = self.world.borrow_mut();
        let Some(index) = world.release(held) else { return false };
        world.connect_fails(index, errno);
        true
    }

    /// Makes this host the gateway: addresses without a host and unknown names lead to it.
    pub fn set_gateway(&self, host: Host) {
        self.world.borrow_mut().gateway = Some(host.0);
    }

    /// Lets a host's processes bind any address, local or not (`ip_nonlocal_bind`).
    pub fn bind_any_address(&self, host: Host) {
        self.world.borrow_mut().host_mut(host.0).binds_any_address = true;
    }

    /// Sets the mean duration of a name look-up. Default: 1 ms.
    pub fn set_look_up_time(&self, mean: Duration) {
        self.world.borrow_mut().mean_lookup = mean;
    }
}

impl World {
    /// Returns the addresses of unknown names.
    pub(in crate::sim) fn gateway_address(&self) -> Option<Vec<IpAddr>> {
        Some(self.host(self.gateway?).addresses.iter().take(1).copied().collect())
    }

    /// Finds the destination host. The address may have moved to another host while the connect was
    /// held.
    fn route(&mut self, index: u32) -> Option<u32> {
        let [near, far] = &self.connections[index as usize].ends;
        let from = near.host;
        let to = self.find_host(from, far.address.ip());
        let remote_host = to.unwrap_or(from);
        let (back, forth) = (self.path(remote_host, from), self.path(from, remote_host));
        let [near, far] = &mut self.connections[index as usize].ends;
        (near.path, far.path, far.host) = (back, forth, remote_host);
        to
    }

    /// Releases a held connect and returns its index.
    fn release(&mut self, held: PendingConnect) -> Option<u32> {
        let mut waiting = self.connections.iter_mut();
        let (index, connection) = waiting.find(|(_, connection)| {
            connection.serial == held.serial
                && connection.held
                && connection.ends[0].phase == Phase::Connecting
        })?;
        connection.held = false;
        Some(index as u32)
    }
}
