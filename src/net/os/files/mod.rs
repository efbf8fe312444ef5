//! The files of the operating system, for jobs on threads.

mod beneath;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::net::files::{
    Access, Create, DirEntry, Disk, FileJob, FileKind, FileNumber, Metadata, OpenFile, Step,
};
use crate::net::os::threads::Requeue;
use crate::numbered::Numbered;

/// The open files of one process. Clones share them.
#[derive(Clone, Default)]
pub(in crate::net::os) struct OsDisk(Arc<Mutex<OpenFiles>>);

#[derive(Default)]
struct OpenFiles {
    /// Files are shared with the threads that use them.
    open: Numbered<Arc<File>>,
    count: u64,
}

impl OsDisk {
    /// Runs a job on this thread until its end, or until it lets others go first.
    pub(in crate::net::os) fn run(mut self, mut job: Box<dyn FileJob>, requeue: Requeue) {
        loop {
            match job.step(&mut self) {
                Step::Again => {}
                Step::Done => break,
                Step::Later => {
                    let rest = requeue.clone();
                    return requeue.push(Box::new(move || self.run(job, rest)));
                }
            }
        }
    }

    /// Locks the table. A poisoned lock means that memory was exhausted. The table is consistent
    /// after each statement.
    fn lock_table(&self) -> MutexGuard<'_, OpenFiles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, file: File) -> FileNumber {
        let mut open = self.lock_table();
        open.count += 1;
        let number = open.count;
        open.open.insert(number, Arc::new(file));
        FileNumber(number)
    }

    fn file(&self, file: FileNumber) -> io::Result<Arc<File>> {
        let open = self.lock_table();
        open.open.get(file.0).cloned().ok_or_else(|| Errno::BADF.into())
    }
}

impl Disk for OsDisk {
    fn open(&mut self, path: &Path, how: OpenFile) -> io::Result<FileNumber> {
        let OpenFile { access, create, follow } = how;
        // A FIFO or device could block without O_NONBLOCK. A terminal must not become this
        // process's controlling one.
        let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags |= match access {
            Access::Read => OFlags::RDONLY,
            // Readable as well: a log is recovered and appended to by the same handle.
            Access::Append => OFlags::RDWR | OFlags::APPEND,
        };
        let mode = match create {
            Create::Never => Mode::empty(),
            Create::IfMissing(mode) | Create::New(mode) => {
                flags |= OFlags::CREATE;
                Mode::from_raw_mode(mode & 0o7777)
            }
        };
        if matches!(create, Create::New(_)) {
            flags |= OFlags::EXCL;
        }
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let file = uninterrupted(|| Ok(rustix::fs::open(path, flags, mode)?))?;
        Ok(self.add(file.into()))
    }

    fn open_beneath(&mut self, root: &Path, path: &Path) -> io::Result<FileNumber> {
        let file = beneath::open(root, path)?;
        Ok(self.add(file))
    }

    fn close(&mut self, file: FileNumber) {
        let closed = self.lock_table().open.remove(file.0);
        // Dropped without the table's lock: a close may block.
        drop(closed);
    }

    fn metadata(&mut self, file: FileNumber) -> io::Result<Metadata> {
        Ok(metadata_of(&self.file(file)?.metadata()?))
    }

    fn metadata_at(&mut self, path: &Path, follow: bool) -> io::Result<Metadata> {
        let found = if follow { fs::metadata(path)? } else { fs::symlink_metadata(path)? };
        Ok(metadata_of(&found))
    }

    fn read_at(&mut self, file: FileNumber, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(file)?;
        uninterrupted(|| file.read_at(buffer, offset))
    }

    fn append(&mut self, file: FileNumber, data: &[u8]) -> io::Result<usize> {
        let file = self.file(file)?;
        uninterrupted(|| Ok(rustix::io::write(&*file, data)?))
    }

    fn truncate(&mut self, file: FileNumber, length: u64) -> io::Result<()> {
        let file = self.file(file)?;
        uninterrupted(|| file.set_len(length))
    }

    fn sync(&mut self, file: FileNumber) -> io::Result<()> {
        // Not repeated after an error: the kernel reports each failed write once, and a second call
        // would succeed without the data.
        self.file(file)?.sync_data()
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = uninterrupted(|| Ok(rustix::fs::open(dir, flags, Mode::empty())?))?;
        match rustix::fs::fsync(&dir) {
            // A file system that cannot sync directories: there is nothing to wait for.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            synced => Ok(synced?),
        }
    }

    fn lock(&mut self, file: FileNumber) -> io::Result<()> {
        let file = self.file(file)?;
        uninterrupted(|| Ok(rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive)?))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match rustix::fs::unlink(path) {
            // Linux answers EISDIR for a directory, and other systems EPERM.
            Err(Errno::ISDIR | Errno::PERM) if fs::symlink_metadata(path)?.is_dir() => {
                Ok(rustix::fs::rmdir(path)?)
            }
            removed => Ok(removed?),
        }
    }

    fn create_dir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().mode(mode & 0o7777).create(path)
    }

    fn list_open(&mut self, dir: FileNumber, max: usize) -> io::Result<Vec<(DirEntry, Metadata)>> {
        let dir = self.file(dir)?;
        beneath::list(&dir, max)
    }

    fn list(&mut self, dir: &Path, max: usize) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)?.take(max) {
            let entry = entry?;
            entries.push(DirEntry { name: entry.file_name(), kind: kind_of(entry.file_type()?) });
        }
        Ok(entries)
    }
}

fn metadata_of(found: &fs::Metadata) -> Metadata {
    let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let modified = match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(whole),
        false => SystemTime::UNIX_EPOCH.checked_add(whole),
    };
    let part = Duration::from_nanos(nanoseconds.unsigned_abs());
    Metadata {
        kind: kind_of(found.file_type()),
        length: found.len(),
        modified: modified.and_then(|time| time.checked_add(part)).unwrap_or(SystemTime::UNIX_EPOCH),
        mode: found.permissions().mode() & 0o7777,
        device: found.dev(),
        inode: found.ino(),
    }
}

fn kind_of(kind: fs::FileType) -> FileKind {
    if kind.is_file() {
        FileKind::Regular
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    }
}

/// Repeats a call that a signal has interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
