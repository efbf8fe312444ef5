//! The signals that a reactor can deliver.

use std::fmt;

/// A signal of the operating system, for [`Reactor::on_signal`](crate::Reactor::on_signal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a polite request to end.
    Terminate,
    /// SIGHUP: by custom, "read your configuration again" or "say how it stands".
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGWINCH: the terminal changed its size.
    WindowChange,
    /// SIGCHLD: a child process changed its state.
    Child,
    /// SIGQUIT: Ctrl-\, by default the end with a core dump.
    Quit,
    /// SIGTSTP: Ctrl-Z. Whoever handles it stops the process itself, with SIGSTOP.
    Suspend,
    /// SIGCONT: the process goes on after it was stopped.
    Continue,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::Hangup => "SIGHUP",
            Signal::User1 => "SIGUSR1",
            Signal::User2 => "SIGUSR2",
            Signal::WindowChange => "SIGWINCH",
            Signal::Child => "SIGCHLD",
            Signal::Quit => "SIGQUIT",
            Signal::Suspend => "SIGTSTP",
            Signal::Continue => "SIGCONT",
        })
    }
}
