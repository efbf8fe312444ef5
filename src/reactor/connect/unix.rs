//! UNIX sockets: listening on a path or an abstract name, and connecting to one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::{Buffers, Open};
use crate::reactor::connect::ConnectOptions;
use crate::reactor::listen::{ListenOptions, cannot_listen};
use crate::reactor::{ClientFactory, ConnectorId, Error, Factory, Listener, Reactor, Result, UnixAddress};

/// Where and how to listen on a UNIX socket. (Twisted: `listenUNIX`.)
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
    /// The mode of the file, in effect before anybody can connect: who may connect needs write permission. The umask takes
    /// nothing away from it, and no other file gets it, whoever can write to the folder. Default:
    /// what the process's umask leaves of 0o777. (Twisted: 0o666.)
    pub mode: Option<u32>,
    /// How many connections may wait to be accepted. Default: 1024 (the system has its own maximum).
    pub backlog: u32,
    /// Remove a socket file that stands in the way, if it is nobody's any more: a connect to it is refused, nobody is
    /// bound there who does not listen yet, and no other reactor starts there at the same time (`PATH.lock` is locked
    /// meanwhile, a file that only this user can open). Default: yes. (Twisted: `wantPID`.)
    pub remove_stale: bool,
    /// Remove the file when listening stops, unless another one has taken its place. Default: yes; no for a socket that
    /// another process is to go on with.
    pub unlink: bool,
    /// The kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes. Default: the system's.
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

/// Where and how to connect to a UNIX socket. (Twisted: `connectUNIX`.)
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
    /// How long an attempt may take: it waits only where the other side's queue is full, and for layers. Default: 10 s.
    pub timeout: Duration,
    /// The address of this side; the file of a path goes with the connection. Default: none.
    pub bind: Option<UnixAddress>,
    /// The kernel's send buffer in bytes. Default: the system's.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes. Default: the system's.
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
    /// Listens on a UNIX socket and makes a protocol with `factory` for each connection; its peer is mostly unnamed,
    /// see [`Transport::peer_credentials`](crate::reactor::Transport::peer_credentials) for who it is. The socket is bound at
    /// once; nothing is called before this returns. (Twisted: `listenUNIX`.)
    ///
    /// `address` is a path (`"/run/app.sock"`), an abstract name as text (`"@name"`), a [`UnixAddress`] or a [`ListenUnix`].
    ///
    /// # Errors
    /// [`Error::BadAddress`], [`Error::CannotListen`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn listen_unix<A>(&mut self, address: A, factory: impl Factory) -> Result<Listener>
    where
        A: TryInto<ListenUnix>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        self.check_begins()?;
        let asked = options.address.to_string();
        let open = Open::UnixListen {
            address: options.address,
            mode: options.mode,
            backlog: options.backlog,
            remove_stale: options.remove_stale,
            unlink: options.unlink,
            buffers: Buffers { send: options.send_buffer, receive: options.receive_buffer },
        };
        let token = self.registry.next_token();
        self.net.open(token, &open).map_err(|failed| cannot_listen(&asked, failed))?;
        self.begin_listening(token, ListenOptions::Unix, Box::new(factory), &asked)
    }

    /// Connects to a UNIX socket and makes a protocol with `factory` once the connection is made. Nothing is called
    /// before this returns, whatever becomes of it. (Twisted: `connectUNIX`.)
    ///
    /// `address` is a path (`"/run/app.sock"`), an abstract name as text (`"@name"`), a [`UnixAddress`] or a [`ConnectUnix`].
    /// Where the other side's queue is full, it is tried again until the timeout.
    ///
    /// # Errors
    /// [`Error::BadAddress`];
    /// [`Error::Stopping`] or [`Error::ReactorFinished`] when the reactor stops or has stopped.
    pub fn connect_unix<A>(&mut self, address: A, factory: impl ClientFactory) -> Result<ConnectorId>
    where
        A: TryInto<ConnectUnix>,
        A::Error: Into<Error>,
    {
        let options = address.try_into().map_err(Into::into)?;
        let destination = options.address.to_string();
        self.begin_connector(ConnectOptions::Unix(options), destination, Box::new(factory))
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

            /// Reads a path, or `@` and an abstract name.
            fn from_str(text: &str) -> Result<$options> {
                Ok($options::new(text.parse()?))
            }
        }

        impl TryFrom<&str> for $options {
            type Error = Error;

            fn try_from(text: &str) -> Result<$options> {
                text.parse()
            }
        }

        impl TryFrom<String> for $options {
            type Error = Error;

            fn try_from(text: String) -> Result<$options> {
                text.parse()
            }
        }

        impl TryFrom<&Path> for $options {
            type Error = Error;

            fn try_from(path: &Path) -> Result<$options> {
                $options::at(path)
            }
        }

        impl TryFrom<PathBuf> for $options {
            type Error = Error;

            fn try_from(path: PathBuf) -> Result<$options> {
                $options::at(path)
            }
        }

        impl TryFrom<&PathBuf> for $options {
            type Error = Error;

            fn try_from(path: &PathBuf) -> Result<$options> {
                $options::at(path)
            }
        }

        impl TryFrom<OsString> for $options {
            type Error = Error;

            fn try_from(path: OsString) -> Result<$options> {
                $options::at(path)
            }
        }
    };
}

from_address!(ListenUnix);
from_address!(ConnectUnix);
