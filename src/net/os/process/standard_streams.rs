//! This process's standard input and output, as one stream.
//!
//! The parent process may share the open files: a shell its terminal, another program the other end
//! of a pipe. Setting O_NONBLOCK on them would break the other owners. A pipe or a terminal is
//! therefore opened again, a socket is used with MSG_DONTWAIT, and a file never blocks. Where
//! opening again fails, O_NONBLOCK is set, and cleared at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::look_for_reader;
use crate::net::Token;

/// Standard input and output while a reactor uses them. At most one per process.
pub(in crate::net::os) struct StandardStreams {
    token: Token,
    input: End,
    /// `None` once the output alone was closed.
    output: Option<End>,
    _taken: Taken,
}

struct End {
    descriptor: OwnedFd,
    kind: Kind,
    /// Whether O_NONBLOCK was set on the shared open file.
    flagged: bool,
    polled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pipe,
    Socket,
    /// A terminal or another device.
    Device,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

impl StandardStreams {
    pub(in crate::net::os) fn open(
        token: Token,
        poll: mio::Token,
        registry: &Registry,
    ) -> io::Result<StandardStreams> {
        let taken = Taken::take()?;
        let mut input = End::open(io::stdin().as_fd(), Direction::In)?;
        let mut output = End::open(io::stdout().as_fd(), Direction::Out)?;
        input.watch(poll, registry, Interest::READABLE)?;
        let watched = output.watch(poll, registry, Interest::WRITABLE);
        if let Err(error) = watched {
            input.forget(registry);
            return Err(error);
        }
        Ok(StandardStreams { token, input, output: Some(output), _taken: taken })
    }

    pub(in crate::net::os) fn is(&self, token: Token) -> bool {
        self.token == token
    }

    /// Whether the input is always readable. The poll does not report it then.
    pub(in crate::net::os) fn always_readable(&self) -> bool {
        !self.input.polled
    }

    /// Whether a short read does not mean drained: a terminal returns one line at a time.
    pub(in crate::net::os) fn reads_in_lines(&self) -> bool {
        self.input.kind == Kind::Device
    }

    /// Whether a partial write can continue at once. The poll does not report it then.
    pub(in crate::net::os) fn always_writable(&self) -> bool {
        self.output.as_ref().is_some_and(|output| !output.polled)
    }

    pub(in crate::net::os) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = &self.input.descriptor;
        let received = match self.input.kind {
            Kind::Socket => rustix::net::recv(input, buffer, RecvFlags::DONTWAIT).map(|(_, count)| count),
            Kind::Pipe | Kind::Device | Kind::File => rustix::io::read(input, buffer),
        };
        match received {
            // EIO: the terminal was closed.
            Err(Errno::IO) if self.input.kind == Kind::Device => Ok(0),
            Err(Errno::AGAIN) => match self.broken() {
                Some(error) => Err(error),
                None => Err(ErrorKind::WouldBlock.into()),
            },
            received => Ok(received?),
        }
    }

    pub(in crate::net::os) fn send(&self, data: &[u8]) -> io::Result<usize> {
        let output = self.output.as_ref().ok_or(Errno::PIPE)?;
        Ok(match output.kind {
            Kind::Socket => {
                rustix::net::send(&output.descriptor, data, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?
            }
            Kind::Pipe | Kind::Device | Kind::File => rustix::io::write(&output.descriptor, data)?,
        })
    }

    /// EPIPE, if the output has no reader any more.
    pub(in crate::net::os) fn broken(&self) -> Option<io::Error> {
        let output = self.output.as_ref()?;
        look_for_reader(&output.descriptor).err().filter(|error| error.kind() == ErrorKind::BrokenPipe)
    }

    /// Closes the output alone. Its reader sees EOF only when no descriptor has it open, so
    /// standard output is redirected to /dev/null.
    pub(in crate::net::os) fn close_output(&mut self, registry: &Registry) -> io::Result<()> {
        let Some(mut output) = self.output.take() else { return Ok(()) };
        output.forget(registry);
        match output.kind {
            Kind::Pipe | Kind::Socket => {
                if output.kind == Kind::Socket {
                    // The input may be the same socket, and stays open.
                    rustix::net::shutdown(&output.descriptor, rustix::net::Shutdown::Write)?;
                }
                rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
            }
            Kind::Device | Kind::File => {}
        }
        Ok(())
    }

    pub(in crate::net::os) fn forget(&mut self, registry: &Registry) {
        self.input.forget(registry);
        if let Some(output) = &mut self.output {
            output.forget(registry);
        }
    }
}

impl End {
    fn open(standard: BorrowedFd<'_>, direction: Direction) -> io::Result<End> {
        let file = File::from(standard.try_clone_to_owned()?);
        let metadata = file.metadata()?;
        let kind = match metadata.file_type() {
            kind if kind.is_fifo() => Kind::Pipe,
            kind if kind.is_socket() => Kind::Socket,
            kind if kind.is_char_device() => Kind::Device,
            _ => Kind::File,
        };
        let end =
            |descriptor: File, flagged| End { descriptor: descriptor.into(), kind, flagged, polled: false };
        if matches!(kind, Kind::Socket | Kind::File) {
            return Ok(end(file, false));
        }
        // Opening the terminal multiplexer would create another terminal.
        let own = match metadata.rdev() == PTMX && kind == Kind::Device {
            true => None,
            false => reopen(standard, direction).ok(),
        };
        if let Some(own) = own {
            return Ok(end(own, false));
        }
        let flags = rustix::fs::fcntl_getfl(&file)?;
        let flagged = !flags.contains(OFlags::NONBLOCK);
        if flagged {
            rustix::fs::fcntl_setfl(&file, flags | OFlags::NONBLOCK)?;
        }
        Ok(end(file, flagged))
    }

    fn watch(&mut self, token: mio::Token, registry: &Registry, interest: Interest) -> io::Result<()> {
        match registry.register(&mut SourceFd(&self.descriptor.as_raw_fd()), token, interest) {
            Ok(()) => self.polled = true,
            // EPERM: a file or /dev/null never blocks and cannot be polled.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn forget(&mut self, registry: &Registry) {
        if std::mem::take(&mut self.polled) {
            // The descriptor is closed next, but other owners may have the file open.
            let _ = registry.deregister(&mut SourceFd(&self.descriptor.as_raw_fd()));
        }
    }
}

/// Clears O_NONBLOCK on a shared open file.
impl Drop for End {
    fn drop(&mut self) {
        if self.flagged
            && let Ok(flags) = rustix::fs::fcntl_getfl(&self.descriptor)
        {
            // An error has no consequence here.
            let _ = rustix::fs::fcntl_setfl(&self.descriptor, flags - OFlags::NONBLOCK);
        }
    }
}

/// Opens the same pipe or device again, with its own flags.
fn reopen(standard: BorrowedFd<'_>, direction: Direction) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .read(direction == Direction::In)
        .write(direction == Direction::Out)
        .custom_flags(flags.bits().cast_signed())
        .open(format!("/proc/self/fd/{}", standard.as_raw_fd()))
}

/// Guard: a reactor of this process uses the standard streams.
struct Taken;

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Taken {
    fn take() -> io::Result<Taken> {
        match TAKEN.swap(true, Ordering::AcqRel) {
            true => Err(ErrorKind::ResourceBusy.into()),
            false => Ok(Taken),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// The device number of /dev/ptmx on Linux.
const PTMX: u64 = 5 << 8 | 2;
