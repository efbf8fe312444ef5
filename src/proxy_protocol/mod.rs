//! The PROXY protocol, versions 1 and 2: a proxy sends the client's address to the server behind
//! it.
//!
//! [`behind_proxy`] receives headers on a listener's connections. [`with_proxy_header`] sends a
//! header on a connector's connections. [`Header::parse`] and [`Header::encode`] convert headers
//! without a connection. The format is that of HAProxy's `proxy-protocol.txt`.

mod header;
mod receiving;
mod sending;
mod trusted;
mod version_1;
mod version_2;

pub use self::header::{Header, HeaderError, Side, Value, Version};
pub use self::receiving::{ProxyFactory, ProxyOptions, ReceiveProxyHeader, behind_proxy};
pub use self::sending::{SendProxyHeader, with_proxy_header};
pub use self::trusted::{ParseTrustedError, TrustedProxies};
