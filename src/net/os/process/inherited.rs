//! Adoption of inherited descriptors, which are known by number only.
//!
//! Nothing guarantees that a number is an open descriptor, or that no other owner has it. The
//! number is therefore sent over a socket pair. The kernel validates it, and the received duplicate
//! is owned and close-on-exec.
//!
//! The inherited descriptor was left open for this program, not for its children. Setting
//! close-on-exec on a raw number takes an ownership claim, which is unsafe code. Instead, a
//! close-on-exec duplicate takes the number over. This happens only when close-on-exec is not set:
//! descriptors opened by this process have it from the start. Linux shows the flag in
//! `/proc/self/fdinfo`. On other systems the inherited descriptor stays unchanged.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::OFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Duplicates the descriptor with this number. The inherited one stays open, and is close-on-exec
/// from now on.
pub(crate) fn adopt_inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    let duplicate = duplicate(number)?;
    if number > STANDARD && is_inheritable(number) {
        close_on_exec(number, &duplicate);
    }
    Ok(duplicate)
}

/// Whether child programs inherit this number.
fn is_inheritable(number: RawFd) -> bool {
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}

/// Replaces the descriptor by a close-on-exec duplicate.
fn close_on_exec(number: RawFd, duplicate: &OwnedFd) {
    if nix::unistd::close(number).is_err() {
        return;
    }
    match rustix::io::fcntl_dupfd_cloexec(duplicate, number) {
        // Leaked on purpose: the number stays open until the process ends, as it would have.
        Ok(placed) if placed.as_raw_fd() == number => drop(placed.into_raw_fd()),
        // Another thread has taken the number in between.
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
    // Without room for the duplicate, the process has reached its limit on descriptors.
    descriptors.next().ok_or_else(|| rustix::io::Errno::MFILE.into())
}

/// The last of the standard streams. Children have their own.
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
