//! Standard input and output of this process as a connection.

use crate::reactor::{Address, ConnectionId, Error, Protocol, Reactor, Result};

impl Reactor {
    /// Makes one connection of this process's standard input and output. `connection_made` of
    /// `protocol` is called from the loop, in the next turn. (Twisted: `StandardIO`.)
    ///
    /// The end of the input is `read_connection_lost`. When the output has no reader left, the
    /// connection is lost with EPIPE. `lose_write_connection` signals the end to the reader:
    /// standard output becomes `/dev/null`, unless it is a file or a terminal. Both addresses are
    /// [`Address::Pipe`].
    ///
    /// Each stream may be a pipe, a terminal, a socket, a file or `/dev/null`. A file is always
    /// ready, so a slow disk can block the loop. Terminals and pipes are reopened, so that other
    /// processes which share them are not affected. Where that is not possible, the stream is
    /// non-blocking until the connection is lost or the reactor is dropped. No other code should
    /// read standard input meanwhile. Data that std has buffered before is not delivered.
    ///
    /// ```no_run
    /// use twistor::{Protocol, Reactor, Transport};
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         transport.write(data);
    ///     }
    ///     fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &twistor::Reason) {
    ///         transport.reactor().stop();
    ///     }
    /// }
    ///
    /// let mut reactor = Reactor::new()?;
    /// reactor.standard_streams(Echo)?;
    /// reactor.run()?;
    /// # Ok::<(), twistor::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::System`] when a reactor of this process already uses the streams, or they are
    ///   closed.
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor is stopping or has
    ///   stopped.
    #[doc(alias("StandardIO", "connect_read_pipe", "connect_write_pipe"))]
    pub fn standard_streams(&mut self, protocol: impl Protocol) -> Result<ConnectionId> {
        self.check_not_stopping()?;
        let token = self.registry.next_token();
        let opened = self.net.standard_streams(token);
        opened.map_err(|source| Error::System { call: "standard streams", source })?;
        Ok(self.adopted(token, Address::Pipe, Box::new(protocol)))
    }
}
