//! The drivers under test.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use signal_hook::consts::signal as number;
use signal_hook::low_level;

use crate::net::os::{OsConfig, OsDriver, system_look_up};
use crate::net::{NameError, Net, Signal, ThreadLimits};
use crate::sim::{Host, Link, Network, SimNet};

/// A machine whose processes have a [`Net`] each, and are connected by its loopback interface.
pub(in crate::net::conformance) trait Driver {
    fn name(&self) -> &'static str;

    /// Starts another process, with [`LIMITS`].
    fn process(&mut self) -> Box<dyn Net>;

    /// Gives a process a job that occupies its pool thread until the returned function is called.
    /// Where jobs take virtual time, until the next poll that waits.
    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send>;

    /// Makes look-ups of this name hang, or releases them.
    fn hold_name(&self, name: &str, on: bool);

    /// The mode of a UNIX socket's file.
    fn mode(&self, path: &Path) -> Option<u32>;
    fn remove(&self, path: &Path) -> bool;

    /// A folder that is empty at first.
    fn folder(&self) -> PathBuf;
    fn symlink(&self, target: &str, path: &Path);
    fn fifo(&self, path: &Path);

    /// Sends a signal to all processes of the machine.
    fn signal(&mut self, signal: Signal);
}

/// Creates a fresh machine of each kind.
pub(in crate::net::conformance) fn drivers() -> Vec<Box<dyn Driver>> {
    // The expected results are Linux's. Other systems differ in many cases.
    let real: Option<Box<dyn Driver>> =
        if cfg!(target_os = "linux") { Some(Box::new(Real::default())) } else { None };
    let simulated: [Box<dyn Driver>; 2] = [Box::new(Simulated::new(false)), Box::new(Simulated::new(true))];
    real.into_iter().chain(simulated).collect()
}

/// The operating system's driver.
#[derive(Default)]
struct Real {
    held: Arc<HeldNames>,
    /// Created by the first use.
    folder: OnceCell<PathBuf>,
}

/// The names whose look-ups hang.

#[derive(Default)]
struct HeldNames {
    names: Mutex<BTreeSet<String>>,
    changed: Condvar,
}

impl HeldNames {
    /// A held name is not looked up afterwards, which could take long.
    fn look_up(&self, name: &str) -> Result<Vec<SocketAddr>, NameError> {
        let names = self.names.lock().unwrap();
        if names.contains(name) {
            drop(self.changed.wait_while(names, |names| names.contains(name)).unwrap());
            return Err(NameError::NotFound("it was held".to_owned()));
        }
        drop(names);
        system_look_up(name)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.held.names.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.held.changed.notify_all();
        if let Some(folder) = self.folder.get() {
            // Processes that still run may be writing.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Driver for Real {
    fn name(&self) -> &'static str {
        "os"
    }

    fn process(&mut self) -> Box<dyn Net> {
        let sizes = OsConfig { limits: LIMITS, spin: Duration::ZERO };
        let held = Arc::clone(&self.held);
        let look_up = move |name: &str| held.look_up(name);
        Box::new(OsDriver::with_look_up(&sizes, Box::new(look_up)).expect("a poll and its waker"))
    }

    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send> {
        let (release, held) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let job = move || {
            drop(begin);
            // Ends when the sender is dropped.
            let _ = held.recv();
        };
        assert!(net.run_job(Box::new(job)).is_ok(), "the thread was idle");
        // Returns when the job has dropped its sender.
        let _ = begun.recv();
        Box::new(move || drop(release))
    }

    fn hold_name(&self, name: &str, on: bool) {
        let mut names = self.held.names.lock().unwrap();
        if on {
            names.insert(name.to_owned());
        } else {
            names.remove(name);
            self.held.changed.notify_all();
        }
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        std::fs::symlink_metadata(path).ok().map(|found| found.permissions().mode() & 0o7777)
    }

    fn remove(&self, path: &Path) -> bool {
        std::fs::remove_file(path).is_ok()
    }

    fn folder(&self) -> PathBuf {
        let create = || {
            static COUNT: AtomicU64 = AtomicU64::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("twistor-conformance-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            // Left by an earlier process with the same number.
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir(&folder).expect("a folder for temporary files");
            folder
        };
        self.folder.get_or_init(create).clone()
    }

    fn symlink(&self, target: &str, path: &Path) {
        std::os::unix::fs::symlink(target, path).expect("a link");
    }

    fn fifo(&self, path: &Path) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    }

    fn signal(&mut self, signal: Signal) {
        let signal = match signal {
            Signal::WindowChange => number::SIGWINCH,
            Signal::Child => number::SIGCHLD,
            _ => panic!("{signal} could end the whole test run"),
        };
        // Raises the signal on this thread, so that no other case's poll is interrupted. The
        // handlers are process-wide.
        low_level::raise(signal).expect("a signal to this thread");
    }
}

/// A host of a simulated network. Its loopback has no latency, as the system's.
struct Simulated {
    network: Network,
    host: Host,
    name: &'static str,
}

impl Simulated {
    /// Creates a host. Its readiness reports are those of Linux, or the minimum of the driver
    /// contract.
    fn new(minimal_edges: bool) -> Simulated {
        let network = Network::new(1);
        network.set_fifo_order();
        network.set_minimal_readiness(minimal_edges);
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
        Box::new(SimNet::unscheduled(&self.network, self.host, LIMITS))
    }

    fn occupy(&mut self, net: &mut dyn Net) -> Box<dyn FnOnce() + Send> {
        assert!(net.run_job(Box::new(|| {})).is_ok(), "the thread was idle");
        Box::new(|| {})
    }

    fn hold_name(&self, name: &str, on: bool) {
        self.network.hold_name(name, on);
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        self.network.socket_file(self.host, path)
    }

    fn remove(&self, path: &Path) -> bool {
        self.network.remove_socket_file(self.host, path)
    }

    fn folder(&self) -> PathBuf {
        let folder = PathBuf::from("/work");
        assert!(self.network.disk(self.host).create_dir(&folder));
        folder
    }

    fn symlink(&self, target: &str, path: &Path) {
        assert!(self.network.disk(self.host).symlink(target, path));
    }

    fn fifo(&self, path: &Path) {
        assert!(self.network.disk(self.host).create_fifo(path));
    }

    fn signal(&mut self, signal: Signal) {
        self.network.signal(self.host, signal);
    }
}

const LIMITS: ThreadLimits = ThreadLimits {
    threads: 1,
    thread_queue: JOB_QUEUE,
    lookup_threads: LOOKUP_THREADS,
    lookup_queue: LOOKUP_QUEUE,
    file_threads: 2,
    join_timeout: Duration::from_secs(5),
};

pub(in crate::net::conformance) const JOB_QUEUE: usize = 2;

pub(in crate::net::conformance) const LOOKUP_THREADS: usize = 2;

pub(in crate::net::conformance) const LOOKUP_QUEUE: usize = 4;
