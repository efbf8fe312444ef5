//! OpenSSL and curl speak to the layer, in both roles and versions.
//!
//! If such a program is not installed, its test prints that on stderr and passes.

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use twistor::Reactor;
use twistor::tls::rustls::{AlertDescription, ProtocolVersion};
use twistor::tls::{
    CertificateDer, ClientCertificates, ClientTls, Identity, ServerTls, TlsAcceptor, TlsConnector, TlsError,
};

use crate::certificates::{Authority, NAME};
use crate::end::{End, Seen, end, finish, listen};
use crate::world::folder::Folder;
use crate::world::{World, free_address, on_the_real_network};

/// Written directly to stderr, so that it is also shown for passing tests.
fn skipped(program: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {program} is not installed");
}

fn is_installed(program: &str) -> bool {
    let asked = Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let installed = asked.is_ok();
    if !installed {
        skipped(program);
    }
    installed
}

/// A child process that is ended on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Certificates and keys as files for other programs.
struct Files {
    folder: Folder,
}

impl Files {
    fn new(authority: &Authority, identity: &Identity) -> Files {
        let folder = Folder::new();
        fs::write(folder.path("root.pem"), pem("CERTIFICATE", &authority.der())).unwrap();
        let chain: String =
            identity.chain().iter().map(|der: &CertificateDer<'_>| pem("CERTIFICATE", der)).collect();
        fs::write(folder.path("chain.pem"), chain).unwrap();
        fs::write(folder.path("key.pem"), pem("PRIVATE KEY", identity.private_key().secret_der())).unwrap();
        Files { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name).display().to_string()
    }
}

/// Runs the reactor until a child has ended. Its output is short: the pipes are read at the end.
fn output_of(reactor: &mut Reactor, mut child: Child, input: &[u8]) -> Output {
    child.stdin.take().unwrap().write_all(input).unwrap();
    while child.try_wait().unwrap().is_none() {
        reactor.iterate(Some(Duration::from_millis(5))).unwrap();
    }
    child.wait_with_output().unwrap()
}

fn piped(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// A server that answers a line and closes.
fn answering() -> (End, Seen) {
    let (server, seen) = end();
    let server = server.acting(|what, transport, data| match what {
        "data" => {
            transport.write(b"got ");
            transport.write(data);
            transport.lose_connection();
        }
        "read lost" => transport.lose_connection(),
        _ => {}
    });
    (server, seen)
}

fn s_client(world: &World, acceptor: &TlsAcceptor, arguments: &[&str]) -> (Output, Seen) {
    let mut reactor = world.reactor();
    let (server, seen) = answering();
    let listener = listen(world, &mut reactor, acceptor.factory(server));
    let address = listener.address().to_string();
    let fixed = ["s_client", "-quiet", "-verify_return_error", "-servername", NAME, "-connect", &address];
    let child = piped("openssl", &[&fixed[..], arguments].concat());
    let output = output_of(&mut reactor, child, b"hello\n");
    finish(world, &mut reactor, &listener);
    (output, seen)
}

#[test]
fn openssl_is_a_client_of_both_versions() {
    on_the_real_network("another program", |world| {
        if !is_installed("openssl") {
            return;
        }
        let authority = Authority::new();
        let files = Files::new(&authority, &authority.issue("client.test"));
        let root = files.path("root.pem");
        for (flag, version) in [("-tls1_2", ProtocolVersion::TLSv1_2), ("-tls1_3", ProtocolVersion::TLSv1_3)]
        {
            let (output, seen) = s_client(world, &authority.acceptor(), &[flag, "-CAfile", &root]);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "got hello\n", "{output:?}");
            assert_eq!((seen.text(), seen.info().version), ("hello\n".into(), version));
            assert_eq!(seen.events().last().unwrap(), "lost Done");
        }
        // It does not trust another root, and its alert says so. No protocol is built.
        let (output, seen) = s_client(world, &Authority::new().acceptor(), &["-CAfile", &root]);
        assert!(!output.status.success());
        assert!(seen.events().is_empty());
        // Older versions are refused.
        let arguments = ["-tls1_1", "-cipher", "ALL@SECLEVEL=0", "-CAfile", &root];
        let (output, seen) = s_client(world, &authority.acceptor(), &arguments);
        assert!(!output.status.success() && seen.events().is_empty());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("SSL alert number"), "{text}");
        // Client certificates.
        let clients = ClientCertificates::Required(authority.roots());
        let options = ServerTls { client_certificates: clients, ..ServerTls::from(authority.issue(NAME)) };
        let acceptor = TlsAcceptor::new(options).unwrap();
        let (chain, key) = (files.path("chain.pem"), files.path("key.pem"));
        let (_, seen) = s_client(world, &acceptor, &["-CAfile", &root, "-cert", &chain, "-key", &key]);
        assert_eq!(seen.info().certificate().unwrap().unwrap().names, ["client.test"]);
        let (_, seen) = s_client(world, &acceptor, &["-CAfile", &root]);
        assert!(seen.events().is_empty());
    });
}

#[test]
fn openssl_is_a_server_of_both_versions() {
    on_the_real_network("another program", |world| {
        if !is_installed("openssl") {
            return;
        }
        let authority = Authority::new();
        let files = Files::new(&authority, &authority.issue(NAME));
        let (chain, key, root) = (files.path("chain.pem"), files.path("key.pem"), files.path("root.pem"));
        for (flags, version, identity, expected) in [
            (&["-tls1_2"][..], ProtocolVersion::TLSv1_2, None, Ok("olleh")),
            (&["-tls1_3"], ProtocolVersion::TLSv1_3, None, Ok("olleh")),
            (&["-Verify", "3"], ProtocolVersion::TLSv1_3, Some("client.test"), Ok("olleh")),
            (&["-Verify", "3"], ProtocolVersion::TLSv1_3, None, Err(AlertDescription::CertificateRequired)),
        ] {
            let address = free_address();
            let at = address.to_string();
            let fixed = ["s_server", "-rev", "-accept", &at, "-cert", &chain, "-key", &key, "-CAfile", &root];
            let mut server = Running(piped("openssl", &[&fixed[..], flags].concat()));
            while TcpStream::connect(address).is_err() {
                assert!(server.0.try_wait().unwrap().is_none(), "openssl ended at once");
                std::thread::sleep(Duration::from_millis(10));
            }
            let mut reactor = world.reactor();
            let options =
                ClientTls { identity: identity.map(|name| authority.issue(name)), ..authority.client() };
            let connector = TlsConnector::new(options).unwrap();
            let (client, seen) = end();
            let client = client.acting(|what, transport, data| match what {
                "made" => transport.write("hello\n"),
                "data" if data.ends_with(b"\n") => transport.lose_connection(),
                _ => {}
            });
            reactor.connect_tcp(address, connector.factory(client, NAME).unwrap()).unwrap();
            world.run_until(&mut reactor, "the end", |_| seen.has_ended());
            world.run_until_idle(&mut reactor);
            match expected {
                Ok(text) => {
                    assert_eq!(seen.text().trim_end(), text, "{:?}", seen.events());
                    assert_eq!(seen.info().version, version);
                }
                Err(alert) => assert_eq!(seen.error(), TlsError::Alert(alert)),
            }
        }
    });
}

#[test]
fn curl_fetches_a_page() {
    on_the_real_network("another program", |world| {
        if !is_installed("curl") {
            return;
        }
        let authority = Authority::new();
        let files = Files::new(&authority, &authority.issue(NAME));
        let root = files.path("root.pem");
        for (trusts, code) in [(false, 60), (true, 0)] {
            let mut reactor = world.reactor();
            let (server, seen) = end();
            let server = server.acting(|what, transport, _| match what {
                "data" => {
                    transport.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                    transport.write(vec![b'x'; 1_000_000]);
                    transport.lose_connection();
                }
                "read lost" => transport.lose_connection(),
                _ => {}
            });
            let listener = listen(world, &mut reactor, authority.acceptor().factory(server));
            let port = listener.address().port().unwrap();
            let resolve = format!("{NAME}:{port}:127.0.0.1");
            let url = format!("https://{NAME}:{port}/");
            let page = files.path("page");
            let mut arguments =
                vec!["--silent", "--max-time", "15", "--output", &page, "--resolve", &resolve, &url];
            if trusts {
                arguments.extend(["--cacert", &root]);
            }
            let output = output_of(&mut reactor, piped("curl", &arguments), b"");
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            // The body is delimited by the end of the connection.
            let length = fs::metadata(&page).map_or(0, |page| page.len());
            assert_eq!(length, if trusts { 1_000_000 } else { 0 });
            finish(world, &mut reactor, &listener);
            assert_eq!(seen.record.has("data"), trusts);
        }
    });
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64(der).as_bytes().chunks(64) {
        text += &format!("{}\n", String::from_utf8_lossy(line));
    }
    text + &format!("-----END {label}-----\n")
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}
