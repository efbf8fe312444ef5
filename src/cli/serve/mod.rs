//! `twistor serve`: the files of a directory over HTTP.

use super::{Failure, Outcome, output, writer};
use crate::endpoint::Registry;
use crate::escape::Escaped;
use crate::http::server::{Site, StaticFiles};
use crate::net::system;
use crate::tls::{Identity, ServerTls, TlsAcceptor};
use crate::{Address, Factory, Phase, Reactor, Settings, SystemEvent, files, shared};
use clap::Args;
use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// Serve the files of a directory over HTTP.
///
/// Prints "serving DIR at URL" for each endpoint when all are ready. Nothing outside of DIR is
/// served, for any path and any symbolic link. A directory is answered with its index.html,
/// or with a page that lists it. Names that begin with a dot are hidden.
///
/// SIGINT or SIGTERM ends it: requests in progress are finished, for at most 5 s.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor serve .
  twistor serve /srv/www --listen tcp:8080
  twistor serve site --listen tcp:8443 --tls cert.pem,key.pem
  RUST_LOG=twistor::http::access=info twistor serve .

The last one logs each request in the combined format to stderr.

Endpoints: tcp:PORT, tcp:IP:PORT, tcp6:PORT, unix:PATH, fd:NUMBER, systemd:name=NAME, each with further
key=value arguments after colons; haproxy:ENDPOINT behind a proxy that sends PROXY headers.

Exit codes: 0 ended by a signal, 1 DIR cannot be read or an endpoint cannot be listened on, 2 bad usage.")]
pub(super) struct Serve {
    /// The directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Where to listen; port 0 is any free one [default: tcp:127.0.0.1:8000]
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp:127.0.0.1:8000", hide_default_value = true)]
    listen: Vec<String>,

    /// Serve over TLS, with the certificate chain and the key in these PEM files
    #[arg(long, value_name = "CERT,KEY")]
    tls: Option<String>,

    /// Answer a directory without index.html with 404
    #[arg(long)]
    no_listing: bool,

    /// Serve and list names that begin with a dot
    #[arg(long)]
    hidden: bool,
}

impl Serve {
    pub(super) fn run(&self) -> Outcome {
        let acceptor = self.acceptor()?;
        let endpoints = self.listen.iter().map(|text| {
            let endpoint = Registry::default().server_from_argument(text);
            endpoint.map_err(|error| Failure::Usage(error.to_string()))
        });
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        let max_connections = system::raise_descriptor_limit().saturating_sub(RESERVED).max(1);
        let mut reactor = Reactor::with_settings(Settings { max_connections, ..Settings::default() })?;
        let files = StaticFiles::new(&self.dir).listing(!self.no_listing).hidden(self.hidden);
        let site = shared(Site::new().files("/", files).gzip(true).access_log(true));
        let mut urls = Vec::new();
        for endpoint in endpoints {
            let factory: Box<dyn Factory> = match &acceptor {
                Some(acceptor) => Box::new(acceptor.factory(site.clone())),
                None => Box::new(site.clone()),
            };
            let listener = endpoint.listen(&mut reactor, factory)?;
            urls.push(url(listener.address(), acceptor.is_some()));
        }
        let dir = self.dir.clone();
        let failed = Rc::<RefCell<Option<String>>>::default();
        let why = Rc::clone(&failed);
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Startup, move |reactor, _| {
            // The directory is read once before anything is promised.
            let name = dir.display().to_string();
            let said = Rc::clone(&why);
            let started =
                files::list_beneath(&dir, ".").start(reactor, move |reactor, listed| match listed {
                    Err(error) if !matches!(error.fault, files::FileFault::TooManyEntries { .. }) => {
                        *said.borrow_mut() = Some(error.to_string());
                        reactor.stop();
                    }
                    _ => print_urls(&name, &urls),
                });
            if let Err(error) = started {
                *why.borrow_mut() = Some(error.to_string());
                reactor.stop();
            }
        });
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, |_, _| writer::limit_finish());
        output::end_with_stdout(&reactor, true);
        reactor.run()?;
        match failed.borrow_mut().take() {
            Some(why) => Err(Failure::Run(why)),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn acceptor(&self) -> Result<Option<TlsAcceptor>, Failure> {
        let Some(files) = &self.tls else { return Ok(None) };
        let Some((chain, key)) = files.split_once(',') else {
            let why = "write the two files as CERT,KEY (see --help)";
            return Err(Failure::Usage(format!("bad --tls \"{}\": {why}", Escaped(files))));
        };
        let failure =
            |error: crate::tls::TlsConfigError| Failure::Run(crate::error_chain(&error).to_string());
        let options = ServerTls {
            identities: vec![Identity::from_files(chain, key).map_err(failure)?],
            alpn: vec![b"http/1.1".to_vec()],
            ..ServerTls::default()
        };
        TlsAcceptor::new(options).map_err(failure).map(Some)
    }
}

fn print_urls(dir: &str, urls: &[String]) {
    let mut out = writer::stdout();
    for url in urls {
        // A closed stdout is ignored.
        let _ = writeln!(out, "serving {} at {url}", Escaped(dir));
    }
    let _ = out.flush();
}

fn url(address: &Address, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    match address {
        Address::Tcp(address) if address.ip().is_unspecified() => {
            format!("{scheme}://localhost:{}/", address.port())
        }
        Address::Tcp(address) => format!("{scheme}://{address}/"),
        other => format!("{scheme}+{other}"),
    }
}

/// Descriptors that are not connections: listeners, and files that are being sent.
const RESERVED: usize = 256;
