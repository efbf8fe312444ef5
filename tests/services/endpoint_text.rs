//! An endpoint's text listens and connects as its options say, and what is wrong with it is said before anything begins.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::{Record, Recorder, idle_protocol, on_each_back_end, once};
use twistor::endpoint::{
    Argument, ParseError, Registry, client_from_string, connect_protocol, quote_argument, server_from_string,
};
use twistor::{ConnectTcp, ListenTcp, Reason, Transport};

fn server_error(text: &str) -> ParseError {
    server_from_string(text).err().unwrap_or_else(|| panic!("{text} is taken"))
}

fn client_error(text: &str) -> ParseError {
    client_from_string(text).err().unwrap_or_else(|| panic!("{text} is taken"))
}

#[test]
fn a_server_and_a_client_from_text_meet() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let server = server_from_string("tcp:0:interface=127.0.0.1:backlog=50").unwrap();
        let listener = server.listen(&mut reactor, Box::new(|| idle_protocol().closing())).unwrap();
        assert_eq!(listener.address().ip(), Some("127.0.0.1".parse().unwrap()));
        let text = format!("tcp:127.0.0.1:{}:timeout=5", listener.address().port().unwrap());
        let client = client_from_string(&text).unwrap();
        assert_eq!(client.describe(), text);
        let asks = Recorder::new(&record).acting(|what, transport, _| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        client.connect(&mut reactor, Box::new(once(asks, &record))).unwrap();
        world.run_until(&mut reactor, "stopped", |_| record.has("stopped"));
        // The factory hears of the loss as well: an endpoint hides nothing from it.
        assert_eq!(record.events(), ["started", "connecting", "made", "lost Done", "gone Done", "stopped"]);
        world.close(&mut reactor, &listener);
    });
}

#[test]
fn text_sets_what_the_options_are_called() {
    let server = server_from_string(
        "tcp:8080:interface=::1:backlog=7:reuse_address=no:reuse_port=yes:nodelay=no:keepalive=30s:user_timeout=8500ms:send_buffer=1:receive_buffer=2:ipv6_only=yes",
    );
    let server = server.unwrap();
    let server: &dyn Any = &*server;
    assert_eq!(
        server.downcast_ref::<ListenTcp>().unwrap(),
        &ListenTcp {
            backlog: 7,
            reuse_address: false,
            reuse_port: true,
            nodelay: false,
            keepalive: Some(Duration::from_secs(30)),
            user_timeout: Some(Duration::from_millis(8500)),
            send_buffer: Some(1),
            receive_buffer: Some(2),
            ipv6_only: Some(true),
            ..ListenTcp::new((std::net::Ipv6Addr::LOCALHOST, 8080))
        }
    );
    let client = client_from_string(
        "tcp:[::1]:80:timeout=250ms:attempt_delay=0.1:bind=127.0.0.1:5000:reuse_address=yes:nodelay=no:keepalive=2m:user_timeout=1m:send_buffer=1:receive_buffer=2",
    );
    let client = client.unwrap();
    let client: &dyn Any = &*client;
    assert_eq!(
        client.downcast_ref::<ConnectTcp>().unwrap(),
        &ConnectTcp {
            timeout: Duration::from_millis(250),
            attempt_delay: Duration::from_millis(100),
            bind: Some("127.0.0.1:5000".parse().unwrap()),
            reuse_address: true,
            nodelay: false,
            keepalive: Some(Duration::from_secs(120)),
            user_timeout: Some(Duration::from_secs(60)),
            send_buffer: Some(1),
            receive_buffer: Some(2),
            ..ConnectTcp::new("::1", 80)
        }
    );
}

#[test]
fn a_parse_error_names_its_column_and_what_is_expected() {
    for (error, position, key, said) in [
        (server_error(""), 0, Some(""), "tcp"),
        (server_error("tpc:80"), 0, Some("tpc"), "did you mean tcp?"),
        (server_error("TCP:80"), 0, Some("TCP"), "did you mean tcp?"),
        (server_error("tcp"), 3, Some("port"), "missing"),
        (server_error("tcp:"), 4, Some("port"), "not a number"),
        (server_error("tcp:65536"), 4, Some("port"), "65536 is too large"),
        (server_error("tcp:http"), 4, Some("port"), "\"http\" is not a number"),
        (server_error("tcp:80:81"), 7, None, "\"81\" is one argument too many"),
        (server_error("tcp:80:zz=1"), 7, Some("zz"), "interface, backlog"),
        (server_error("tcp:80:port=81"), 7, Some("port"), "twice"),
        (server_error("tcp:80:backlog=5:backlog=6"), 17, Some("backlog"), "twice"),
        (server_error("tcp:80:backlog=many"), 15, Some("backlog"), "\"many\" is not a number"),
        (server_error("tcp:80:interface=example.org"), 17, Some("interface"), "not an IP address"),
        (server_error("tcp:80:reuse_port=perhaps"), 18, Some("reuse_port"), "yes or no"),
        (server_error("tcp6:80:interface=127.0.0.1"), 0, None, "IPv4"),
        (client_error("tcp:example.org"), 15, Some("port"), "missing"),
        (client_error("tcp:example.org:0"), 16, Some("port"), "port 0"),
        (client_error("tcp::80"), 4, Some("host"), "missing"),
        (client_error("tcp:a..b:80"), 4, Some("host"), "host name"),
        (client_error("tcp:h:80:timeout=0"), 17, Some("timeout"), "greater than 0"),
        (client_error("tcp:h:80:timeout=soon"), 17, Some("timeout"), "seconds"),
        (client_error("tcp:h:80:bind=here"), 14, Some("bind"), "not an IP address"),
        (client_error("tcp6:h:80"), 0, Some("tcp6"), "did you mean tcp?"),
        (client_error(r"tcp:h:80\"), 8, None, "backslash"),
    ] {
        assert_eq!((error.position, error.key.as_deref()), (position, key), "{error}");
        let text = error.to_string();
        assert!(text.contains(said), "{text}");
        assert!(text.contains(&format!("at column {}", position + 1)) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn any_text_is_an_endpoint_or_an_error_never_a_panic() {
    // Pieces that mean something, in any order: three at a time, with and without the colon between.
    let pieces = [
        "tcp", "tcp6", "unix", "fd", ":", "=", r"\", "[", "[::1]", "80", "-1", "é", "port=", "@", "%", "\0",
        "",
    ];
    let registry = Registry::default();
    for first in pieces {
        for second in pieces {
            for third in pieces {
                for text in [format!("{first}{second}{third}"), format!("{first}:{second}:{third}")] {
                    for error in [
                        registry.server_from_string(&text).err(),
                        registry.client_from_string(&text).err(),
                        registry.server_from_argument(&text).err(),
                        registry.client_from_argument(&text).err(),
                    ] {
                        let Some(error) = error else { continue };
                        assert!(error.text == text && error.position <= text.len(), "{error:?}");
                        assert!(text.is_char_boundary(error.position), "{error:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_command_line_may_have_a_plain_address() {
    let registry = Registry::default();
    let server = |text: &str| registry.server_from_argument(text).map(|endpoint| endpoint.describe());
    let client = |text: &str| registry.client_from_argument(text).map(|endpoint| endpoint.describe());
    for (text, meant) in [
        ("127.0.0.1:80", "tcp:80:interface=127.0.0.1"),
        ("[::1]:80", "tcp:80:interface=[::1]"),
        ("tcp:[::1]:80", "tcp:80:interface=[::1]"),
        ("tcp:0.0.0.0:80", "tcp:80"),
        ("tcp:80", "tcp:80"),
    ] {
        assert_eq!(server(text).unwrap(), meant);
    }
    for (text, meant) in [("example.org:80", "tcp:example.org:80"), ("localhost:1", "tcp:localhost:1")] {
        assert_eq!(client(text).unwrap(), meant);
    }
    for text in
        ["", "80", ":80", "example.org", "example.org:80", "127.0.0.1:70000", "[::1]", "tcp:example.org:80"]
    {
        assert!(server(text).is_err(), "{text}");
    }
    for text in ["", "80", ":80", "example.org", "1.2.3.256:80", "[::1]:0", "tcp:80"] {
        assert!(client(text).is_err(), "{text}");
    }
    // The parser itself guesses nothing.
    assert!(server_from_string("127.0.0.1:80").is_err() && client_from_string("example.org:80").is_err());
}

#[test]
fn a_kind_of_endpoint_can_be_added_and_can_wrap_others() {
    on_each_back_end(|world| {
        let mut registry = Registry::default();
        registry.register_server("loop", |arguments, _| {
            let port = arguments.required("port", Argument::port)?;
            Ok(Box::new(ListenTcp::new(([127, 0, 0, 1], port))))
        });
        registry.register_server("named", |arguments, registry| {
            let name = arguments.key("name", Argument::text)?;
            assert_eq!(name.as_deref(), Some("a:b"));
            registry.server(&mut arguments.nested()?)
        });
        let mut reactor = world.reactor();
        let text = format!("named:loop:0:name={}", quote_argument("a:b"));
        let endpoint = registry.server_from_string(&text).unwrap();
        let listener = endpoint.listen(&mut reactor, Box::new(idle_protocol)).unwrap();
        world.close(&mut reactor, &listener);
        let error = registry.server_from_string("named:loop:0:name=a\\:b:zz=1").err().unwrap();
        assert_eq!((error.key.as_deref(), error.position), (Some("zz"), 23));
        let error = registry.server_from_string("lopp:0").err().unwrap();
        assert!(error.why.contains("did you mean loop?"), "{error}");
        assert!(server_from_string("loop:0").is_err(), "what one registry has, others do not");
    });
}

#[test]
fn a_protocol_that_is_ready_is_connected_or_its_failure_told() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let listener = reactor.listen_tcp(world.anywhere(), || idle_protocol().closing()).unwrap();
        let endpoint = ConnectTcp::try_from(listener.address()).unwrap();
        let ready = Recorder::new(&record).acting(|what, transport: &mut Transport<'_>, _| {
            if what == "made" {
                transport.lose_connection();
            }
        });
        connect_protocol(&mut reactor, &endpoint, ready, |_, reason| panic!("{reason}")).unwrap();
        assert_eq!(record.events(), [""; 0], "never inside the call");
        world.run_until(&mut reactor, "lost", |_| record.has("lost Done"));
        assert_eq!(record.events(), ["made", "lost Done"]);
        world.close(&mut reactor, &listener);

        let why = Rc::new(RefCell::new(None));
        let told = Rc::clone(&why);
        let failed = connect_protocol(&mut reactor, &endpoint, idle_protocol(), move |_, reason| {
            *told.borrow_mut() = Some(reason.clone());
        });
        failed.unwrap();
        world.run_until_idle(&mut reactor);
        assert!(matches!(why.take(), Some(Reason::Refused(_))));

        let (filtered, told) = (world.filtered(), Rc::clone(&why));
        let endpoint = ConnectTcp::from(filtered.address);
        let given_up = connect_protocol(&mut reactor, &endpoint, idle_protocol(), move |_, reason| {
            *told.borrow_mut() = Some(reason.clone());
        });
        reactor.connector(given_up.unwrap()).unwrap().stop_connecting().unwrap();
        world.run_until_idle(&mut reactor);
        assert_eq!(why.take(), Some(Reason::Cancelled));
    });
}
