//! An echo server and a client over TLS, with a certificate that is made at the start.
//!
//! `cargo run --example tls_echo` runs both; `cargo run --example tls_echo 127.0.0.1:7443` only
//! serves there until Ctrl-C, for example for
//! `openssl s_client -connect 127.0.0.1:7443 -servername localhost`.

use std::error::Error;

use twistor::tls::{ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConnector, certificates_from_pem};
use twistor::{ClientFactory, Protocol, Reactor, Reason, Transport, println_or_exit};

/// The same protocol as without TLS.
struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        // The handshake is completed.
        if let Some(tls) = transport.tls_info() {
            println_or_exit!("server  {:?} with {}", tls.version, transport.peer());
        }
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

struct Client;

impl Protocol for Client {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        if let Some(Ok(certificate)) = transport.tls_info().and_then(|tls| tls.certificate()) {
            println_or_exit!("client  the server is {}", certificate.names.join(", "));
        }
        transport.write("hello in private");
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        println_or_exit!("client  got {}", data.escape_ascii());
        transport.lose_connection();
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        println_or_exit!("client  {reason}");
        transport.reactor().stop();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // A real server reads files: `Identity::from_files("chain.pem", "key.pem")`.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem())?;
    let acceptor = TlsAcceptor::new(ServerTls::from(identity))?;

    let mut reactor = Reactor::new()?;
    let address = std::env::args().nth(1);
    let listener =
        reactor.listen_tcp(address.as_deref().unwrap_or("127.0.0.1:0"), acceptor.factory(|| Echo))?;
    println_or_exit!("server  listens on {}", listener.address());
    if address.is_none() {
        // A client of public servers takes `ClientTls::default()`: the system's roots.
        let roots = Roots::Only(certificates_from_pem(made.cert.pem().as_bytes())?);
        let connector = TlsConnector::new(ClientTls { roots, ..ClientTls::default() })?;
        let client = (|| Client).on_failure(|connector, reason| {
            println_or_exit!("no connection to {}: {reason}", connector.destination());
            connector.reactor().stop();
        });
        reactor.connect_tcp(listener.address(), connector.factory(client, "localhost")?)?;
    }
    Ok(reactor.run()?)
}
