//! The calls of a job on the disk of its host.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::net::files::{Access, Create, DirEntry, Disk, FileNumber, Metadata, OpenFile};
use crate::net::nanoseconds;
use crate::sim::driver::system_time;
use crate::sim::network::coverage::FaultKind;
use crate::sim::network::errno::Errno;
use crate::sim::network::rule::{CallKind, Verdict};
use crate::sim::network::trace::{About, RecordKind, Text};
use crate::sim::world::World;
use crate::sim::world::disk::DiskState;
use crate::sim::world::disk::contents::Contents;
use crate::sim::world::disk::tree::{Node, What};

/// An open file of a process.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    pub(super) node: u64,
    access: Access,
}

/// A disk, during one step of a job.
pub(super) struct SimDisk<'a> {
    world: &'a mut World,
    process: u32,
    /// The duration of the calls, in nanoseconds.
    pub(super) took: u64,
    /// The file, and the begin and end of what was appended.
    pub(super) append: Option<(u64, usize, usize)>,
}

impl SimDisk<'_> {
    pub(super) fn new(world: &mut World, process: u32) -> SimDisk<'_> {
        SimDisk { world, process, took: 0, append: None }
    }

    fn host(&self) -> u32 {
        self.world.process(self.process).host
    }

    fn disk(&mut self) -> &mut DiskState {
        let host = self.host();
        &mut self.world.host_mut(host).disk
    }

    fn now(&self) -> i64 {
        let host = self.world.host(self.host());
        (host.clock.monotonic(self.world.now) as i64).saturating_add(host.clock.stepped)
    }

    /// Makes a call: asks the rules, lets time pass, and records the result.
    fn call<T>(
        &mut self,
        kind: CallKind,
        size: usize,
        value: impl Fn(&T) -> i64,
        act: impl FnOnce(&mut Self, usize) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let host = self.host();
        let latency = self.disk().latency();
        let took = nanoseconds(self.world.random.disk.exponential(latency)).max(1);
        if took > SLOW {
            self.world.fault(FaultKind::SlowDisk, host);
        }
        self.took = self.took.saturating_add(took);
        let (verdict, delay) = self.world.before_file(self.process, kind, size);
        self.took = self.took.saturating_add(delay);
        let result = match verdict {
            Verdict::Fail(errno) => Err(errno),
            Verdict::Drop => Err(Errno::EAGAIN),
            Verdict::Short(limit) => act(self, limit.max(1)),
            Verdict::Pass | Verdict::Delay(_) => act(self, usize::MAX),
        };
        let noted = match &result {
            Ok(done) => value(done),
            Err(errno) => -i64::from(errno.raw()),
        };
        self.world.note_call(self.process, About::NOTHING, kind, noted);
        match result {
            Err(Errno::EROFS) if self.disk().is_read_only() => {
                self.world.fault(FaultKind::ReadOnlyDisk, host)
            }
            Err(Errno::ENOSPC) if self.disk().capacity().is_some() => {
                self.world.fault(FaultKind::FullDisk, host);
            }
            _ => {}
        }
        Ok(result?)
    }

    fn note_path(&mut self, path: &Path) {
        let host = self.host();
        let text = Text::Words(path.display().to_string());
        self.world.note_text(host, About::NOTHING, RecordKind::Note, text);
    }

    fn writable(&mut self) -> Result<(), Errno> {
        if self.disk().is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    fn opened(&self, file: FileNumber) -> Result<Opened, Errno> {
        self.world.process(self.process).files.open.get(&file.0).copied().ok_or(Errno::EBADF)
    }

    fn node(&mut self, node: u64) -> Result<&mut Node, Errno> {
        self.disk().tree.node_mut(node).ok_or(Errno::EBADF)
    }

    fn contents(&mut self, node: u64) -> Result<&mut Contents, Errno> {
        match &mut self.node(node)?.what {
            What::File(contents) => Ok(contents),
            What::Dir(_) => Err(Errno::EISDIR),
            What::Link(_) | What::Fifo => Err(Errno::EINVAL),
        }
    }

    fn metadata_of(&mut self, node: u64) -> Result<Metadata, Errno> {
        let device = u64::from(self.host()) + 1;
        let node_state = self.node(node)?;
        Ok(Metadata {
            kind: node_state.kind(),
            length: node_state.length(),
            modified: system_time(node_state.modified),
            mode: node_state.mode,
            device,
            inode: node,
        })
    }

    /// The path of a file beneath `root` without its symbolic links.
    fn real_path(&mut self, root: &Path, path: &Path) -> Result<PathBuf, Errno> {
        let mut names: VecDeque<OsString> =
            path.components().map(|part| part.as_os_str().to_owned()).collect();
        let mut real = Vec::new();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            match Path::new(&name).components().next() {
                Some(Component::ParentDir) => _ = real.pop().ok_or(Errno::EXDEV)?,
                Some(Component::Normal(_)) => real.push(name),
                Some(Component::CurDir) | None => {}
                Some(_) => return Err(Errno::EXDEV),
            }
            let here: PathBuf = root.iter().chain(real.iter().map(OsString::as_os_str)).collect();
            let Some(node) = self.disk().tree.find(&here, false)?.node else { continue };
            if let What::Link(target) = &self.node(node)?.what {
                links += 1;
                if links > 40 {
                    return Err(Errno::ELOOP);
                }
                let target: Vec<OsString> =
                    target.components().map(|part| part.as_os_str().to_owned()).collect();
                // The root itself may be a link.
                if real.pop().is_some() {
                    target.into_iter().rev().for_each(|name| names.push_front(name));
                }
            }
        }
        Ok(root.iter().chain(real.iter().map(OsString::as_os_str)).collect())
    }

    fn open_node(&mut self, path: &Path, how: OpenFile) -> Result<u64, Errno> {
        let OpenFile { access, create, follow } = how;
        let process = self.world.process(self.process);
        if process.open + process.files.open.len() >= process.limit {
            return Err(Errno::EMFILE);
        }
        let follow = follow && !matches!(create, Create::New(_));
        let place = self.disk().tree.find(path, follow)?;
        let mode = match (place.node, create) {
            (Some(_), Create::New(_)) => return Err(Errno::EEXIST),
            (Some(node), _) => {
                let creates = create != Create::Never;
                match &self.node(node)?.what {
                    What::Link(_) => return Err(Errno::ELOOP),
                    What::Dir(_) if creates || access == Access::Append => return Err(Errno::EISDIR),
                    What::Dir(_) | What::Fifo => {}
                    What::File(_) if access == Access::Append => self.writable()?,
                    What::File(_) => {}
                }
                return Ok(node);
            }
            (None, Create::Never) => return Err(Errno::ENOENT),
            (None, Create::IfMissing(mode) | Create::New(mode)) => mode,
        };
        self.writable()?;
        let now = self.now();
        let file = What::File(Contents::default());
        Ok(self.disk().tree.create(&place, file, mode & !UMASK & 0o7777, now))
    }
}

impl Disk for SimDisk<'_> {
    fn open(&mut self, path: &Path, how: OpenFile) -> io::Result<FileNumber> {
        self.note_path(path);
        self.call(
            CallKind::FileOpen,
            0,
            |_| 0,
            |disk, _| {
                let node = disk.open_node(path, how)?;
                disk.node(node)?.opens += 1;
                let state = disk.disk();
                state.opened += 1;
                let number = state.opened;
                let opened = Opened { node, access: how.access };
                disk.world.process_mut(disk.process).files.open.insert(number, opened);
                Ok(FileNumber(number))
            },
        )
    }

    fn open_beneath(&mut self, root: &Path, path: &Path) -> io::Result<FileNumber> {
        let real = self.real_path(root, path)?;
        self.open(&real, OpenFile { access: Access::Read, create: Create::Never, follow: real == root })
    }

    fn close(&mut self, file: FileNumber) {
        if let Some(opened) = self.world.process_mut(self.process).files.open.remove(&file.0) {
            self.disk().forget(file.0, opened.node);
        }
    }

    fn metadata(&mut self, file: FileNumber) -> io::Result<Metadata> {
        self.call(
            CallKind::FileStatus,
            0,
            |_| 0,
            |disk, _| {
                let opened = disk.opened(file)?;
                disk.metadata_of(opened.node)
            },
        )
    }

    fn metadata_at(&mut self, path: &Path, follow: bool) -> io::Result<Metadata> {
        self.call(
            CallKind::FileStatus,
            0,
            |_| 0,
            |disk, _| {
                let node = disk.disk().tree.existing(path, follow)?;
                disk.metadata_of(node)
            },
        )
    }

    fn read_at(&mut self, file: FileNumber, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len();
        self.call(
            CallKind::FileRead,
            wanted,
            |count| *count as i64,
            |disk, limit| {
                let opened = disk.opened(file)?;
                let data = disk.contents(opened.node)?.data();
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
                let rest = data.get(from..).unwrap_or_default();
                let count = rest.len().min(buffer.len()).min(limit);
                for (place, byte) in buffer.iter_mut().zip(&rest[..count]) {
                    *place = *byte;
                }
                if count == limit && count < rest.len().min(wanted) {
                    let host = disk.host();
                    disk.world.fault(FaultKind::ShortRead, host);
                }
                Ok(count)
            },
        )
    }

    fn append(&mut self, file: FileNumber, data: &[u8]) -> io::Result<usize> {
        self.call(
            CallKind::FileWrite,
            data.len(),
            |count| *count as i64,
            |disk, limit| {
                let opened = disk.opened(file)?;
                if opened.access != Access::Append {
                    return Err(Errno::EBADF);
                }
                disk.writable()?;
                let (now, host) = (disk.now(), disk.host());
                let mut count = data.len().min(limit);
                if count < data.len() {
                    disk.world.fault(FaultKind::ShortWrite, host);
                }
                if let Some(capacity) = disk.disk().capacity() {
                    let free = capacity.saturating_sub(disk.disk().tree.used());
                    let free = usize::try_from(free).unwrap_or(usize::MAX);
                    if free == 0 && count > 0 {
                        return Err(Errno::ENOSPC);
                    }
                    if free < count {
                        disk.world.fault(FaultKind::FullDisk, host);
                    }
                    count = count.min(free);
                }
                disk.node(opened.node)?.modified = now;
                let contents = disk.contents(opened.node)?;
                let from = contents.data().len();
                contents.append(data.get(..count).unwrap_or_default());
                disk.append = Some((opened.node, from, from + count));
                Ok(count)
            },
        )
    }

    fn truncate(&mut self, file: FileNumber, length: u64) -> io::Result<()> {
        self.call(
            CallKind::Truncate,
            0,
            |()| 0,
            |disk, _| {
                let opened = disk.opened(file)?;
                if opened.access != Access::Append {
                    return Err(Errno::EINVAL);
                }
                disk.writable()?;
                let length = usize::try_from(length).ok().filter(|length| *length <= MAX_LENGTH);
                let length = length.ok_or(Errno::EFBIG)?;
                let now = disk.now();
                disk.node(opened.node)?.modified = now;
                disk.contents(opened.node)?.truncate(length);
                Ok(())
            },
        )
    }

    fn sync(&mut self, file: FileNumber) -> io::Result<()> {
        let mut reached = false;
        let synced = self.call(
            CallKind::FileSync,
            0,
            |()| 0,
            |disk, _| {
                reached = true;
                let opened = disk.opened(file)?;
                disk.contents(opened.node)?.sync();
                Ok(())
            },
        );
        if synced.is_err()
            && !reached
            && let Ok(opened) = self.opened(file)
            && let Ok(contents) = self.contents(opened.node)
        {
            contents.fail_sync();
        }
        synced
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.call(
            CallKind::SyncDir,
            0,
            |()| 0,
            |disk, _| {
                let tree = &mut disk.disk().tree;
                let node = tree.existing(dir, true)?;
                match tree.node(node).map(|node| &node.what) {
                    Some(What::Dir(_)) => tree.sync_dir(node),
                    _ => return Err(Errno::ENOTDIR),
                }
                Ok(())
            },
        )
    }

    fn lock(&mut self, file: FileNumber) -> io::Result<()> {
        self.call(
            CallKind::Lock,
            0,
            |()| 0,
            |disk, _| {
                let opened = disk.opened(file)?;
                let node = disk.node(opened.node)?;
                if node.locked.is_some_and(|holder| holder != file.0) {
                    return Err(Errno::EAGAIN);
                }
                node.locked = Some(file.0);
                Ok(())
            },
        )
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.note_path(to);
        self.call(
            CallKind::Rename,
            0,
            |()| 0,
            |disk, _| {
                disk.writable()?;
                let now = disk.now();
                disk.disk().tree.rename(from, to, now)
            },
        )
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.note_path(path);
        self.call(
            CallKind::Unlink,
            0,
            |()| 0,
            |disk, _| {
                disk.writable()?;
                let now = disk.now();
                disk.disk().tree.remove(path, now)
            },
        )
    }

    fn create_dir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        self.call(
            CallKind::CreateDir,
            0,
            |()| 0,
            |disk, _| {
                let place = disk.disk().tree.find(path, false)?;
                if place.node.is_some() {
                    return Err(Errno::EEXIST);
                }
                disk.writable()?;
                let now = disk.now();
                disk.disk().tree.create(&place, What::Dir(Default::default()), mode & !UMASK & 0o7777, now);
                Ok(())
            },
        )
    }

    fn list_open(&mut self, dir: FileNumber, max: usize) -> io::Result<Vec<(DirEntry, Metadata)>> {
        self.call(
            CallKind::ListDir,
            0,
            |entries: &Vec<(DirEntry, Metadata)>| entries.len() as i64,
            |disk, _| {
                let opened = disk.opened(dir)?;
                let entries = disk.disk().tree.entries(opened.node)?;
                let entries = entries.into_iter().take(max).map(|(name, node)| {
                    let metadata = disk.metadata_of(node)?;
                    Ok((DirEntry { name, kind: metadata.kind }, metadata))
                });
                entries.collect()
            },
        )
    }

    fn list(&mut self, dir: &Path, max: usize) -> io::Result<Vec<DirEntry>> {
        self.call(
            CallKind::ListDir,
            0,
            |entries: &Vec<DirEntry>| entries.len() as i64,
            |disk, _| {
                let entries = disk.disk().tree.list(dir)?.into_iter().take(max);
                Ok(entries.map(|(name, kind)| DirEntry { name, kind }).collect())
            },
        )
    }
}

impl DiskState {
    /// Closes an open file.
    pub(super) fn forget(&mut self, number: u64, node: u64) {
        if let Some(node) = self.tree.node_mut(node) {
            node.opens = node.opens.saturating_sub(1);
            if node.locked == Some(number) {
                node.locked = None;
            }
        }
    }
}

impl World {
    /// Counts a call of a job, and asks the rules about it. Returns their verdict, and the delay in
    /// nanoseconds. Unlike a call of the loop, a slow one delays its job only.
    fn before_file(&mut self, process: u32, kind: CallKind, size: usize) -> (Verdict, u64) {
        let ahead = std::mem::take(&mut self.process_mut(process).ahead);
        let verdict = self.before(process, kind, size);
        let delay = std::mem::replace(&mut self.process_mut(process).ahead, ahead);
        (verdict, delay)
    }
}

/// The umask of all processes.
const UMASK: u32 = 0o022;

/// A call that takes longer counts as a fault.
const SLOW: u64 = Duration::from_millis(20).as_nanos() as u64;

/// A length that a file of the simulation may be extended to.
const MAX_LENGTH: usize = 1 << 30;
