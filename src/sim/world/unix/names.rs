//! The names of a host's UNIX sockets: files, which outlive their sockets, and abstract names,
//! which do not.
//!
//! There are no folders: every path can be bound, and two paths are equal when their texts are
//! equal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::net::{OpenError, OpenStep, UnixAddress};
use crate::sim::Host;
use crate::sim::network::Network;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::CallKind;
use crate::sim::world::World;
use crate::sim::world::tcp::listen::failed;

/// All names of a host.
#[derive(Default)]
pub(in crate::sim) struct Names {
    files: BTreeMap<PathBuf, File>,
    abstract_names: BTreeMap<Vec<u8>, Bound>,
    /// The number of files made so far; each has its own number.
    made: u64,
}

/// The file of a socket. It may have outlived the socket.
struct File {
    number: u64,
    mode: u32,
    bound: Option<Bound>,
}

/// The socket that a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Bound {
    /// A stream listener.
    Queue(u32),
    /// The client side of a stream, which refuses connections.
    Stream,
    /// A datagram socket.
    Datagram(u32),
}

/// The name of an open socket.
pub(in crate::sim) struct Name {
    pub(in crate::sim) address: UnixAddress,
    /// The file's number, if it has one.
    file: Option<u64>,
    /// The file is removed when the socket is closed.
    pub(in crate::sim) unlink: bool,
}

/// Options of binding a name.
#[derive(Clone, Copy)]
pub(in crate::sim) struct Naming {
    pub(in crate::sim) mode: Option<u32>,
    pub(in crate::sim) remove_stale: bool,
    pub(in crate::sim) unlink: bool,
}

impl Names {
    /// Returns the socket at an address.
    pub(in crate::sim) fn find(&self, address: &UnixAddress) -> Result<Bound, Errno> {
        if let Some(path) = address.path() {
            let file = self.files.get(path).ok_or(Errno::ENOENT)?;
            return file.bound.ok_or(Errno::ECONNREFUSED);
        }
        let name = address.abstract_name().ok_or(Errno::EINVAL)?;
        self.abstract_names.get(name).copied().ok_or(Errno::ECONNREFUSED)
    }

    fn is_taken(&self, address: &UnixAddress) -> bool {
        self.find(address) != Err(Errno::ENOENT)
            && (address.path().is_some() || self.find(address) != Err(Errno::ECONNREFUSED))
    }

    /// Returns whether a file has no listener. The client side of a stream is not a listener.
    fn is_stale(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|file| matches!(file.bound, None | Some(Bound::Stream)))
    }

    fn bind(&mut self, address: &UnixAddress, naming: Naming, bound: Bound) -> Result<Name, Errno> {
        if let Some(path) = address.path().filter(|path| naming.remove_stale && self.is_stale(path)) {
            self.files.remove(path);
        }
        if self.is_taken(address) {
            return Err(Errno::EADDRINUSE);
        }
        let mut file = None;
        if let Some(path) = address.path() {
            self.made += 1;
            file = Some(self.made);
            let mode = naming.mode.unwrap_or(USUAL_MODE);
            self.files.insert(path.to_owned(), File { number: self.made, mode, bound: Some(bound) });
        } else if let Some(name) = address.abstract_name() {
            self.abstract_names.insert(name.to_owned(), bound);
        }
        Ok(Name { address: address.clone(), file, unlink: naming.unlink })
    }

    fn release(&mut self, name: &Name, keep_file: bool) {
        if let Some(path) = name.address.path() {
            // Another socket may have made a file of the same name since.
            let Some(file) = self.files.get_mut(path).filter(|file| Some(file.number) == name.file) else {
                return;
            };
            file.bound = None;
            if name.unlink && !keep_file {
                self.files.remove(path);
            }
        } else if let Some(abstract_name) = name.address.abstract_name() {
            self.abstract_names.remove(abstract_name);
        }
    }
}

impl World {
    /// Binds the name of a socket that is being opened.
    pub(in crate::sim) fn bind_name(
        &mut self,
        process: u32,
        address: &UnixAddress,
        naming: Naming,
        bound: Bound,
    ) -> Result<Name, OpenError> {
        self.allow(process, CallKind::Bind, OpenStep::Bind)?;
        if address.is_unnamed() {
            return Err(OpenError { step: OpenStep::Bind, error: std::io::ErrorKind::Unsupported.into() });
        }
        let host = self.process(process).host;
        let name = match self.host_mut(host).names.bind(address, naming, bound) {
            Ok(name) => name,
            Err(errno) => return failed(OpenStep::Bind, errno),
        };
        if naming.mode.is_some()
            && address.path().is_some()
            && let Err(failed) = self.allow(process, CallKind::SetMode, OpenStep::Mode)
        {
            self.host_mut(host).names.release(&Name { unlink: true, ..name }, false);
            return Err(failed);
        }
        Ok(name)
    }

    /// Releases a socket's name. A killed process leaves its files behind.
    pub(in crate::sim) fn release_name(&mut self, host: u32, process: u32, name: &Name) {
        let keep_file = !self.host(host).up || self.process(process).killed;
        self.host_mut(host).names.release(name, keep_file);
    }
}

/// The files of UNIX sockets.
impl Network {
    /// Returns the mode of a UNIX socket's file, if the file exists, with or without a listener.
    /// Default: 0o755.
    pub fn socket_file(&self, host: Host, path: impl AsRef<Path>) -> Option<u32> {
        self.world.borrow().host(host.0).names.files.get(path.as_ref()).map(|file| file.mode)
    }

    /// Removes the file of a UNIX socket, as `rm` does. Its listener cannot be reached afterwards.
    /// `false` when there is no such file.
    pub fn remove_socket_file(&self, host: Host, path: impl AsRef<Path>) -> bool {
        self.world.borrow_mut().host_mut(host.0).names.files.remove(path.as_ref()).is_some()
    }
}

/// 0o777 minus the usual umask.
const USUAL_MODE: u32 = 0o755;
