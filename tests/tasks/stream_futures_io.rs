//! Streams are what crates written against `futures-io` expect.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use crate::world::on_each_back_end;
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};
use twistor::stream::{StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{sleep, timeout};

async fn write_all(writer: &mut (impl AsyncWrite + Unpin), mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *writer).poll_write(context, data)).await?;
        data = &data[count..];
    }
    poll_fn(|context| Pin::new(&mut *writer).poll_flush(context)).await
}

async fn close(writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *writer).poll_close(context)).await
}

async fn read_all(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut all, mut room) = (Vec::new(), [0; 1000]);
    loop {
        match poll_fn(|context| Pin::new(&mut *reader).poll_read(context, &mut room)).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&room[..count]),
        }
    }
}

/// Up to a byte, and with it.
async fn read_until(reader: &mut (impl AsyncBufRead + Unpin), byte: u8) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let (ended, count) = poll_fn(|context| {
            Pin::new(&mut *reader).poll_fill_buf(context).map_ok(|there| {
                let at = there.iter().position(|other| *other == byte);
                let count = at.map_or(there.len(), |at| at + 1);
                all.extend_from_slice(&there[..count]);
                (at.is_some() || there.is_empty(), count)
            })
        })
        .await?;
        Pin::new(&mut *reader).consume(count);
        if ended {
            return Ok(all);
        }
    }
}

#[test]
fn bytes_go_both_ways_through_the_traits() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server =
                start_server("127.0.0.1:0", async |mut reader: StreamReader, mut writer: StreamWriter| {
                    let line = read_until(&mut reader, b'\n').await?;
                    write_all(&mut writer, &line).await?;
                    let rest = read_all(&mut reader).await?;
                    write_all(&mut writer, &rest).await?;
                    close(&mut writer).await
                })
                .unwrap();
            let (mut reader, mut writer) = open_connection(server.address()).await.unwrap();
            write_all(&mut writer, b"a line\nand ").await.unwrap();
            write_all(&mut writer, &[b'x'; 300_000]).await.unwrap();
            close(&mut writer).await.unwrap();
            let all = read_all(&mut reader).await.unwrap();
            assert_eq!((all.len(), &all[..12]), (300_011, &b"a line\nand x"[..]));
            assert_eq!(read_until(&mut reader, 0).await.unwrap(), b"");
        });
    });
}

#[test]
fn writing_waits_for_a_slow_peer_and_fails_when_it_is_gone() {
    on_each_back_end(|world| {
        world.run_future(async {
            let server = start_server("127.0.0.1:0", async |_reader: StreamReader, writer: StreamWriter| {
                sleep(Duration::from_millis(40)).await;
                writer.abort();
            })
            .unwrap();
            let (mut reader, mut writer) = open_connection(server.address()).await.unwrap();
            let flood = vec![0; 50_000_000];
            let waits = timeout(Duration::from_millis(10), write_all(&mut writer, &flood)).await;
            assert!(waits.is_err(), "nothing held it up");
            let error = write_all(&mut writer, &flood).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert!(close(&mut writer).await.is_err());
            assert_eq!(read_all(&mut reader).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        });
    });
}
