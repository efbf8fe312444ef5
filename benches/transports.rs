//! What an echo over UDP and over UNIX sockets costs the server: twistor against the same loop by hand on mio.
//!
//! Both servers are a thread of this process, started anew for each sample, and take turns within a round; the load comes
//! from the main thread. The figures to read are the **ratios**: CPU time of the server's thread per message (below 1:
//! twistor is cheaper), and messages per second (above 1: twistor is faster; it may be the load that is the limit).

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixName, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::{UdpSocket as MioUdp, UnixListener as MioListener, UnixStream as MioStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{ClockId, clock_gettime};
use slab::Slab;
use twistor::{Address, DatagramProtocol, DatagramTransport, Protocol, Reactor, RemoteHandle, Transport};

use support::options::Options;
use support::table::{self, Table};

const SIZE: usize = 64;

#[derive(Clone, Copy)]
enum Cell {
    /// So many sockets of clients, each with so many datagrams on the way.
    Udp { clients: usize, window: usize },
    /// So many connections, each with one message on the way.
    Unix { connections: usize },
}

impl Cell {
    fn name(self) -> String {
        match self {
            Cell::Udp { clients, window } => format!("udp c{clients} s{SIZE} d{window}"),
            Cell::Unix { connections } => format!("unix c{connections} s{SIZE}"),
        }
    }
}

const CELLS: [Cell; 5] = [
    Cell::Udp { clients: 1, window: 64 },
    Cell::Udp { clients: 16, window: 4 },
    Cell::Udp { clients: 64, window: 1 },
    Cell::Unix { connections: 1 },
    Cell::Unix { connections: 64 },
];

#[derive(Clone, Copy)]
enum Kind {
    Mio,
    Twistor,
}

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let mut table = Table::new(["cell", "CPU, twistor to mio", "rate, twistor to mio", "mio", "twistor"]);
    for cell in CELLS {
        // CPU microseconds per message, and messages per second, of each in turn.
        let mut cost = [Vec::new(), Vec::new()];
        let mut rate = [Vec::new(), Vec::new()];
        for round in 0..options.rounds(5) {
            for turn in 0..2 {
                let index = (round + turn) % 2;
                let kind = [Kind::Mio, Kind::Twistor][index];
                let (count, elapsed, cpu) = sample(kind, cell, options.sample)?;
                cost[index].push(cpu.as_secs_f64() * 1e6 / count as f64);
                rate[index].push(count as f64 / elapsed.as_secs_f64());
            }
        }
        let ratio = |figures: &[Vec<f64>; 2]| {
            let ratios: Vec<f64> = figures[1].iter().zip(&figures[0]).map(|(own, mio)| own / mio).collect();
            table::spread(&ratios)
        };
        let shown = |index: usize| {
            let rate = table::thousands(table::highest(&rate[index]));
            format!("{:.2} us, {rate}/s", table::median(&cost[index]))
        };
        table.row([cell.name(), ratio(&cost), ratio(&rate), shown(0), shown(1)]);
        eprintln!("{}", cell.name());
    }
    table.print(
        "Server CPU per message, and messages per second, in the same round: median [lowest..highest]",
    );
    Ok(())
}

/// Messages, the time they took, and the CPU of the server's thread.
fn sample(kind: Kind, cell: Cell, length: Duration) -> support::Result<(u64, Duration, Duration)> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let serial = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("twistor-bench-{}-{serial}", std::process::id());
    let (sender, started) = channel();
    let of_thread = name.clone();
    let server = thread::spawn(move || {
        match (kind, cell) {
            (Kind::Twistor, _) => serve_on_twistor(cell, &of_thread, &sender),
            (Kind::Mio, Cell::Udp { .. }) => serve_udp_on_mio(&sender),
            (Kind::Mio, Cell::Unix { .. }) => serve_unix_on_mio(&of_thread, &sender),
        }
        .map_err(|error| error.to_string())?;
        Ok::<Duration, String>(cpu())
    });
    let (address, stop) = started_at(&started)?;
    let start = Instant::now();
    let count = match cell {
        Cell::Udp { clients, window } => load_udp(address, clients, window, length),
        Cell::Unix { connections } => load_unix(&name, connections, length),
    };
    let elapsed = start.elapsed();
    stop();
    let used = server.join().map_err(|_| "the server's thread panicked")??;
    Ok((count?, elapsed, used))
}

type Stop = Box<dyn FnOnce() + Send>;
type Started = (Option<SocketAddr>, Stop);

fn started_at(started: &Receiver<Started>) -> support::Result<(SocketAddr, Stop)> {
    let (address, stop) = started.recv().map_err(|_| "the server did not start")?;
    Ok((address.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))), stop))
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

// -- on twistor --

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }
}

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        // One that is lost is seen by the load.
        let _ = transport.write_to(data, from);
    }
}

fn serve_on_twistor(cell: Cell, name: &str, started: &Sender<Started>) -> support::Result<()> {
    let mut reactor = Reactor::new()?;
    let mut address = None;
    match cell {
        Cell::Udp { .. } => {
            let id = reactor.listen_udp("127.0.0.1:0", Echo)?;
            address = reactor.datagram_transport(id).and_then(|transport| transport.host().socket_address());
        }
        Cell::Unix { .. } => {
            reactor.listen_unix(format!("@{name}"), || Echo)?;
        }
    }
    let remote: RemoteHandle = reactor.remote();
    started.send((address, Box::new(move || drop(remote.stop()))))?;
    while reactor.iterate(None)? {}
    Ok(())
}

// -- by hand --

const STOP: Token = Token(usize::MAX);

/// The waker has to live as long as the poll.
fn begin(address: Option<SocketAddr>, poll: &Poll, started: &Sender<Started>) -> support::Result<Arc<Waker>> {
    let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
    let wakes = Arc::clone(&waker);
    started.send((address, Box::new(move || drop(wakes.wake()))))?;
    Ok(waker)
}

fn serve_udp_on_mio(started: &Sender<Started>) -> support::Result<()> {
    let mut poll = Poll::new()?;
    let mut socket = MioUdp::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    let _waker = begin(Some(socket.local_addr()?), &poll, started)?;
    let mut events = Events::with_capacity(64);
    let mut buffer = vec![0; 65_536];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == STOP {
                return Ok(());
            }
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((count, from)) => match socket.send_to(&buffer[..count], from) {
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error.into()),
                    },
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

fn serve_unix_on_mio(name: &str, started: &Sender<Started>) -> support::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = MioListener::bind_addr(&UnixName::from_abstract_name(name)?)?;
    poll.registry().register(&mut listener, Token(usize::MAX - 1), Interest::READABLE)?;
    let _waker = begin(None, &poll, started)?;
    let mut events = Events::with_capacity(1024);
    let mut streams: Slab<MioStream> = Slab::new();
    let mut buffer = vec![0; 65_536];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                STOP => return Ok(()),
                Token(key) if key == usize::MAX - 1 => {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let entry = streams.vacant_entry();
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        poll.registry().register(&mut stream, Token(entry.key()), interest)?;
                        entry.insert(stream);
                    }
                }
                Token(key) => {
                    let Some(stream) = streams.get_mut(key) else { continue };
                    if event.is_readable() && !echo(stream, &mut buffer, event.is_read_closed())? {
                        streams.remove(key);
                    }
                }
            }
        }
    }
}

/// One read: a short one has found all there is. `false` at the end.
fn echo(stream: &mut MioStream, buffer: &mut [u8], closed: bool) -> io::Result<bool> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                stream.write_all(&buffer[..count])?;
                if count < buffer.len() && !closed {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Ok(false),
        }
    }
}

// -- the load --

fn load_udp(to: SocketAddr, clients: usize, window: usize, length: Duration) -> support::Result<u64> {
    let sockets: Vec<UdpSocket> = (0..clients)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(to)?;
            // One that was lost would hold its window up for ever.
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        })
        .collect::<io::Result<_>>()?;
    let message = [b'x'; SIZE];
    let mut buffer = [0; SIZE + 1];
    let (start, mut count) = (Instant::now(), 0);
    for socket in &sockets {
        for _ in 0..window {
            socket.send(&message)?;
        }
    }
    while start.elapsed() < length {
        for socket in &sockets {
            for _ in 0..window {
                if socket.recv(&mut buffer)? != SIZE || buffer[..SIZE] != message {
                    return Err("a datagram came back changed".into());
                }
            }
            for _ in 0..window {
                socket.send(&message)?;
            }
            count += window as u64;
        }
    }
    Ok(count)
}

fn load_unix(name: &str, connections: usize, length: Duration) -> support::Result<u64> {
    let address = UnixName::from_abstract_name(name)?;
    let mut streams: Vec<UnixStream> =
        (0..connections).map(|_| UnixStream::connect_addr(&address)).collect::<io::Result<_>>()?;
    let message = [b'x'; SIZE];
    let mut buffer = [0; SIZE];
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < length {
        for stream in &mut streams {
            stream.write_all(&message)?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut buffer)?;
            if buffer != message {
                return Err("a message came back changed".into());
            }
        }
        count += connections as u64;
    }
    Ok(count)
}
