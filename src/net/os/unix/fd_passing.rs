//! Receiving and sending on UNIX sockets, with and without descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::net::{MOST_DESCRIPTORS, ReceivedFds};

/// Receives bytes. The system closes descriptors that come with them. A receive stops at each
/// message with descriptors although more bytes may wait, so this loops: a short read means that
/// the socket is drained. Asking for the number of waiting bytes (FIONREAD) is cheaper than
/// receiving control messages. Measured: with `recvmsg`, a message costs 10% more than with `recv`.
#[inline(never)] // keeps the read path of TCP short
pub(in crate::net::os) fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    loop {
        let room = buffer.get_mut(count..).unwrap_or_default();
        match rustix::net::recv(socket, room, RecvFlags::empty()) {
            Ok((_, bytes)) => {
                count += bytes;
                if bytes == 0 || count == buffer.len() || rustix::io::ioctl_fionread(socket) == Ok(0) {
                    return Ok(count);
                }
            }
            Err(rustix::io::Errno::INTR) if count > 0 => {}
            // The next read returns EOF or the error. The poll has reported both.
            Err(_) if count > 0 => return Ok(count),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives bytes and the descriptors of the last message. When the process is out of descriptors,
/// the system closes those that do not fit. It still returns the others, and the bytes.
pub(in crate::net::os) fn recv_with(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    received: &mut ReceivedFds,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            received.descriptors.extend(descriptors);
        }
    }
    // The buffer has room for the descriptors of one message. Truncation therefore means that the
    // process is out of descriptors.
    received.lost |= message.flags.contains(ReturnFlags::CTRUNC);
    Ok(message.bytes)
}

pub(in crate::net::os) fn send_with(
    socket: BorrowedFd<'_>,
    data: &[u8],
    descriptors: &[OwnedFd],
) -> io::Result<usize> {
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(OwnedFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Room for sender credentials, in case SO_PASSCRED was set before the socket was adopted.
const CREDENTIALS_SPACE: usize = 64;

const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS)) + CREDENTIALS_SPACE;
