//! Bytes and descriptors of UNIX sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::net::{MOST_DESCRIPTORS, ReceivedFds};

/// Receives bytes; descriptors that come with them are closed by the system. It stops at each of them, although more may
/// wait, so the rest is asked for: less than there was room for means that there is no more. To ask how much waits is
/// cheaper than to be told of descriptors: measured, `recvmsg` costs a message a tenth more than `recv`.
#[inline(never)] // it would make the reads of TCP longer
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
            // An end or an error is told of by the next read, which an event leads to.
            Err(_) if count > 0 => return Ok(count),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives bytes and what came with the last of them. Out of descriptors, the system closes those that find no room, and
/// hands over the others, and the bytes all the same.
pub(in crate::net::os) fn recv_with(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    into: &mut ReceivedFds,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); ROOM];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = rustix::net::recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            into.descriptors.extend(descriptors);
        }
    }
    // There is room for all that can come at once: what is missing, the process had no descriptors left for.
    into.lost |= message.flags.contains(ReturnFlags::CTRUNC);
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

/// Beside descriptors: who sent them, if whoever opened the socket has asked for it. (SO_PASSCRED.)
const BESIDE: usize = 64;

const ROOM: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS)) + BESIDE;
