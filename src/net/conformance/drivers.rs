//! The networks that the suite runs on.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use signal_hook::consts::signal as number;
use signal_hook::low_level;

use crate::net::os::{Os, Sizes};
use crate::net::sim::{Host, Link, Network, SimNet};
use crate::net::{Net, Signal};

/// A machine whose processes each have a [`Net`]. They reach each other through its loopback.
pub(super) trait Driver {
    fn name(&self) -> &'static str;

    /// One more process, with [`JOB_THREADS`] and [`JOB_QUEUE`].
    fn process(&mut self) -> Box<dyn Net>;

    /// Gives a process a job that occupies its thread until what is returned is called; or, where jobs
    /// take virtual time, until the next poll that waits.
    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send>;

    /// The mode of the file of a UNIX socket, and removing it.
    fn mode(&self, path: &Path) -> Option<u32>;
    fn remove(&self, path: &Path) -> bool;

    /// Sends a signal to all processes of the machine.
    fn signal(&mut self, signal: Signal);
}

/// A fresh machine of each kind.
pub(super) fn drivers() -> Vec<Box<dyn Driver>> {
    // What is expected is what Linux answers; other systems differ in many a case.
    let real: Option<Box<dyn Driver>> = if cfg!(target_os = "linux") { Some(Box::new(Real)) } else { None };
    let simulated: [Box<dyn Driver>; 2] = [Box::new(Simulated::new(false)), Box::new(Simulated::new(true))];
    real.into_iter().chain(simulated).collect()
}

/// The network of the machine that runs the suite.
struct Real;

impl Driver for Real {
    fn name(&self) -> &'static str {
        "os"
    }

    fn process(&mut self) -> Box<dyn Net> {
        let patience = Duration::from_secs(5);
        let sizes = Sizes {
            threads: JOB_THREADS,
            thread_queue: JOB_QUEUE,
            thread_patience: patience,
            spin: Duration::ZERO,
        };
        Box::new(Os::new(&sizes).expect("a poll and its waker"))
    }

    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send> {
        let (release, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let job = move || {
            drop(begin);
            // It ends when the other end is dropped.
            let _ = held.recv();
        };
        assert!(net.offload(Box::new(job)).is_ok(), "the thread was idle");
        // It ends when the job drops the other end.
        let _ = begun.recv();
        Box::new(move || drop(release))
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        std::fs::symlink_metadata(path).ok().map(|found| found.permissions().mode() & 0o7777)
    }

    fn remove(&self, path: &Path) -> bool {
        std::fs::remove_file(path).is_ok()
    }

    fn signal(&mut self, signal: Signal) {
        let signal = match signal {
            Signal::WindowChange => number::SIGWINCH,
            Signal::Child => number::SIGCHLD,
            _ => panic!("{signal} could end the whole test run"),
        };
        // To this thread, so that no other case's poll is interrupted; the handlers are the whole process's.
        low_level::raise(signal).expect("a signal to this thread");
    }
}

/// A host of a simulated network whose loopback takes no time, as the system's.
struct Simulated {
    network: Network,
    host: Host,
    name: &'static str,
}

impl Simulated {
    /// One that tells of readiness as Linux does, or as little as the seam's contract allows.
    fn new(minimal_edges: bool) -> Simulated {
        let network = Network::new(1);
        network.in_order();
        network.minimal_edges(minimal_edges);
        network.set_loopback(Link::instant());
        let host = network.host("here");
        let name = if minimal_edges { "sim, minimal edges" } else { "sim" };
        Simulated { network, host, name }
    }
}

impl Driver for Simulated {
    fn name(&self) -> &'static str {
        self.name
    }

    fn process(&mut self) -> Box<dyn Net> {
        Box::new(SimNet::alone(&self.network, self.host, JOB_THREADS, JOB_QUEUE))
    }

    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send> {
        assert!(net.offload(Box::new(|| {})).is_ok(), "the thread was idle");
        Box::new(|| {})
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        self.network.socket_file(self.host, path)
    }

    fn remove(&self, path: &Path) -> bool {
        self.network.remove_socket_file(self.host, path)
    }

    fn signal(&mut self, signal: Signal) {
        self.network.signal(self.host, signal);
    }
}

pub(super) const JOB_THREADS: usize = 1;

pub(super) const JOB_QUEUE: usize = 2;
