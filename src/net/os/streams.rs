//! This process's standard input and output, as one stream.
//!
//! Whoever began this process may have the same open files: the shell its terminal, others the other side of a pipe. To
//! make those non-blocking would break them. So a pipe and a terminal are opened once more, a socket is asked not to
//! block in each call, and a file never does. Where opening fails, the flag is set, and taken back at the end.

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

use super::process::look_for_reader;
use crate::net::Token;

/// Standard input and output while a reactor has them. There is one for each process.
pub(super) struct Streams {
    token: Token,
    input: End,
    /// Gone once it was closed alone.
    output: Option<End>,
    _taken: Taken,
}

struct End {
    descriptor: OwnedFd,
    kind: Kind,
    /// It was made non-blocking for all who have it open.
    flagged: bool,
    polled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pipe,
    Socket,
    /// A terminal, or another device.
    Device,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

impl Streams {
    pub(super) fn open(token: Token, poll: mio::Token, registry: &Registry) -> io::Result<Streams> {
        let taken = Taken::take()?;
        let mut input = End::open(io::stdin().as_fd(), Direction::In)?;
        let mut output = End::open(io::stdout().as_fd(), Direction::Out)?;
        input.watch(poll, registry, Interest::READABLE)?;
        let watched = output.watch(poll, registry, Interest::WRITABLE);
        if let Err(error) = watched {
            input.forget(registry);
            return Err(error);
        }
        Ok(Streams { token, input, output: Some(output), _taken: taken })
    }

    pub(super) fn is(&self, token: Token) -> bool {
        self.token == token
    }

    /// Whether there is something to read at all times: no poll tells of it.
    pub(super) fn reads_at_once(&self) -> bool {
        !self.input.polled
    }

    /// Whether a short read does not say that there is no more: a terminal gives one line at a time.
    pub(super) fn reads_in_lines(&self) -> bool {
        self.input.kind == Kind::Device
    }

    /// Whether a write that was taken in part may go on at once: no poll tells of it.
    pub(super) fn writes_at_once(&self) -> bool {
        self.output.as_ref().is_some_and(|output| !output.polled)
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = &self.input.descriptor;
        let received = match self.input.kind {
            Kind::Socket => rustix::net::recv(input, buffer, RecvFlags::DONTWAIT).map(|(_, count)| count),
            Kind::Pipe | Kind::Device | Kind::File => rustix::io::read(input, buffer),
        };
        match received {
            // A terminal that is gone says so.
            Err(Errno::IO) if self.input.kind == Kind::Device => Ok(0),
            Err(Errno::AGAIN) => match self.broken() {
                Some(error) => Err(error),
                None => Err(ErrorKind::WouldBlock.into()),
            },
            received => Ok(received?),
        }
    }

    pub(super) fn send(&self, data: &[u8]) -> io::Result<usize> {
        let output = self.output.as_ref().ok_or(Errno::PIPE)?;
        Ok(match output.kind {
            Kind::Socket => {
                rustix::net::send(&output.descriptor, data, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?
            }
            Kind::Pipe | Kind::Device | Kind::File => rustix::io::write(&output.descriptor, data)?,
        })
    }

    /// What is wrong with the output: nobody reads it any more.
    pub(super) fn broken(&self) -> Option<io::Error> {
        let output = self.output.as_ref()?;
        look_for_reader(&output.descriptor).err().filter(|error| error.kind() == ErrorKind::BrokenPipe)
    }

    /// Ends the output alone. Whoever reads it sees the end only when nobody has it open: standard output becomes /dev/null.
    pub(super) fn close_output(&mut self, registry: &Registry) -> io::Result<()> {
        let Some(mut output) = self.output.take() else { return Ok(()) };
        output.forget(registry);
        match output.kind {
            Kind::Pipe | Kind::Socket => {
                if output.kind == Kind::Socket {
                    // The input may be the same socket, and goes on.
                    rustix::net::shutdown(&output.descriptor, rustix::net::Shutdown::Write)?;
                }
                rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
            }
            Kind::Device | Kind::File => {}
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, registry: &Registry) {
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
        // To open the master of terminals makes another one.
        let own = match metadata.rdev() == MASTER && kind == Kind::Device {
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
            // A file, or /dev/null: it never makes anybody wait.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn forget(&mut self, registry: &Registry) {
        if std::mem::take(&mut self.polled) {
            // It is closed next, but others may have it open.
            let _ = registry.deregister(&mut SourceFd(&self.descriptor.as_raw_fd()));
        }
    }
}

/// What was borrowed is given back as it was.
impl Drop for End {
    fn drop(&mut self) {
        if self.flagged
            && let Ok(flags) = rustix::fs::fcntl_getfl(&self.descriptor)
        {
            // There is nobody to tell.
            let _ = rustix::fs::fcntl_setfl(&self.descriptor, flags - OFlags::NONBLOCK);
        }
    }
}

/// The same pipe or device, with flags of its own.
fn reopen(standard: BorrowedFd<'_>, direction: Direction) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .read(direction == Direction::In)
        .write(direction == Direction::Out)
        .custom_flags(flags.bits().cast_signed())
        .open(format!("/proc/self/fd/{}", standard.as_raw_fd()))
}

/// Says that a reactor of this process has the standard streams.
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
const MASTER: u64 = 5 << 8 | 2;
