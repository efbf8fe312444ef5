//! Files of a test, in a folder whose path is short enough for UNIX sockets wherever the checkout is.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, getpid, getppid};

use super::child;
use super::temp_dir::short_temp_dir;

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = short_temp_dir().join(format!("twistor-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// The folder of a test that runs itself again in a child: both have the same one, and the parent removes it.
    pub fn shared_with_child(test: &str) -> Folder {
        let owner = if child::inside() { getppid() } else { Some(getpid()) };
        let mut hasher = DefaultHasher::new();
        (owner.map(Pid::as_raw_pid), test).hash(&mut hasher);
        let path = short_temp_dir().join(format!("twistor-{:016x}", hasher.finish()));
        if !child::inside() {
            fs::create_dir(&path).unwrap();
        }
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn itself(&self) -> &PathBuf {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if child::inside() {
            return;
        }
        let removed = fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{}: {removed:?}", self.0.display());
    }
}
