//! The files of a host by name: directories, links, and which names are durable.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::contents::{Contents, Loss};
use crate::net::FileKind;
use crate::sim::network::errno::Errno;
use crate::sim::random::Random;

/// All files of a host.
pub(in crate::sim) struct Tree {
    nodes: BTreeMap<u64, Node>,
    made: u64,
    /// Changes of names that are not durable, in order.
    unsynced: Vec<NameChange>,
}

/// A file of any kind.
pub(in crate::sim) struct Node {
    pub(in crate::sim) what: What,
    pub(in crate::sim) mode: u32,
    /// Calendar time in nanoseconds since the origin.
    pub(in crate::sim) modified: i64,
    /// The number of the open file that has the lock.
    pub(in crate::sim) locked: Option<u64>,
    /// The number of open files.
    pub(in crate::sim) opens: usize,
    named: bool,
}

pub(in crate::sim) enum What {
    File(Contents),
    Dir(Names),
    Link(PathBuf),
    Fifo,
}

#[derive(Default)]
pub(in crate::sim) struct Names {
    current: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
}

/// A change of one or two names, which is durable as a whole or not at all.
struct NameChange {
    removed: Option<(u64, OsString)>,
    added: Option<(u64, OsString, u64)>,
}

/// The place of a path.
pub(in crate::sim) struct Place {
    /// Directories from the root to that of the name.
    dirs: Vec<u64>,
    name: OsString,
    pub(in crate::sim) node: Option<u64>,
}

impl Place {
    fn dir(&self) -> u64 {
        self.dirs.last().copied().unwrap_or(ROOT)
    }
}

impl Tree {
    pub(in crate::sim) fn new() -> Tree {
        let mut tree = Tree { nodes: BTreeMap::new(), made: 0, unsynced: Vec::new() };
        tree.make(What::Dir(Names::default()), 0o755, 0, true);
        tree
    }

    fn make(&mut self, what: What, mode: u32, modified: i64, named: bool) -> u64 {
        self.made += 1;
        self.nodes.insert(self.made, Node { what, mode, modified, locked: None, opens: 0, named });
        self.made
    }

    pub(in crate::sim) fn node(&self, node: u64) -> Option<&Node> {
        self.nodes.get(&node)
    }

    pub(in crate::sim) fn node_mut(&mut self, node: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&node)
    }

    /// The bytes of all files that have a name or are open.
    pub(in crate::sim) fn used(&self) -> u64 {
        let used = self.nodes.values().filter(|node| node.named || node.opens > 0);
        used.map(Node::length).sum()
    }

    /// Finds the place of a path. Relative paths begin at the root.
    pub(in crate::sim) fn find(&self, path: &Path, follow: bool) -> Result<Place, Errno> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(Errno::ENOENT);
        }
        if bytes.contains(&0) {
            return Err(Errno::EINVAL);
        }
        let mut dirs = vec![ROOT];
        let mut rest: VecDeque<OsString> = parts(path).collect();
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == "/" {
                dirs.truncate(1);
                continue;
            }
            if part == ".." {
                if dirs.len() > 1 {
                    dirs.pop();
                }
                continue;
            }
            if part.len() > MAX_NAME {
                return Err(Errno::ENAMETOOLONG);
            }
            let dir = dirs.last().copied().unwrap_or(ROOT);
            let names = self.names(dir).ok_or(Errno::ENOTDIR)?;
            let last = rest.is_empty();
            let Some(node) = names.current.get(&part).copied() else {
                return if last { Ok(Place { dirs, name: part, node: None }) } else { Err(Errno::ENOENT) };
            };
            match self.nodes.get(&node).map(|found| &found.what) {
                Some(What::Link(target)) if follow || !last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                Some(What::Dir(_)) if !last => dirs.push(node),
                _ if last => return Ok(Place { dirs, name: part, node: Some(node) }),
                _ => return Err(Errno::ENOTDIR),
            }
        }
        // The root, or a path that ends with `..`.
        let node = dirs.last().copied();
        Ok(Place { dirs, name: OsString::new(), node })
    }

    /// Finds an existing file.
    pub(in crate::sim) fn existing(&self, path: &Path, follow: bool) -> Result<u64, Errno> {
        self.find(path, follow)?.node.ok_or(Errno::ENOENT)
    }

    fn names(&self, dir: u64) -> Option<&Names> {
        match self.nodes.get(&dir).map(|node| &node.what) {
            Some(What::Dir(names)) => Some(names),
            _ => None,
        }
    }

    fn names_mut(&mut self, dir: u64) -> Option<&mut Names> {
        match self.nodes.get_mut(&dir).map(|node| &mut node.what) {
            Some(What::Dir(names)) => Some(names),
            _ => None,
        }
    }

    /// Gives a new file its name.
    pub(in crate::sim) fn create(&mut self, place: &Place, what: What, mode: u32, now: i64) -> u64 {
        let node = self.make(what, mode, now, true);
        let added = Some((place.dir(), place.name.clone(), node));
        self.change(NameChange { removed: None, added }, now);
        node
    }

    pub(in crate::sim) fn rename(&mut self, from: &Path, to: &Path, now: i64) -> Result<(), Errno> {
        let (from, to) = (self.find(from, false)?, self.find(to, false)?);
        let moved = from.node.ok_or(Errno::ENOENT)?;
        if moved == ROOT || to.node == Some(ROOT) || from.name.is_empty() || to.name.is_empty() {
            return Err(Errno::EBUSY);
        }
        if to.dirs.contains(&moved) {
            return Err(Errno::EINVAL);
        }
        if to.node == Some(moved) {
            return Ok(());
        }
        if let Some(replaced) = to.node {
            match (self.names(moved).is_some(), self.names(replaced)) {
                (true, None) => return Err(Errno::ENOTDIR),
                (false, Some(_)) => return Err(Errno::EISDIR),
                (true, Some(names)) if !names.current.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        let removed = Some((from.dir(), from.name));
        let dir = to.dirs.last().copied().unwrap_or(ROOT);
        self.change(NameChange { removed, added: Some((dir, to.name, moved)) }, now);
        Ok(())
    }

    pub(in crate::sim) fn remove(&mut self, path: &Path, now: i64) -> Result<(), Errno> {
        let place = self.find(path, false)?;
        let node = place.node.ok_or(Errno::ENOENT)?;
        if place.name.is_empty() {
            return Err(Errno::EBUSY);
        }
        if self.names(node).is_some_and(|names| !names.current.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.change(NameChange { removed: Some((place.dir(), place.name)), added: None }, now);
        Ok(())
    }

    /// The names in a directory, with their kinds.
    pub(in crate::sim) fn list(&self, path: &Path) -> Result<Vec<(OsString, FileKind)>, Errno> {
        let names = self.names(self.existing(path, true)?).ok_or(Errno::ENOTDIR)?;
        let kind = |node| self.nodes.get(node).map_or(FileKind::Other, Node::kind);
        Ok(names.current.iter().map(|(name, node)| (name.clone(), kind(node))).collect())
    }

    /// The names in a directory, and their nodes.
    pub(in crate::sim) fn entries(&self, dir: u64) -> Result<Vec<(OsString, u64)>, Errno> {
        let names = self.names(dir).ok_or(Errno::ENOTDIR)?;
        Ok(names.current.iter().map(|(name, node)| (name.clone(), *node)).collect())
    }

    /// The paths of all files with a name.
    pub(in crate::sim) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut dirs = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            for (name, node) in self.names(dir).into_iter().flat_map(|names| &names.current) {
                match self.names(*node) {
                    Some(_) => dirs.push((path.join(name), *node)),
                    None => paths.push(path.join(name)),
                }
            }
        }
        paths.sort();
        paths
    }

    /// Makes a change, which is not durable yet.
    fn change(&mut self, change: NameChange, now: i64) {
        if let Some((dir, name)) = &change.removed {
            let node = self.names_mut(*dir).and_then(|names| names.current.remove(name));
            self.set_named(node, false);
            self.touch(*dir, now);
        }
        if let Some((dir, name, node)) = &change.added {
            let replaced = self.names_mut(*dir).and_then(|names| names.current.insert(name.clone(), *node));
            self.set_named(replaced, false);
            self.set_named(Some(*node), true);
            self.touch(*dir, now);
        }
        self.unsynced.push(change);
    }

    fn set_named(&mut self, node: Option<u64>, named: bool) {
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(&node)) {
            node.named = named;
        }
    }

    fn touch(&mut self, dir: u64, now: i64) {
        if let Some(dir) = self.nodes.get_mut(&dir) {
            dir.modified = now;
        }
    }

    /// Makes the changes of a directory durable.
    pub(in crate::sim) fn sync_dir(&mut self, dir: u64) {
        let changes = std::mem::take(&mut self.unsynced);
        for change in changes {
            match change.concerns(dir) {
                true => self.make_durable(change),
                false => self.unsynced.push(change),
            }
        }
    }

    /// Makes all changes durable.
    pub(in crate::sim) fn sync_names(&mut self) {
        std::mem::take(&mut self.unsynced).into_iter().for_each(|change| self.make_durable(change));
    }

    fn make_durable(&mut self, change: NameChange) {
        if let Some((dir, name)) = &change.removed
            && let Some(names) = self.names_mut(*dir)
        {
            names.durable.remove(name);
        }
        if let Some((dir, name, node)) = change.added
            && let Some(names) = self.names_mut(dir)
        {
            names.durable.insert(name, node);
        }
    }

    /// Loses power: a part of the last changes of names is undone, and unsynced data is kept, lost
    /// or torn. Returns the number of names that were lost, and the losses of contents.
    pub(in crate::sim) fn lose_power(&mut self, random: &mut Random) -> (usize, Loss) {
        let kept = random.index(self.unsynced.len() + 1);
        let lost = self.unsynced.split_off(kept).len();
        self.sync_names();
        let mut loss = Loss::default();
        for node in self.nodes.values_mut() {
            (node.locked, node.opens, node.named) = (None, 0, false);
            match &mut node.what {
                What::Dir(names) => names.current = names.durable.clone(),
                What::File(contents) => loss = loss.and(contents.lose_power(random)),
                What::Link(_) | What::Fifo => {}
            }
        }
        // Files without a name are gone.
        let mut reached = vec![ROOT];
        while let Some(node) = reached.pop() {
            self.set_named(Some(node), true);
            reached.extend(self.names(node).into_iter().flat_map(|names| names.current.values()));
        }
        self.nodes.retain(|_, node| node.named);
        (lost, loss)
    }
}

impl Node {
    pub(in crate::sim) fn kind(&self) -> FileKind {
        match &self.what {
            What::File(_) => FileKind::Regular,
            What::Dir(_) => FileKind::Directory,
            What::Link(_) => FileKind::Symlink,
            What::Fifo => FileKind::Other,
        }
    }

    pub(in crate::sim) fn length(&self) -> u64 {
        match &self.what {
            What::File(contents) => contents.data().len() as u64,
            What::Link(target) => target.as_os_str().len() as u64,
            What::Dir(_) | What::Fifo => 0,
        }
    }
}

impl NameChange {
    fn concerns(&self, dir: u64) -> bool {
        let removed = self.removed.as_ref().is_some_and(|(of, _)| *of == dir);
        removed || self.added.as_ref().is_some_and(|(of, ..)| *of == dir)
    }
}

/// The parts of a path, without `.`. The root is `/`.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::RootDir => Some(OsString::from("/")),
        Component::CurDir | Component::Prefix(_) => None,
        Component::ParentDir => Some(OsString::from("..")),
        Component::Normal(name) => Some(OsStr::to_owned(name)),
    })
}

const ROOT: u64 = 1;

/// Limits of Linux.
const MAX_NAME: usize = 255;
const MAX_LINKS: usize = 40;
