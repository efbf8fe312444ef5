//! The real network: `mio` for readiness, `rustix` for calls, `socket2` for options, `signal-hook` for signals.

#![allow(clippy::disallowed_methods, reason = "the one place that may")]

mod busy_poll;
mod datagrams;
mod fd_passing;
mod inherited;
mod listeners;
mod names;
pub(crate) mod notify;
mod opening;
mod options;
mod pool;
mod process;
mod resolver;
mod signals;
mod socket_file;
mod sockets;
mod spawn_fault;
mod stale_socket;
mod streams;
mod system_resolver;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Interest, Poll};
use rustix::net::{RecvFlags, SendFlags, sockopt};

use self::busy_poll::Spin;
use self::datagrams::Batches;
pub(crate) use self::inherited::adopt_inherited_fd;
use self::names::address_of;
use self::opening::credentials;
use self::pool::Pool;
use self::process::Children;
pub(crate) use self::resolver::LookUp;
use self::resolver::Resolver;
use self::signals::Watched;
use self::sockets::{Kind, Opened, Sockets};
use self::streams::Streams;
#[cfg(test)]
pub(crate) use self::system_resolver::look_up as system_look_up;
use super::{
    Accepted, Address, Adopt, Answer, BusyPollStats, Close, Credentials, Event, ExitReason, Instant, Job,
    LookupId, LookupProgress, Net, NotAsked, Open, OpenError, OpenStep, Pipes, ProcessSignal, Readiness,
    ReceivedFds, RecvBatch, Signal, SocketOption, SpawnError, SpawnProcess, TerminalSize, ThreadLimits,
    Token, Transmit, UnixAddress, Wake, Watch,
};

/// The sizes that a reactor's settings decide.
pub(crate) struct OsConfig {
    pub(crate) limits: ThreadLimits,
    pub(crate) thread_patience: Duration,
    pub(crate) spin: Duration,
}

/// The operating system as a [`Net`].
pub(crate) struct OsDriver {
    poll: Poll,
    events: mio::Events,
    spin: Spin,
    sockets: Sockets,
    children: Children,
    /// Made for the first datagram.
    batches: Option<Box<Batches>>,
    waker: Arc<mio::Waker>,
    /// Held in reserve for [`Net::shed`].
    spare: Option<File>,
    signals: Option<Watched>,
    standard: Option<Box<Streams>>,
    /// Files are ready when they are asked again, and no poll tells so.
    again: Vec<Token>,
    /// Signals that came while the watched ones changed.
    came: Vec<Signal>,
    jobs: Pool,
    /// Look-ups of names have threads of their own, so that those that hang cannot stop other jobs.
    resolver: Resolver,
    /// Random bytes not yet handed out.
    random: Vec<u8>,
}

impl OsDriver {
    pub(crate) fn new(sizes: &OsConfig) -> io::Result<OsDriver> {
        OsDriver::with_look_up(sizes, Box::new(system_resolver::look_up))
    }

    /// As [`new`](OsDriver::new), with another resolver than the system's.
    pub(crate) fn with_look_up(sizes: &OsConfig, look_up: Box<LookUp>) -> io::Result<OsDriver> {
        let ThreadLimits { threads, thread_queue, lookup_threads, lookup_queue } = sizes.limits;
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        origin();
        Ok(OsDriver {
            poll,
            events: mio::Events::with_capacity(EVENTS),
            spin: Spin::new(sizes.spin),
            sockets: Sockets::default(),
            children: Children::default(),
            batches: None,
            waker,
            spare: reserve(),
            signals: None,
            standard: None,
            again: Vec::new(),
            came: Vec::new(),
            jobs: Pool::new("job", threads, thread_queue, sizes.thread_patience),
            resolver: Resolver::new(lookup_threads, lookup_queue, look_up),
            random: Vec::new(),
        })
    }

    fn register(&mut self, token: Token, opened: Opened) -> io::Result<()> {
        let registry = self.poll.registry();
        let interest = match opened.kind {
            Kind::PipeFrom => Interest::READABLE,
            Kind::PipeTo => Interest::WRITABLE,
            _ => Interest::READABLE | Interest::WRITABLE,
        };
        let watched = match opened.kind {
            Kind::Listener => listeners::watch(registry, opened.descriptor.as_fd(), token),
            _ => registry.register(&mut SourceFd(&opened.descriptor.as_raw_fd()), mio_token(token), interest),
        };
        match watched {
            Ok(()) => {
                self.sockets.insert(token, opened);
                Ok(())
            }
            Err(error) => {
                opened.undo();
                Err(error)
            }
        }
    }

    /// The standard streams, if that is their token.
    fn streams(&self, token: Token) -> Option<&Streams> {
        self.standard.as_deref().filter(|streams| streams.is(token))
    }

    /// Receives from what is no stream of TCP that was made here.
    #[inline(never)]
    fn read(&mut self, pipe: Token, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(streams) = self.streams(pipe) {
            let count = streams.receive(buffer)?;
            if count > 0 && streams.reads_in_lines() {
                self.again.push(pipe);
            }
            return Ok(count);
        }
        match self.sockets.get(pipe)? {
            (stream, Kind::Unix | Kind::AdoptedUnix) => fd_passing::recv(stream, buffer),
            (stream, Kind::AdoptedTcp) => Ok(rustix::net::recv(stream, buffer, RecvFlags::empty())?.1),
            (descriptor, Kind::PipeFrom) => Ok(rustix::io::read(descriptor, buffer)?),
            (descriptor, Kind::Terminal) => match rustix::io::read(descriptor, buffer) {
                // Nobody has the other side open any more.
                Err(rustix::io::Errno::IO) => Ok(0),
                read => {
                    // A terminal gives what it has in pieces: it is asked again.
                    let count = read?;
                    self.again.push(pipe);
                    Ok(count)
                }
            },
            (descriptor, Kind::PipeTo) => process::look_for_reader(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Sends to what is no stream of TCP that was made here.
    #[inline(never)]
    fn write(&mut self, pipe: Token, data: &[u8]) -> io::Result<usize> {
        if let Some(streams) = self.streams(pipe) {
            let sent = streams.send(data)?;
            if sent < data.len() && streams.writes_at_once() {
                self.again.push(pipe);
            }
            return Ok(sent);
        }
        match self.sockets.get(pipe)? {
            (stream, Kind::Unix | Kind::AdoptedTcp | Kind::AdoptedUnix) => {
                Ok(rustix::net::send(stream, data, SendFlags::NOSIGNAL)?)
            }
            // The signal for it is ignored, as std sees to.
            (descriptor, Kind::PipeTo | Kind::Terminal) => Ok(rustix::io::write(descriptor, data)?),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Net for OsDriver {
    fn now(&self) -> Instant {
        clock()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn random(&mut self) -> u64 {
        if self.random.len() < 8 {
            self.random.resize(RANDOM_BLOCK, 0);
            let filled = rustix::rand::getrandom(&mut self.random, rustix::rand::GetRandomFlags::empty());
            if filled != Ok(RANDOM_BLOCK) {
                // Before the kernel's pool is up, or without the call: std's hasher keys are seeded
                // from the best source that it knows.
                self.random.fill_with(|| {
                    use std::hash::{BuildHasher, Hasher};
                    let seed = std::hash::RandomState::new().build_hasher().finish();
                    seed.to_le_bytes()[0]
                });
            }
        }
        let rest = self.random.len().saturating_sub(8);
        let mut bytes = [0; 8];
        for (byte, random) in bytes.iter_mut().zip(self.random.drain(rest..)) {
            *byte = random;
        }
        u64::from_le_bytes(bytes)
    }

    fn inherits_nodelay(&self) -> bool {
        opening::HANDS_NODELAY_ON
    }

    fn descriptor_limit(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
    }

    fn open(&mut self, token: Token, what: &Open) -> Result<(), OpenError> {
        let socket = opening::open(what)?;
        self.register(token, socket).map_err(|error| OpenError { step: OpenStep::Watch, error })
    }

    fn adopt(&mut self, token: Token, descriptor: OwnedFd, what: Adopt) -> Result<(), OpenError> {
        let adopted = opening::adopt(descriptor, what)?;
        self.register(token, adopted).map_err(|error| OpenError { step: OpenStep::Watch, error })
    }

    fn duplicate(&mut self, socket: Token) -> io::Result<OwnedFd> {
        self.sockets.duplicate(socket)
    }

    fn spawn(&mut self, process: Token, pipes: Pipes, what: &SpawnProcess) -> Result<u32, SpawnError> {
        let mut begun = process::begin(what)?;
        let ends = [
            (pipes.stdout, begun.terminal.take(), Kind::Terminal),
            (pipes.stdin, begun.stdin.take(), Kind::PipeTo),
            (pipes.stdout, begun.stdout.take(), Kind::PipeFrom),
            (pipes.stderr, begun.stderr.take(), Kind::PipeFrom),
        ];
        let watched = ends.into_iter().try_for_each(|(token, descriptor, kind)| match (token, descriptor) {
            (Some(token), Some(descriptor)) => self.register(token, Opened { kind, descriptor, file: None }),
            _ => Ok(()),
        });
        let end = begun.end().as_raw_fd();
        let watched = watched.and_then(|()| {
            self.poll.registry().register(&mut SourceFd(&end), mio_token(process), Interest::READABLE)
        });
        if let Err(error) = watched {
            for pipe in [pipes.stdin, pipes.stdout, pipes.stderr].into_iter().flatten() {
                self.close(pipe, Close::Graceful);
            }
            begun.undo();
            return Err(error.into());
        }
        let number = begun.number();
        self.children.insert(process, begun);
        Ok(number)
    }

    fn exit_reason(&mut self, process: Token, patience: Duration) -> io::Result<Option<ExitReason>> {
        self.children.wait(process, patience)
    }

    fn signal_process(&mut self, process: Token, signal: ProcessSignal) -> io::Result<()> {
        self.children.signal(process, signal)
    }

    fn resize_terminal(&mut self, terminal: Token, size: TerminalSize) -> io::Result<()> {
        let (Ok((descriptor, Kind::Terminal)), TerminalSize { rows, columns }) =
            (self.sockets.get(terminal), size)
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(descriptor, size)?)
    }

    fn standard_streams(&mut self, token: Token) -> io::Result<()> {
        let streams = Streams::open(token, mio_token(token), self.poll.registry())?;
        if streams.reads_at_once() {
            self.again.push(token);
        }
        self.standard = Some(Box::new(streams));
        Ok(())
    }

    fn accept(&mut self, listener: Token, token: Token) -> io::Result<Accepted> {
        self.accept_from(listener, token)
    }

    fn set_listener_paused(&mut self, listener: Token, rests: bool) {
        self.let_rest(listener, rests);
    }

    fn shed(&mut self, listener: Token, most: usize) -> usize {
        self.shed_from(listener, most)
    }

    #[inline]
    fn recv(&mut self, socket: Token, buffer: &mut [u8]) -> io::Result<usize> {
        match self.sockets.find(socket) {
            Some((stream, Kind::Tcp)) => {
                let (_, count) = rustix::net::recv(stream, buffer, RecvFlags::empty())?;
                Ok(count)
            }
            _ => self.read(socket, buffer),
        }
    }

    fn recv_descriptors(
        &mut self,
        socket: Token,
        buffer: &mut [u8],
        into: &mut ReceivedFds,
    ) -> io::Result<usize> {
        fd_passing::recv_with(self.sockets.stream(socket)?, buffer, into)
    }

    fn send_descriptors(&mut self, socket: Token, data: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        fd_passing::send_with(self.sockets.stream(socket)?, data, descriptors)
    }

    fn recv_datagrams(&mut self, socket: Token, into: &mut RecvBatch) -> io::Result<()> {
        let (descriptor, family) = self.sockets.datagram(socket)?;
        self.batches.get_or_insert_default().receive(descriptor, family, into)
    }

    fn send_datagrams(&mut self, socket: Token, bytes: &[u8], going: &[Transmit]) -> io::Result<usize> {
        let (descriptor, family) = self.sockets.datagram(socket)?;
        self.batches.get_or_insert_default().send(descriptor, family, bytes, going)
    }

    #[inline]
    fn send(&mut self, socket: Token, data: &[u8]) -> io::Result<usize> {
        match self.sockets.find(socket) {
            Some((stream, Kind::Tcp)) => Ok(rustix::net::send(stream, data, SendFlags::NOSIGNAL)?),
            _ => self.write(socket, data),
        }
    }

    fn unread(&self, socket: Token) -> io::Result<usize> {
        let (descriptor, _) = self.sockets.carrier(socket)?;
        Ok(usize::try_from(rustix::io::ioctl_fionread(descriptor)?).unwrap_or(usize::MAX))
    }

    fn shutdown_write(&mut self, socket: Token) -> io::Result<()> {
        if let Some(streams) = self.standard.as_mut().filter(|streams| streams.is(socket)) {
            return streams.close_output(self.poll.registry());
        }
        Ok(rustix::net::shutdown(self.sockets.stream(socket)?, rustix::net::Shutdown::Write)?)
    }

    fn close(&mut self, socket: Token, how: Close) {
        if let Some(mut streams) = self.standard.take_if(|streams| streams.is(socket)) {
            streams.forget(self.poll.registry());
        } else if !self.children.forget(socket) {
            self.sockets.close(socket, how, self.poll.registry());
        }
    }

    fn local_address(&self, socket: Token) -> io::Result<Address> {
        if self.streams(socket).is_some() {
            return Ok(Address::Pipe);
        }
        let (descriptor, kind) = self.sockets.get(socket)?;
        address_of(rustix::net::getsockname(descriptor)?, kind.is_stream())
    }

    fn peer_address(&self, socket: Token) -> io::Result<Address> {
        let (descriptor, kind) = self.sockets.carrier(socket)?;
        match rustix::net::getpeername(descriptor)? {
            Some(address) => address_of(address, kind.is_stream()),
            None => Ok(Address::Unix(UnixAddress::UNNAMED)),
        }
    }

    fn take_error(&self, socket: Token) -> io::Result<Option<io::Error>> {
        if let Some(streams) = self.streams(socket) {
            return Ok(streams.broken());
        }
        let (descriptor, _) = self.sockets.carrier(socket)?;
        let pending = sockopt::socket_error(descriptor)?;
        Ok(pending.err().map(io::Error::from))
    }

    fn credentials(&self, socket: Token) -> io::Result<Credentials> {
        credentials(self.sockets.stream(socket)?)
    }

    fn set(&mut self, socket: Token, option: SocketOption) -> io::Result<()> {
        let (descriptor, kind) = self.sockets.carrier(socket)?;
        options::set(descriptor, kind, option)
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let waits = self.came.is_empty() && self.again.is_empty();
        let timeout = if waits { timeout } else { Some(Duration::ZERO) };
        self.spin.poll(&mut self.poll, &mut self.events, timeout)?;
        if !waits {
            events.extend(self.came.drain(..).map(Event::Signal));
            events.extend(self.again.drain(..).map(|token| Event::Ready(token, Readiness::ALL)));
        }
        let mut signalled = false;
        for event in &self.events {
            let token = event.token();
            if token.0 >= SIGNALS.0 {
                signalled |= token == SIGNALS;
                continue;
            }
            // A hang-up of both sides says that it is writable, too: the write will tell.
            let ready = if event.is_error() || event.is_read_closed() {
                Readiness::ALL
            } else {
                Readiness::of(event.is_readable(), event.is_writable())
            };
            events.push(Event::Ready(Token::from_bits(token.0 as u64), ready));
        }
        if signalled && let Some(watched) = &mut self.signals {
            events.extend(watched.pending().map(Event::Signal));
        }
        // The kernel looks for events once more when the time is over.
        let silent = waits && self.events.is_empty();
        Ok(if silent { timeout.map(as_waited) } else { None })
    }

    fn max_events(&self) -> usize {
        // The waker and the signals may take two places.
        EVENTS - 2
    }

    fn spins(&self) -> BusyPollStats {
        self.spin.spins
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn set_signals(&mut self, signals: &[Watch]) -> io::Result<()> {
        // The new ones first, so that no signal comes while nobody watches it.
        let mut new = match signals {
            [] => None,
            _ => Some(Watched::new(self.poll.registry(), SIGNALS, signals)?),
        };
        if let Some(mut old) = self.signals.take() {
            self.came.extend(old.pending());
            old.unregister(self.poll.registry());
        }
        if let Some(new) = &mut new {
            for signal in new.pending() {
                if !self.came.contains(&signal) {
                    self.came.push(signal);
                }
            }
        }
        self.came.retain(|signal| signals.iter().any(|watch| watch.signal == *signal));
        self.signals = new;
        Ok(())
    }

    fn run_job(&mut self, job: Job) -> Result<(), Job> {
        self.jobs.offer(job)
    }

    fn interface_index(&self, name: &str) -> io::Result<u32> {
        interface_index(name)
    }

    fn resolve(&mut self, host: &str, port: u16, answer: Answer) -> Result<LookupId, NotAsked> {
        self.resolver.ask(host, port, answer)
    }

    fn cancel_lookup(&mut self, lookup: LookupId) {
        self.resolver.cancel(lookup);
    }

    fn lookup_progress(&self, lookup: LookupId) -> LookupProgress {
        self.resolver.progress(lookup)
    }
}

impl Wake for mio::Waker {
    fn wake(&self) {
        // A full counter is a poll that was woken already.
        let _ = mio::Waker::wake(self);
    }
}

/// The number of a network interface by its name.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

/// Monotonic time, on any thread.
fn clock() -> Instant {
    Instant::from_origin(origin().elapsed())
}

/// The clock's origin: one for the process, so that all its reactors agree.
fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

/// A descriptor to give up when there are no others; `None` when there are none already.
fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

fn mio_token(token: Token) -> mio::Token {
    mio::Token(token.bits() as usize)
}

// Tokens carry an index and a generation of 32 bits each.
const _: () = assert!(usize::BITS >= 64, "twistor needs a 64-bit platform");

/// Indices never come near: they would need four billion open sockets.
const WAKER: mio::Token = mio::Token(usize::MAX);
const SIGNALS: mio::Token = mio::Token(usize::MAX - 1);

/// A timeout as the kernel takes it: in whole milliseconds, rounded up, and 24 days at most.
fn as_waited(timeout: Duration) -> Duration {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX.unsigned_abs().into());
    Duration::from_millis(milliseconds as u64)
}

/// Events of one poll. Measured: 16 cost 0.05 more system calls a message, more than 1024 gain nothing.
const EVENTS: usize = 1024;

/// One system call for 32 numbers.
const RANDOM_BLOCK: usize = 256;
