//! A connection is opened to whatever names it, or there is a typed error; one that is given up leaves nothing.

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{on_each_back_end, socket_address, with_reactor};
use twistor::endpoint::client_from_string;
use twistor::stream::{ConnectError, StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{join, timeout};
use twistor::{ConnectTcp, ConnectUnix, Error, Handle, ListenTcp, ListenUnix, Reason, Settings};

const MOMENT: Duration = Duration::from_millis(2);

async fn hello(_: StreamReader, writer: StreamWriter) {
    writer.write(b"hello");
}

async fn greeted(opened: Result<(StreamReader, StreamWriter), ConnectError>) {
    let (mut reader, _writer) = opened.unwrap();
    assert_eq!(reader.read_to_end(100).await.unwrap(), b"hello");
}

#[test]
fn whatever_names_a_place_can_be_connected_to() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("tcp:0:interface=127.0.0.1", hello).unwrap();
            let address: SocketAddr = socket_address(server.address());
            let port = address.port();
            greeted(open_connection(format!("tcp:127.0.0.1:{port}:timeout=5")).await).await;
            greeted(open_connection(&format!("127.0.0.1:{port}")).await).await;
            greeted(open_connection(format!("tcp:localhost:{port}").as_str()).await).await;
            greeted(open_connection(address).await).await;
            greeted(open_connection(("127.0.0.1", port)).await).await;
            greeted(open_connection(("127.0.0.1".to_string(), port)).await).await;
            greeted(open_connection(server.address()).await).await;
            greeted(open_connection(server.address().clone()).await).await;
            greeted(open_connection(ConnectTcp::from(address)).await).await;
            greeted(open_connection(client_from_string(&format!("tcp:127.0.0.1:{port}")).unwrap()).await)
                .await;
        });
    });
}

#[test]
fn unix_sockets_are_opened_in_the_same_way() {
    on_each_back_end(|world| {
        world.run_future(async {
            let name = format!("unix:@twistor-stream-{}", std::process::id());
            let server = start_server(name.as_str(), hello).unwrap();
            greeted(open_connection(name.as_str()).await).await;
            greeted(open_connection(server.address()).await).await;
            let address = server.address().unix().unwrap().clone();
            greeted(open_connection(ConnectUnix::new(address)).await).await;
        });
    });
}

#[test]
fn servers_are_given_as_text_and_as_values() {
    on_each_back_end(|world| {
        world.run_future(async {
            let anywhere = world.anywhere();
            for server in [
                start_server("127.0.0.1:0", hello),
                start_server("localhost:0".to_string(), hello),
                start_server("tcp:0:interface=127.0.0.1", hello),
                start_server(anywhere, hello),
                start_server(ListenTcp::new(anywhere), hello),
            ] {
                greeted(open_connection(server.unwrap().address()).await).await;
            }
        });
    });
}

#[test]
fn a_bad_text_is_an_error_that_says_what_is_wrong() {
    on_each_back_end(|world| {
        world.run_future(async {
            let error = open_connection("tcp:localhost:80:timeuot=5").await.unwrap_err();
            let ConnectError::BadEndpoint(wrong) = &error else { panic!("{error}") };
            assert_eq!((wrong.key.as_deref(), wrong.position), (Some("timeuot"), 17));
            assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
            let error = start_server("nothing:1", hello).unwrap_err();
            assert!(matches!(error, ConnectError::BadEndpoint(_)), "{error}");
        });
    });
}

#[test]
fn a_connection_that_is_not_made_is_an_error_with_its_reason() {
    on_each_back_end(|world| {
        let (unused, filtered) = (world.unused(), world.filtered());
        world.run_future(async {
            let error = open_connection(unused).await.unwrap_err();
            assert!(matches!(error, ConnectError::Failed(Reason::Refused(_))), "{error}");
            let options = ConnectTcp { timeout: MOMENT, ..ConnectTcp::from(filtered.address) };
            let error = open_connection(options).await.unwrap_err();
            assert!(matches!(error, ConnectError::Failed(Reason::TimedOut(MOMENT))), "{error}");
            assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
        });
    });
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", hello).unwrap();
            let error = start_server(socket_address(server.address()), hello).unwrap_err();
            assert!(matches!(error, ConnectError::Reactor(Error::CannotListen { .. })), "{error}");
        });
    });
}

#[test]
fn an_attempt_that_is_given_up_leaves_nothing() {
    on_each_back_end(|world| {
        let filtered = world.filtered();
        world.run_future(async {
            let before = with_reactor(|reactor| reactor.resource_count());
            let opened = timeout(MOMENT, open_connection(filtered.address)).await;
            assert!(opened.is_err());
            twistor::task::yield_now().await;
            twistor::task::yield_now().await;
            let left = with_reactor(|reactor| (reactor.resource_count(), reactor.connections().len()));
            assert_eq!(left, (before, 0));
        });
    });
}

#[test]
fn an_attempt_ends_with_its_reactor() {
    on_each_back_end(|world| {
        let filtered = world.filtered();
        let mut reactor = world.reactor();
        let mut result = None;
        let ran = reactor.block_on(async {
            Handle::current().unwrap().call(|reactor| {
                reactor.stop();
            });
            result = Some(open_connection(filtered.address).await.map(drop));
        });
        if ran.is_ok() {
            assert!(matches!(result, Some(Err(ConnectError::Failed(_)))), "{result:?}");
        }
        assert_eq!(reactor.resource_count(), 0);
        drop(reactor);
    });
}

#[test]
fn many_are_opened_at_once() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor_with(Settings { max_connections: 1000, ..Settings::default() });
        reactor
            .block_on(async {
                let server = start_server("127.0.0.1:0", hello).unwrap();
                let opened =
                    (0..50).map(|_| async { greeted(open_connection(server.address()).await).await });
                twistor::task::join_all(opened).await;
            })
            .unwrap();
        world.run_until_idle(&mut reactor);
    });
}

#[test]
fn an_immediate_close_by_the_peer_is_an_end_not_an_open_error() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_: StreamReader, _: StreamWriter| {}).unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            let (chunk, ()) = join(reader.read_chunk(9), async { writer.write(b"x") }).await;
            // The reset may be seen first: it answers the byte that was not read.
            assert!(matches!(chunk, Ok(b"") | Err(StreamError::Lost(Reason::Lost(_)))), "{chunk:?}");
        });
    });
}

#[test]
fn a_unix_servers_file_goes_with_it() {
    on_each_back_end(|world| {
        let folder = crate::world::folder::Folder::new();
        let path = folder.path("socket");
        world.run_future(async {
            let listen = ListenUnix::new(twistor::UnixAddress::of_path(&path).unwrap());
            let server = start_server(listen, hello).unwrap();
            greeted(open_connection(server.address()).await).await;
            server.close();
            let error = open_connection(server.address()).await.unwrap_err();
            assert!(matches!(error, ConnectError::Failed(_)), "{error}");
        });
    });
}
