//! The real network: `mio` for readiness, `rustix` for system calls, `socket2` for options,
//! `signal-hook` for signals.

#![allow(clippy::disallowed_methods, reason = "time and randomness are read here only")]

mod busy_poll;
mod clock;
mod datagram;
mod files;
mod process;
mod random;
mod signals;
mod socket;
mod threads;
mod unix;

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Interest, Poll};
use rustix::net::{RecvFlags, SendFlags, sockopt};

use self::busy_poll::Spin;
use self::clock::clock;
use self::datagram::Batches;
use self::files::OsDisk;
use self::process::Children;
use self::process::standard_streams::StandardStreams;
pub(crate) use self::process::{adopt_inherited_fd, notify};
use self::random::Random;
use self::signals::Watched;
use self::socket::address::address_of;
use self::socket::listeners::reserve;
use self::socket::{Kind, Opened, Sockets, listeners, opening, options};
pub(crate) use self::threads::LookUp;
#[cfg(test)]
pub(crate) use self::threads::system_look_up;
use self::threads::{Pool, Resolver};
use self::unix::fd_passing;
use super::files::FileJob;
use super::{
    Accepted, Address, Adopt, Answer, BusyPollStats, Close, Credentials, Event, ExitReason, Instant, Job,
    LookupId, LookupProgress, Net, NotAsked, Open, OpenError, OpenStep, Pipes, ProcessSignal, Readiness,
    ReceivedFds, RecvBatch, Signal, SocketOption, SpawnError, SpawnProcess, TerminalSize, ThreadLimits,
    Token, Transmit, UnixAddress, Wake, WallClock, Watch, system,
};

/// Settings of the driver, taken from the reactor's settings.
pub(crate) struct OsConfig {
    pub(crate) limits: ThreadLimits,
    pub(crate) spin: Duration,
}

/// The operating system's [`Net`].
pub(crate) struct OsDriver {
    poll: Poll,
    events: mio::Events,
    spin: Spin,
    sockets: Sockets,
    children: Children,
    /// Created for the first datagram.
    batches: Option<Box<Batches>>,
    waker: Arc<mio::Waker>,
    /// Spare descriptor for [`Net::shed`].
    spare: Option<File>,
    signals: Option<Watched>,
    standard: Option<Box<StandardStreams>>,
    /// Descriptors to report as ready in the next poll, because epoll will not report them.
    reported_next: Vec<Token>,
    /// Signals that arrived while the set of watched signals changed.
    pending_signals: Vec<Signal>,
    jobs: Pool,
    disk: OsDisk,
    /// Jobs on files have their own threads, so a hanging disk does not block other jobs.
    file_jobs: Pool,
    /// Look-ups have their own threads, so a hanging look-up does not block other jobs.
    resolver: Resolver,
    random: Random,
}

impl OsDriver {
    pub(crate) fn new(sizes: &OsConfig) -> io::Result<OsDriver> {
        OsDriver::with_look_up(sizes, Box::new(threads::system_look_up))
    }

    /// As [`new`](OsDriver::new), with a replacement for the system's resolver.
    pub(crate) fn with_look_up(sizes: &OsConfig, look_up: Box<LookUp>) -> io::Result<OsDriver> {
        let ThreadLimits { threads, thread_queue, lookup_threads, lookup_queue, file_threads, join_timeout } =
            sizes.limits;
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        clock();
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
            reported_next: Vec::new(),
            pending_signals: Vec::new(),
            jobs: Pool::new("job", threads, thread_queue, join_timeout),
            disk: OsDisk::default(),
            file_jobs: Pool::finishing("file", file_threads, join_timeout),
            resolver: Resolver::new(lookup_threads, lookup_queue, look_up),
            random: Random::default(),
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

    /// The standard streams, if they have this token.
    fn streams(&self, token: Token) -> Option<&StandardStreams> {
        self.standard.as_deref().filter(|streams| streams.is(token))
    }
}

impl Net for OsDriver {
    fn now(&self) -> Instant {
        clock()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wall_clock(&self) -> WallClock {
        WallClock::new(SystemTime::now)
    }

    fn random(&mut self) -> u64 {
        self.random.draw()
    }

    fn inherits_nodelay(&self) -> bool {
        opening::INHERITS_NODELAY
    }

    fn descriptor_limit(&self) -> usize {
        system::descriptor_limit()
    }

    fn open(&mut self, token: Token, options: &Open) -> Result<(), OpenError> {
        let socket = opening::open(options)?;
        self.register(token, socket).map_err(|error| OpenError { step: OpenStep::Watch, error })
    }

    fn adopt(&mut self, token: Token, descriptor: OwnedFd, kind: Adopt) -> Result<(), OpenError> {
        let adopted = opening::adopt(descriptor, kind)?;
        self.register(token, adopted).map_err(|error| OpenError { step: OpenStep::Watch, error })
    }

    fn duplicate(&mut self, socket: Token) -> io::Result<OwnedFd> {
        self.sockets.duplicate(socket)
    }

    fn watch(&mut self, token: Token, descriptor: OwnedFd, interest: Readiness) -> io::Result<()> {
        let wanted = match (interest.has(Readiness::READABLE), interest.has(Readiness::WRITABLE)) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (false, true) => Interest::WRITABLE,
            (_, false) => Interest::READABLE,
        };
        let number = descriptor.as_raw_fd();
        let mut source = SourceFd(&number);
        match self.poll.registry().register(&mut source, mio_token(token), wanted) {
            Ok(()) => {
                self.sockets.insert(token, Opened { kind: Kind::Watched, descriptor, file: None });
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, ALWAYS_READY))
            }
            Err(error) => Err(error),
        }
    }

    fn watched_fd(&self, token: Token) -> io::Result<BorrowedFd<'_>> {
        match self.sockets.get(token)? {
            (descriptor, Kind::Watched) => Ok(descriptor),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn poll_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.poll.registry().as_fd())
    }

    fn has_events(&self) -> bool {
        !self.reported_next.is_empty() || !self.pending_signals.is_empty()
    }

    fn spawn(&mut self, process: Token, pipes: Pipes, spawn: &SpawnProcess) -> Result<u32, SpawnError> {
        let mut spawned = process::spawn(spawn)?;
        let ends = [
            (pipes.stdout, spawned.terminal.take(), Kind::Terminal),
            (pipes.stdin, spawned.stdin.take(), Kind::PipeTo),
            (pipes.stdout, spawned.stdout.take(), Kind::PipeFrom),
            (pipes.stderr, spawned.stderr.take(), Kind::PipeFrom),
        ];
        let watched = ends.into_iter().try_for_each(|(token, descriptor, kind)| match (token, descriptor) {
            (Some(token), Some(descriptor)) => self.register(token, Opened { kind, descriptor, file: None }),
            _ => Ok(()),
        });
        let end = spawned.end().as_raw_fd();
        let watched = watched.and_then(|()| {
            self.poll.registry().register(&mut SourceFd(&end), mio_token(process), Interest::READABLE)
        });
        if let Err(error) = watched {
            for pipe in [pipes.stdin, pipes.stdout, pipes.stderr].into_iter().flatten() {
                self.close(pipe, Close::Graceful);
            }
            spawned.undo();
            return Err(error.into());
        }
        let number = spawned.number();
        self.children.insert(process, spawned);
        Ok(number)
    }

    fn exit_reason(&mut self, process: Token, timeout: Duration) -> io::Result<Option<ExitReason>> {
        self.children.wait(process, timeout)
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
        let streams = StandardStreams::open(token, mio_token(token), self.poll.registry())?;
        if streams.always_readable() {
            self.reported_next.push(token);
        }
        self.standard = Some(Box::new(streams));
        Ok(())
    }

    fn accept(&mut self, listener: Token, token: Token) -> io::Result<Accepted> {
        self.accept_from(listener, token)
    }

    fn set_listener_paused(&mut self, listener: Token, paused: bool) {
        self.pause_listener(listener, paused);
    }

    fn shed(&mut self, listener: Token, max: usize) -> usize {
        self.shed_from(listener, max)
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
        received: &mut ReceivedFds,
    ) -> io::Result<usize> {
        fd_passing::recv_with(self.sockets.stream(socket)?, buffer, received)
    }

    fn send_descriptors(&mut self, socket: Token, data: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
        fd_passing::send_with(self.sockets.stream(socket)?, data, descriptors)
    }

    fn recv_datagrams(&mut self, socket: Token, batch: &mut RecvBatch) -> io::Result<()> {
        let (descriptor, family) = self.sockets.datagram(socket)?;
        self.batches.get_or_insert_default().receive(descriptor, family, batch)
    }

    fn send_datagrams(&mut self, socket: Token, bytes: &[u8], datagrams: &[Transmit]) -> io::Result<usize> {
        let (descriptor, family) = self.sockets.datagram(socket)?;
        self.batches.get_or_insert_default().send(descriptor, family, bytes, datagrams)
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
        opening::credentials(self.sockets.stream(socket)?)
    }

    fn set(&mut self, socket: Token, option: SocketOption) -> io::Result<()> {
        let (descriptor, kind) = self.sockets.carrier(socket)?;
        options::set(descriptor, kind, option)
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let waits = self.pending_signals.is_empty() && self.reported_next.is_empty();
        let timeout = if waits { timeout } else { Some(Duration::ZERO) };
        self.spin.poll(&mut self.poll, &mut self.events, timeout)?;
        if !waits {
            events.extend(self.pending_signals.drain(..).map(Event::Signal));
            events.extend(self.reported_next.drain(..).map(|token| Event::Ready(token, Readiness::ALL)));
        }
        let mut signalled = false;
        for event in &self.events {
            let token = event.token();
            if token.0 >= SIGNALS.0 {
                signalled |= token == SIGNALS;
                continue;
            }
            // After a hang-up of both sides the socket counts as writable too; the write returns
            // the error.
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
        // The kernel checks for events once more when the timeout expires.
        let silent = waits && self.events.is_empty();
        Ok(if silent { timeout.map(round_timeout) } else { None })
    }

    fn max_events(&self) -> usize {
        // The waker and the signals may take two entries.
        EVENTS - 2
    }

    fn spins(&self) -> BusyPollStats {
        self.spin.spins
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn set_signals(&mut self, signals: &[Watch]) -> io::Result<()> {
        // Registers the new signals before the old ones are dropped, so that no signal is lost in
        // between.
        let mut new = match signals {
            [] => None,
            _ => Some(Watched::new(self.poll.registry(), SIGNALS, signals)?),
        };
        if let Some(mut old) = self.signals.take() {
            self.pending_signals.extend(old.pending());
            old.unregister(self.poll.registry());
        }
        if let Some(new) = &mut new {
            for signal in new.pending() {
                if !self.pending_signals.contains(&signal) {
                    self.pending_signals.push(signal);
                }
            }
        }
        self.pending_signals.retain(|signal| signals.iter().any(|watch| watch.signal == *signal));
        self.signals = new;
        Ok(())
    }

    fn run_job(&mut self, job: Job) -> Result<(), Job> {
        self.jobs.offer(job)
    }

    fn run_file_job(&mut self, job: Box<dyn FileJob>) -> io::Result<()> {
        let (disk, requeue) = (self.disk.clone(), self.file_jobs.requeue());
        let offered = self.file_jobs.offer(Box::new(move || disk.run(job, requeue)));
        offered.map_err(|_| rustix::io::Errno::AGAIN.into())
    }

    fn interface_index(&self, name: &str) -> io::Result<u32> {
        interface_index(name)
    }

    fn source_address(&mut self, destination: SocketAddr) -> io::Result<IpAddr> {
        opening::source_address(destination)
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
        // EAGAIN means that a wake-up is pending already.
        let _ = mio::Waker::wake(self);
    }
}

/// The index of the network interface with this name.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

fn mio_token(token: Token) -> mio::Token {
    mio::Token(token.bits() as usize)
}

// Tokens carry an index and a generation of 32 bits each.
const _: () = assert!(usize::BITS >= 64, "twistor needs a 64-bit platform");

/// Token indices never reach these values: that would take four billion open sockets.
const WAKER: mio::Token = mio::Token(usize::MAX);
const SIGNALS: mio::Token = mio::Token(usize::MAX - 1);

/// Rounds a timeout as the kernel does: up to whole milliseconds, at most 24 days.
fn round_timeout(timeout: Duration) -> Duration {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX.unsigned_abs().into());
    Duration::from_millis(milliseconds as u64)
}

/// The text of EPERM from epoll.
const ALWAYS_READY: &str =
    "the descriptor cannot be watched: regular files, directories and /dev/null are always ready";

/// Max events per poll. Measured: with 16 a message costs 0.05 more system calls. More than 1024
/// gain nothing.
const EVENTS: usize = 1024;
