//! This process's own standard input and output as a connection.

use crate::reactor::{Address, ConnectionId, Error, Protocol, Reactor, Result};

impl Reactor {
    /// Makes one transport of this process's standard input and output: `connection_made` of `protocol` is called from the loop, in
    /// the next turn. (Twisted: `StandardIO`.)
    ///
    /// The end of the input is `read_connection_lost`. When the output's reader is gone, the connection is lost, with
    /// EPIPE. `lose_write_connection` lets the reader see the end: standard output becomes `/dev/null`, unless it is a file or a terminal.
    /// Both addresses are [`Address::Pipe`].
    ///
    /// Each may be a pipe, a terminal, a socket, a file or `/dev/null`; a file is always ready, and so the disk can hold the loop
    /// up. Others who have the same terminal or pipe open do not notice: it is opened anew. Where that is not possible, it is
    /// non-blocking until the connection is lost or the reactor dropped. Nothing else should read standard input meanwhile; what
    /// std has buffered before is not seen.
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
    /// [`Error::System`] when a reactor of this process has them already, or they are closed;
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the
    /// reactor has stopped.
    pub fn standard_streams(&mut self, protocol: impl Protocol) -> Result<ConnectionId> {
        self.check_begins()?;
        let token = self.registry.next_token();
        let opened = self.net.standard_streams(token);
        opened.map_err(|source| Error::System { call: "standard streams", source })?;
        Ok(self.adopted(token, Address::Pipe, Box::new(protocol)))
    }
}
