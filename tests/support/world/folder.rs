//! A folder for a test's files, with a path short enough for UNIX sockets.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, getpid, getppid};

use super::child;
use super::temp_dir::short_temp_dir;

/// A folder that is removed with the test.
pub struct Folder {
    path: PathBuf,
    /// The folder belongs to the parent process, which removes it.
    is_the_parents: bool,
}

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = short_temp_dir().join(format!("twistor-{}-{count}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Folder { path, is_the_parents: false },
                // Left behind by a killed process with the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// Creates the folder of a test that runs itself again in a child. Both share it, and the
    /// parent removes it.
    pub fn shared_with_child(test: &str) -> Folder {
        let owner = if child::inside() { getppid() } else { Some(getpid()) };
        let mut hasher = DefaultHasher::new();
        (owner.map(Pid::as_raw_pid), test).hash(&mut hasher);
        let path = short_temp_dir().join(format!("twistor-{:016x}", hasher.finish()));
        if !child::inside() {
            // A killed test with the same process number may have left it behind.
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
        }
        Folder { path, is_the_parents: child::inside() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn itself(&self) -> &PathBuf {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_the_parents {
            return;
        }
        let removed = fs::remove_dir_all(&self.path);
        assert!(removed.is_ok() || std::thread::panicking(), "{}: {removed:?}", self.path.display());
    }
}
