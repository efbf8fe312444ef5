//! Options of the socket.

use std::time::Duration;

use crate::net::SocketOption;
use crate::reactor::connection::options;
use crate::reactor::{Error, Result, Transport};

impl Transport<'_> {
    /// Sets TCP_NODELAY.
    ///
    /// # Errors
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias("setTcpNoDelay", "set_nodelay"))]
    pub fn set_tcp_nodelay(&mut self, on: bool) -> Result<()> {
        self.set(SocketOption::NoDelay(on))
    }

    /// Sets the idle time before keepalive probes, or disables them with `None`. It is rounded up
    /// to whole seconds.
    ///
    /// A peer is considered dead after four unanswered probes, a quarter of that time apart (whole
    /// seconds, at least one). It is thus detected after twice the idle time, or after the [user
    /// timeout](Transport::set_tcp_user_timeout) if there is one.
    ///
    /// # Errors
    /// - [`Error::BadOption`]: zero, or more than 32,767 s
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]
    #[doc(alias = "setTcpKeepAlive")]
    pub fn set_tcp_keepalive(&mut self, idle: Option<Duration>) -> Result<()> {
        let idle = idle.map(options::keepalive).transpose();
        let idle = idle.map_err(|why| Error::BadOption { option: "keepalive", why })?;
        self.set(SocketOption::KeepAlive(idle))
    }

    /// Sets TCP_USER_TIMEOUT: the max time that sent data or a keepalive probe may stay
    /// unacknowledged before the connection is lost. `None` leaves it to the system. It is rounded
    /// up to milliseconds.
    ///
    /// # Errors
    /// - [`Error::BadOption`]: zero, or more than 24 days
    /// - [`Error::NotConnected`]
    /// - [`Error::System`]: always, except on Linux and Android
    pub fn set_tcp_user_timeout(&mut self, limit: Option<Duration>) -> Result<()> {
        let limit = limit.map(options::user_timeout).transpose();
        let limit = limit.map_err(|why| Error::BadOption { option: "user_timeout", why })?;
        self.set(SocketOption::UserTimeout(limit))
    }

    fn set(&mut self, option: SocketOption) -> Result<()> {
        match self.reactor.registry.connection(self.token) {
            None => Err(Error::NotConnected),
            Some(_) => self
                .reactor
                .net
                .set(self.token, option)
                .map_err(|source| Error::System { call: "setsockopt", source }),
        }
    }
}
