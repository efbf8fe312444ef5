//! The echo server by hand on mio, without a framework: the same loop as `epoll.c`, in Rust.
//!
//! Edge-triggered; both directions registered once; connections in a slab; one shared read buffer; write through, and
//! keep what the kernel does not take; a short read means drained, unless the peer has closed; no reading while output
//! waits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

struct Connection {
    stream: TcpStream,
    /// Empty while the kernel takes everything.
    unsent: Vec<u8>,
    /// How much of `write_buffer_size` is gone.
    start: usize,
}

enum Fate {
    Lives,
    Ends,
}

/// Serves until standard input closes.
pub fn serve() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = listen()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    poll.registry().register(&mut SourceFd(&io::stdin().as_raw_fd()), INPUT, Interest::READABLE)?;
    println!("{}", listener.local_addr()?.port());

    let mut connections = Slab::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        for event in &events {
            match event.token() {
                INPUT => return Ok(()),
                LISTENER => accept_all(&poll, &listener, &mut connections)?,
                Token(index) => {
                    let Some(connection) = connections.get_mut(index) else {
                        continue;
                    };
                    if !matches!(connection.ready(event, &mut buffer), Ok(Fate::Lives)) {
                        connections.remove(index);
                    }
                }
            }
        }
    }
}

impl Connection {
    fn ready(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<Fate> {
        let mut peer_closed = event.is_read_closed() || event.is_error();
        let mut readable = event.is_readable() || peer_closed;
        if !self.unsent.is_empty() {
            self.start += send_some(&mut self.stream, &self.unsent[self.start..])?;
            if self.start < self.unsent.len() {
                return Ok(Fate::Lives);
            }
            (self.unsent, self.start) = (Vec::new(), 0);
            (readable, peer_closed) = (true, true); // reading stopped with bytes, or the end, in the socket
        }
        if readable { self.echo(buffer, peer_closed) } else { Ok(Fate::Lives) }
    }

    fn echo(&mut self, buffer: &mut [u8], peer_closed: bool) -> io::Result<Fate> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(Fate::Ends),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Lives),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let sent = send_some(&mut self.stream, &buffer[..count])?;
            if sent < count {
                self.unsent.extend_from_slice(&buffer[sent..count]);
                return Ok(Fate::Lives);
            }
            if count < buffer.len() && !peer_closed {
                return Ok(Fate::Lives);
            }
        }
    }
}

/// Bytes the kernel took.
fn send_some(stream: &mut TcpStream, data: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < data.len() {
        match stream.write(&data[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

fn accept_all(poll: &Poll, listener: &TcpListener, connections: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let entry = connections.vacant_entry();
                poll.registry().register(
                    &mut stream,
                    Token(entry.key()),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                entry.insert(Connection { stream, unsent: Vec::new(), start: 0 });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(error) => return Err(error),
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

const LISTENER: Token = Token(usize::MAX);
const INPUT: Token = Token(usize::MAX - 1);

/// As in `epoll.c`: the size that a programmer takes who wants few system calls.
const READ_BUFFER: usize = 64 * 1024;
const BACKLOG: i32 = 1024;
