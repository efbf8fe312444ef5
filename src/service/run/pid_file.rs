//! The file that says which process runs, and keeps a second one from starting.

use crate::escape::Escaped;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::service::RunError;

/// A file with the number of this process; it goes when this is dropped.
pub(in crate::service) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Creates the file, which must not be there, or must be that of a process that lives no more.
    pub(in crate::service) fn create(path: &Path) -> Result<PidFile, RunError> {
        let failed = |source| RunError::PidFile { path: path.to_owned(), source };
        // It is written under another name, and linked to its own: nobody ever sees it empty.
        let draft = beside(path, "new");
        // Left over from a process of the same number, if it is there at all.
        let _ = fs::remove_file(&draft);
        // Others may read it, whatever the umask says, and not write.
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
        let found = fs::symlink_metadata(&self.path).and_then(|there| Ok((there, self.file.metadata()?)));
        let gone = match found {
            // Another file, when this one was taken away.
            Ok((there, ours)) if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) => return,
            Ok(_) => fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
        if let Err(error) = gone {
            // The user that this process became may not reach the folder; what is empty belongs to nobody.
            let emptied = self.file.set_len(0);
            log::debug!("{} stays, empty ({emptied:?}): {}", Escaped(self.path.display()), Escaped(error));
        }
    }
}

fn link(draft: &Path, path: &Path) -> Result<(), RunError> {
    let failed = |source| RunError::PidFile { path: path.to_owned(), source };
    for _ in 0..ATTEMPTS {
        match fs::hard_link(draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked.map_err(failed),
        }
        match read(path) {
            Ok(owner) => refuse_if_alive(path, owner)?,
            // It went at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        // Out of the way first, then looked at again: another process may have replaced it a moment ago.
        let old = beside(path, "old");
        match fs::rename(path, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            renamed => renamed.map_err(failed)?,
        }
        let checked = read(&old).map_err(failed).and_then(|owner| refuse_if_alive(path, owner));
        if checked.is_err() {
            // Put back, unless yet another one is there.
            let _ = fs::hard_link(&old, path);
        }
        let _ = fs::remove_file(&old);
        checked?;
    }
    Err(failed(io::Error::other("others create and remove it all the time")))
}

/// The process that a file names; `None` when it is empty.
fn read(path: &Path) -> io::Result<Option<u32>> {
    let bad = || {
        let text = "it is there, and holds no process number";
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    // Where others can write to the folder, it may be a link to anything, or a FIFO that never ends.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(bad()),
        opened => File::from(opened?),
    };
    if !file.metadata()?.is_file() {
        return Err(bad());
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
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
    let raw = i32::try_from(owner).ok().filter(|raw| *raw > 0);
    let alive = raw.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH));
    if alive { Err(RunError::AlreadyRuns { path: path.to_owned(), process: owner }) } else { Ok(()) }
}

/// A name of this process's own in the same folder.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}.{}", process::id()));
    path.with_file_name(name)
}

/// How often a stale file is taken away before it is a quarrel.
const ATTEMPTS: usize = 10;

/// More than any process number needs, in bytes.
const LONGEST: u64 = 64;

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
        assert!(matches!(PidFile::create(&path), Err(RunError::PidFile { .. })));
        fs::remove_file(&path).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(PidFile::create(&path), Err(RunError::PidFile { .. })));
        fs::remove_file(&path).unwrap();
        // What is in its place at the end, stays.
        let file = PidFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, process::id().to_string()).unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
