//! Large input reaches the readers of streams whole and in order, however it is cut.

use crate::world::on_each_back_end;
use twistor::stream::{StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{spawn, yield_now};

/// Bytes by place, of this connection.
fn pattern(connection: usize, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| (place * 7 + place / 251 + connection * 13) as u8).collect()
}

#[test]
fn large_pieces_reach_their_readers_in_order_in_any_read_size() {
    on_each_back_end(|world| {
        world.run_future(async {
            let echo = async |mut reader: StreamReader, writer: StreamWriter| {
                while let chunk @ [_, ..] = reader.read_chunk(usize::MAX).await.unwrap() {
                    writer.write(chunk);
                    writer.drain().await.unwrap();
                }
            };
            let server = start_server("127.0.0.1:0", echo).unwrap();
            let mut all = Vec::new();
            for connection in 0..4 {
                let (mut reader, writer) = open_connection(server.address()).await.unwrap();
                let total = 300_000 + connection * 50_001;
                let writes = spawn(async move {
                    let mut written = 0;
                    while written < total {
                        // Small pieces, and large ones.
                        let count = (1 + written * 31 % 40_000).min(total - written);
                        writer.write(&pattern(connection, written, count));
                        writer.drain().await.unwrap();
                        written += count;
                    }
                    writer.write_eof();
                    writer
                });
                let reads = spawn(async move {
                    let mut read = 0;
                    loop {
                        // Some of it stays unread while more comes.
                        let chunk = reader.read_chunk(1 + read * 17 % 30_000).await.unwrap();
                        if chunk.is_empty() {
                            return read;
                        }
                        assert!(chunk == pattern(connection, read, chunk.len()), "{connection}, at {read}");
                        read += chunk.len();
                        yield_now().await;
                    }
                });
                all.push((total, writes, reads));
            }
            for (total, writes, reads) in all {
                assert_eq!(reads.await, Ok(total));
                drop(writes.await);
            }
        });
    });
}
