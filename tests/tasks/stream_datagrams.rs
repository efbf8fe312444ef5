//! Datagrams are awaited one by one; what comes while there is no room is dropped and counted.

use std::time::Duration;

use crate::world::{on_each_back_end, with_reactor};
use twistor::stream::{ConnectError, DatagramStream, StreamError, open_datagram};
use twistor::task::{join, sleep, timeout, yield_now};
use twistor::{Error, ListenUdp, Reason};

const MOMENT: Duration = Duration::from_millis(2);

async fn anywhere() -> DatagramStream {
    open_datagram("udp:0:interface=127.0.0.1").await.unwrap()
}

async fn with(peer: &DatagramStream) -> DatagramStream {
    open_datagram(format!("udp:{}", peer.host())).await.unwrap()
}

#[test]
fn what_is_sent_is_received_whole_and_says_where_from() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut server = anywhere().await;
            let mut client = with(&server).await;
            assert_eq!((client.peer(), server.peer()), (Some(server.host()), None));
            for text in [&b"one"[..], b"", b"three"] {
                client.send(text).unwrap();
                let (data, from) = server.recv_from().await.unwrap();
                assert_eq!((data.as_slice(), &from), (text, client.host()));
                server.send_to(&data, &from).unwrap();
                assert_eq!(client.recv().await.unwrap(), text);
            }
            assert!(client.is_empty());
            assert!(with_reactor(|reactor| reactor.datagram_transport(client.id()).is_some()));
        });
    });
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut server = open_datagram("udp:0").await.unwrap();
            let port = server.host().socket_address().unwrap().port();
            let mut client = open_datagram(format!("udp:127.0.0.2:{port}")).await.unwrap();
            client.send(b"hello").unwrap();
            let (_, from) = server.recv_from().await.unwrap();
            let asked = "127.0.0.2".parse().unwrap();
            assert_eq!(server.reply_source(), Some(asked));
            server.send_to(b"answer", &from).unwrap();
            assert_eq!(client.recv().await.unwrap(), b"answer");
            // After another one it is said.
            let other = open_datagram(format!("udp:127.0.0.3:{port}")).await.unwrap();
            other.send(b"hello").unwrap();
            server.recv_from().await.unwrap();
            server.send_from(b"late", &from, asked).unwrap();
            assert_eq!(client.recv().await.unwrap(), b"late");
        });
    });
}

#[test]
fn sockets_are_opened_by_text_and_by_value() {
    on_each_back_end(|world| {
        world.run_future(async {
            let address = world.anywhere();
            drop(open_datagram(address).await.unwrap());
            drop(open_datagram(ListenUdp::new(address)).await.unwrap());
            drop(open_datagram(&"udp:0".to_string()).await.unwrap());
            let error = open_datagram("udp:127.0.0.1").await.unwrap_err();
            assert!(matches!(error, ConnectError::BadEndpoint(_)), "{error}");
        });
    });
}

#[test]
fn what_comes_while_there_is_no_room_is_dropped_and_counted() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut server = anywhere().await;
            let client = with(&server).await;
            // By number, and by bytes: at the limit, and above.
            for (room, received) in [((3, 1000), 3), ((100, 8), 4)] {
                let before = server.dropped();
                server.set_queue_limit(room.0, room.1);
                for number in 0..5u16 {
                    client.send(&number.to_be_bytes()).unwrap();
                }
                while server.len() < received || server.dropped() - before < 5 - received as u64 {
                    sleep(MOMENT / 4).await;
                }
                for number in 0..received as u16 {
                    assert_eq!(server.recv().await.unwrap(), number.to_be_bytes());
                }
                assert!(server.is_empty());
            }
            // There is room again.
            client.send(b"more").unwrap();
            assert_eq!(server.recv().await.unwrap(), b"more");
        });
    });
}

#[test]
fn nothing_is_lost_when_receiving_is_given_up() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut server = anywhere().await;
            let client = with(&server).await;
            assert!(timeout(MOMENT, server.recv()).await.is_err());
            client.send(b"late").unwrap();
            assert_eq!(server.recv().await.unwrap(), b"late");
        });
    });
}

#[test]
fn that_nobody_listens_is_said_once_and_the_socket_goes_on() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = anywhere().await;
            let mut client = with(&server).await;
            let again = ListenUdp::new(server.host().socket_address().unwrap());
            server.close();
            sleep(MOMENT).await;
            client.send(b"hello?").unwrap();
            assert_eq!(client.recv().await, Err(StreamError::Refused));
            let mut server = open_datagram(again).await.unwrap();
            client.send(b"hello!").unwrap();
            assert_eq!(server.recv().await.unwrap(), b"hello!");
        });
    });
}

#[test]
fn a_socket_that_is_closed_ends_the_wait_after_what_had_come() {
    on_each_back_end(|world| {
        world.run_future(async {
            let mut server = anywhere().await;
            let client = with(&server).await;
            client.send(b"before").unwrap();
            while server.is_empty() {
                sleep(MOMENT / 4).await;
            }
            server.close();
            yield_now().await;
            yield_now().await;
            assert_eq!(server.recv().await.unwrap(), b"before");
            assert_eq!(server.recv().await, Err(StreamError::Lost(Reason::Done)));
            assert!(matches!(server.send_to(b"x", client.host()), Err(Error::NotConnected)));
            let mut other = anywhere().await;
            let id = other.id();
            let close = async {
                yield_now().await;
                with_reactor(|reactor| reactor.datagram_transport(id).unwrap().stop_listening());
            };
            let (received, ()) = join(other.recv(), close).await;
            assert_eq!(received, Err(StreamError::Lost(Reason::Done)));
        });
    });
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = anywhere().await;
            assert!(matches!(server.send(b"x"), Err(Error::NoPeer)));
            let long = vec![0; 100_000];
            assert!(matches!(server.send_to(&long, server.host()), Err(Error::DatagramTooLong { .. })));
        });
    });
}

#[test]
fn a_socket_that_outlives_its_reactor_knows_it() {
    on_each_back_end(|world| {
        let mut reactor = world.reactor();
        let mut socket = reactor.block_on(anywhere()).unwrap();
        drop(reactor);
        world.run_future(async {
            assert_eq!(socket.recv().await, Err(StreamError::Lost(Reason::Stopped)));
            assert!(matches!(socket.send_to(b"x", &socket.host().clone()), Err(Error::ReactorUnavailable)));
        });
    });
}
