//! `twistor cert`: shows the certificates of a TLS server, and why they are not trusted.

mod json;
mod report;
mod text;

use self::report::{Report, Verdict};
use self::text::Text;
use super::{Failure, Outcome, output, print_error, span, writer};
use crate::endpoint::{ClientEndpoint, Registry};
use crate::escape::Escaped;
use crate::tls::rustls::AlertDescription;
use crate::tls::{
    ClientOptions, ClientTls, RootsFrom, TlsClientText, TlsConfigError, TlsError, Verification, server_name,
};
use crate::{
    BuildContext, ClientFactory, ConnectTcp, Connector, Factory, Protocol, Reactor, Reason, Transport,
};
use clap::Args;
use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Show the certificates of a TLS server, and why they are not trusted.
///
/// ENDPOINT is HOST (port 443), HOST:PORT, tls://HOST:PORT, or an endpoint such as
/// tls:tcp:HOST:PORT:roots=PATH or tls:unix:PATH:name=NAME. A handshake is made, and the connection
/// is closed without data. A certificate that is not trusted is shown as well, with the reason.
///
/// The certificates are those that the server has sent, its own first. They are verified with the
/// roots of the system, or those of --roots, for the name of the host, or that of --name. OCSP
/// responses are not verified.
#[derive(Debug, Args)]
#[command(
    override_usage = "twistor cert [OPTIONS] ENDPOINT",
    after_help = "\
Examples:
  twistor cert example.org
  twistor cert 192.0.2.7:8443 --name example.org
  twistor cert --roots ca.pem tls:localhost:8443
  twistor cert --short --warn 30d example.org || mail -s 'renew it' admin
  twistor cert --json example.org | jq .certificates[0].pin

--short prints one line: the days left (- if unknown), and trusted, expires_soon or the problem: expired,
not_yet_valid, wrong_name, unknown_issuer, self_signed, wrong_usage, revoked, wrong_key, bad_signature,
malformed, other.

--json prints one object: endpoint, name, peer, trusted, problem (null if trusted), why, days_left,
expires_soon, version, cipher, key_exchange, alpn, ocsp_stapled, connect_ms, handshake_ms, certificates.
A certificate has subject, issuer, names, not_before, not_after, days_left, is_ca, key, key_bits,
signature, serial, sha256 (of the certificate), pin (SHA-256 of the public key, as in pin= of
endpoints). Without a handshake: endpoint, name, trusted (null), problem, error.

Exit codes: 0 trusted, 1 not trusted or expires within --warn, 2 bad usage, 9 no handshake."
)]
pub(super) struct Cert {
    /// Server, such as HOST, HOST:PORT or tls:unix:PATH:name=NAME
    endpoint: String,

    /// Name that the certificate must be for, and that the server is asked for [default: the host]
    #[arg(long)]
    name: Option<String>,

    /// PEM file of the roots to trust [default: those of the system]
    #[arg(long, value_name = "PATH")]
    roots: Option<PathBuf>,

    /// Application protocols to offer, with commas; empty for none [default: h2,http/1.1]
    #[arg(long, value_name = "NAMES")]
    alpn: Option<String>,

    /// Exit with 1 if the certificate expires within TIME; 0 for never
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = span::parse)]
    warn: Duration,

    /// Print one line: days left, and trusted or the problem
    #[arg(long, conflicts_with = "json")]
    short: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The server to look at.
struct Server {
    endpoint: Box<dyn ClientEndpoint>,
    name: String,
    options: ClientOptions,
}

/// The reason why there was no handshake.
enum NoHandshake {
    Reason(Reason),
    Interrupted,
}

impl Cert {
    pub(super) fn run(&self) -> Outcome {
        let mut server = self.server()?;
        let chosen = self.alpn.is_some() || !server.options.alpn.is_empty();
        match &self.alpn {
            Some(names) => server.options.alpn = names.split(',').map(str::to_owned).collect(),
            None if !chosen => server.options.alpn = OFFERED.map(str::to_owned).to_vec(),
            None => {}
        }
        server.options.alpn.retain(|name| !name.is_empty());
        if server.options.alpn.iter().any(|name| name.len() > 255) {
            return Err(usage("the name of an application protocol has at most 255 bytes"));
        }
        let mut looked = self.look(&server)?;
        if let Err(NoHandshake::Reason(reason)) = &looked
            && !chosen
            && matches!(TlsError::of(reason), Some(TlsError::Alert(AlertDescription::NoApplicationProtocol)))
        {
            // The server is for another protocol, and does not accept those that were offered.
            server.options.alpn.clear();
            looked = self.look(&server)?;
        }
        match looked {
            Ok(report) => self.print(&report),
            Err(why) => self.print_failure(&server, &why),
        }
    }

    /// Parses endpoint and options.
    fn server(&self) -> Result<Server, Failure> {
        let registry = Registry::default();
        let text = self.endpoint.as_str();
        if let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return Err(usage(format!("{scheme}:// begins a URL; did you mean {host}?")));
        }
        let endpoint = match registry.host_alone(text) {
            Some(host) => registry.client_from_argument(&format!("{host}:{PORT}")),
            None => registry.client_from_argument(text),
        };
        let endpoint = endpoint.map_err(|error| Failure::Usage(error.to_string()))?;
        let any: &dyn Any = &*endpoint;
        let mut server = match any.downcast_ref::<TlsClientText>() {
            Some(tls) => {
                let (name, options) = (tls.name().to_owned(), tls.options().clone());
                Server { endpoint, name, options }
            }
            None => {
                let host = any.downcast_ref::<ConnectTcp>().map(|tcp| server_name(&tcp.host));
                let name = host.or_else(|| self.name.clone()).ok_or_else(|| {
                    usage("the name of the server is missing: add --name NAME, or write tls:..:name=NAME")
                })?;
                Server { endpoint, name, options: ClientOptions::default() }
            }
        };
        if let Some(name) = &self.name {
            server.name.clone_from(name);
        }
        if let Some(roots) = &self.roots {
            server.options.roots = RootsFrom::File(roots.clone());
        }
        // The problem is reported, and not the end.
        server.options.insecure = false;
        Ok(server)
    }

    /// Makes a handshake.
    fn look(&self, server: &Server) -> Result<Result<Report, NoHandshake>, Failure> {
        let bad = |error: TlsConfigError| Failure::Usage(error.to_string());
        let mut reactor = Reactor::new()?;
        output::end_with_stdout(&reactor, false);
        let reported = |options: &mut ClientTls| options.verification = Verification::Reported;
        let connector = server.options.connector_of(&mut reactor, reported).map_err(bad)?;
        let any: &dyn Any = &*server.endpoint;
        let inner = any.downcast_ref::<TlsClientText>().map_or(&*server.endpoint, TlsClientText::inner);
        let result = Rc::<RefCell<Option<Result<Report, Reason>>>>::default();
        let (made, failed) = (Rc::clone(&result), Rc::clone(&result));
        let (endpoint, name, warn) = (self.endpoint.clone(), server.name.clone(), self.warn);
        let look = Look(Some(Box::new(move |transport: &mut Transport<'_>| {
            let Some(info) = transport.tls_info().cloned() else { return };
            let connect_time = transport.connect_time().unwrap_or_default();
            let peer = transport.peer().to_string();
            let now = transport.reactor().system_time();
            *made.borrow_mut() = Some(Ok(Report { endpoint, name, peer, connect_time, now, warn, info }));
        })));
        let factory = Once {
            look: Some(look),
            failed: Box::new(move |reason| *failed.borrow_mut() = Some(Err(reason.clone()))),
        };
        let factory = connector.factory(factory, &server.name).map_err(bad)?;
        inner.connect(&mut reactor, Box::new(factory))?;
        reactor.run()?;
        let result = result.borrow_mut().take();
        Ok(match result {
            Some(Ok(report)) => Ok(report),
            Some(Err(reason)) => Err(NoHandshake::Reason(reason)),
            None => Err(NoHandshake::Interrupted),
        })
    }

    fn print(&self, report: &Report) -> Outcome {
        let verdict = report.verdict();
        if self.json {
            print(&json::document(report))?;
        } else if self.short {
            let days = report.days_left().map_or_else(|| "-".to_owned(), |days| days.to_string());
            print(&format!("{days} {}\n", verdict.name()))?;
        } else {
            let columns =
                output::is_screen(&io::stdout()).then(|| usize::from(output::columns(io::stdout())));
            print(&Text { report, palette: output::palette(), columns }.to_string())?;
        }
        Ok(match verdict {
            Verdict::Trusted => ExitCode::SUCCESS,
            Verdict::NotTrusted(_) | Verdict::ExpiresSoon => ExitCode::FAILURE,
        })
    }

    fn print_failure(&self, server: &Server, why: &NoHandshake) -> Outcome {
        let (problem, text) = match why {
            NoHandshake::Interrupted => {
                ("interrupted", "the command was ended before the handshake".to_owned())
            }
            NoHandshake::Reason(reason) => {
                let problem = TlsError::of(reason).map_or("no_connection", TlsError::name);
                (problem, reason.to_string())
            }
        };
        if self.json {
            print(&json::failure(&self.endpoint, &server.name, problem, &text))?;
        }
        print_error(&format_args!("{}: {text}", self.endpoint));
        Ok(ExitCode::from(NO_HANDSHAKE))
    }
}

/// The factory of the only connection.
struct Once {
    look: Option<Look>,
    failed: Box<dyn Fn(&Reason)>,
}

impl Factory for Once {
    fn build_protocol(&mut self, _: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.look.take().map(|look| Box::new(look) as Box<dyn Protocol>)
    }
}

impl ClientFactory for Once {
    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        let reactor = connector.reactor();
        // A connect that a signal ends has no outcome.
        if !reactor.handle().is_stopping() {
            (self.failed)(reason);
        }
        reactor.stop();
    }

    // The protocol has seen everything.
    fn client_connection_lost(&mut self, _: &mut Connector<'_>, _: &Reason) {}
}

type OnMade = Box<dyn FnOnce(&mut Transport<'_>)>;

/// The protocol of the connection: it looks at the result of the handshake, and closes.
struct Look(Option<OnMade>);

impl Protocol for Look {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        if let Some(look) = self.0.take() {
            look(transport);
        }
        transport.lose_connection();
    }

    fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.reactor().stop();
    }
}

fn usage(why: impl AsRef<str>) -> Failure {
    Failure::Usage(format!("{} (see --help)", Escaped(why.as_ref())))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = writer::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    output::outcome(written.err(), ExitCode::SUCCESS).map(|_| ())
}

/// The port of HTTPS.
const PORT: u16 = 443;

/// Application protocols that are offered. Without an offer, a server chooses none.
const OFFERED: [&str; 2] = ["h2", "http/1.1"];

/// The exit code when there was no handshake, like that of `dig` without an answer.
const NO_HANDSHAKE: u8 = 9;
