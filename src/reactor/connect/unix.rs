//! UNIX sockets: listening on and connecting to a path or an abstract name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::{Buffers, Open};
use crate::reactor::connect::ConnectOptions;
use crate::reactor::conversions::try_from;
use crate::reactor::listen::{ListenOptions, cannot_listen};
use crate::reactor::{ClientFactory, ConnectorId, Error, Factory, Listener, Reactor, Result, UnixAddress};

/// The address and options of a UNIX listener. (Twisted: `listenUNIX`.)
///
/// ```
/// let listen = twistor::ListenUnix { mode: Some(0o660), ..twistor::ListenUnix::at("/run/app.sock")? };
/// assert_eq!("@name".parse::<twistor::ListenUnix>()?.address.abstract_name(), Some(&b"name"[..]));
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUnix {
    /// The path or the abstract name.
    pub address: UnixAddress,
    /// The file mode of the socket, in effect before any process can connect. A process needs write
    /// permission to connect. The umask does not restrict it. No other file gets the mode, even if
    /// other users can write to the directory. Default: 0o777 less the process's umask. (Twisted:
    /// 0o666.)
    pub mode: Option<u32>,
    /// Limit on connections that wait to be accepted. Default: 1024 (the system has a maximum of
    /// its own).
    pub backlog: u32,
    /// Removes a stale socket file. A file is stale if a connect to it is refused, no socket that
    /// does not listen yet is bound to it, and no other reactor is starting there. `PATH.lock`, a
    /// file that only this user can open, is locked meanwhile. Default: yes. (Twisted: `wantPID`.)
    pub remove_stale: bool,
    /// Removes the file when listening stops, unless another file has replaced it. Default: yes; no
    /// for a socket that another process will continue to use.
    pub unlink: bool,
    /// Size of the kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// Size of the kernel's receive buffer in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
}

impl ListenUnix {
    /// Listens on `address` with the default options.
    pub fn new(address: UnixAddress) -> ListenUnix {
        ListenUnix {
            address,
            mode: None,
            backlog: 1024,
            remove_stale: true,
            unlink: true,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    /// Listens on a path with the default options.
    ///
    /// # Errors
    /// [`Error::BadAddress`] as [`UnixAddress::of_path`].
    pub fn at(path: impl Into<PathBuf>) -> Result<ListenUnix> {
        Ok(ListenUnix::new(UnixAddress::of_path(path)?))
    }
}

/// The destination and options of a UNIX connection. (Twisted: `connectUNIX`.)
///
/// ```
/// let connect = twistor::ConnectUnix::at("/run/app.sock")?;
/// assert_eq!(connect.timeout.as_secs(), 10);
/// # Ok::<(), twistor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectUnix {
    /// The path or the abstract name.
    pub address: UnixAddress,
    /// Timeout of an attempt. An attempt waits only while the peer's backlog is full, and for
    /// layers. Default: 10 s.
    pub timeout: Duration,
    /// The local address. The file of a path is removed with the connection. Default: none.
    pub bind: Option<UnixAddress>,
    /// Size of the kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// Size of the kernel's receive buffer in bytes. Default: the system's.
    pub receive_buffer: Option<usize>,
}

impl ConnectUnix {
    /// Connects to `address` with the default options.
    pub fn new(address: UnixAddress) -> ConnectUnix {
        ConnectUnix {
            address,
            timeout: Duration::from_secs(10),
            bind: None,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    /// Connects to a path with the default options.
    ///
    /// # Errors
    /// [`Error::BadAddress`] as [`UnixAddress::of_path`].
    pub fn at(path: impl Into<PathBuf>) -> Result<ConnectUnix> {
        Ok(ConnectUnix::new(UnixAddress::of_path(path)?))
    }

    pub(in crate::reactor) fn buffers(&self) -> Buffers {
        Buffers { send: self.send_buffer, receive: self.receive_buffer }
    }
}

impl Reactor {
    /// Listens on a UNIX socket and builds a protocol with `factory` for each connection. The
    /// socket is bound at once. Nothing is called before this returns. (Twisted: `listenUNIX`.)
    ///
    /// `address` is a path (`"/run/app.sock"`), an abstract name as text (`"@name"`), a
    /// [`UnixAddress`] or a [`ListenUnix`]. Peers are usually unnamed;
    /// [`Transport::peer_credentials`](crate::reactor::Transport::peer_credentials) identifies
    /// them.
    ///
    /// # Errors
    /// - [`Error::BadAddress`], [`Error::CannotListen`].
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor is stopping or has
    ///   stopped.
    #[doc(alias("listenUNIX", "create_unix_server", "UnixListener"))]
    pub fn listen_unix<A>(&mut self, address: A, factory: impl Factory) -> Result<Listener>
    where
        A: TryInto<ListenUnix>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        self.check_not_stopping()?;
        let requested = options.address.to_string();
        let open = Open::UnixListen {
            address: options.address,
            mode: options.mode,
            backlog: options.backlog,
            remove_stale: options.remove_stale,
            unlink: options.unlink,
            buffers: Buffers { send: options.send_buffer, receive: options.receive_buffer },
        };
        let token = self.registry.next_token();
        self.net.open(token, &open).map_err(|failed| cannot_listen(&requested, failed))?;
        self.start_listening(token, ListenOptions::Unix, Box::new(factory), &requested)
    }

    /// Connects to a UNIX socket and builds a protocol with `factory` once the connection is made.
    /// Nothing is called before this returns. (Twisted: `connectUNIX`.)
    ///
    /// `address` is a path (`"/run/app.sock"`), an abstract name as text (`"@name"`), a
    /// [`UnixAddress`] or a [`ConnectUnix`]. While the peer's backlog is full, the connect is
    /// retried until the timeout.
    ///
    /// # Errors
    /// - [`Error::BadAddress`].
    /// - [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor is stopping or has
    ///   stopped.
    #[doc(alias("connectUNIX", "create_unix_connection", "UnixStream"))]
    pub fn connect_unix<A>(&mut self, address: A, factory: impl ClientFactory) -> Result<ConnectorId>
    where
        A: TryInto<ConnectUnix>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        let destination = options.address.to_string();
        self.start_connector(ConnectOptions::Unix(options), destination, Box::new(factory))
    }
}

macro_rules! from_address {
    ($options:ident) => {
        impl From<UnixAddress> for $options {
            fn from(address: UnixAddress) -> $options {
                $options::new(address)
            }
        }

        impl TryFrom<&crate::reactor::Address> for $options {
            type Error = Error;

            fn try_from(address: &crate::reactor::Address) -> Result<$options> {
                match address.unix() {
                    Some(address) if !address.is_unnamed() => Ok($options::new(address.clone())),
                    _ => Err(Error::BadAddress(crate::reactor::BadAddress {
                        text: address.to_string(),
                        why: "it is not the address of a UNIX socket",
                    })),
                }
            }
        }

        impl std::str::FromStr for $options {
            type Err = Error;

            /// Parses a path, or `@` and an abstract name.
            fn from_str(text: &str) -> Result<$options> {
                Ok($options::new(text.parse()?))
            }
        }

        try_from!($options from &str, String, &String: text => text.parse());
        try_from!($options from &Path, PathBuf, &PathBuf, OsString: path => $options::at(path));
    };
}

from_address!(ListenUnix);
from_address!(ConnectUnix);
