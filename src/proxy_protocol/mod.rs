//! The PROXY protocol, versions 1 and 2: a proxy tells the server behind it who the client is.
//!
//! [`behind_proxy`] receives headers, for listeners; [`announced`] sends one, for connectors; [`Header::parse`] and
//! [`Header::encode`] are the format alone, after HAProxy's `proxy-protocol.txt`.

mod header;
mod receiving;
mod sending;
mod trusted;
mod version_1;
mod version_2;

pub use self::header::{Header, HeaderError, Side, Value, Version};
pub use self::receiving::{ProxyFactory, ProxyOptions, ReceiveProxyHeader, behind_proxy};
pub use self::sending::{SendProxyHeader, announced};
pub use self::trusted::{ParseTrustedError, TrustedProxies};
