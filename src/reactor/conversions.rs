//! Conversions into option types.

/// Implements `TryFrom` for an option type. Several source types share one conversion.
macro_rules! try_from {
    ($options:ident from $($source:ty),+: $value:ident => $result:expr) => {
        $(impl TryFrom<$source> for $options {
            type Error = crate::reactor::Error;

            fn try_from($value: $source) -> crate::reactor::Result<$options> {
                $result
            }
        })+
    };
}

/// Implements `From` for an option type that has `From<SocketAddr>`: for all pairs of an IP address
/// and a port.
macro_rules! from_ip_and_port {
    ($options:ident from $($source:ty),+) => {
        $(impl From<$source> for $options {
            fn from(address: $source) -> $options {
                $options::from(std::net::SocketAddr::from(address))
            }
        })+
    };
    ($options:ident) => {
        crate::reactor::conversions::from_ip_and_port!($options from
            (std::net::IpAddr, u16),
            (std::net::Ipv4Addr, u16),
            (std::net::Ipv6Addr, u16),
            ([u8; 4], u16),
            std::net::SocketAddrV4,
            std::net::SocketAddrV6
        );
    };
}

/// Implements `From` for the options of a client that has `new(host, port)`.
macro_rules! from_host_and_port {
    ($options:ident from $($source:ty),+) => {
        $(impl From<$source> for $options {
            fn from((host, port): $source) -> $options {
                $options::new(host, port)
            }
        })+
    };
}

/// Implements `TryFrom<&Address>` for an option type that has `From<SocketAddr>`.
macro_rules! try_from_address {
    ($options:ident) => {
        /// Converts one of this program's own addresses, to use it again.
        impl TryFrom<&crate::reactor::Address> for $options {
            type Error = crate::reactor::Error;

            fn try_from(address: &crate::reactor::Address) -> crate::reactor::Result<$options> {
                address.socket_address().map($options::from).ok_or_else(|| {
                    crate::reactor::BadAddress {
                        text: address.to_string(),
                        why: crate::reactor::conversions::NO_IP,
                    }
                    .into()
                })
            }
        }
    };
}

/// The fault of an address that is not of the IP family.
pub(in crate::reactor) const NO_IP: &str = "not an IP address with a port";

pub(in crate::reactor) use {from_host_and_port, from_ip_and_port, try_from, try_from_address};
