//! The pid file, which names the running process and prevents a second one.

use crate::escape::Escaped;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::service::SimulationError;

/// A file with the id of this process. It is removed on drop.
pub(in crate::service) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Creates the file. It must not exist, unless it belongs to a process that no longer runs.
    pub(in crate::service) fn create(path: &Path) -> Result<PidFile, SimulationError> {
        let failed = |source| SimulationError::PidFile { path: path.to_owned(), source };
        // Written under a temporary name and then linked, so that no process sees an empty file.
        let draft = beside(path, "new");
        // May be left over from an earlier process with the same id.
        let _ = fs::remove_file(&draft);
        // Readable for all users regardless of the umask, writable only for this one.
        let mut new = File::options();
        new.write(true).create_new(true).mode(0o644);
        let mut file = new.open(&draft).map_err(failed)?;
        let linked = writeln!(file, "{}", process::id()).map_err(failed).and_then(|()| link(&draft, path));
        let _ = fs::remove_file(&draft);
        linked.map(|()| PidFile { path: path.to_owned(), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).and_then(|current| Ok((current, self.file.metadata()?)));
        let removed = match found {
            // Another file has taken the place of this one.
            Ok((current, ours)) if (current.dev(), current.ino()) != (ours.dev(), ours.ino()) => return,
            Ok(_) => fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            // After a change of user, the process may have no access to the folder. An empty file
            // counts as unused.
            let emptied = self.file.set_len(0);
            log::debug!(
                "cannot remove {}, emptied instead ({emptied:?}): {}",
                Escaped(self.path.display()),
                Escaped(error)
            );
        }
    }
}

fn link(draft: &Path, path: &Path) -> Result<(), SimulationError> {
    let failed = |source| SimulationError::PidFile { path: path.to_owned(), source };
    for _ in 0..ATTEMPTS {
        match fs::hard_link(draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked.map_err(failed),
        }
        match read(path) {
            Ok(owner) => refuse_if_alive(path, owner)?,
            // The file was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        // Rename the file first, then check it again, because another process may have replaced it
        // meanwhile.
        let old = beside(path, "old");
        match fs::rename(path, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            renamed => renamed.map_err(failed)?,
        }
        let checked = read(&old).map_err(failed).and_then(|owner| refuse_if_alive(path, owner));
        if checked.is_err() {
            // Restore it, unless there is another file by now.
            let _ = fs::hard_link(&old, path);
        }
        let _ = fs::remove_file(&old);
        checked?;
    }
    Err(failed(io::Error::other("other processes keep creating and removing it")))
}

/// Reads the process id in a file. Returns `None` if the file is empty.
fn read(path: &Path) -> io::Result<Option<u32>> {
    let bad = || {
        let text = "the file exists and does not contain a process id";
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    // In a folder that other users can write to, the path may be a symbolic link or a FIFO that
    // never ends.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(bad()),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(bad());
    }
    let mut text = Vec::new();
    file.take(MAX_LENGTH).read_to_end(&mut text)?;
    match text.trim_ascii() {
        [] => Ok(None),
        text => {
            let text = std::str::from_utf8(text).ok();
            text.and_then(|text| text.parse().ok()).map(Some).ok_or_else(bad)
        }
    }
}

fn refuse_if_alive(path: &Path, owner: Option<u32>) -> Result<(), SimulationError> {
    let Some(owner) = owner.filter(|&owner| owner != process::id()) else { return Ok(()) };
    let raw = i32::try_from(owner).ok().filter(|raw| *raw > 0);
    let alive = raw.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH));
    if alive { Err(SimulationError::AlreadyRuns { path: path.to_owned(), process: owner }) } else { Ok(()) }
}

/// Returns a path in the same folder that is unique to this process.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}.{}", process::id()));
    path.with_file_name(name)
}

/// Number of attempts to replace a stale file.
const ATTEMPTS: usize = 10;

/// More bytes than any process id needs.
const MAX_LENGTH: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let folder = std::env::temp_dir().join(format!("twistor-pid-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let (path, other) = (folder.join("pid"), folder.join("other"));
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(matches!(PidFile::create(&path), Err(SimulationError::PidFile { .. })));
        fs::remove_file(&path).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(PidFile::create(&path), Err(SimulationError::PidFile { .. })));
        fs::remove_file(&path).unwrap();
        // A file that replaced it stays.
        let file = PidFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, process::id().to_string()).unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
