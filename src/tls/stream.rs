//! TLS in mid-stream.

use crate::stream::{StreamError, StreamReader, StreamWriter};
use crate::tls::{TlsInfo, TlsLayer};

impl StreamWriter {
    /// Starts TLS in mid-stream (STARTTLS), as a client or as a server, by the layer, and waits
    /// until the handshake is completed. (asyncio: `StreamWriter.start_tls`.)
    ///
    /// Everything written so far is sent in plain text. Everything that was received and not read
    /// belongs to the handshake, also what `reader` has buffered, so that injected plain text is
    /// never taken for encrypted input: it ends the connection with
    /// [`TlsError::NotTls`](crate::tls::TlsError::NotTls).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    /// # let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
    /// use twistor::stream::{StreamError, open_connection, start_server};
    /// use twistor::tls::{ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConnector};
    ///
    /// # let roots = Roots::Only(twistor::tls::certificates_from_pem(chain_pem.as_bytes())?);
    /// let acceptor = TlsAcceptor::new(ServerTls::from(Identity::from_pem(chain_pem, key_pem)?))?;
    /// let connector = TlsConnector::new(ClientTls { roots, ..ClientTls::default() })?;
    /// twistor::block_on(async move {
    ///     let server = start_server("127.0.0.1:0", async move |mut reader, writer| {
    ///         assert_eq!(reader.read_line().await?, Some(&b"STARTTLS"[..]));
    ///         writer.write(b"220 go ahead\n");
    ///         writer.start_tls(&mut reader, acceptor.layer()).await?;
    ///         writer.write(b"in private\n");
    ///         writer.drain().await
    ///     })?;
    ///     let (mut reader, writer) = open_connection(server.address()).await?;
    ///     writer.write(b"STARTTLS\n");
    ///     assert_eq!(reader.read_line().await?, Some(&b"220 go ahead"[..]));
    ///     writer.start_tls(&mut reader, connector.layer("localhost")?).await?;
    ///     assert_eq!(reader.read_line().await?, Some(&b"in private"[..]));
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`add_layer`](StreamWriter::add_layer). The [`TlsError`](crate::tls::TlsError) of a
    /// failed handshake is in the reason of [`StreamError::Lost`].
    #[doc(alias("startTLS", "STARTTLS"))]
    pub async fn start_tls(&self, reader: &mut StreamReader, layer: TlsLayer) -> Result<(), StreamError> {
        self.add_layer(reader, layer.in_mid_connection()).await
    }

    /// The result of the TLS handshake of this connection. `None` without TLS, and outside of a
    /// task.
    #[doc(alias("get_extra_info", "peercert"))]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.extension()
    }
}
