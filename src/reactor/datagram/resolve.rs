//! UDP sockets with a peer given by host name. The socket has an ID at once, and is opened when the
//! lookup completes.

use std::net::SocketAddr;

use crate::net::Token;
use crate::reactor::connect::happy_eyeballs::RankedFailure;
use crate::reactor::datagram::options::MAX_SIZE_LIMIT;
use crate::reactor::datagram::{DatagramSlot, State};
use crate::reactor::registry::Source;
use crate::reactor::turn::queues::Callback;
use crate::reactor::{Address, ConnectTcp, DatagramId, DatagramProtocol, ListenUdp, Reactor, Reason, Result};

impl Reactor {
    /// As [`open_udp`](Reactor::open_udp) with a peer given by host name. The socket is connected
    /// to the first address for which that succeeds. Writes are queued until then. If no address
    /// works, `stop_protocol` is called.
    pub(in crate::reactor) fn open_udp_to(
        &mut self,
        host: &str,
        port: u16,
        options: &ListenUdp,
        protocol: Box<dyn DatagramProtocol>,
    ) -> Result<DatagramId> {
        let asked = ConnectTcp::new(host, port);
        asked.check().map_err(|why| crate::reactor::BadAddress { text: format!("{host}:{port}"), why })?;
        self.check_not_stopping()?;
        let slot = DatagramSlot::resolving(protocol, options.address, options.max_size.min(MAX_SIZE_LIMIT));
        let token = self.registry.insert(Source::Datagram(Box::new(slot)));
        let (name, options) = (host.to_owned(), options.clone());
        let asked = self.resolve(host, port, move |reactor, found| {
            reactor.peer_resolved(token, &name, &options, found);
        });
        match asked {
            Ok(lookup) => {
                if let Some(slot) = self.registry.datagram_mut(token) {
                    slot.lookup = Some(lookup);
                }
                Ok(DatagramId(token))
            }
            Err(error) => {
                self.registry.remove(token);
                Err(error)
            }
        }
    }

    fn peer_resolved(
        &mut self,
        token: Token,
        name: &str,
        options: &ListenUdp,
        found: Result<Vec<SocketAddr>, Reason>,
    ) {
        // The socket may have been closed meanwhile.
        if self.registry.datagram(token).is_none_or(|slot| slot.state != State::Resolving) {
            return;
        }
        match found.and_then(|addresses| self.open_to_one_of(token, name, options, &addresses)) {
            Ok(()) => self.queues.callbacks.push(Callback::StartDatagram(token)),
            Err(reason) => {
                self.stop_datagram(token, reason);
            }
        }
    }

    fn open_to_one_of(
        &mut self,
        token: Token,
        name: &str,
        options: &ListenUdp,
        addresses: &[SocketAddr],
    ) -> Result<(), Reason> {
        let mut failure = None;
        for address in addresses {
            let (options, peer) = options.with_peer(*address);
            if options.address.is_ipv4() && peer.is_ipv6() {
                continue;
            }
            match self.net.open(token, &options.open(Some(peer))) {
                Err(failed) => RankedFailure::note_opening(&mut failure, &failed, peer.is_ipv6()),
                Ok(()) => match self.datagram_addresses(token, Some(Address::Udp(peer))) {
                    Ok((host, peer, connected_peer)) => {
                        if let Some(slot) = self.registry.datagram_mut(token) {
                            slot.opened(host, peer, connected_peer);
                        }
                        return Ok(());
                    }
                    Err(error) => {
                        RankedFailure::note(&mut failure, Reason::of_connect(&error, "getsockname"))
                    }
                },
            }
        }
        let why = "no address of the socket's address family".to_owned();
        Err(failure.map_or(Reason::Unresolved { host: name.to_owned(), why }, RankedFailure::into_reason))
    }
}
