//! Error numbers by name, for faults and traces.

use std::fmt;
use std::io;

use rustix::io::Errno as System;

/// An error number of the operating system.
///
/// ```
/// use twistor::sim::Errno;
///
/// assert_eq!(Errno::ECONNRESET.to_string(), "ECONNRESET");
/// assert_eq!(std::io::Error::from(Errno::EPIPE).kind(), std::io::ErrorKind::BrokenPipe);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $system:ident: $about:literal;)*) => {
        impl Errno {
            $(
                #[doc = $about]
                pub const $name: Errno = Errno(System::$system.raw_os_error());
            )*

            /// All error numbers with a name here.
            pub const ALL: &'static [Errno] = &[$(Errno::$name),*];

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EACCES = ACCESS: "Permission denied.";
    EADDRINUSE = ADDRINUSE: "The address is in use.";
    EADDRNOTAVAIL = ADDRNOTAVAIL: "No such local address, or no free port.";
    EAFNOSUPPORT = AFNOSUPPORT: "The address is of another family.";
    EAGAIN = AGAIN: "The call would block.";
    EBADF = BADF: "No such descriptor.";
    EBUSY = BUSY: "It is in use.";
    ECONNABORTED = CONNABORTED: "The connection was aborted.";
    ECONNREFUSED = CONNREFUSED: "The connection was refused.";
    ECONNRESET = CONNRESET: "The connection was reset by the peer.";
    EDESTADDRREQ = DESTADDRREQ: "The destination is missing.";
    EDQUOT = DQUOT: "The quota is exceeded.";
    EEXIST = EXIST: "The file exists.";
    EFBIG = FBIG: "The file is too long.";
    EHOSTUNREACH = HOSTUNREACH: "No route to the host.";
    EINTR = INTR: "Interrupted by a signal.";
    EINVAL = INVAL: "An argument is invalid.";
    EIO = IO: "Input or output failed.";
    EISDIR = ISDIR: "It is a directory.";
    ELOOP = LOOP: "Too many symbolic links.";
    EMFILE = MFILE: "The process has no descriptors left.";
    EMSGSIZE = MSGSIZE: "The message is too long.";
    ENAMETOOLONG = NAMETOOLONG: "The name is too long.";
    ENETDOWN = NETDOWN: "The network is down.";
    ENETUNREACH = NETUNREACH: "No route to the network.";
    ENFILE = NFILE: "The system has no descriptors left.";
    ENOBUFS = NOBUFS: "No buffer space is left.";
    ENODEV = NODEV: "No such device.";
    ENOENT = NOENT: "No such file.";
    ENOMEM = NOMEM: "No memory is left.";
    ENOPROTOOPT = NOPROTOOPT: "No such option.";
    ENOSPC = NOSPC: "No space is left.";
    ENOTCONN = NOTCONN: "The socket is not connected.";
    ENOTDIR = NOTDIR: "It is no directory.";
    ENOTEMPTY = NOTEMPTY: "The directory is not empty.";
    EOPNOTSUPP = OPNOTSUPP: "Not supported.";
    EPERM = PERM: "Not permitted.";
    EPIPE = PIPE: "This direction is closed.";
    EPROTO = PROTO: "A protocol failed.";
    EPROTOTYPE = PROTOTYPE: "The socket is of another type.";
    EROFS = ROFS: "The file system is for reading only.";
    ETIMEDOUT = TIMEDOUT: "The peer did not answer in time.";
    EXDEV = XDEV: "It is beyond the allowed directory or file system.";
}

impl Errno {
    /// Returns the raw number of the operating system.
    pub fn raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

impl From<i32> for Errno {
    fn from(raw: i32) -> Errno {
        Errno(raw)
    }
}
