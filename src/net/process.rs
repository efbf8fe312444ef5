//! Child processes as values: command, options and exit reason.

use crate::escape::{Escaped, EscapedBytes};
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Signal, Token};

/// A command to run as a child process, with its options. (Twisted: the arguments of
/// `spawnProcess`. Of its `childFDs`, only the three standard streams.)
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
#[doc(alias("Command", "Popen", "usePTY", "childFDs"))]
pub struct SpawnProcess {
    /// The program: a path, or a name to look up in PATH.
    pub program: OsString,
    /// The name passed to the program (`argv[0]`). Default: `program`.
    pub name: Option<OsString>,
    /// Arguments, without the name.
    pub arguments: Vec<OsString>,
    /// Whether the child inherits this process's environment. Otherwise its environment starts
    /// empty. Default: true. (Twisted: `env=None`.)
    pub inherit_environment: bool,
    /// Environment variables to set.
    pub environment: Vec<(OsString, OsString)>,
    /// Environment variables to remove.
    pub without: Vec<OsString>,
    /// Working directory. Default: this process's.
    pub directory: Option<PathBuf>,
    /// User ID of the child. Needs the privilege to change it. Root's supplementary groups are
    /// dropped with it. Default: this process's.
    pub user: Option<u32>,
    /// Group ID of the child. Needs the privilege to change it. Default: this process's.
    pub group: Option<u32>,
    /// Whether the child leads a process group of its own. Ctrl-C at the terminal then does not
    /// reach it. Signals from the reactor go to the whole group: the child and those of its
    /// descendants that have not left the group. Default: false.
    pub own_group: bool,
    /// Source of standard input. Default: a pipe.
    pub stdin: ChildStream,
    /// Destination of standard output. Default: a pipe.
    pub stdout: ChildStream,
    /// Destination of standard error. Default: a pipe.
    pub stderr: ChildStream,
    /// Size of a terminal (pty) for the child, which leads a session on it. The terminal replaces
    /// the pipes among the three streams. All output to it arrives as standard output, with `\r\n`
    /// at the end of a line. Input is echoed unless the child turns echo off. `own_group` has no
    /// effect, since signals go to the child's group anyway. Default: none. (Twisted: `usePTY`.)
    pub terminal: Option<TerminalSize>,
    /// Whether the child is killed when the reactor stops or is dropped. A graceful stop first
    /// sends SIGTERM, closes standard input, and reads the output until the child has exited or
    /// [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout) has passed. If
    /// false, the pipes are closed and the child runs on. Default: true, because an orphan would
    /// have no reader for its output, and no parent that waits for it or stops it. (Twisted leaves
    /// it running.)
    pub kill_on_stop: bool,
}

impl SpawnProcess {
    /// Creates a command from a program, its arguments and the default options.
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

    /// Creates a shell command: `/bin/sh -c LINE`.
    pub fn shell(line: impl Into<OsString>) -> SpawnProcess {
        SpawnProcess::new("/bin/sh", [OsString::from("-c"), line.into()])
    }
}

/// Formats the program and its arguments, for people.
impl fmt::Display for SpawnProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", EscapedBytes(self.program.as_os_str().as_encoded_bytes()))?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", EscapedBytes(argument.as_encoded_bytes())))
    }
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TerminalSize {
    /// Number of lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// 24 rows of 80 columns.
impl Default for TerminalSize {
    fn default() -> TerminalSize {
        TerminalSize { rows: 24, columns: 80 }
    }
}

/// The type of one of a child's standard streams. (Twisted: `childFDs`.)
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ChildStream {
    /// A pipe to or from this process.
    #[default]
    Pipe,
    /// This process's stream.
    Inherit,
    /// `/dev/null`.
    Null,
    /// A duplicate of this descriptor.
    Descriptor(Arc<OwnedFd>),
}

impl From<OwnedFd> for ChildStream {
    fn from(descriptor: OwnedFd) -> ChildStream {
        ChildStream::Descriptor(Arc::new(descriptor))
    }
}

/// The cause of a failure to start a child process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnFault {
    /// The program itself, or a limit on processes, descriptors or memory.
    Program,
    /// The interpreter of a script, or the dynamic loader.
    Interpreter(PathBuf),
    /// The working directory.
    Directory(PathBuf),
    /// The change to this user ID.
    User(u32),
    /// The change to this group ID.
    Group(u32),
}

/// Formats a noun phrase, for the middle of a sentence.
impl fmt::Display for SpawnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnFault::Program => f.write_str("the program"),
            // A script names its interpreter, so the text is untrusted.
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

/// An error of starting a child process.
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

/// The way in which a child process ended. (Twisted: `ProcessDone`, `ProcessTerminated`.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias("ProcessDone", "ProcessTerminated", "ExitStatus"))]
pub enum ExitReason {
    /// Exited with this code. 0 is success.
    Code(i32),
    /// Killed by a signal.
    Signal {
        /// The signal.
        signal: ProcessSignal,
        /// Whether the system wrote a core dump.
        core_dumped: bool,
    },
    /// Killed because a callback of its protocol panicked with this text.
    Panicked(String),
    /// The reactor stopped, and the process is still running.
    StillRunning,
    /// Ended with an unknown status. Either another part of this program waited for it
    /// (`waitpid(-1)`), or SIGCHLD was set to be ignored after the first child was started.
    Unknown,
}

impl ExitReason {
    /// Whether the process succeeded: exit code 0.
    pub fn is_clean(&self) -> bool {
        *self == ExitReason::Code(0)
    }

    /// The exit code, if the process exited by itself.
    pub fn code(&self) -> Option<i32> {
        match self {
            ExitReason::Code(code) => Some(*code),
            _ => None,
        }
    }

    /// The signal that killed the process, if any.
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
            ExitReason::Unknown => f.write_str("ended, exit status unknown"),
        }
    }
}

impl std::error::Error for ExitReason {}

/// A signal for a child process, by number. (Twisted: `signalProcess`'s names and numbers.)
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
    /// SIGTERM: a request to exit.
    pub const TERMINATE: ProcessSignal = of(rustix::process::Signal::TERM);
    /// SIGUSR1.
    pub const USER1: ProcessSignal = of(rustix::process::Signal::USR1);
    /// SIGUSR2.
    pub const USER2: ProcessSignal = of(rustix::process::Signal::USR2);
    /// SIGSTOP: stops the process until SIGCONT; it cannot be caught.
    pub const STOP: ProcessSignal = of(rustix::process::Signal::STOP);
    /// SIGTSTP: a request to stop, by Ctrl-Z.
    pub const SUSPEND: ProcessSignal = of(rustix::process::Signal::TSTP);
    /// SIGCONT.
    pub const CONTINUE: ProcessSignal = of(rustix::process::Signal::CONT);
    /// SIGWINCH.
    pub const WINDOW_CHANGE: ProcessSignal = of(rustix::process::Signal::WINCH);
    /// SIGCHLD.
    pub const CHILD: ProcessSignal = of(rustix::process::Signal::CHILD);

    /// Creates a signal from its number. The system may refuse it.
    pub const fn numbered(number: i32) -> ProcessSignal {
        ProcessSignal(number)
    }

    /// The signal's number on this system.
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

/// Tokens of a child's pipes in the caller's table; `None` for a stream that is no pipe. A terminal
/// is standard input and output at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<Token>,
    pub(crate) stdout: Option<Token>,
    pub(crate) stderr: Option<Token>,
}
