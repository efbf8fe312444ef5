//! A driver without a network. It takes the place of a reactor's driver while the reactor itself is
//! lent out.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::net::{
    Accepted, Address, Answer, Close, Event, Instant, Job, LookupId, LookupProgress, Net, NotAsked, Open,
    OpenError, OpenStep, RecvBatch, SocketOption, Token, Transmit, Wake, WallClock, Watch,
};

/// A driver whose calls all fail. Its clock stands at zero, and waking it has no effect.
pub(crate) struct NullDriver;

impl Net for NullDriver {
    fn now(&self) -> Instant {
        Instant::from_nanoseconds(0)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn wall_clock(&self) -> WallClock {
        WallClock::new(|| SystemTime::UNIX_EPOCH)
    }

    fn random(&mut self) -> u64 {
        0
    }

    fn inherits_nodelay(&self) -> bool {
        true
    }

    fn descriptor_limit(&self) -> usize {
        0
    }

    fn open(&mut self, _: Token, _: &Open) -> Result<(), OpenError> {
        Err(OpenError { step: OpenStep::Adopt, error: ErrorKind::Unsupported.into() })
    }

    fn accept(&mut self, _: Token, _: Token) -> io::Result<Accepted> {
        Err(ErrorKind::NotFound.into())
    }

    fn set_listener_paused(&mut self, _: Token, _: bool) {}

    fn shed(&mut self, _: Token, _: usize) -> usize {
        0
    }

    fn recv(&mut self, _: Token, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::NotFound.into())
    }

    fn send(&mut self, _: Token, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::NotFound.into())
    }

    fn recv_datagrams(&mut self, _: Token, _: &mut RecvBatch) -> io::Result<()> {
        Err(ErrorKind::NotFound.into())
    }

    fn send_datagrams(&mut self, _: Token, _: &[u8], _: &[Transmit]) -> io::Result<usize> {
        Err(ErrorKind::NotFound.into())
    }

    fn shutdown_write(&mut self, _: Token) -> io::Result<()> {
        Err(ErrorKind::NotFound.into())
    }

    fn close(&mut self, _: Token, _: Close) {}

    fn local_address(&self, _: Token) -> io::Result<Address> {
        Err(ErrorKind::NotFound.into())
    }

    fn peer_address(&self, _: Token) -> io::Result<Address> {
        Err(ErrorKind::NotFound.into())
    }

    fn take_error(&self, _: Token) -> io::Result<Option<io::Error>> {
        Err(ErrorKind::NotFound.into())
    }

    fn set(&mut self, _: Token, _: SocketOption) -> io::Result<()> {
        Err(ErrorKind::NotFound.into())
    }

    fn poll(&mut self, _: &mut Vec<Event>, _: Option<Duration>) -> io::Result<Option<Duration>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(NullDriver)
    }

    fn set_signals(&mut self, _: &[Watch]) -> io::Result<()> {
        Ok(())
    }

    fn run_job(&mut self, job: Job) -> Result<(), Job> {
        Err(job)
    }

    fn source_address(&mut self, _: SocketAddr) -> io::Result<IpAddr> {
        Err(ErrorKind::Unsupported.into())
    }

    fn interface_index(&self, _: &str) -> io::Result<u32> {
        Err(ErrorKind::NotFound.into())
    }

    fn resolve(&mut self, _: &str, _: u16, _: Answer) -> Result<LookupId, NotAsked> {
        Err(NotAsked::QueueFull)
    }

    fn cancel_lookup(&mut self, _: LookupId) {}

    fn lookup_progress(&self, _: LookupId) -> LookupProgress {
        LookupProgress::Over
    }
}

impl Wake for NullDriver {
    fn wake(&self) {}
}
