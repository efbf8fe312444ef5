//! A server with TLS 1.3, whose instructions are counted, and its clients: sessions of rustls on blocking sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::CertifiedKey;
use twistor::tls::rustls::client::Resumption;
use twistor::tls::rustls::crypto::ring;
use twistor::tls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use twistor::tls::{Identity, ServerTls, TlsAcceptor, certificates_from_pem};
use twistor::{Protocol, Transport};

use super::counted::reactor;
use super::support::Result;

/// Connections of the echoed messages.
pub const CONNECTIONS: usize = 64;

/// Bytes of a message.
const MESSAGE: usize = 64;

type Client = StreamOwned<ClientConnection, TcpStream>;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

/// Serves this number of connections, which it makes to the peer as the TLS server, until all are closed.
pub fn echo(peer: SocketAddr, connections: usize) -> Result<u64> {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    // The first connection brings the certificate, which the clients trust.
    TcpStream::connect(peer)?.write_all(cert.pem().as_bytes())?;
    let identity = Identity::from_pem(cert.pem(), signing_key.serialize_pem())?;
    let acceptor = TlsAcceptor::new(ServerTls::from(identity))?;
    let mut reactor = reactor()?;
    for _ in 0..connections {
        reactor.connect_tcp(peer, acceptor.factory(|| Echo))?;
        if connections != CONNECTIONS {
            // One after the other.
            while reactor.resource_count() > 0 {
                reactor.iterate(None)?;
            }
        }
    }
    while reactor.resource_count() > 0 {
        reactor.iterate(None)?;
    }
    Ok(connections as u64)
}

/// Accepts the connections, as TLS clients, and sends messages on each of them.
pub fn send(listener: &TcpListener, connections: usize, messages: usize) -> Result<()> {
    let mut pem = Vec::new();
    listener.accept()?.0.read_to_end(&mut pem)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates_from_pem(&pem)? {
        roots.add(certificate)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each handshake is a full one.
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    let accept = || -> Result<Client> {
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        let client = ClientConnection::new(Arc::clone(&config), "localhost".try_into()?)?;
        Ok(StreamOwned::new(client, stream))
    };
    let echo_on = |clients: &mut [Client]| -> Result<()> {
        let mut echo = [0; MESSAGE];
        for client in &mut *clients {
            client.write_all(&[b'x'; MESSAGE])?;
            client.flush()?;
        }
        clients.iter_mut().try_for_each(|client| Ok(client.read_exact(&mut echo)?))
    };
    if connections != CONNECTIONS {
        return (0..connections).try_for_each(|_| {
            let mut client = accept()?;
            echo_on(std::slice::from_mut(&mut client))?;
            client.conn.send_close_notify();
            client.conn.complete_io(&mut client.sock)?;
            Ok(())
        });
    }
    let mut clients = (0..connections).map(|_| accept()).collect::<Result<Vec<_>>>()?;
    for _ in 0..messages {
        echo_on(&mut clients)?;
    }
    for client in &mut clients {
        client.conn.send_close_notify();
        client.conn.complete_io(&mut client.sock)?;
    }
    Ok(())
}
