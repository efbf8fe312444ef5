//! Descriptors that the process was started with, and knows by number alone.
//!
//! Nothing says that a number is a descriptor, or whose. It is therefore sent to ourselves over a pair of sockets: the
//! system looks at it, and what arrives is a duplicate that is ours, and is closed on exec.
//!
//! The inherited one was left open for this program, and not for those that it starts. To mark a number as closed on exec
//! takes the word that it is ours, which is unsafe code; but a duplicate can take its place, and has the mark. That is done
//! only to what has no mark: whatever this process opened by itself has it from the start. Where the system does not
//! show the marks, which Linux does in `/proc/self/fdinfo`, it stays as it was.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::OFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// A duplicate of the descriptor with this number. The one that was inherited stays open, and is closed on exec from now on.
pub(crate) fn adopt_inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    let duplicate = duplicate(number)?;
    if number > STANDARD && is_left_open(number) {
        close_on_exec(number, &duplicate);
    }
    Ok(duplicate)
}

/// Whether programs that are started from here inherit this number.
fn is_left_open(number: RawFd) -> bool {
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}

/// Puts another of its duplicates in its place.
fn close_on_exec(number: RawFd, duplicate: &OwnedFd) {
    if nix::unistd::close(number).is_err() {
        return;
    }
    match rustix::io::fcntl_dupfd_cloexec(duplicate, number) {
        // It stays open until the process ends, as it would have.
        Ok(placed) if placed.as_raw_fd() == number => drop(placed.into_raw_fd()),
        // Another thread has opened something in between, which has the number now.
        Ok(_) | Err(_) => log_warn!("the inherited descriptor {number} cannot be used a second time"),
    }
}

fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    let (to, from) = UnixStream::pair()?;
    let (byte, rights) = ([0], [number]);
    sendmsg::<()>(
        to.as_raw_fd(),
        &[IoSlice::new(&byte)],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::empty(),
        None,
    )?;
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    // The limit of descriptors is what it can be: there was no room for the duplicate.
    descriptors.next().ok_or_else(|| rustix::io::Errno::MFILE.into())
}

/// The last of the standard streams, which children have of their own.
const STANDARD: RawFd = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_number_becomes_a_duplicate_or_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut duplicate = UnixStream::from(adopt_inherited_fd(there.as_raw_fd()).unwrap());
        assert!(rustix::io::fcntl_getfd(&duplicate).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        drop(there);
        here.write_all(b"x").unwrap();
        let mut byte = [0];
        duplicate.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        for nothing in [-1, 1_000_000] {
            assert_eq!(
                adopt_inherited_fd(nothing).unwrap_err().raw_os_error(),
                Some(rustix::io::Errno::BADF.raw_os_error())
            );
        }
    }
}
