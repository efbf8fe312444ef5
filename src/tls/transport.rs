//! TLS in mid-connection, and its result.

use crate::Transport;
use crate::tls::{TlsInfo, TlsLayer};

impl Transport<'_> {
    /// Starts TLS in mid-connection (STARTTLS), as a client or as a server, by the layer. (Twisted:
    /// `startTLS`.)
    ///
    /// - Output so far is sent in plain text, including that of the running callback. Later output
    ///   waits for the handshake.
    /// - [`Protocol::layers_ready`](crate::Protocol::layers_ready) follows when the handshake is
    ///   completed. Until then the peer is not authenticated.
    /// - **Plain text is never taken for encrypted input.** Input that was not delivered yet
    ///   belongs to the handshake, and so do the bytes that a protocol gives back by
    ///   [`unread`](Transport::unread), as the framings do with all that follows the message that
    ///   they are at. If that is no TLS, the connection ends with
    ///   [`TlsError::NotTls`](crate::tls::TlsError::NotTls). A protocol with a buffer of its own
    ///   must give it back, and must not use it after this call (CVE-2011-0411, STARTTLS
    ///   injection).
    ///
    /// ```
    /// use twistor::tls::TlsAcceptor;
    /// use twistor::{Protocol, Transport};
    ///
    /// struct Server {
    ///     acceptor: TlsAcceptor,
    /// }
    ///
    /// impl Protocol for Server {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         if let Some(rest) = data.strip_prefix(b"STARTTLS\r\n") {
    ///             transport.write("220 go ahead\r\n");
    ///             transport.start_tls(self.acceptor.layer());
    ///             transport.unread(rest);
    ///         }
    ///     }
    ///     fn layers_ready(&mut self, transport: &mut Transport<'_>) {
    ///         transport.write("welcome, in private\r\n");
    ///     }
    /// }
    /// ```
    #[doc(alias("startTLS", "STARTTLS"))]
    pub fn start_tls(&mut self, layer: TlsLayer) {
        self.add_layer(layer.in_mid_connection());
    }

    /// The result of the TLS handshake of this connection. `None` without TLS, and until the
    /// handshake is completed.
    #[doc(alias("getPeerCertificate", "ssl_object"))]
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        self.extension()
    }
}
