//! The echo server on tokio's current-thread runtime, as anyone would write it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Result;

/// Serves until the lifeline closes.
pub fn serve() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let echo = TcpListener::bind("127.0.0.1:0").await?;
        let lifeline = TcpListener::bind("127.0.0.1:0").await?;
        println!("{} {}", echo.local_addr()?.port(), lifeline.local_addr()?.port());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    stream.set_nodelay(true)?;
                    let mut buffer = vec![0; BUFFER];
                    loop {
                        match stream.read(&mut buffer).await? {
                            0 => return Ok::<_, std::io::Error>(()),
                            count => stream.write_all(&buffer[..count]).await?,
                        }
                    }
                });
            }
        });
        let (mut connection, _) = lifeline.accept().await?;
        // However it ends.
        let _ = connection.read(&mut [0]).await;
        Ok(())
    })
}

/// As much as the others read at once.
const BUFFER: usize = 32 * 1024;
