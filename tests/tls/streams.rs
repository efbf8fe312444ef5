//! Streams over TLS: from the start by an endpoint, and in mid-stream.

use twistor::stream::{ConnectError, StreamError, duplex, open_connection, start_server};
use twistor::tls::{CertificateProblem, TlsError};
use twistor::{Reason, task};

use crate::certificates::{Authority, NAME};
use crate::world::on_each_back_end;

fn tls_error(error: &StreamError) -> TlsError {
    let StreamError::Lost(reason) = error else { panic!("{error:?}") };
    TlsError::of(reason).unwrap_or_else(|| panic!("{reason:?}")).clone()
}

#[test]
fn an_endpoint_opens_and_serves_streams_over_tls() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let anywhere = world.anywhere();
        world.run_future(async {
            let endpoint = authority.acceptor().endpoint(anywhere).unwrap();
            let server = start_server(endpoint, async |mut reader, writer| {
                while let Some(line) = reader.read_line().await? {
                    writer.write_sequence(&[b"you said: ", line, b"\n"]);
                    writer.drain().await?;
                }
                Ok::<_, StreamError>(())
            })
            .unwrap();
            let client = authority.connector().endpoint(server.address(), NAME).unwrap();
            let (mut reader, writer) = open_connection(client).await.unwrap();
            writer.write(b"hello\n");
            assert_eq!(reader.read_line().await.unwrap(), Some(&b"you said: hello"[..]));
            assert_eq!(writer.tls_info().unwrap().server_name(), Some(NAME));
            writer.write_eof();
            assert_eq!(reader.read_line().await.unwrap(), None);
            assert_eq!(writer.wait_closed().await, Reason::Done);
            // The other name is refused, and the reason tells why.
            let client = authority.connector().endpoint(server.address(), "other.test").unwrap();
            let Err(ConnectError::Failed(reason)) = open_connection(client).await else { panic!() };
            let Some(TlsError::BadCertificate(CertificateProblem::WrongName { .. })) = TlsError::of(&reason)
            else {
                panic!("{reason}")
            };
        });
    });
}

#[test]
fn streams_start_tls_and_hand_over_what_was_read_ahead() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let anywhere = world.anywhere();
        world.run_future(async {
            let acceptor = authority.acceptor();
            let server = start_server(anywhere, async move |mut reader, writer| {
                assert_eq!(reader.read_line().await?, Some(&b"STARTTLS"[..]));
                writer.write(b"go ahead\n");
                writer.drain().await?;
                // The client's first message arrives before TLS is started here.
                let mut early = [0];
                while reader.read(&mut early).await? == 0 {}
                assert_eq!(early, *b"!");
                task::sleep(std::time::Duration::from_millis(20)).await;
                writer.start_tls(&mut reader, acceptor.layer()).await?;
                assert_eq!(reader.read_line().await?, Some(&b"hello"[..]));
                writer.write(b"in private\n");
                Ok::<_, StreamError>(())
            })
            .unwrap();
            let (mut reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"STARTTLS\n");
            assert_eq!(reader.read_line().await.unwrap(), Some(&b"go ahead"[..]));
            writer.write(b"!");
            let layer = authority.connector().layer(NAME).unwrap();
            writer.start_tls(&mut reader, layer).await.unwrap();
            writer.write(b"hello\n");
            assert_eq!(reader.read_line().await.unwrap(), Some(&b"in private"[..]));
            assert_eq!(reader.read_line().await.unwrap(), None);
        });
    });
}

#[test]
fn injected_lines_fail_the_handshake_of_a_stream() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        let anywhere = world.anywhere();
        world.run_future(async {
            let (done, mut told) = task::channel(1);
            let acceptor = authority.acceptor();
            let server = start_server(anywhere, async move |mut reader, writer| {
                assert_eq!(reader.read_line().await?, Some(&b"STARTTLS"[..]));
                writer.write(b"go ahead\n");
                let error = writer.start_tls(&mut reader, acceptor.layer()).await.unwrap_err();
                let TlsError::NotTls { start, mid_connection: true } = tls_error(&error) else { panic!() };
                let _ = done.send(start).await;
                Ok::<_, StreamError>(())
            })
            .unwrap();
            let (_reader, writer) = open_connection(server.address()).await.unwrap();
            writer.write(b"STARTTLS\nDELETE everything\n");
            assert_eq!(told.recv().await.unwrap(), b"DELETE everythin");
        });
    });
}

#[test]
fn only_connections_have_layers() {
    on_each_back_end(|world| {
        let authority = Authority::new();
        world.run_future(async {
            let ((mut reader, writer), (mut other, _other_writer)) = duplex(1024).unwrap();
            let connector = authority.connector();
            let started = writer.start_tls(&mut reader, connector.layer(NAME).unwrap()).await;
            assert_eq!(started, Err(StreamError::NotAConnection));
            let started = writer.start_tls(&mut other, connector.layer(NAME).unwrap()).await;
            assert_eq!(started, Err(StreamError::NotAConnection));
        });
    });
}
