//! Listening, connecting and datagrams take the same forms of an address, and an error names it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use twistor::{Address, ConnectTcp, ConnectUdp, Error, ListenTcp, ListenUdp, UnixAddress};

fn converted<T, A>(address: A) -> Result<T, Error>
where
    A: TryInto<T>,
    A::Error: Into<Error>,
{
    address.try_into().map_err(Into::into)
}

/// One address in all forms, converted to one type of options.
macro_rules! forms {
    ($options:ident) => {{
        let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let (text, host) = ("127.0.0.1:80".to_owned(), "127.0.0.1".to_owned());
        let own = Address::Tcp(SocketAddr::from((v4, 80)));
        for (form, options) in [
            ("text", converted::<$options, _>("127.0.0.1:80")),
            ("text", converted(&text)),
            ("text", converted(text.clone())),
            ("host and port", converted(("127.0.0.1", 80))),
            ("host and port", converted((&host, 80))),
            ("host and port", converted((host.clone(), 80))),
            ("address and port", converted((IpAddr::from(v4), 80))),
            ("address and port", converted((v4, 80))),
            ("address and port", converted(([127, 0, 0, 1], 80))),
            ("socket address", converted(SocketAddr::from((v4, 80)))),
            ("socket address", converted(SocketAddrV4::new(v4, 80))),
            ("own address", converted(&own)),
        ] {
            assert_eq!(options.unwrap(), $options::from((v4, 80)), "{form}");
        }
        for (form, options) in [
            ("text", converted::<$options, _>("[::1]:80")),
            ("host and port", converted(("::1", 80))),
            ("address and port", converted((v6, 80))),
            ("socket address", converted(SocketAddrV6::new(v6, 80, 0, 0))),
        ] {
            assert_eq!(options.unwrap(), $options::from((v6, 80)), "{form}");
        }
        let named = Address::Unix(UnixAddress::of_path("/run/x").unwrap());
        let error = converted::<$options, _>(&named).unwrap_err().to_string();
        assert_eq!(error, "bad address \"/run/x\": not an IP address with a port");
    }};
}

#[test]
fn every_form_is_taken_by_all_options() {
    forms!(ListenTcp);
    forms!(ConnectTcp);
    forms!(ListenUdp);
    forms!(ConnectUdp);
}

#[test]
fn localhost_and_a_port_can_be_listened_on() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
    assert_eq!(converted::<ListenTcp, _>(("localhost", 7)).unwrap().address, address);
    assert_eq!(converted::<ListenUdp, _>(("localhost", 7)).unwrap().address, address);
}

#[test]
fn a_bad_host_is_named_with_its_port() {
    for (host, text) in [
        ("example.org", "\"example.org:80\": the host to listen on must be an IP address"),
        ("", "\":80\": the host is missing, such as 0.0.0.0 for all IPv4 addresses"),
        ("fe80::1", "\"[fe80::1]:80\": a link-local address needs a zone, such as fe80::1%eth0"),
    ] {
        for error in [
            converted::<ListenTcp, _>((host, 80)).unwrap_err(),
            converted::<ListenUdp, _>((host, 80)).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), format!("bad address {text}"));
        }
    }
}
