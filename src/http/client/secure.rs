//! TLS of the client. Without one of its features, `https` is an error.

#[cfg(feature = "tls-no-provider")]
pub(super) use self::with_tls::Connectors;
#[cfg(not(feature = "tls-no-provider"))]
pub(super) use self::without_tls::Connectors;

#[cfg(feature = "tls-no-provider")]
mod with_tls {
    use crate::http::client::connection::Attempt;
    use crate::http::client::{ClientSettings, FetchError};
    use crate::tls::{ClientTls, TlsConnector};
    use crate::{ClientFactory, Transport};
    use std::cell::RefCell;

    /// The TLS configuration, made when it is first needed.
    pub(in crate::http::client) struct Connectors(RefCell<Option<TlsConnector>>);

    impl Connectors {
        pub(in crate::http::client) fn new(settings: &ClientSettings) -> Connectors {
            Connectors(RefCell::new(settings.tls.clone()))
        }

        /// Puts TLS below the connection of an attempt.
        pub(in crate::http::client) fn wrap(
            &self,
            attempt: Attempt,
            host: &str,
        ) -> Result<Box<dyn ClientFactory>, FetchError> {
            match self.connector()?.factory(attempt, name(host)) {
                Ok(factory) => Ok(Box::new(factory)),
                Err(error) => Err(FetchError::Tls(error.to_string())),
            }
        }

        /// Starts TLS in a tunnel.
        pub(in crate::http::client) fn start(
            &self,
            transport: &mut Transport<'_>,
            host: &str,
        ) -> Result<(), FetchError> {
            let layer = self.connector()?.layer(name(host));
            transport.start_tls(layer.map_err(|error| FetchError::Tls(error.to_string()))?);
            Ok(())
        }

        fn connector(&self) -> Result<TlsConnector, FetchError> {
            if let Some(connector) = &*self.0.borrow() {
                return Ok(connector.clone());
            }
            let options = ClientTls { alpn: vec![b"http/1.1".to_vec()], ..ClientTls::default() };
            let connector = TlsConnector::new(options).map_err(|error| FetchError::Tls(error.to_string()))?;
            *self.0.borrow_mut() = Some(connector.clone());
            Ok(connector)
        }
    }

    /// A certificate has no zone.
    fn name(host: &str) -> &str {
        host.split('%').next().unwrap_or(host)
    }
}

#[cfg(not(feature = "tls-no-provider"))]
mod without_tls {
    use crate::http::client::connection::Attempt;
    use crate::http::client::{ClientSettings, FetchError};
    use crate::{ClientFactory, Transport};

    /// The absence of TLS.
    pub(in crate::http::client) struct Connectors;

    impl Connectors {
        pub(in crate::http::client) fn new(_: &ClientSettings) -> Connectors {
            Connectors
        }

        pub(in crate::http::client) fn wrap(
            &self,
            _: Attempt,
            _: &str,
        ) -> Result<Box<dyn ClientFactory>, FetchError> {
            Err(FetchError::NoTls)
        }

        pub(in crate::http::client) fn start(
            &self,
            _: &mut Transport<'_>,
            _: &str,
        ) -> Result<(), FetchError> {
            Err(FetchError::NoTls)
        }
    }
}
