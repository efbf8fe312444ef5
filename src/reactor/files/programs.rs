//! The programs of operations on paths.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::error::FileFault;
use super::job::{Outcome, Program, Reply};
use crate::net::FileKind;
use crate::net::files::{Access, Create, Disk, FileNumber, OpenFile};

/// Opens a file and checks that it is a regular one.
pub(super) struct Open {
    path: PathBuf,
    /// The directory that the path must not leave.
    root: Option<PathBuf>,
    how: OpenFile,
    /// Whether the name of a new file is made durable.
    durable_name: bool,
    state: OpenState,
}

enum OpenState {
    Open,
    Check(FileNumber),
    SyncDir(FileNumber, crate::net::Metadata),
}

impl Open {
    pub(super) fn new(path: PathBuf, how: OpenFile) -> Open {
        Open { path, root: None, how, durable_name: how.create != Create::Never, state: OpenState::Open }
    }

    /// Opens a file for reading that is beneath a directory.
    pub(super) fn beneath(root: PathBuf, path: PathBuf) -> Open {
        let how = OpenFile { access: Access::Read, create: Create::Never, follow: true };
        Open { root: Some(root), ..Open::new(path, how) }
    }
}

impl Program for Open {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        match self.state {
            OpenState::Open => match match &self.root {
                Some(root) => disk.open_beneath(root, &self.path),
                None => disk.open(&self.path, self.how),
            } {
                Ok(file) => self.state = OpenState::Check(file),
                Err(error) => return Some(Err(open_fault(self.how, error))),
            },
            OpenState::Check(file) => match disk.metadata(file).map_err(FileFault::system("fstat")) {
                Ok(metadata) if metadata.kind != FileKind::Regular => {
                    disk.close(file);
                    return Some(Err(FileFault::NotRegular(metadata.kind)));
                }
                // An empty file may be new.
                Ok(metadata) if self.durable_name && metadata.length == 0 => {
                    self.state = OpenState::SyncDir(file, metadata);
                }
                Ok(metadata) => return Some(Ok(Reply::Opened(file, metadata))),
                Err(fault) => {
                    disk.close(file);
                    return Some(Err(fault));
                }
            },
            OpenState::SyncDir(file, metadata) => match disk.sync_dir(parent(&self.path)) {
                Ok(()) => return Some(Ok(Reply::Opened(file, metadata))),
                Err(error) => {
                    disk.close(file);
                    return Some(Err(FileFault::System { call: "fsync", source: error }));
                }
            },
        }
        None
    }
}

/// ELOOP is the answer to a link that is not followed, and to a chain of links without end.
fn open_fault(how: OpenFile, error: io::Error) -> FileFault {
    match Errno::from_io_error(&error) {
        // FreeBSD's answer is EMLINK.
        Some(Errno::LOOP | Errno::MLINK) if !how.follow => FileFault::Symlink,
        // Opening for writing fails with EISDIR already.
        Some(Errno::ISDIR) => FileFault::NotRegular(FileKind::Directory),
        // A FIFO without a reader, or a device without a driver, or a socket.
        Some(Errno::NXIO) => FileFault::NotRegular(FileKind::Other),
        _ => FileFault::System { call: "open", source: error },
    }
}

/// Reads a file as a whole, or a range of it.
pub(super) struct Read {
    open: Open,
    file: Option<FileNumber>,
    /// Whether the file is closed at the end.
    closes: bool,
    range: Option<(u64, usize)>,
    limit: usize,
    /// The length that the metadata shows. Zero for files of /proc.
    length: u64,
    data: Vec<u8>,
}

impl Read {
    pub(super) fn new(path: PathBuf, follow: bool, range: Option<(u64, usize)>, limit: usize) -> Read {
        let how = OpenFile { access: Access::Read, create: Create::Never, follow };
        let (open, data) = (Open::new(path, how), Vec::new());
        Read { open, file: None, closes: true, range, limit, length: 0, data }
    }

    /// Reads a range of an open file.
    pub(super) fn of(file: FileNumber, offset: u64, length: usize) -> Read {
        let read = Read::new(PathBuf::new(), true, Some((offset, length)), length);
        Read { file: Some(file), closes: false, length: u64::MAX, ..read }
    }

    fn read(&mut self, disk: &mut dyn Disk, file: FileNumber) -> Option<Outcome> {
        let too_long = FileFault::TooLong { limit: self.limit as u64 };
        let (offset, max) = match self.range {
            Some((offset, length)) => (offset, length),
            None if self.length > self.limit as u64 => return Some(Err(too_long)),
            // One byte more, which shows that the file has grown.
            None => (0, self.limit.saturating_add(1)),
        };
        let from = self.data.len();
        // The length is known in most cases: then two calls read it to the end.
        let known = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let ahead = if known > from { known.saturating_add(1) - from } else { CHUNK };
        let room = ahead.min(max - from).min(MAX_CHUNK);
        if room == 0 {
            return Some(match self.range {
                Some(_) => Ok(Reply::Data(std::mem::take(&mut self.data))),
                None => Err(too_long),
            });
        }
        self.data.resize(from + room, 0);
        let into = self.data.get_mut(from..).unwrap_or_default();
        let read = disk.read_at(file, offset.saturating_add(from as u64), into);
        let count = *read.as_ref().unwrap_or(&0);
        self.data.truncate(from + count.min(room));
        match read {
            Ok(0) => Some(Ok(Reply::Data(std::mem::take(&mut self.data)))),
            Ok(_) => None,
            Err(error) => Some(Err(FileFault::System { call: "pread", source: error })),
        }
    }
}

impl Program for Read {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        let Some(file) = self.file else {
            return match self.open.next(disk)? {
                Ok(Reply::Opened(file, metadata)) => {
                    (self.file, self.length) = (Some(file), metadata.length);
                    None
                }
                outcome => Some(outcome),
            };
        };
        let outcome = self.read(disk, file)?;
        if self.closes {
            disk.close(file);
        }
        Some(outcome)
    }
}

/// Replaces a file as a whole: a temporary file is written, synced and renamed.
pub(super) struct Write {
    path: PathBuf,
    draft: PathBuf,
    data: Vec<u8>,
    mode: u32,
    /// Whether a symbolic link at the path is replaced.
    replaces_link: bool,
    state: WriteState,
}

enum WriteState {
    Check,
    Create,
    Write(FileNumber, usize),
    Sync(FileNumber),
    Rename,
    SyncDir,
    /// The draft is removed after this fault.
    Discard(Option<FileFault>),
}

impl Write {
    pub(super) fn new(path: PathBuf, data: Vec<u8>, mode: u32, replaces_link: bool, random: u64) -> Write {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{random:016x}.tmp"));
        let draft = path.with_file_name(name);
        let state = if replaces_link { WriteState::Create } else { WriteState::Check };
        Write { path, draft, data, mode, replaces_link, state }
    }

    fn discard(&mut self, disk: &mut dyn Disk, file: FileNumber, fault: FileFault) {
        disk.close(file);
        self.state = WriteState::Discard(Some(fault));
    }
}

impl Program for Write {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        match &mut self.state {
            WriteState::Check => {
                if let Ok(found) = disk.metadata_at(&self.path, false)
                    && found.kind == FileKind::Symlink
                    && !self.replaces_link
                {
                    return Some(Err(FileFault::Symlink));
                }
                self.state = WriteState::Create;
            }
            WriteState::Create => {
                let create = Create::New(self.mode);
                let how = OpenFile { access: Access::Append, create, follow: false };
                match disk.open(&self.draft, how).map_err(FileFault::system("open")) {
                    Ok(file) => self.state = WriteState::Write(file, 0),
                    Err(fault) => return Some(Err(fault)),
                }
            }
            WriteState::Write(file, written) => {
                let file = *file;
                let rest = self.data.get(*written..).unwrap_or_default();
                if rest.is_empty() {
                    self.state = WriteState::Sync(file);
                    return None;
                }
                match disk.append(file, rest).and_then(not_zero) {
                    Ok(count) => *written += count,
                    Err(error) => {
                        self.discard(disk, file, FileFault::System { call: "write", source: error })
                    }
                }
            }
            WriteState::Sync(file) => {
                let file = *file;
                match disk.sync(file).map_err(FileFault::system("fdatasync")) {
                    Ok(()) => {
                        disk.close(file);
                        self.state = WriteState::Rename;
                    }
                    Err(fault) => self.discard(disk, file, fault),
                }
            }
            WriteState::Rename => match disk.rename(&self.draft, &self.path) {
                Ok(()) => self.state = WriteState::SyncDir,
                Err(error) => {
                    let fault = FileFault::System { call: "rename", source: error };
                    self.state = WriteState::Discard(Some(fault));
                }
            },
            WriteState::SyncDir => {
                let synced = disk.sync_dir(parent(&self.path)).map_err(FileFault::system("fsync"));
                return Some(synced.map(|()| Reply::Done));
            }
            WriteState::Discard(fault) => {
                let fault = fault.take().unwrap_or(FileFault::Stopped);
                // A leftover is harmless, and the first fault says more.
                let _ = disk.remove(&self.draft);
                return Some(Err(fault));
            }
        }
        None
    }
}

/// A write of nothing would be repeated forever.
pub(super) fn not_zero(written: usize) -> io::Result<usize> {
    match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Changes names, and makes the change durable.
pub(super) struct Rename<C> {
    /// The change, and its name as a system call.
    change: C,
    call: &'static str,
    /// Directories to sync, the last one first.
    dirs: Vec<PathBuf>,
    changed: bool,
}

impl<C: FnMut(&mut dyn Disk) -> io::Result<()> + Send> Rename<C> {
    pub(super) fn new<const N: usize>(call: &'static str, dirs: [PathBuf; N], change: C) -> Rename<C> {
        let mut dirs = Vec::from(dirs);
        dirs.dedup();
        Rename { change, call, dirs, changed: false }
    }
}

impl<C: FnMut(&mut dyn Disk) -> io::Result<()> + Send> Program for Rename<C> {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        let done = match self.changed {
            false => {
                self.changed = true;
                (self.change)(disk).map_err(FileFault::system(self.call))
            }
            true => match self.dirs.pop() {
                Some(dir) => disk.sync_dir(&dir).map_err(FileFault::system("fsync")),
                None => return Some(Ok(Reply::Done)),
            },
        };
        done.err().map(Err)
    }
}

/// Lists a directory.
pub(super) fn list(path: PathBuf, max: usize) -> impl Program {
    move |disk: &mut dyn Disk| {
        let listed = disk.list(&path, max.saturating_add(1));
        Some(match listed.map_err(FileFault::system("getdents")) {
            Ok(entries) if entries.len() > max => Err(FileFault::TooManyEntries { limit: max }),
            Ok(mut entries) => {
                entries.sort();
                Ok(Reply::Entries(entries))
            }
            Err(fault) => Err(fault),
        })
    }
}

/// Lists a directory beneath another one.
pub(super) struct ListBeneath {
    root: PathBuf,
    path: PathBuf,
    max: usize,
    dir: Option<FileNumber>,
}

impl ListBeneath {
    pub(super) fn new(root: PathBuf, path: PathBuf, max: usize) -> ListBeneath {
        ListBeneath { root, path, max, dir: None }
    }
}

impl Program for ListBeneath {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        let Some(dir) = self.dir else {
            match disk.open_beneath(&self.root, &self.path) {
                Ok(dir) => self.dir = Some(dir),
                Err(source) => return Some(Err(FileFault::System { call: "open", source })),
            }
            return None;
        };
        let listed = disk.list_open(dir, self.max.saturating_add(1));
        disk.close(dir);
        Some(match listed.map_err(FileFault::system("getdents")) {
            Ok(entries) if entries.len() > self.max => Err(FileFault::TooManyEntries { limit: self.max }),
            Ok(mut entries) => {
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                Ok(Reply::Listed(entries))
            }
            Err(fault) => Err(fault),
        })
    }
}

/// Tries to lock a file, which is created if it does not exist.
pub(super) struct Lock {
    open: Open,
    file: Option<FileNumber>,
    locked: Option<crate::net::Metadata>,
    tries: u32,
}

impl Lock {
    pub(super) fn new(path: PathBuf, follow: bool, mode: u32) -> Lock {
        let how = OpenFile { access: Access::Append, create: Create::IfMissing(mode), follow };
        let open = Open { durable_name: false, ..Open::new(path, how) };
        Lock { open, file: None, locked: None, tries: 0 }
    }
}

impl Program for Lock {
    fn next(&mut self, disk: &mut dyn Disk) -> Option<Outcome> {
        let Some(file) = self.file else {
            return match self.open.next(disk)? {
                Ok(Reply::Opened(file, _)) => {
                    self.file = Some(file);
                    None
                }
                outcome => Some(outcome),
            };
        };
        let Some(locked) = self.locked else {
            let locked = disk.lock(file).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => FileFault::Locked,
                _ => FileFault::System { call: "flock", source: error },
            });
            let metadata = locked.and_then(|()| disk.metadata(file).map_err(FileFault::system("fstat")));
            return match metadata {
                Ok(metadata) => {
                    self.locked = Some(metadata);
                    None
                }
                Err(fault) => {
                    disk.close(file);
                    Some(Err(fault))
                }
            };
        };
        // The previous holder may have removed the file, and another one may have created it anew.
        match disk.metadata_at(&self.open.path, self.open.how.follow) {
            Ok(found) if found.is_same_file(&locked) => Some(Ok(Reply::Opened(file, locked))),
            _ => {
                disk.close(file);
                (self.file, self.locked) = (None, None);
                self.open.state = OpenState::Open;
                self.tries += 1;
                (self.tries >= MAX_LOCK_TRIES).then_some(Err(FileFault::Locked))
            }
        }
    }
}

/// The directory of a path.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// The size of a read where the length is unknown.
const CHUNK: usize = 16 * 1024;

/// The max of one read, so that a wrong length does not reserve memory.
const MAX_CHUNK: usize = 1024 * 1024;

/// Each try fails only if the file was removed just then.
const MAX_LOCK_TRIES: u32 = 10;
