//! Descriptors that the process was started with, and knows by number alone.
//!
//! Nothing says that a number is a descriptor, or whose. It is therefore sent to ourselves over a pair of sockets: the
//! system looks at it, and what arrives is a duplicate that is ours, and is closed on exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// A duplicate of the descriptor with this number; the one that was inherited stays open as it is.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_number_becomes_a_duplicate_or_an_error() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut duplicate = UnixStream::from(inherited(there.as_raw_fd()).unwrap());
        assert!(rustix::io::fcntl_getfd(&duplicate).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        drop(there);
        here.write_all(b"x").unwrap();
        let mut byte = [0];
        duplicate.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        for nothing in [-1, 1_000_000] {
            assert_eq!(
                inherited(nothing).unwrap_err().raw_os_error(),
                Some(rustix::io::Errno::BADF.raw_os_error())
            );
        }
    }
}
