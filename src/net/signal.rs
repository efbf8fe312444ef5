//! Signals that a reactor can deliver.

use std::fmt;

/// A signal of the operating system, for [`Reactor::on_signal`](crate::Reactor::on_signal).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a request to exit.
    Terminate,
    /// SIGHUP: by convention, a request to reload the configuration or to report status.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGWINCH: the size of the terminal changed.
    WindowChange,
    /// SIGCHLD: the state of a child process changed.
    Child,
    /// SIGQUIT: Ctrl-\, by default an exit with a core dump.
    Quit,
    /// SIGTSTP: Ctrl-Z. The handler has to stop the process itself, with SIGSTOP.
    Suspend,
    /// SIGCONT: the process continues after a stop.
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
