//! Where a load goes.

use crate::endpoint::ClientEndpoint;
use crate::{ClientFactory, ConnectTcp, ConnectorId, Error, Reactor, Result};

/// Reads where a load goes: `tcp:HOST:PORT` or `HOST:PORT`. A host name is looked up for each connection.
///
/// # Errors
/// [`Error::BadAddress`].
pub fn endpoint(text: &str) -> Result<Box<dyn ClientEndpoint>> {
    let connect =
        text.strip_prefix("tcp:").unwrap_or(text).parse::<ConnectTcp>().map_err(|error| match error {
            Error::BadAddress(bad) => Error::BadAddress(crate::BadAddress { text: text.to_owned(), ..bad }),
            error => error,
        })?;
    Ok(Box::new(Tcp(connect)))
}

struct Tcp(ConnectTcp);

impl ClientEndpoint for Tcp {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        reactor.connect_tcp(self.0.clone(), factory)
    }

    fn describe(&self) -> String {
        format!("tcp:{}", self.0)
    }
}
