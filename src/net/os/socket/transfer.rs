//! Receiving and sending bytes: every kind but the TCP streams that the driver opened.

use std::io;

use rustix::net::{RecvFlags, SendFlags};

use super::Kind;
use crate::net::Token;
use crate::net::os::unix::fd_passing;
use crate::net::os::{OsDriver, process};

impl OsDriver {
    /// Receives from every kind but a TCP stream that this driver opened.
    #[inline(never)]
    pub(in crate::net::os) fn read(&mut self, pipe: Token, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(streams) = self.streams(pipe) {
            let count = streams.receive(buffer)?;
            if count > 0 && streams.reads_in_lines() {
                self.reported_next.push(pipe);
            }
            return Ok(count);
        }
        match self.sockets.get(pipe)? {
            (stream, Kind::Unix | Kind::AdoptedUnix) => fd_passing::recv(stream, buffer),
            (stream, Kind::AdoptedTcp) => Ok(rustix::net::recv(stream, buffer, RecvFlags::empty())?.1),
            (descriptor, Kind::PipeFrom) => Ok(rustix::io::read(descriptor, buffer)?),
            (descriptor, Kind::Terminal) => match rustix::io::read(descriptor, buffer) {
                // EIO: the other side of the terminal is closed.
                Err(rustix::io::Errno::IO) => Ok(0),
                read => {
                    // A terminal returns its data in pieces, so a short read does not mean drained.
                    let count = read?;
                    self.reported_next.push(pipe);
                    Ok(count)
                }
            },
            (descriptor, Kind::PipeTo) => process::look_for_reader(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Sends to every kind but a TCP stream that this driver opened.
    #[inline(never)]
    pub(in crate::net::os) fn write(&mut self, pipe: Token, data: &[u8]) -> io::Result<usize> {
        if let Some(streams) = self.streams(pipe) {
            let sent = streams.send(data)?;
            if sent < data.len() && streams.always_writable() {
                self.reported_next.push(pipe);
            }
            return Ok(sent);
        }
        match self.sockets.get(pipe)? {
            (stream, Kind::Unix | Kind::AdoptedTcp | Kind::AdoptedUnix) => {
                Ok(rustix::net::send(stream, data, SendFlags::NOSIGNAL)?)
            }
            // std ignores SIGPIPE, so a broken pipe is an error.
            (descriptor, Kind::PipeTo | Kind::Terminal) => Ok(rustix::io::write(descriptor, data)?),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
