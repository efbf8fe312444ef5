//! A connection that begins in plain text and changes to TLS on the client's request, as in SMTP,
//! IMAP and XMPP. The server is a protocol of lines, the client a task.
//!
//! `cargo run --example starttls` runs both. The last client tries to inject a command.

use std::error::Error;

use twistor::framing::{LineReceiver, LineTransport, Lines};
use twistor::stream::open_connection;
use twistor::tls::{ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConnector, certificates_from_pem};
use twistor::{Address, Handle, Reason, println_or_exit};

struct Session {
    acceptor: TlsAcceptor,
    secure: bool,
}

impl LineReceiver for Session {
    fn line_received(&mut self, transport: &mut LineTransport<'_>, line: &[u8]) {
        match line {
            b"STARTTLS" if !self.secure => {
                // The answer leaves in plain text. All that follows the line is the handshake's.
                transport.send_line("220 go ahead");
                transport.start_tls(self.acceptor.layer());
            }
            b"PASSWORD" if !self.secure => transport.send_line("530 only in private"),
            b"PASSWORD" => transport.send_line("235 welcome"),
            _ => transport.send_line("500 unknown command"),
        }
    }

    fn layers_ready(&mut self, _: &mut LineTransport<'_>) {
        self.secure = true;
    }

    fn connection_lost(&mut self, transport: &mut LineTransport<'_>, reason: &Reason) {
        println_or_exit!("server  {} went: {reason}", transport.peer());
    }
}

async fn polite(server: &Address, connector: &TlsConnector) -> Result<(), Box<dyn Error>> {
    let (mut reader, writer) = open_connection(server).await?;
    for command in ["PASSWORD", "STARTTLS"] {
        writer.write_sequence(&[command.as_bytes(), b"\r\n"]);
        let answer = reader.read_line().await?.unwrap_or_default();
        println_or_exit!("client  {command}: {}", answer.escape_ascii());
    }
    writer.start_tls(&mut reader, connector.layer("localhost")?).await?;
    writer.write(b"PASSWORD\r\n");
    let answer = reader.read_line().await?.unwrap_or_default();
    println_or_exit!("client  PASSWORD over TLS: {}", answer.escape_ascii());
    Ok(())
}

/// Sends a command behind STARTTLS, which a careless server would carry out after the handshake.
async fn injecting(server: &Address) -> Result<(), Box<dyn Error>> {
    let (mut reader, writer) = open_connection(server).await?;
    writer.write(b"STARTTLS\r\nPASSWORD\r\n");
    println_or_exit!("client  injected: {}", reader.read_line().await?.unwrap_or_default().escape_ascii());
    // The answer to the second command: an alert, and the end.
    println_or_exit!("client  then: {}", reader.read_to_end(64).await?.escape_ascii());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem())?;
    let acceptor = TlsAcceptor::new(ServerTls::from(identity))?;
    let roots = Roots::Only(certificates_from_pem(made.cert.pem().as_bytes())?);
    let connector = TlsConnector::new(ClientTls { roots, ..ClientTls::default() })?;
    twistor::block_on(async move {
        let session = move || Lines::new(Session { acceptor: acceptor.clone(), secure: false });
        let listener =
            Handle::current()?.with_reactor(|reactor| reactor.listen_tcp("127.0.0.1:0", session))??;
        polite(listener.address(), &connector).await?;
        injecting(listener.address()).await
    })?
}
