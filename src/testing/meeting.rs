//! How a tested reactor and the other side of a connection come together.

use std::net::{IpAddr, SocketAddr};

use super::peer::Peer;
use super::stage::SharedStage;
use super::watched::Watched;
use crate::sim::{Host, PendingConnect, SocketOptions};
use crate::{Address, ClientFactory, ConnectTcp, Factory, ListenTcp, Protocol, Reactor};

impl Peer {
    /// The reactor listens, for this one connection, and the other side connects.
    #[track_caller]
    pub(super) fn that_connects<P: Protocol>(
        stage: &SharedStage,
        faces: Host,
        (to, from): (SocketAddr, SocketAddr),
        protocol: Watched<P>,
    ) -> Peer {
        let listened = stage.reactor(faces).listen_tcp(ListenTcp::new(to), only(protocol));
        let listener = listened.unwrap_or_else(|error| panic!("{error}"));
        stage.settle();
        let to = listener.address().socket_address().unwrap_or(to);
        let peer = Peer::connect(stage, faces, to, Some(from));
        stage.settle();
        // It is listening until here, unless the protocol has stopped the reactor.
        let mut stage = stage.borrow();
        if !stage.has_stopped(faces) {
            let _ = stage.reactor(faces).stop_listening(&listener);
        }
        peer
    }

    /// The reactor connects, and the other side accepts.
    #[track_caller]
    pub(super) fn that_accepts<P: Protocol>(
        stage: &SharedStage,
        faces: Host,
        (from, to): (SocketAddr, SocketAddr),
        protocol: Watched<P>,
    ) -> Peer {
        let network = stage.network();
        network.hold_connects(faces, true);
        let options = ConnectTcp { bind: Some(from), ..to.into() };
        let connected = stage.reactor(faces).connect_tcp(options, only(protocol));
        connected.unwrap_or_else(|error| panic!("{error}"));
        stage.settle();
        network.hold_connects(faces, false);
        match network.held_connects(faces).pop() {
            Some(held) => Peer::accept(stage, faces, held),
            None => panic!("no connection from {from} to {to} can be asked for"),
        }
    }

    /// Connects to a reactor that listens, from an address, or from any.
    #[track_caller]
    pub(super) fn connect(
        stage: &SharedStage,
        faces: Host,
        mut to: SocketAddr,
        from: Option<SocketAddr>,
    ) -> Peer {
        let (network, elsewhere) = (stage.network(), stage.elsewhere());
        let own = network.addresses(faces);
        if to.ip().is_unspecified() {
            let of_its_family = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4();
            to.set_ip(own.iter().find(of_its_family).copied().unwrap_or(to.ip()));
        } else if !to.ip().is_loopback() && !own.contains(&to.ip()) {
            network.add_address(faces, to.ip());
        }
        let host = if to.ip().is_loopback() { faces } else { elsewhere };
        let options = SocketOptions { bind: from, ..SocketOptions::default() };
        match network.connect(host, to, options) {
            Ok(socket) => {
                let address = socket.local_address().ok().or(from).unwrap_or(to);
                Peer::new(stage.clone(), faces, socket, address)
            }
            Err(error) => panic!("cannot connect to {to}: {error}"),
        }
    }

    /// Accepts a connection that a reactor has asked for.
    #[track_caller]
    pub(super) fn accept(stage: &SharedStage, faces: Host, held: PendingConnect) -> Peer {
        let (network, elsewhere) = (stage.network(), stage.elsewhere());
        let ip = held.to.ip();
        let inside = ip.is_loopback() || network.addresses(faces).contains(&ip);
        let accepted =
            network.listen(if inside { faces } else { elsewhere }, held.to, 1).and_then(|listener| {
                network.allow_connect(held);
                listener.accept()
            });
        match accepted {
            Ok((socket, _)) => Peer::new(stage.clone(), faces, socket, held.to),
            Err(error) => panic!("nobody can accept a connection to {}: {error}", held.to),
        }
    }
}

/// A factory of one protocol.
fn only<P: Protocol>(protocol: P) -> Only<P> {
    Only(Some(protocol))
}

struct Only<P>(Option<P>);

impl<P: Protocol> Factory for Only<P> {
    fn build_protocol(&mut self, _: &mut Reactor, _: &Address) -> Option<Box<dyn Protocol>> {
        self.0.take().map(|protocol| Box::new(protocol) as Box<dyn Protocol>)
    }
}

impl<P: Protocol> ClientFactory for Only<P> {}
