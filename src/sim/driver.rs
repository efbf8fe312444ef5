//! The simulated network as a [`Net`]: the system calls of one process.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::net::files::FileJob;
use crate::net::lookups::Lookups;
use crate::net::{
    Accepted, Address, Answer, Close, Credentials, Event, ExitReason, Instant, Job, LookupId, LookupProgress,
    Net, NotAsked, Open, OpenError, Pipes, ProcessSignal, RecvBatch, SocketOption, SpawnError, SpawnProcess,
    ThreadLimits, Token, Transmit, UnixAddress, Wake, WallClock, Watch, nanoseconds,
};
use crate::sim::network::program::Children;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::About;
use crate::sim::world::World;
use crate::sim::world::datagram::queue::Family;
#[cfg(feature = "tls-no-provider")]
use crate::sim::world::disk::What;
use crate::sim::world::process::{ProcessWaker, Socket};
use crate::sim::world::unix::stream::set_unix;
use crate::sim::{Errno, Network};

/// One process on one host.
pub(crate) struct SimNet {
    world: Rc<RefCell<World>>,
    process: u32,
    children: Children,
    /// The calendar time as [`Net::wall_clock`] shows it, in nanoseconds since `ORIGIN`.
    shown_wall: OnceCell<Arc<AtomicI64>>,
}

impl SimNet {
    /// Creates a process whose polls wait, which advances virtual time.
    pub(crate) fn unscheduled(network: &Network, host: crate::sim::Host, limits: ThreadLimits) -> SimNet {
        let net = SimNet::scheduled(network, host, limits);
        net.world.borrow_mut().process_mut(net.process).unscheduled = true;
        net
    }

    /// Creates a process that a scheduler gives its turns to.
    pub(crate) fn scheduled(network: &Network, host: crate::sim::Host, limits: ThreadLimits) -> SimNet {
        let process = network.world.borrow_mut().add_process(host.0, limits);
        SimNet {
            world: Rc::clone(&network.world),
            process,
            children: Children::default(),
            shown_wall: OnceCell::new(),
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// The calendar time of the host, in nanoseconds since `ORIGIN`.
    fn calendar(&self) -> i64 {
        let world = self.world.borrow();
        let host = world.process(self.process).host;
        let passed = world.monotonic(self.process) as i64;
        passed.saturating_add(world.host(host).clock.stepped)
    }

    /// Makes the wall clocks of other threads show the time of this process.
    fn show_wall(&self) {
        if let Some(shown) = self.shown_wall.get() {
            shown.store(self.calendar(), Ordering::Relaxed);
        }
    }

    /// Waits for events, as [`Net::poll`].
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let mut world = self.world.borrow_mut();
        let verdict = world.before(self.process, CallKind::Poll, 0);
        if let Verdict::Fail(errno) = verdict {
            world.note_call(self.process, About::NOTHING, CallKind::Poll, -i64::from(errno.raw()));
            return Err(errno.into());
        }
        let deadline = world.start_waiting(self.process, timeout);
        let began = world.now;
        loop {
            world.catch_up();
            if !world.due.is_empty() {
                let due = std::mem::take(&mut world.due);
                drop(world);
                due.into_iter().for_each(run);
                world = self.world.borrow_mut();
                continue;
            }
            let process = world.process(self.process);
            if process.has_pending()
                || !process.unscheduled
                || deadline.is_some_and(|deadline| deadline <= world.now)
            {
                break;
            }
            match [deadline, world.events.next()].into_iter().flatten().min() {
                Some(next) => world.advance_to(next),
                None => return Err(io::Error::other(world.describe_waiting())),
            }
        }
        if world.now == began && world.process(self.process).unscheduled {
            // Virtual time advances even if the loop is always busy. It advances before the next
            // poll, so that the current turn happens at the current time.
            world.process_mut(self.process).poll_delay = BUSY_TURN;
        }
        let silent = !world.process(self.process).has_pending()
            && deadline.is_some_and(|deadline| deadline <= world.now);
        let reported = events.len();
        world.take_events(self.process, events);
        drop(world);
        if !self.children.is_empty() {
            self.children.poll(&self.world, self.process, events);
        }
        Ok(if silent && events.len() == reported { timeout } else { None })
    }
}

impl Net for SimNet {
    #[inline]
    fn now(&self) -> Instant {
        Instant::from_nanoseconds(self.world.borrow().monotonic(self.process))
    }

    fn wall(&self) -> SystemTime {
        self.show_wall();
        system_time(self.calendar())
    }

    fn wall_clock(&self) -> WallClock {
        let shown = Arc::clone(self.shown_wall.get_or_init(Arc::default));
        self.show_wall();
        WallClock::new(move || system_time(shown.load(Ordering::Relaxed)))
    }

    fn random(&mut self) -> u64 {
        self.world.borrow_mut().process_mut(self.process).random.next()
    }

    fn is_shuffled(&self) -> bool {
        self.world.borrow().task_order.is_some()
    }

    fn pick_index(&mut self, count: usize) -> usize {
        match &mut self.world.borrow_mut().task_order {
            Some(order) => order.index(count),
            None => 0,
        }
    }

    fn inherits_nodelay(&self) -> bool {
        true
    }

    fn descriptor_limit(&self) -> usize {
        self.world.borrow().process(self.process).limit
    }

    fn open(&mut self, token: Token, open: &Open) -> Result<(), OpenError> {
        self.world.borrow_mut().open(self.process, token, open)
    }

    fn accept(&mut self, listener: Token, token: Token) -> io::Result<Accepted> {
        self.world.borrow_mut().accept(self.process, listener, token)
    }

    fn set_listener_paused(&mut self, listener: Token, paused: bool) {
        self.world.borrow_mut().set_listener_paused(self.process, listener, paused);
    }

    fn shed(&mut self, listener: Token, max: usize) -> usize {
        self.world.borrow_mut().shed(self.process, listener, max)
    }

    fn spawn(&mut self, process: Token, pipes: Pipes, request: &SpawnProcess) -> Result<u32, SpawnError> {
        Ok(self.children.spawn(&self.world, self.process, (process, pipes), request)?)
    }

    fn exit_reason(&mut self, process: Token, _: Duration) -> io::Result<Option<ExitReason>> {
        self.children.exit_reason(process)
    }

    fn signal_process(&mut self, process: Token, signal: ProcessSignal) -> io::Result<()> {
        self.children.signal(&self.world, self.process, process, signal)
    }

    #[inline]
    fn recv(&mut self, socket: Token, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.children.is_empty()
            && let Some(received) = self.children.recv(&self.world, self.process, socket, buffer)
        {
            return received;
        }
        self.world.borrow_mut().recv(self.process, socket, buffer)
    }

    #[inline]
    fn send(&mut self, socket: Token, data: &[u8]) -> io::Result<usize> {
        if !self.children.is_empty()
            && let Some(sent) = self.children.send(&self.world, self.process, socket, data)
        {
            return sent;
        }
        self.world.borrow_mut().send(self.process, socket, data)
    }

    fn unread(&self, socket: Token) -> io::Result<usize> {
        let world = self.world.borrow();
        let (connection, side) = world.process(self.process).stream(socket)?;
        Ok(world.connections[connection as usize].ends[side].visible)
    }

    fn recv_datagrams(&mut self, socket: Token, into: &mut RecvBatch) -> io::Result<()> {
        self.world.borrow_mut().recv_datagrams(self.process, socket, into)
    }

    fn send_datagrams(&mut self, socket: Token, bytes: &[u8], going: &[Transmit]) -> io::Result<usize> {
        self.world.borrow_mut().send_datagrams(self.process, socket, bytes, going)
    }

    fn shutdown_write(&mut self, socket: Token) -> io::Result<()> {
        self.world.borrow_mut().shutdown_write(self.process, socket)
    }

    fn close(&mut self, socket: Token, how: Close) {
        if self.children.is_empty() || !self.children.close(&self.world, self.process, socket) {
            self.world.borrow_mut().close(self.process, socket, how);
        }
    }

    fn local_address(&self, socket: Token) -> io::Result<Address> {
        self.world.borrow_mut().local_address(self.process, socket)
    }

    fn peer_address(&self, socket: Token) -> io::Result<Address> {
        self.world.borrow_mut().peer_address(self.process, socket)
    }

    fn take_error(&self, socket: Token) -> io::Result<Option<io::Error>> {
        self.world.borrow_mut().take_error(self.process, socket)
    }

    fn credentials(&self, socket: Token) -> io::Result<Credentials> {
        self.world.borrow_mut().credentials(self.process, socket)
    }

    fn set(&mut self, socket: Token, option: SocketOption) -> io::Result<()> {
        self.world.borrow_mut().set(self.process, socket, option)
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let polled = self.wait(events, timeout);
        self.show_wall();
        polled
    }

    fn waker(&self) -> Arc<dyn Wake> {
        let wake_queue = Arc::clone(&self.world.borrow().wake_queue);
        Arc::new(ProcessWaker { wake_queue, process: self.process })
    }

    fn set_signals(&mut self, signals: &[Watch]) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let process = world.process_mut(self.process);
        process.watched = signals.to_vec();
        process.signals.retain(|signal| signals.iter().any(|watch| watch.signal == *signal));
        Ok(())
    }

    fn run_job(&mut self, job: Job) -> Result<(), Job> {
        self.world.borrow_mut().offload(self.process, job)
    }

    fn run_file_job(&mut self, job: Box<dyn FileJob>) -> io::Result<()> {
        match self.world.borrow_mut().offload_file_job(self.process, job) {
            true => Ok(()),
            false => Err(Errno::EAGAIN.into()),
        }
    }

    #[cfg(feature = "tls-no-provider")]
    fn read_credentials(&mut self, path: &std::path::Path) -> io::Result<Vec<u8>> {
        let world = self.world.borrow();
        let tree = &world.host(world.process(self.process).host).disk.tree;
        match tree.node(tree.existing(path, true)?).map(|node| &node.what) {
            Some(What::File(contents)) => Ok(contents.data().to_vec()),
            _ => Err(Errno::EISDIR.into()),
        }
    }

    /// Every host has the same two interfaces.
    fn interface_index(&self, name: &str) -> io::Result<u32> {
        match name {
            "lo" => Ok(1),
            "eth0" => Ok(2),
            _ => Err(Errno::ENODEV.into()),
        }
    }

    /// A gateway routes all destinations, and a host without one those of the simulation.
    fn source_address(&mut self, destination: SocketAddr) -> io::Result<IpAddr> {
        let world = self.world.borrow();
        let host = world.process(self.process).host;
        let to = destination.ip();
        let source = world.find_host(host, to).and_then(|_| world.source_address(host, to));
        source.ok_or_else(|| Errno::ENETUNREACH.into())
    }

    fn resolve(&mut self, host: &str, port: u16, answer: Answer) -> Result<LookupId, NotAsked> {
        self.world.borrow_mut().resolve(self.process, host, port, answer)
    }

    fn cancel_lookup(&mut self, lookup: LookupId) {
        let answer = self.world.borrow_mut().process_mut(self.process).lookups.cancel(lookup);
        drop(answer);
    }

    fn lookup_progress(&self, lookup: LookupId) -> LookupProgress {
        self.world.borrow().process(self.process).lookups.progress(lookup)
    }
}

/// The calendar time at this many nanoseconds since `ORIGIN`.
pub(in crate::sim) fn system_time(calendar: i64) -> SystemTime {
    let origin = SystemTime::UNIX_EPOCH + ORIGIN;
    let by = Duration::from_nanos(calendar.unsigned_abs());
    if calendar < 0 { origin - by } else { origin + by }
}

/// Ends the process. The kernel closes its descriptors, and its jobs end. Jobs on files are
/// finished, unless the process was killed.
impl Drop for SimNet {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        world.end_process(self.process);
        let limit = world.process(self.process).join_timeout;
        world.finish_file_jobs(self.process, limit);
        let process = world.process_mut(self.process);
        process.watched.clear();
        process.signals.clear();
        let jobs = std::mem::take(&mut process.jobs);
        let lookups = std::mem::replace(&mut process.lookups, Lookups::new(1, 0));
        drop(world);
        drop(lookups);
        drop(jobs.waiting);
        jobs.running.into_iter().for_each(|(_, job)| run(job));
    }
}

/// Runs a job. The job's owner has already caught a panic of it.
pub(in crate::sim) fn run(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

impl World {
    pub(in crate::sim) fn close(&mut self, process: u32, token: Token, how: Close) {
        match self.process_mut(process).remove(token) {
            Socket::Closed => {}
            Socket::Stream { connection, side } => self.close_stream(process, connection, side, how),
            Socket::Listener(queue) => self.close_queue(queue, Close::Reset),
            Socket::Datagram(queue) => self.close_datagram_queue(queue),
        }
    }

    pub(in crate::sim) fn end_process(&mut self, process: u32) {
        for token in self.process(process).tokens() {
            self.close(process, token, Close::Graceful);
        }
    }

    pub(in crate::sim) fn ask(&mut self, process: u32, kind: CallKind) -> io::Result<()> {
        match self.before(process, kind, 0) {
            Verdict::Fail(errno) => {
                self.note_call(process, About::NOTHING, kind, -i64::from(errno.raw()));
                Err(errno.into())
            }
            _ => Ok(()),
        }
    }

    pub(in crate::sim) fn local_address(&mut self, process: u32, token: Token) -> io::Result<Address> {
        self.ask(process, CallKind::LocalAddress)?;
        Ok(match self.process(process).get(token) {
            Socket::Closed => return Err(io::ErrorKind::NotFound.into()),
            Socket::Stream { connection, side } => {
                let connection = &self.connections[connection as usize];
                match &connection.unix {
                    Some(unix) => Address::Unix(unix.names[side].clone()),
                    None => Address::Tcp(connection.ends[side].address),
                }
            }
            Socket::Listener(queue) => {
                let queue = &self.queues[queue as usize];
                match &queue.name {
                    Some(name) => Address::Unix(name.address.clone()),
                    None => Address::Tcp(queue.address),
                }
            }
            Socket::Datagram(queue) => match &self.datagram_queues[queue as usize].family {
                Family::Udp(udp) => Address::Udp(udp.address),
                Family::Unix(unix) => Address::Unix(
                    unix.name.as_ref().map_or(UnixAddress::UNNAMED, |name| name.address.clone()),
                ),
            },
        })
    }

    pub(in crate::sim) fn peer_address(&mut self, process: u32, token: Token) -> io::Result<Address> {
        self.ask(process, CallKind::PeerAddress)?;
        let (connection, side) = match self.process(process).get(token) {
            Socket::Closed | Socket::Listener(_) => return Err(io::ErrorKind::NotFound.into()),
            Socket::Stream { connection, side } => (connection, side),
            Socket::Datagram(queue) => return self.datagram_peer(queue),
        };
        let connection = &self.connections[connection as usize];
        if let Some(unix) = &connection.unix {
            // The name stays valid after the peer has closed.
            return Ok(Address::Unix(unix.names[side ^ 1].clone()));
        }
        let end = &connection.ends[side];
        if end.phase != crate::sim::world::tcp::connection::Phase::Open
            || end.reset
            || (end.ended && end.finished)
        {
            return Err(Errno::ENOTCONN.into());
        }
        let mut peer = connection.ends[connection.other(side)].address;
        if end.address.is_ipv6()
            && let SocketAddr::V4(address) = peer
        {
            peer.set_ip(address.ip().to_ipv6_mapped().into());
        } else if end.address.is_ipv4() {
            peer.set_ip(peer.ip().to_canonical());
        }
        Ok(Address::Tcp(peer))
    }

    fn datagram_peer(&self, queue: u32) -> io::Result<Address> {
        let peer = match &self.datagram_queues[queue as usize].family {
            Family::Udp(udp) => udp.peer.map(Address::Udp),
            Family::Unix(unix) => unix.peer.as_ref().map(|(_, address)| Address::Unix(address.clone())),
        };
        peer.ok_or(Errno::ENOTCONN.into())
    }

    pub(in crate::sim) fn take_error(&mut self, process: u32, token: Token) -> io::Result<Option<io::Error>> {
        let error = match self.process(process).get(token) {
            Socket::Closed | Socket::Listener(_) => return Err(io::ErrorKind::NotFound.into()),
            Socket::Stream { connection, side } => {
                self.ask(process, CallKind::TakeError)?;
                self.connections[connection as usize].ends[side].error.take()
            }
            Socket::Datagram(queue) => {
                self.ask(process, CallKind::TakeError)?;
                self.datagram_queues[queue as usize].error.take()
            }
        };
        Ok(error.map(io::Error::from))
    }

    fn set(&mut self, process: u32, token: Token, option: SocketOption) -> io::Result<()> {
        let (connection, side) = match self.process(process).get(token) {
            Socket::Closed | Socket::Listener(_) => return Err(io::ErrorKind::NotFound.into()),
            Socket::Stream { connection, side } => (connection, side),
            Socket::Datagram(queue) => {
                self.ask(process, CallKind::SetOption)?;
                return Ok(self.set_datagram(queue, option)?);
            }
        };
        self.ask(process, CallKind::SetOption)?;
        if self.connections[connection as usize].unix.is_some() {
            return Ok(set_unix(option)?);
        }
        if let SocketOption::KeepAlive(idle) = option {
            // TCP_KEEPIDLE is a number of whole seconds from 1 to 32,767.
            let seconds = idle.map(|idle| idle.as_secs());
            if seconds.is_some_and(|seconds| !(1..=32_767).contains(&seconds)) {
                return Err(Errno::EINVAL.into());
            }
            self.set_keepalive(connection, side, seconds.map(Duration::from_secs));
        }
        if let SocketOption::UserTimeout(limit) = option {
            let millis = limit.map_or(0, |limit| limit.as_millis());
            let Ok(millis) = i32::try_from(millis) else { return Err(Errno::EINVAL.into()) };
            let limit = Some(millis as u64 * 1_000_000).filter(|limit| *limit > 0);
            self.connections[connection as usize].ends[side].user_timeout = limit;
        }
        Ok(())
    }

    /// Returns the deadline of a poll in world time. The time that the process is ahead passes
    /// first.
    fn start_waiting(&mut self, process: u32, timeout: Option<Duration>) -> Option<u64> {
        let found = self.process(process);
        let (host, unscheduled, ahead) =
            (found.host, found.unscheduled, found.ahead.saturating_add(found.poll_delay));
        if unscheduled && ahead > 0 {
            self.process_mut(process).ahead = 0;
            self.process_mut(process).poll_delay = 0;
            let until = self.now.saturating_add(ahead);
            while let Some(next) = self.events.next().filter(|next| *next <= until) {
                self.advance_to(next);
                self.catch_up();
            }
            self.advance_to(until);
        }
        timeout.map(|timeout| {
            let clock = self.host(host).clock;
            let until = clock.monotonic(self.now).saturating_add(nanoseconds(timeout));
            clock.world(until)
        })
    }

    fn take_events(&mut self, process: u32, events: &mut Vec<Event>) {
        let found = self.process_mut(process);
        found.woken = false;
        let signals = std::mem::take(&mut found.signals);
        events.extend(signals.into_iter().map(Event::Signal));
        self.take_pending(process, events);
    }
}

/// The origin of calendar time: 2026-01-01, midnight, UTC.
const ORIGIN: Duration = Duration::from_secs(1_767_225_600);

/// The minimum duration of a turn of a reactor without a scheduler, in nanoseconds.
const BUSY_TURN: u64 = 1_000;
