//! The control interface of a host's disk: its files, its space, its speed.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::sim::Host;
use crate::sim::network::Network;
use crate::sim::world::World;
use crate::sim::world::disk::{Contents, DiskState, Strike, What};

/// The disk of a simulated host, as a test sees and changes it. Programs on the host use
/// [`files`](crate::files).
///
/// A disk outlives the processes of its host. What happens to data:
///
/// - [`kill`](crate::sim::Simulation::kill): all completed writes are kept. A write that is in
///   progress may be left in part.
/// - [`crash`](crate::sim::Simulation::crash): data that was not synced is kept, lost, torn at any
///   byte, or torn at sectors of 512 bytes, of which any may be lost. Creations, renames and
///   removals that were not made durable by a sync of their directory are undone, the last ones
///   first. The seed decides.
/// - A sync that a [rule](crate::sim::Rule) fails drops the unsynced data: as in Linux, the next
///   sync succeeds, and the data is lost in a crash.
///
/// The test's own changes through this handle are durable at once, and take no time. UNIX sockets
/// are not on the disk. Permissions are recorded and not checked.
///
/// ```
/// use std::time::Duration;
/// use twistor::files;
/// use twistor::sim::Simulation;
///
/// let mut simulation = Simulation::new(1);
/// let host = simulation.host("server");
/// let disk = simulation.disk(host);
/// disk.write("/etc/motd", "welcome");
/// let reactor = simulation.reactor(host);
/// files::read("/etc/motd").start(reactor, |reactor, motd| {
///     assert_eq!(motd.unwrap(), b"welcome");
///     // Without a callback's result, nothing of it is durable.
///     files::write("/etc/motd", "new").start(reactor, |_, _| {}).unwrap();
/// })?;
/// simulation.run_for(Duration::from_secs(1))?;
/// simulation.crash(host);
/// assert_eq!(disk.read("/etc/motd").unwrap(), b"new");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Disk {
    world: Rc<RefCell<World>>,
    host: Host,
}

impl Network {
    /// Returns a handle to the disk of a host.
    pub fn disk(&self, host: Host) -> Disk {
        Disk { world: Rc::clone(&self.world), host }
    }

    /// Changes the injected faults of a disk.
    pub(in crate::sim) fn strike_disk(&self, host: Host, change: impl FnOnce(&mut Strike)) {
        change(&mut self.world.borrow_mut().host_mut(host.0).disk.strike);
    }
}

impl Disk {
    fn change<R>(&self, change: impl FnOnce(&mut DiskState, i64) -> R) -> R {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        let host = world.host_mut(self.host.0);
        let now = (host.clock.monotonic(now) as i64).saturating_add(host.clock.stepped);
        let changed = change(&mut host.disk, now);
        host.disk.tree.sync_names();
        changed
    }

    /// Replaces a file, or creates it with its directories. Returns `false` if the path is one of
    /// a directory, or leads through a file.
    pub fn write(&self, path: impl AsRef<Path>, data: impl AsRef<[u8]>) -> bool {
        let contents = Contents::durable(data.as_ref());
        self.put(path.as_ref(), What::File(contents))
    }

    /// Creates a symbolic link with its directories, or replaces a file by it.
    pub fn symlink(&self, target: impl Into<PathBuf>, path: impl AsRef<Path>) -> bool {
        self.put(path.as_ref(), What::Link(target.into()))
    }

    /// Creates a FIFO with its directories. Programs refuse to read it.
    pub fn create_fifo(&self, path: impl AsRef<Path>) -> bool {
        self.put(path.as_ref(), What::Fifo)
    }

    /// Creates a directory and its parents. Returns `false` if a file is in the way.
    pub fn create_dir(&self, path: impl AsRef<Path>) -> bool {
        self.change(|disk, now| create_dirs(disk, path.as_ref(), now))
    }

    fn put(&self, path: &Path, what: What) -> bool {
        self.change(|disk, now| {
            if !path.parent().is_none_or(|parent| create_dirs(disk, parent, now)) {
                return false;
            }
            let Ok(place) = disk.tree.find(path, false) else { return false };
            match (place.node, what) {
                (None, what) => {
                    disk.tree.create(&place, what, 0o644, now);
                    true
                }
                // The same file with other contents, so that a watch sees a change in place.
                (Some(node), What::File(contents)) => {
                    let Some(node) = disk.tree.node_mut(node) else { return false };
                    let is_file = matches!(node.what, What::File(_));
                    if is_file {
                        (node.what, node.modified) = (What::File(contents), now);
                    }
                    is_file
                }
                (Some(_), what) => {
                    if disk.tree.remove(path, now).is_err() {
                        return false;
                    }
                    disk.tree.create(&place, what, 0o777, now);
                    true
                }
            }
        })
    }

    /// Returns the contents of a file, as processes see them. Links are followed.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.contents(path.as_ref(), |contents| contents.data().to_vec())
    }

    /// Returns the contents that a crash would leave for certain.
    pub fn read_durable(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.contents(path.as_ref(), |contents| contents.durable_data().to_vec())
    }

    fn contents(&self, path: &Path, read: impl FnOnce(&Contents) -> Vec<u8>) -> Option<Vec<u8>> {
        let world = self.world.borrow();
        let tree = &world.host(self.host.0).disk.tree;
        match &tree.node(tree.existing(path, true).ok()?)?.what {
            What::File(contents) => Some(read(contents)),
            _ => None,
        }
    }

    /// Removes a file, a link or an empty directory. Returns whether there was one.
    pub fn remove(&self, path: impl AsRef<Path>) -> bool {
        self.change(|disk, now| disk.tree.remove(path.as_ref(), now).is_ok())
    }

    /// Renames a file or directory, and replaces a file with the new name. Returns `false` if this
    /// is impossible.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> bool {
        self.change(|disk, now| disk.tree.rename(from.as_ref(), to.as_ref(), now).is_ok())
    }

    /// Returns the paths of all files that are no directories, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world.borrow().host(self.host.0).disk.tree.paths()
    }

    /// Returns the bytes of all files.
    pub fn used(&self) -> u64 {
        self.world.borrow().host(self.host.0).disk.tree.used()
    }

    /// Sets the limit on the bytes of all files. A write beyond it is done in part, and the next
    /// one fails with ENOSPC. Default: `None`, no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world.borrow_mut().host_mut(self.host.0).disk.capacity = bytes;
    }

    /// Sets whether changes of programs fail with EROFS, as after an error of a file system.
    pub fn set_read_only(&self, on: bool) {
        self.world.borrow_mut().host_mut(self.host.0).disk.read_only = on;
    }

    /// Sets the mean duration of a call. Durations are distributed exponentially. A slow call
    /// delays its operation, and never the loop. Default: 100 µs.
    pub fn set_latency(&self, mean: Duration) {
        self.world.borrow_mut().host_mut(self.host.0).disk.latency = mean;
    }
}

fn create_dirs(disk: &mut DiskState, path: &Path, now: i64) -> bool {
    if path.as_os_str().is_empty() {
        return true;
    }
    if let Some(parent) = path.parent()
        && !create_dirs(disk, parent, now)
    {
        return false;
    }
    let Ok(place) = disk.tree.find(path, true) else { return false };
    match place.node.and_then(|node| disk.tree.node(node)).map(|node| &node.what) {
        Some(What::Dir(_)) => true,
        Some(_) => false,
        None => {
            disk.tree.create(&place, What::Dir(Default::default()), 0o755, now);
            true
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("host", &self.host).finish_non_exhaustive()
    }
}
