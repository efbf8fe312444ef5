//! Child processes: std begins them, a descriptor of the process tells of their end, and every one is waited for.
//!
//! A child is signalled only while nobody has waited for it: until then its number is no other process's.
//!
//! Systems without descriptors of processes (Linux before 5.3, some containers, all others) have a thread for each child instead,
//! which waits for its end and leaves the waiting to be done. SIGCHLD would be the program's, and say less. A child has
//! its three streams and nothing more: to put a descriptor in a place of its choice is unsafe code.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::spawn_fault::fault_of;
use crate::net::{ChildStream, ExitReason, ProcessSignal, SpawnError, SpawnProcess, TerminalSize, Token};

/// The children that nobody has waited for yet, and those that the reactor still has a name for.
#[derive(Default)]
pub(super) struct Children {
    running: BTreeMap<Token, Running>,
}

struct Running {
    child: Child,
    /// Becomes readable when the child has ended.
    end: End,
    own_group: bool,
    kill: bool,
    /// It was waited for: its number may be another process's.
    ended: bool,
}

/// A child that was begun, with its pipes' ends on this side.
pub(super) struct Begun {
    running: Running,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
}

impl Begun {
    /// What tells of its end.
    pub(super) fn end(&self) -> &OwnedFd {
        self.running.end.descriptor()
    }

    pub(super) fn number(&self) -> u32 {
        self.running.child.id()
    }

    /// It was begun in vain.
    pub(super) fn undo(mut self) {
        self.running.finish(Duration::MAX);
    }
}

/// Begins a child. It has nothing of ours open but what it was given: all our descriptors are closed on exec.
pub(super) fn begin(what: &SpawnProcess) -> Result<Begun, SpawnError> {
    handle_ignored_signals()?;
    // std panics when another part of the program waits for the child of an exec that has failed.
    let begun = std::panic::catch_unwind(|| begin_child(what));
    let begun = begun.unwrap_or_else(|_| Err(Errno::CHILD.into()));
    begun.map_err(|error| SpawnError { fault: fault_of(what, &error), error })
}

/// Gives ignored signals a handler that does nothing. An ignored signal stays ignored in a child, which could not be
/// ended by it; a handled one has its default action there. (Twisted and libuv reset signals in the child itself, which
/// takes unsafe code here.) Where SIGCHLD is ignored, the kernel also forgets children as soon as they end.
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

/// The signals that children have with their default action. The signals of job control are not among them: a
/// background process that ignores SIGTTOU may write to its terminal, and one that handles it may not.
const RESET_IN_CHILDREN: [Signal; 7] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::CHILD];

/// The mask of ignored signals, as far as the kernel tells.
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

/// Where the mask is not known: a handler of SIGCHLD does no harm.
const SIGCHLD_ONLY: u64 = 1 << (Signal::CHILD.as_raw() - 1);

fn begin_child(what: &SpawnProcess) -> io::Result<Begun> {
    let mut command = Command::new(&what.program);
    command.args(&what.arguments);
    if let Some(name) = &what.name {
        command.arg0(name);
    }
    if !what.inherit_environment {
        command.env_clear();
    }
    for name in &what.without {
        command.env_remove(name);
    }
    command.envs(what.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &what.directory {
        command.current_dir(directory);
    }
    if let Some(group) = what.group {
        command.gid(group);
    }
    if let Some(user) = what.user {
        command.uid(user);
    }
    let (mut child, terminal) = match what.terminal {
        None => {
            if what.own_group {
                command.process_group(0);
            }
            command.stdin(stdio(&what.stdin)?).stdout(stdio(&what.stdout)?).stderr(stdio(&what.stderr)?);
            (command.spawn()?, None)
        }
        Some(size) => {
            let (child, terminal) = spawn_on_terminal(command, what, size)?;
            (child, Some(terminal))
        }
    };
    let (end, ended) = match open_end(&child) {
        Ok(end) => (end, false),
        // Another part of the program has waited for it already.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
            let (end, _) = io::pipe()?;
            (End::Pipe(end.into()), true)
        }
        Err(error) => {
            // Nobody would hear of its end.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let stdin = child.stdin.take().map(OwnedFd::from);
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = child.stderr.take().map(OwnedFd::from);
    // Who leads a session leads its group.
    let own_group = what.own_group || terminal.is_some();
    let running = Running { child, end, own_group, kill: what.kill_on_stop, ended };
    let begun = Begun { running, stdin, stdout, stderr, terminal };
    // Ours alone: the child's end is another open file.
    let pipes = [&begun.stdin, &begun.stdout, &begun.stderr, &begun.terminal];
    let set = pipes.into_iter().flatten().try_for_each(|pipe| rustix::io::ioctl_fionbio(pipe, true));
    match set {
        Ok(()) => Ok(begun),
        Err(error) => {
            begun.undo();
            Err(error.into())
        }
    }
}

/// The terminal is the child's, and leads its session, before the program runs.
fn spawn_on_terminal(
    command: Command,
    what: &SpawnProcess,
    size: TerminalSize,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = pty_process::blocking::open().map_err(of_terminal)?;
    ours.resize(pty_process::Size::new(size.rows, size.columns)).map_err(of_terminal)?;
    let mut command = pty_process::blocking::Command::from(command);
    // What is to be a pipe is the terminal.
    for (stream, set) in [
        (&what.stdin, pty_process::blocking::Command::stdin as fn(_, Stdio) -> _),
        (&what.stdout, pty_process::blocking::Command::stdout),
        (&what.stderr, pty_process::blocking::Command::stderr),
    ] {
        if !matches!(stream, ChildStream::Pipe) {
            command = set(command, stdio(stream)?);
        }
    }
    let child = command.spawn(theirs).map_err(of_terminal)?;
    Ok((child, ours.into()))
}

fn of_terminal(error: pty_process::Error) -> io::Error {
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

/// What tells of a child's end.
enum End {
    /// A descriptor of the process.
    Process(OwnedFd),
    /// A pipe that ends with it.
    Pipe(OwnedFd),
}

impl End {
    fn descriptor(&self) -> &OwnedFd {
        match self {
            End::Process(descriptor) | End::Pipe(descriptor) => descriptor,
        }
    }
}

/// A descriptor of the process. It fails where another part of the program has waited for the child, or a pipe in its place.
#[cfg(target_os = "linux")]
fn open_end(child: &Child) -> io::Result<End> {
    let number = number(child)?;
    match rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) {
        // It has no such call, or its sandbox does not let it through.
        Err(Errno::NOSYS | Errno::PERM) => wait_beside(number).map(End::Pipe),
        opened => Ok(End::Process(opened?)),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_end(child: &Child) -> io::Result<End> {
    wait_beside(number(child)?).map(End::Pipe)
}

/// A pipe that ends when the child has, which a thread sees to.
fn wait_beside(number: Pid) -> io::Result<OwnedFd> {
    let (end, ours) = io::pipe()?;
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // Whatever else it says, there is nothing to wait for any more.
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
    pub(super) fn insert(&mut self, process: Token, begun: Begun) {
        self.running.insert(process, begun.running);
    }

    /// Waits for a child that has ended, for so long at the most; `None` while it runs.
    pub(super) fn wait(&mut self, process: Token, patience: Duration) -> io::Result<Option<ExitReason>> {
        let running = self.running.get_mut(&process).ok_or(io::ErrorKind::NotFound)?;
        running.wait(patience)
    }

    pub(super) fn signal(&mut self, process: Token, signal: ProcessSignal) -> io::Result<()> {
        let running = self.running.get(&process).ok_or(io::ErrorKind::NotFound)?;
        running.signal(signal)
    }

    /// Forgets a child. One that runs still is left alone; a thread waits for it, so that it is no zombie when it ends.
    pub(super) fn forget(&mut self, process: Token) -> bool {
        let found = self.running.remove(&process);
        let is_one = found.is_some();
        if let Some(Running { mut child, ended: false, .. }) = found {
            let wait = move || drop(child.wait());
            // Without a thread it is one until this process ends.
            let _ = thread::Builder::new().name("twistor-child".to_owned()).spawn(wait);
        }
        is_one
    }
}

impl Running {
    fn wait(&mut self, patience: Duration) -> io::Result<Option<ExitReason>> {
        if !patience.is_zero() && !self.ended {
            // Whatever it says, the wait that follows knows better.
            let mut end = [rustix::event::PollFd::new(self.end.descriptor(), rustix::event::PollFlags::IN)];
            let _ = rustix::event::poll(&mut end, timespec(patience).as_ref());
        }
        let waited = self.child.try_wait();
        self.ended |= !matches!(waited, Ok(None));
        match waited {
            Ok(status) => Ok(status.map(reason)),
            // Somebody else has waited for it, or the system has by itself, because SIGCHLD is ignored.
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

    /// Kills it and waits for it.
    fn finish(&mut self, patience: Duration) {
        // It may have ended by itself.
        let _ = self.signal(ProcessSignal::KILL);
        let _ = self.wait(patience);
    }
}

/// By the descriptor, no other process gets it, although another part of the program may have waited for the child.
#[cfg(target_os = "linux")]
fn send_to(process: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    rustix::process::pidfd_send_signal(process, signal)
}

#[cfg(not(target_os = "linux"))]
fn send_to(_: &OwnedFd, _: Signal) -> Result<(), Errno> {
    // There are no such descriptors.
    Err(Errno::NOSYS)
}

fn timespec(patience: Duration) -> Option<rustix::event::Timespec> {
    rustix::event::Timespec::try_from(patience).ok()
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

/// A reactor that is dropped without its last turn takes with it those of its children that are not to outlive it.
impl Drop for Children {
    fn drop(&mut self) {
        for running in self.running.values_mut().filter(|running| running.kill && !running.ended) {
            running.finish(PATIENCE);
        }
        while let Some(process) = self.running.first_key_value().map(|(process, _)| *process) {
            self.forget(process);
        }
    }
}

/// A killed process is gone at once, unless the system is stuck in it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a pipe whose only use is to be written to says to a read: that its reader is gone, or nothing.
pub(super) fn look_for_reader(pipe: impl AsFd) -> io::Result<usize> {
    let pipe = pipe.as_fd();
    let mut looked = [rustix::event::PollFd::from_borrowed_fd(pipe, rustix::event::PollFlags::empty())];
    rustix::event::poll(&mut looked, Some(&rustix::event::Timespec::default()))?;
    match looked[0].revents().intersects(rustix::event::PollFlags::ERR) {
        true => Err(Errno::PIPE.into()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    #[test]
    fn a_thread_tells_of_the_end_and_leaves_the_waiting_to_be_done() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let end = wait_beside(number(&child).unwrap()).unwrap();
        // Signals of other tests may interrupt.
        let look = |wait: &Timespec| poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(wait));
        let ended = |wait: &Timespec| rustix::io::retry_on_intr(|| look(wait)) == Ok(1);
        assert!(!ended(&Timespec::default()), "it runs");
        drop(child.stdin.take());
        assert!(ended(&Timespec { tv_sec: 20, tv_nsec: 0 }));
        assert_eq!(reason(child.try_wait().unwrap().unwrap()), ExitReason::Code(0));
    }
}
