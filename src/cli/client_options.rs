//! Options of commands that make HTTP requests.

use super::{Failure, print_error};
use crate::endpoint::Registry;
use crate::escape::Escaped;
use crate::http::{Client, ClientSettings, Proxies};
use crate::tls::{ClientTls, Roots, TlsConnector, Verification, certificates_from_file};
use clap::Args;

/// Certificates, proxies and the endpoint of HTTP requests.
#[derive(Debug, Args)]
pub(super) struct ClientOptions {
    /// Connect to this endpoint instead of the URL's host: unix:PATH, tcp:HOST:PORT, HOST:PORT
    #[arg(long, value_name = "ENDPOINT")]
    via: Option<String>,

    /// Trust the certificates in this PEM file, and not those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<String>,

    /// Accept any certificate: the server may be anyone
    #[arg(long)]
    insecure: bool,

    /// Proxy for all URLs [default: http_proxy, https_proxy, all_proxy, except for no_proxy]
    #[arg(long, value_name = "URL", conflicts_with = "via")]
    proxy: Option<String>,
}

impl ClientOptions {
    /// Makes a client with these options.
    pub(super) fn client(&self, settings: ClientSettings) -> Result<Client, Failure> {
        let settings = ClientSettings { tls: self.tls()?, proxies: self.proxies()?, ..settings };
        let client = Client::new(settings);
        match &self.via {
            None => Ok(client),
            Some(text) => {
                let endpoint = Registry::default().client_from_argument(text);
                Ok(client.via(endpoint.map_err(|error| Failure::Usage(error.to_string()))?))
            }
        }
    }

    fn tls(&self) -> Result<Option<TlsConnector>, Failure> {
        let alpn = vec![b"http/1.1".to_vec()];
        let options = match (&self.ca, self.insecure) {
            (None, false) => return Ok(None),
            (None, true) => {
                print_error(&"--insecure: no certificate is verified, the server may be anyone");
                ClientTls { verification: Verification::Reported, alpn, ..ClientTls::default() }
            }
            (Some(path), _) => {
                let roots = certificates_from_file(path).map_err(|error| {
                    Failure::Usage(format!("--ca \"{}\": {}", Escaped(path), crate::error_chain(&error)))
                })?;
                ClientTls { roots: Roots::Only(roots), alpn, ..ClientTls::default() }
            }
        };
        let connector = TlsConnector::new(options);
        connector.map(Some).map_err(|error| Failure::Usage(format!("--ca: {}", crate::error_chain(&error))))
    }

    fn proxies(&self) -> Result<Proxies, Failure> {
        let refused = |name: &str, error| Failure::Usage(format!("{name}: {error}"));
        match &self.proxy {
            None => Proxies::from_environment().map_err(|(name, error)| refused(name, error)),
            Some(text) => {
                let proxy = Some(text.parse().map_err(|error| refused("--proxy", error))?);
                Ok(Proxies { http: proxy.clone(), https: proxy, ..Proxies::default() })
            }
        }
    }
}
