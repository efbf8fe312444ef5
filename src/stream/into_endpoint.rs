//! Conversions to endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::endpoint::{ClientEndpoint, DatagramEndpoint, ParseError, Registry, ServerEndpoint};
use crate::{Address, ConnectTcp, ConnectUnix, Error, ListenTcp, ListenUdp};

/// A conversion to an endpoint of kind `E`, from text or from a value.
///
/// | kind | text | values |
/// |---|---|---|
/// | client, `dyn ClientEndpoint` | `"tcp:example.org:80:timeout=5"`, `"unix:/run/app.sock"`, or just `"example.org:80"` | every [`ClientEndpoint`], `SocketAddr`, `(host, port)`, [`Address`] |
/// | server, `dyn ServerEndpoint` | `"tcp:80:interface=127.0.0.1"`, or just `"127.0.0.1:80"` | every [`ServerEndpoint`], `SocketAddr`, `(address, port)` |
/// | datagrams, `dyn DatagramEndpoint` | `"udp:53"`, `"udp:127.0.0.1:53"` | [`ListenUdp`], [`ConnectUdp`](crate::ConnectUdp), `SocketAddr` or `(address, port)` to receive at |
pub trait IntoEndpoint<E: ?Sized> {
    /// Converts to the endpoint.
    ///
    /// # Errors
    /// The syntax error of the text.
    fn into_endpoint(self) -> Result<Box<E>, ParseError>;
}

// -- clients --

impl<E: ClientEndpoint> IntoEndpoint<dyn ClientEndpoint> for E {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        Ok(Box::new(self))
    }
}

impl IntoEndpoint<dyn ClientEndpoint> for &str {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        Registry::default().client_from_argument(self)
    }
}

impl IntoEndpoint<dyn ClientEndpoint> for &String {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        self.as_str().into_endpoint()
    }
}

impl IntoEndpoint<dyn ClientEndpoint> for String {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        self.as_str().into_endpoint()
    }
}

impl IntoEndpoint<dyn ClientEndpoint> for SocketAddr {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        Ok(Box::new(ConnectTcp::from(self)))
    }
}

/// Implements the conversion for pairs of a host and a port.
macro_rules! host_and_port {
    ($endpoint:ident by $options:ident from $($source:ty),+) => {
        $(impl IntoEndpoint<dyn $endpoint> for $source {
            fn into_endpoint(self) -> Result<Box<dyn $endpoint>, ParseError> {
                $options::try_from(self).map(|options| Box::new(options) as _).map_err(bad_address)
            }
        })+
    };
    ($endpoint:ident by $options:ident) => {
        host_and_port!($endpoint by $options from
            (&str, u16), (String, u16), (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));
    };
}

host_and_port!(ClientEndpoint by ConnectTcp);
host_and_port!(ServerEndpoint by ListenTcp);
host_and_port!(DatagramEndpoint by ListenUdp);

fn bad_address(error: impl Into<Error>) -> ParseError {
    let (text, why) = match error.into() {
        Error::BadAddress(bad) => (bad.text, bad.why.to_owned()),
        error => (String::new(), error.to_string()),
    };
    ParseError { text, position: 0, key: None, why }
}

impl IntoEndpoint<dyn ClientEndpoint> for &Address {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        match self {
            Address::Tcp(address) => (*address).into_endpoint(),
            Address::Unix(address) => Ok(Box::new(ConnectUnix::new(address.clone()))),
            Address::Udp(_) | Address::Pipe => Err(ParseError {
                text: self.to_string(),
                position: 0,
                key: None,
                why: "nothing connects to it as a stream".to_owned(),
            }),
        }
    }
}

impl IntoEndpoint<dyn ClientEndpoint> for Address {
    fn into_endpoint(self) -> Result<Box<dyn ClientEndpoint>, ParseError> {
        (&self).into_endpoint()
    }
}

// -- servers --

impl<E: ServerEndpoint> IntoEndpoint<dyn ServerEndpoint> for E {
    fn into_endpoint(self) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        Ok(Box::new(self))
    }
}

impl IntoEndpoint<dyn ServerEndpoint> for &str {
    fn into_endpoint(self) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        Registry::default().server_from_argument(self)
    }
}

impl IntoEndpoint<dyn ServerEndpoint> for &String {
    fn into_endpoint(self) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        self.as_str().into_endpoint()
    }
}

impl IntoEndpoint<dyn ServerEndpoint> for String {
    fn into_endpoint(self) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        self.as_str().into_endpoint()
    }
}

impl IntoEndpoint<dyn ServerEndpoint> for SocketAddr {
    fn into_endpoint(self) -> Result<Box<dyn ServerEndpoint>, ParseError> {
        Ok(Box::new(ListenTcp::from(self)))
    }
}

// -- datagrams --

impl<E: DatagramEndpoint> IntoEndpoint<dyn DatagramEndpoint> for E {
    fn into_endpoint(self) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        Ok(Box::new(self))
    }
}

impl IntoEndpoint<dyn DatagramEndpoint> for &str {
    fn into_endpoint(self) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        Registry::default().datagram_from_string(self)
    }
}

impl IntoEndpoint<dyn DatagramEndpoint> for &String {
    fn into_endpoint(self) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        self.as_str().into_endpoint()
    }
}

impl IntoEndpoint<dyn DatagramEndpoint> for String {
    fn into_endpoint(self) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        self.as_str().into_endpoint()
    }
}

impl IntoEndpoint<dyn DatagramEndpoint> for SocketAddr {
    fn into_endpoint(self) -> Result<Box<dyn DatagramEndpoint>, ParseError> {
        Ok(Box::new(ListenUdp::from(self)))
    }
}
