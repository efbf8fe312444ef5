//! Child processes as values: what to run, how, and how it ended.

use crate::escape::{Escaped, EscapedBytes};
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Signal, Token};

/// What to run, and how. (Twisted: the arguments of `spawnProcess`; without descriptors beyond the three streams, its
/// `childFDs`.)
///
/// ```
/// use twistor::{ChildStream, SpawnProcess};
///
/// let spawn = SpawnProcess {
///     directory: Some("/".into()),
///     stderr: ChildStream::Inherit,
///     ..SpawnProcess::new("ls", ["-l", "etc"])
/// };
/// assert_eq!(spawn.to_string(), "ls -l etc");
/// ```
#[derive(Clone, Debug)]
pub struct SpawnProcess {
    /// The program: a path, or a name that is looked up in PATH.
    pub program: OsString,
    /// What the program is told that its name is. Default: `program`.
    pub name: Option<OsString>,
    /// Its arguments, without the name.
    pub arguments: Vec<OsString>,
    /// It gets this process's environment; otherwise an empty one. Default: yes. (Twisted: `env=None`.)
    pub inherit_environment: bool,
    /// Variables that are set in its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables that are not in its environment.
    pub without: Vec<OsString>,
    /// Its working directory. Default: this process's.
    pub directory: Option<PathBuf>,
    /// It runs as this user, by number; needs the right to. Root's supplementary groups are dropped with it. Default: as this
    /// process.
    pub user: Option<u32>,
    /// It runs with this group, by number; needs the right to. Default: as this process.
    pub group: Option<u32>,
    /// It leads a process group of its own: Ctrl-C at the terminal does not reach it, and signals from here go to all that
    /// it has started, as far as they have not left the group. Default: no.
    pub own_group: bool,
    /// Where its standard input comes from. Default: a pipe.
    pub stdin: ChildStream,
    /// Where its standard output goes. Default: a pipe.
    pub stdout: ChildStream,
    /// Where its standard error goes. Default: a pipe.
    pub stderr: ChildStream,
    /// It gets a terminal of its own, of this size, and leads a session on it: those of its three streams that would be pipes are the
    /// terminal, and all that it writes there comes as its standard output, with `\r\n` for the end of a line. What is
    /// written comes back as well, unless the child switches that off. `own_group` is of no account then: signals go
    /// to its group. Default: none. (Twisted: `usePTY`.)
    pub terminal: Option<TerminalSize>,
    /// It does not outlive the reactor: killed when that stops, or is dropped. A graceful stop sends SIGTERM first, closes its
    /// standard input, and goes on reading its output until it has exited or
    /// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) is over. Otherwise its pipes are closed, and it runs on. Default:
    /// yes: nobody would read its output, wait for it or stop it any more. (Twisted leaves it.)
    pub kill_on_stop: bool,
}

impl SpawnProcess {
    /// Runs `program` with these arguments and the default options.
    pub fn new<A>(program: impl Into<OsString>, arguments: impl IntoIterator<Item = A>) -> SpawnProcess
    where
        A: Into<OsString>,
    {
        SpawnProcess {
            program: program.into(),
            name: None,
            arguments: arguments.into_iter().map(Into::into).collect(),
            inherit_environment: true,
            environment: Vec::new(),
            without: Vec::new(),
            directory: None,
            user: None,
            group: None,
            own_group: false,
            stdin: ChildStream::Pipe,
            stdout: ChildStream::Pipe,
            stderr: ChildStream::Pipe,
            terminal: None,
            kill_on_stop: true,
        }
    }

    /// Runs a command line of the shell: `/bin/sh -c LINE`.
    pub fn shell(line: impl Into<OsString>) -> SpawnProcess {
        SpawnProcess::new("/bin/sh", [OsString::from("-c"), line.into()])
    }
}

/// Program and arguments, for people.
impl fmt::Display for SpawnProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", EscapedBytes(self.program.as_os_str().as_encoded_bytes()))?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", EscapedBytes(argument.as_encoded_bytes())))
    }
}

/// How many characters a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// 24 lines of 80.
impl Default for TerminalSize {
    fn default() -> TerminalSize {
        TerminalSize { rows: 24, columns: 80 }
    }
}

/// What one of a child's standard streams is. (Twisted: `childFDs`.)
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ChildStream {
    /// A pipe to or from this process.
    #[default]
    Pipe,
    /// The same as this process's.
    Inherit,
    /// Nothing: `/dev/null`.
    Null,
    /// A duplicate of this descriptor.
    Descriptor(Arc<OwnedFd>),
}

impl From<OwnedFd> for ChildStream {
    fn from(descriptor: OwnedFd) -> ChildStream {
        ChildStream::Descriptor(Arc::new(descriptor))
    }
}

/// What is at fault when a child process cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnFault {
    /// The program itself, or a limit: of processes, descriptors or memory.
    Program,
    /// What the program is run by: the interpreter of a script, or the dynamic loader.
    Interpreter(PathBuf),
    /// The working directory.
    Directory(PathBuf),
    /// This process may not become this user.
    User(u32),
    /// This process may not take on this group.
    Group(u32),
}

/// For the middle of a sentence.
impl fmt::Display for SpawnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnFault::Program => f.write_str("the program"),
            // The name of an interpreter comes from a file.
            SpawnFault::Interpreter(path) => {
                write!(f, "its interpreter {}", EscapedBytes(path.as_os_str().as_bytes()))
            }
            SpawnFault::Directory(path) => {
                write!(f, "the working directory {}", EscapedBytes(path.as_os_str().as_bytes()))
            }
            SpawnFault::User(user) => write!(f, "the change to user {user}"),
            SpawnFault::Group(group) => write!(f, "the change to group {group}"),
        }
    }
}

/// Why a child process could not be begun.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) fault: SpawnFault,
    pub(crate) error: std::io::Error,
}

impl From<std::io::Error> for SpawnError {
    fn from(error: std::io::Error) -> SpawnError {
        SpawnError { fault: SpawnFault::Program, error }
    }
}

/// How a child process ended. (Twisted: `ProcessDone`, `ProcessTerminated`.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitReason {
    /// It exited, with this code; 0 is success.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal.
        signal: ProcessSignal,
        /// The system wrote its memory to a file.
        core_dumped: bool,
    },
    /// A callback of its protocol panicked with this text: it was killed.
    Panicked(String),
    /// The reactor stopped, and it runs on.
    StillRunning,
    /// It has ended, and the system does not tell how: another part of this program waited for it (`waitpid(-1)`), or has
    /// SIGCHLD ignored after the first child was begun.
    Unknown,
}

impl ExitReason {
    /// Whether it succeeded: exit code 0.
    pub fn is_clean(&self) -> bool {
        *self == ExitReason::Code(0)
    }

    /// The exit code, if it exited by itself.
    pub fn code(&self) -> Option<i32> {
        match self {
            ExitReason::Code(code) => Some(*code),
            _ => None,
        }
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<ProcessSignal> {
        match self {
            ExitReason::Signal { signal, .. } => Some(*signal),
            _ => None,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Code(0) => f.write_str("exited"),
            ExitReason::Code(code) => write!(f, "exited with code {code}"),
            ExitReason::Signal { signal, core_dumped: false } => write!(f, "killed by {signal}"),
            ExitReason::Signal { signal, core_dumped: true } => write!(f, "killed by {signal}, core dumped"),
            ExitReason::Panicked(text) => write!(f, "killed: its protocol panicked: {}", Escaped(text)),
            ExitReason::StillRunning => f.write_str("left running: the reactor stopped"),
            ExitReason::Unknown => f.write_str("ended, the system does not tell how"),
        }
    }
}

impl std::error::Error for ExitReason {}

/// A signal for a child process, by its number. (Twisted: `signalProcess`'s names and numbers.)
///
/// ```
/// use twistor::{ProcessSignal, Signal};
///
/// assert_eq!(ProcessSignal::from(Signal::Terminate), ProcessSignal::TERMINATE);
/// assert_eq!(ProcessSignal::KILL.to_string(), "SIGKILL");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessSignal(i32);

impl ProcessSignal {
    /// SIGHUP.
    pub const HANGUP: ProcessSignal = of(rustix::process::Signal::HUP);
    /// SIGINT.
    pub const INTERRUPT: ProcessSignal = of(rustix::process::Signal::INT);
    /// SIGQUIT.
    pub const QUIT: ProcessSignal = of(rustix::process::Signal::QUIT);
    /// SIGABRT.
    pub const ABORT: ProcessSignal = of(rustix::process::Signal::ABORT);
    /// SIGKILL: it cannot be caught.
    pub const KILL: ProcessSignal = of(rustix::process::Signal::KILL);
    /// SIGSEGV.
    pub const SEGMENTATION_FAULT: ProcessSignal = of(rustix::process::Signal::SEGV);
    /// SIGPIPE.
    pub const PIPE: ProcessSignal = of(rustix::process::Signal::PIPE);
    /// SIGALRM.
    pub const ALARM: ProcessSignal = of(rustix::process::Signal::ALARM);
    /// SIGTERM: a polite request to end.
    pub const TERMINATE: ProcessSignal = of(rustix::process::Signal::TERM);
    /// SIGUSR1.
    pub const USER1: ProcessSignal = of(rustix::process::Signal::USR1);
    /// SIGUSR2.
    pub const USER2: ProcessSignal = of(rustix::process::Signal::USR2);
    /// SIGSTOP: held until SIGCONT; it cannot be caught.
    pub const STOP: ProcessSignal = of(rustix::process::Signal::STOP);
    /// SIGTSTP: asked to stop, by Ctrl-Z.
    pub const SUSPEND: ProcessSignal = of(rustix::process::Signal::TSTP);
    /// SIGCONT.
    pub const CONTINUE: ProcessSignal = of(rustix::process::Signal::CONT);
    /// SIGWINCH.
    pub const WINDOW_CHANGE: ProcessSignal = of(rustix::process::Signal::WINCH);
    /// SIGCHLD.
    pub const CHILD: ProcessSignal = of(rustix::process::Signal::CHILD);

    /// The signal with this number, which the system may refuse.
    pub const fn numbered(number: i32) -> ProcessSignal {
        ProcessSignal(number)
    }

    /// Its number on this system.
    pub const fn number(self) -> i32 {
        self.0
    }
}

const fn of(signal: rustix::process::Signal) -> ProcessSignal {
    ProcessSignal(signal.as_raw())
}

impl From<Signal> for ProcessSignal {
    fn from(signal: Signal) -> ProcessSignal {
        match signal {
            Signal::Interrupt => ProcessSignal::INTERRUPT,
            Signal::Terminate => ProcessSignal::TERMINATE,
            Signal::Hangup => ProcessSignal::HANGUP,
            Signal::User1 => ProcessSignal::USER1,
            Signal::User2 => ProcessSignal::USER2,
            Signal::WindowChange => ProcessSignal::WINDOW_CHANGE,
            Signal::Child => ProcessSignal::CHILD,
            Signal::Quit => ProcessSignal::QUIT,
            Signal::Suspend => ProcessSignal::SUSPEND,
            Signal::Continue => ProcessSignal::CONTINUE,
        }
    }
}

impl fmt::Display for ProcessSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (ProcessSignal::HANGUP, "SIGHUP"),
            (ProcessSignal::INTERRUPT, "SIGINT"),
            (ProcessSignal::QUIT, "SIGQUIT"),
            (ProcessSignal::ABORT, "SIGABRT"),
            (ProcessSignal::KILL, "SIGKILL"),
            (ProcessSignal::SEGMENTATION_FAULT, "SIGSEGV"),
            (ProcessSignal::PIPE, "SIGPIPE"),
            (ProcessSignal::ALARM, "SIGALRM"),
            (ProcessSignal::TERMINATE, "SIGTERM"),
            (ProcessSignal::USER1, "SIGUSR1"),
            (ProcessSignal::USER2, "SIGUSR2"),
            (ProcessSignal::STOP, "SIGSTOP"),
            (ProcessSignal::CONTINUE, "SIGCONT"),
            (ProcessSignal::WINDOW_CHANGE, "SIGWINCH"),
            (ProcessSignal::CHILD, "SIGCHLD"),
        ];
        match names.iter().find(|(signal, _)| signal == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// Where a child's pipes stand in the caller's table; `None` where it has no pipe. A terminal is standard input and output at
/// once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<Token>,
    pub(crate) stdout: Option<Token>,
    pub(crate) stderr: Option<Token>,
}
