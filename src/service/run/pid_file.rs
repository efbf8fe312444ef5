//! The pid file, which names the running process and prevents a second one.

use crate::escape::Escaped;
use crate::net::files::blocking::{self as files, OutputFile};
use crate::net::system;
use crate::service::RunError;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// A file with the id of this process. It is removed on drop.
pub(in crate::service) struct PidFile {
    path: PathBuf,
    file: OutputFile,
}

impl PidFile {
    /// Creates the file. It must not exist, unless it belongs to a process that no longer runs.
    pub(in crate::service) fn create(path: &Path) -> Result<PidFile, RunError> {
        let failed = |source| RunError::PidFile { path: path.to_owned(), source };
        // Written under a temporary name and then linked, so that no process sees an empty file.
        let draft = beside(path, "new");
        // May be left over from an earlier process with the same id.
        let _ = files::remove(&draft);
        // Readable for all users that the umask does not exclude, writable only for this one.
        let mut file = OutputFile::create_new(&draft, 0o644).map_err(failed)?;
        let written = file.write_all(format!("{}\n", process::id()).as_bytes());
        let linked = written.map_err(failed).and_then(|()| link(&draft, path));
        let _ = files::remove(&draft);
        linked.map(|()| PidFile { path: path.to_owned(), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let removed = match self.file.is_at(&self.path) {
            // Another file has taken the place of this one.
            Ok(false) => return,
            Ok(true) => files::remove(&self.path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            // After a change of user, the process may have no access to the folder. An empty file
            // counts as unused.
            let emptied = self.file.empty();
            log::debug!(
                "cannot remove {}, emptied instead ({emptied:?}): {}",
                Escaped(self.path.display()),
                Escaped(error)
            );
        }
    }
}

fn link(draft: &Path, path: &Path) -> Result<(), RunError> {
    let failed = |source| RunError::PidFile { path: path.to_owned(), source };
    for _ in 0..ATTEMPTS {
        match files::link(draft, path) {
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
        match files::rename(path, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            renamed => renamed.map_err(failed)?,
        }
        let checked = read(&old).map_err(failed).and_then(|owner| refuse_if_alive(path, owner));
        if checked.is_err() {
            // Restore it, unless there is another file by now.
            let _ = files::link(&old, path);
        }
        let _ = files::remove(&old);
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
    let text = files::read_regular(path, MAX_LENGTH)?.ok_or_else(bad)?;
    match text.trim_ascii() {
        [] => Ok(None),
        text => {
            let text = std::str::from_utf8(text).ok();
            text.and_then(|text| text.parse().ok()).map(Some).ok_or_else(bad)
        }
    }
}

fn refuse_if_alive(path: &Path, owner: Option<u32>) -> Result<(), RunError> {
    let Some(owner) = owner.filter(|&owner| owner != process::id()) else { return Ok(()) };
    match system::is_running(owner) {
        true => Err(RunError::AlreadyRuns { path: path.to_owned(), process: owner }),
        false => Ok(()),
    }
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
    use std::fs;

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let folder = std::env::temp_dir().join(format!("twistor-pid-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let (path, other) = (folder.join("pid"), folder.join("other"));
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(matches!(PidFile::create(&path), Err(RunError::PidFile { .. })));
        fs::remove_file(&path).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(PidFile::create(&path), Err(RunError::PidFile { .. })));
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
