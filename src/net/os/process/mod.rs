//! Child processes: std spawns them, a pidfd reports their exit, and each child is waited for.
//!
//! A child is signalled only until it has been waited for. Until then its process ID cannot be
//! reused.
//!
//! Systems without pidfds (Linux before 5.3, some containers, all other systems) use one thread per
//! child. The thread waits for the exit without reaping the child. SIGCHLD belongs to the program,
//! and would carry less information. A child gets its three standard streams only: placing a
//! descriptor at a chosen number takes unsafe code.

mod inherited;
pub(crate) mod notify;
mod spawn_fault;
pub(super) mod standard_streams;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

pub(crate) use self::inherited::adopt_inherited_fd;
use self::spawn_fault::fault_of;
use crate::net::{ChildStream, ExitReason, ProcessSignal, SpawnError, SpawnProcess, TerminalSize, Token};
use crate::numbered::Numbered;

/// The children that have not been waited for, and those that the reactor still has a token for.
#[derive(Default)]
pub(super) struct Children {
    running: Numbered<Running>,
}

struct Running {
    child: Child,
    /// Becomes readable when the child exits.
    end: End,
    own_group: bool,
    kill: bool,
    /// Whether the child was waited for. Its process ID may then belong to another process.
    ended: bool,
}

/// A spawned child, with this process's ends of its pipes.
pub(super) struct SpawnedChild {
    running: Running,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
}

impl SpawnedChild {
    /// The descriptor that becomes readable on exit.
    pub(super) fn end(&self) -> &OwnedFd {
        self.running.end.descriptor()
    }

    pub(super) fn number(&self) -> u32 {
        self.running.child.id()
    }

    /// Kills the child after a later step has failed.
    pub(super) fn undo(mut self) {
        self.running.finish(Duration::MAX);
    }
}

/// Spawns a child. It inherits no descriptors but its streams, since all others are close-on-exec.
pub(super) fn spawn(spawn: &SpawnProcess) -> Result<SpawnedChild, SpawnError> {
    handle_ignored_signals()?;
    // std panics when an exec has failed and another part of the program waits for the child.
    let spawned = std::panic::catch_unwind(|| spawn_child(spawn));
    let spawned = spawned.unwrap_or_else(|_| Err(Errno::CHILD.into()));
    spawned.map_err(|error| SpawnError { fault: fault_of(spawn, &error), error })
}

/// Installs an empty handler for ignored signals. An ignored signal stays ignored in a child, which
/// then could not be ended by it. A handled signal has its default action there. (Twisted and libuv
/// reset signals in the child, which takes unsafe code in Rust.) If SIGCHLD is ignored, the kernel
/// also reaps children as soon as they exit.
fn handle_ignored_signals() -> io::Result<()> {
    static HANDLED: Mutex<u64> = Mutex::new(0);
    let ignored = ignored_signals();
    if ignored == 0 {
        return Ok(());
    }
    let mut handled = HANDLED.lock().unwrap_or_else(PoisonError::into_inner);
    for signal in RESET_IN_CHILDREN {
        let bit = 1 << (signal.as_raw() - 1);
        if ignored & bit != 0 && *handled & bit == 0 {
            signal_hook::flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)))?;
            *handled |= bit;
        }
    }
    Ok(())
}

/// The signals that have their default action in children. Job control signals are not included: a
/// background process that ignores SIGTTOU may write to its terminal, and one that handles it may
/// not.
const RESET_IN_CHILDREN: [Signal; 7] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::CHILD];

/// The mask of ignored signals. Only Linux shows it.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.unwrap_or(SIGCHLD_ONLY)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn ignored_signals() -> u64 {
    SIGCHLD_ONLY
}

/// Used where the mask is unknown. A handler for SIGCHLD does no harm.
const SIGCHLD_ONLY: u64 = 1 << (Signal::CHILD.as_raw() - 1);

fn spawn_child(spawn: &SpawnProcess) -> io::Result<SpawnedChild> {
    let mut command = Command::new(&spawn.program);
    command.args(&spawn.arguments);
    if let Some(name) = &spawn.name {
        command.arg0(name);
    }
    if !spawn.inherit_environment {
        command.env_clear();
    }
    for name in &spawn.without {
        command.env_remove(name);
    }
    command.envs(spawn.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &spawn.directory {
        command.current_dir(directory);
    }
    if let Some(group) = spawn.group {
        command.gid(group);
    }
    if let Some(user) = spawn.user {
        command.uid(user);
    }
    let (mut child, terminal) = match spawn.terminal {
        None => {
            if spawn.own_group {
                command.process_group(0);
            }
            command.stdin(stdio(&spawn.stdin)?).stdout(stdio(&spawn.stdout)?).stderr(stdio(&spawn.stderr)?);
            (command.spawn()?, None)
        }
        Some(size) => {
            let (child, terminal) = spawn_on_terminal(command, spawn, size)?;
            (child, Some(terminal))
        }
    };
    let (end, ended) = match open_end(&child) {
        Ok(end) => (end, false),
        // Another part of the program has waited for the child already.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
            let (end, _) = io::pipe()?;
            (End::Pipe(end.into()), true)
        }
        Err(error) => {
            // Without a descriptor, its exit would not be reported.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let stdin = child.stdin.take().map(OwnedFd::from);
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = child.stderr.take().map(OwnedFd::from);
    // A session leader is the leader of its process group.
    let own_group = spawn.own_group || terminal.is_some();
    let running = Running { child, end, own_group, kill: spawn.kill_on_stop, ended };
    let spawned = SpawnedChild { running, stdin, stdout, stderr, terminal };
    // The flag affects this side only: the child's end is a separate open file.
    let pipes = [&spawned.stdin, &spawned.stdout, &spawned.stderr, &spawned.terminal];
    let set = pipes.into_iter().flatten().try_for_each(|pipe| rustix::io::ioctl_fionbio(pipe, true));
    match set {
        Ok(()) => Ok(spawned),
        Err(error) => {
            spawned.undo();
            Err(error.into())
        }
    }
}

/// Spawns a child on a new terminal, whose session it leads before the program runs.
fn spawn_on_terminal(
    command: Command,
    spawn: &SpawnProcess,
    size: TerminalSize,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = pty_process::blocking::open().map_err(terminal_error)?;
    ours.resize(pty_process::Size::new(size.rows, size.columns)).map_err(terminal_error)?;
    let mut command = pty_process::blocking::Command::from(command);
    // The terminal replaces the streams that would be pipes.
    for (stream, set) in [
        (&spawn.stdin, pty_process::blocking::Command::stdin as fn(_, Stdio) -> _),
        (&spawn.stdout, pty_process::blocking::Command::stdout),
        (&spawn.stderr, pty_process::blocking::Command::stderr),
    ] {
        if !matches!(stream, ChildStream::Pipe) {
            command = set(command, stdio(stream)?);
        }
    }
    let child = command.spawn(theirs).map_err(terminal_error)?;
    Ok((child, ours.into()))
}

fn terminal_error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        #[allow(unreachable_patterns, reason = "there are more with other features of the crate")]
        other => io::Error::other(other),
    }
}

fn stdio(stream: &ChildStream) -> io::Result<Stdio> {
    Ok(match stream {
        ChildStream::Pipe => Stdio::piped(),
        ChildStream::Inherit => Stdio::inherit(),
        ChildStream::Null => Stdio::null(),
        ChildStream::Descriptor(descriptor) => Stdio::from(descriptor.try_clone()?),
    })
}

/// The descriptor that reports a child's exit.
enum End {
    /// A pidfd.
    Process(OwnedFd),
    /// The read end of a pipe that a thread closes on exit.
    Pipe(OwnedFd),
}

impl End {
    fn descriptor(&self) -> &OwnedFd {
        match self {
            End::Process(descriptor) | End::Pipe(descriptor) => descriptor,
        }
    }
}

/// Opens a pidfd, or a pipe where the system has none. Fails with ESRCH when another part of the
/// program has waited for the child.
#[cfg(target_os = "linux")]
fn open_end(child: &Child) -> io::Result<End> {
    let number = number(child)?;
    match rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) {
        // The kernel lacks the call, or a sandbox denies it.
        Err(Errno::NOSYS | Errno::PERM) => spawn_waiter(number).map(End::Pipe),
        opened => Ok(End::Process(opened?)),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_end(child: &Child) -> io::Result<End> {
    spawn_waiter(number(child)?).map(End::Pipe)
}

/// Starts a thread that closes a pipe when the child exits, and returns the pipe's read end.
fn spawn_waiter(number: Pid) -> io::Result<OwnedFd> {
    let (end, ours) = io::pipe()?;
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // Every other error means that there is no child to wait for.
        while matches!(rustix::process::waitid(WaitId::Pid(number), options), Err(Errno::INTR)) {}
        drop(ours);
    };
    thread::Builder::new().name("twistor-child".to_owned()).spawn(wait)?;
    Ok(end.into())
}

fn number(child: &Child) -> io::Result<Pid> {
    let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    raw.ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Children {
    pub(super) fn insert(&mut self, process: Token, spawned: SpawnedChild) {
        self.running.insert(process.bits(), spawned.running);
    }

    /// Waits for a child for at most `timeout`. `None` while it runs.
    pub(super) fn wait(&mut self, process: Token, timeout: Duration) -> io::Result<Option<ExitReason>> {
        let running = self.running.get_mut(process.bits()).ok_or(io::ErrorKind::NotFound)?;
        running.wait(timeout)
    }

    pub(super) fn signal(&mut self, process: Token, signal: ProcessSignal) -> io::Result<()> {
        let running = self.running.get(process.bits()).ok_or(io::ErrorKind::NotFound)?;
        running.signal(signal)
    }

    /// Forgets a child. A running child is left alone, and a thread reaps it when it exits.
    pub(super) fn forget(&mut self, process: Token) -> bool {
        self.running.remove(process.bits()).map(Running::leave_alone).is_some()
    }
}

impl Running {
    fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitReason>> {
        if !timeout.is_zero() && !self.ended {
            // The result does not matter: `try_wait` follows.
            let mut end = [PollFd::new(self.end.descriptor().as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut end, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX));
        }
        let waited = self.child.try_wait();
        self.ended |= !matches!(waited, Ok(None));
        match waited {
            Ok(status) => Ok(status.map(reason)),
            // Another part of the program has waited for it, or the kernel has reaped it because
            // SIGCHLD is ignored.
            Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => {
                Ok(Some(ExitReason::Unknown))
            }
            Err(error) => Err(error),
        }
    }

    fn signal(&self, signal: ProcessSignal) -> io::Result<()> {
        if self.ended {
            return Err(Errno::SRCH.into());
        }
        let signal = Signal::from_named_raw(signal.number()).ok_or(Errno::INVAL)?;
        let number = number(&self.child)?;
        match (self.own_group, &self.end) {
            (true, _) => rustix::process::kill_process_group(number, signal)?,
            (false, End::Process(process)) => send_to(process, signal)?,
            (false, End::Pipe(_)) => rustix::process::kill_process(number, signal)?,
        }
        Ok(())
    }

    /// Leaves a running child to a thread, which reaps it when it exits.
    fn leave_alone(self) {
        if let Running { mut child, ended: false, .. } = self {
            let wait = move || drop(child.wait());
            // Without a thread, the child stays a zombie until this process ends.
            let _ = thread::Builder::new().name("twistor-child".to_owned()).spawn(wait);
        }
    }

    /// Kills the child and waits for it.
    fn finish(&mut self, timeout: Duration) {
        // The child may have exited already.
        let _ = self.signal(ProcessSignal::KILL);
        let _ = self.wait(timeout);
    }
}

/// Signals a process by its pidfd. No other process can receive the signal, even if another part of
/// the program has waited for the child.
#[cfg(target_os = "linux")]
fn send_to(process: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    rustix::process::pidfd_send_signal(process, signal)
}

#[cfg(not(target_os = "linux"))]
fn send_to(_: &OwnedFd, _: Signal) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

fn reason(status: ExitStatus) -> ExitReason {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitReason::Code(code),
        (None, Some(signal)) => {
            ExitReason::Signal { signal: ProcessSignal::numbered(signal), core_dumped: status.core_dumped() }
        }
        (None, None) => ExitReason::Unknown,
    }
}

/// Kills the children with `kill_on_stop` when the reactor is dropped without a final turn.
impl Drop for Children {
    fn drop(&mut self) {
        for running in self.running.values_mut().filter(|running| running.kill && !running.ended) {
            running.finish(KILL_TIMEOUT);
        }
        while let Some((_, running)) = self.running.pop_first() {
            running.leave_alone();
        }
    }
}

/// A killed process exits at once, unless it is stuck in the kernel.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads from a pipe that is write-only: EPIPE when its reader is gone, EAGAIN otherwise.
pub(super) fn look_for_reader(pipe: impl AsFd) -> io::Result<usize> {
    let pipe = pipe.as_fd();
    let mut polled = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO)?;
    match polled[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR)) {
        true => Err(Errno::PIPE.into()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    #[test]
    fn a_thread_reports_the_exit_and_does_not_reap_the_child() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let end = spawn_waiter(number(&child).unwrap()).unwrap();
        // Signals of other tests may interrupt the poll.
        let look = |wait: &Timespec| poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(wait));
        let ended = |wait: &Timespec| rustix::io::retry_on_intr(|| look(wait)) == Ok(1);
        assert!(!ended(&Timespec::default()), "it runs");
        drop(child.stdin.take());
        assert!(ended(&Timespec { tv_sec: 20, tv_nsec: 0 }));
        assert_eq!(reason(child.try_wait().unwrap().unwrap()), ExitReason::Code(0));
    }
}
