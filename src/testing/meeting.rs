//! Connecting a tested reactor to a [`Peer`].

use std::net::{IpAddr, SocketAddr};

use super::peer::Peer;
use super::stage::SharedStage;
use super::watched::Watched;
use crate::sim::{Host, PendingConnect, SocketOptions};
use crate::{BuildContext, ClientFactory, ConnectTcp, Factory, ListenTcp, Protocol};

impl Peer {
    /// Makes one connection: the reactor listens, and the peer connects.
    #[track_caller]
    pub(super) fn that_connects<P: Protocol>(
        stage: &SharedStage,
        reactor_host: Host,
        (to, from): (SocketAddr, SocketAddr),
        protocol: Watched<P>,
    ) -> Peer {
        let listened = stage.reactor(reactor_host).listen_tcp(ListenTcp::new(to), only(protocol));
        let listener = listened.unwrap_or_else(|error| panic!("{error}"));
        stage.run_due_events();
        let to = listener.address().socket_address().unwrap_or(to);
        let peer = Peer::connect(stage, reactor_host, to, Some(from));
        stage.run_due_events();
        // The listener closes here, unless the protocol has stopped the reactor.
        let mut stage = stage.borrow();
        if !stage.has_stopped(reactor_host) {
            let _ = stage.reactor(reactor_host).stop_listening(&listener);
        }
        peer
    }

    /// Makes one connection: the reactor connects, and the peer accepts.
    #[track_caller]
    pub(super) fn that_accepts<P: Protocol>(
        stage: &SharedStage,
        reactor_host: Host,
        (from, to): (SocketAddr, SocketAddr),
        protocol: Watched<P>,
    ) -> Peer {
        let network = stage.network();
        network.hold_connects(reactor_host, true);
        let options = ConnectTcp { bind: Some(from), ..to.into() };
        let connected = stage.reactor(reactor_host).connect_tcp(options, only(protocol));
        connected.unwrap_or_else(|error| panic!("{error}"));
        stage.run_due_events();
        network.hold_connects(reactor_host, false);
        match network.held_connects(reactor_host).pop() {
            Some(held) => Peer::accept(stage, reactor_host, held),
            None => panic!("cannot connect from {from} to {to}"),
        }
    }

    /// Connects to a listening reactor; `from` is the peer's address, or `None` for any.
    #[track_caller]
    pub(super) fn connect(
        stage: &SharedStage,
        reactor_host: Host,
        mut to: SocketAddr,
        from: Option<SocketAddr>,
    ) -> Peer {
        let (network, gateway) = (stage.network(), stage.gateway());
        let own = network.addresses(reactor_host);
        if to.ip().is_unspecified() {
            let of_its_family = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4();
            to.set_ip(own.iter().find(of_its_family).copied().unwrap_or(to.ip()));
        } else if !to.ip().is_loopback() && !own.contains(&to.ip()) {
            network.add_address(reactor_host, to.ip());
        }
        let host = if to.ip().is_loopback() { reactor_host } else { gateway };
        let options = SocketOptions { bind: from, ..SocketOptions::default() };
        match network.connect(host, to, options) {
            Ok(socket) => {
                let address = socket.local_address().ok().or(from).unwrap_or(to);
                Peer::new(stage.clone(), reactor_host, socket, address)
            }
            Err(error) => panic!("cannot connect to {to}: {error}"),
        }
    }

    /// Accepts a reactor's held connect.
    #[track_caller]
    pub(super) fn accept(stage: &SharedStage, reactor_host: Host, held: PendingConnect) -> Peer {
        let (network, gateway) = (stage.network(), stage.gateway());
        let ip = held.to.ip();
        let inside = ip.is_loopback() || network.addresses(reactor_host).contains(&ip);
        let accepted =
            network.listen(if inside { reactor_host } else { gateway }, held.to, 1).and_then(|listener| {
                network.allow_connect(held);
                listener.accept()
            });
        match accepted {
            Ok((socket, _)) => Peer::new(stage.clone(), reactor_host, socket, held.to),
            Err(error) => panic!("cannot accept a connection to {}: {error}", held.to),
        }
    }
}

/// Returns a factory that builds one protocol, once.
fn only<P: Protocol>(protocol: P) -> Only<P> {
    Only(Some(protocol))
}

struct Only<P>(Option<P>);

impl<P: Protocol> Factory for Only<P> {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.0.take().map(|protocol| Box::new(protocol) as Box<dyn Protocol>)
    }
}

impl<P: Protocol> ClientFactory for Only<P> {}
