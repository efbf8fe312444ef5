//! Metadata of files.

use std::fmt;
use std::time::SystemTime;

/// The metadata of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The kind.
    pub kind: FileKind,
    /// Length in bytes. Of no meaning for devices.
    pub length: u64,
    /// Time of the last change of the contents (`mtime`).
    pub modified: SystemTime,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
    /// The device. With `inode`, it identifies the file, under any name.
    pub device: u64,
    /// The number of the file on its device.
    pub inode: u64,
}

impl Metadata {
    /// Whether both are of the same file. A file that was replaced under the same name is another
    /// one.
    pub fn is_same_file(&self, other: &Metadata) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether both are of the same file with, as far as metadata can tell, the same contents: the
    /// same device, inode, modification time and length.
    pub fn is_unchanged(&self, other: &Metadata) -> bool {
        self.is_same_file(other) && (self.modified, self.length) == (other.modified, other.length)
    }
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::Regular => "a regular file",
            FileKind::Directory => "a directory",
            FileKind::Symlink => "a symbolic link",
            FileKind::Other => "a FIFO, socket or device",
        })
    }
}
