//! Joins each connection with one to another server, and lets neither side run ahead of the other.
//!
//! `cargo run --example proxy [TARGET]`, with `echo_server` running: port 7009 leads to port 7007.

use twistor::{
    Address, ClientFactory, ConnectionId, Connector, Factory, Protocol, Reactor, Reason, Transport,
};

/// One side; the other is its partner.
struct Side {
    target: Option<String>,
    partner: Option<ConnectionId>,
}

impl Side {
    fn with_partner(&self, transport: &mut Transport<'_>, act: impl FnOnce(&mut Transport<'_>)) {
        if let Some(mut partner) = self.partner.and_then(|id| transport.reactor().transport(id)) {
            act(&mut partner);
        }
    }
}

impl Protocol for Side {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        if let Some(target) = self.target.take() {
            // Nothing is read before there is somewhere to send it to.
            transport.pause_reading();
            let client = transport.id();
            if transport.reactor().connect_tcp(target, ToTarget { client }).is_err() {
                transport.abort_connection();
            }
        } else if let Some(client) = self.partner {
            let server = transport.id();
            let joined = transport.reactor().with(client, |side: &mut Side, client| {
                side.partner = Some(server);
                client.resume_reading();
            });
            if joined.is_none() {
                transport.abort_connection();
            }
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        self.with_partner(transport, |partner| partner.write(data));
    }

    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        self.with_partner(transport, |partner| partner.pause_reading());
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        self.with_partner(transport, |partner| partner.resume_reading());
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.with_partner(transport, |partner| partner.lose_write_connection());
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        self.with_partner(transport, |partner| partner.lose_connection());
    }
}

/// The connection to the target, on behalf of a client.
struct ToTarget {
    client: ConnectionId,
}

impl Factory for ToTarget {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        Some(Box::new(Side { target: None, partner: Some(self.client) }))
    }
}

impl ClientFactory for ToTarget {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        println!("{}: {reason}", connector.destination());
        if let Some(mut client) = connector.reactor().transport(self.client) {
            client.abort_connection();
        }
    }
}

fn main() -> twistor::Result<()> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".to_owned());
    let mut reactor = Reactor::new()?;
    let to = target.clone();
    let side = move || Side { target: Some(to.clone()), partner: None };
    let listener = reactor.listen_tcp("127.0.0.1:7009", side)?;
    println!("{} leads to {target}", listener.address());
    reactor.run()
}
