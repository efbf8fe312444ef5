//! A folder for the files of a promise, on the disk of its back end.
#![allow(dead_code, reason = "each promise uses its share")]

use std::fs;
use std::path::PathBuf;

use crate::world::World;
use crate::world::folder::Folder;
use twistor::sim::Disk;

/// A folder, and what a test does with its files beside the reactor.
pub enum Place {
    Real(Folder),
    Simulated(Disk),
}

impl Place {
    pub fn new(world: &World) -> Place {
        match world.simulated() {
            None => Place::Real(Folder::new()),
            Some((network, host)) => {
                let disk = network.disk(host);
                assert!(disk.create_dir("/work"));
                // Promises of one program share no files.
                for path in disk.paths() {
                    assert!(disk.remove(path));
                }
                Place::Simulated(disk)
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Place::Real(folder) => folder.path(name),
            Place::Simulated(_) => PathBuf::from("/work").join(name),
        }
    }

    pub fn put(&self, name: &str, data: &[u8]) {
        match self {
            Place::Real(_) => fs::write(self.path(name), data).unwrap(),
            Place::Simulated(disk) => assert!(disk.write(self.path(name), data)),
        }
    }

    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        match self {
            Place::Real(_) => fs::read(self.path(name)).ok(),
            Place::Simulated(disk) => disk.read(self.path(name)),
        }
    }

    pub fn rename(&self, from: &str, to: &str) {
        match self {
            Place::Real(_) => fs::rename(self.path(from), self.path(to)).unwrap(),
            Place::Simulated(disk) => assert!(disk.rename(self.path(from), self.path(to))),
        }
    }

    pub fn remove(&self, name: &str) {
        match self {
            Place::Real(_) => fs::remove_file(self.path(name)).unwrap(),
            Place::Simulated(disk) => assert!(disk.remove(self.path(name))),
        }
    }

    pub fn create_dir(&self, name: &str) {
        match self {
            Place::Real(_) => fs::create_dir(self.path(name)).unwrap(),
            Place::Simulated(disk) => assert!(disk.create_dir(self.path(name))),
        }
    }

    pub fn symlink(&self, target: &str, name: &str) {
        match self {
            Place::Real(_) => std::os::unix::fs::symlink(target, self.path(name)).unwrap(),
            Place::Simulated(disk) => assert!(disk.symlink(target, self.path(name))),
        }
    }

    pub fn fifo(&self, name: &str) {
        match self {
            Place::Real(_) => {
                use rustix::fs::{CWD, FileType, Mode, mknodat};
                mknodat(CWD, self.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            }
            Place::Simulated(disk) => assert!(disk.create_fifo(self.path(name))),
        }
    }

    /// The names of all files in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Place::Real(folder) => {
                let entries = fs::read_dir(folder.itself()).unwrap();
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
            }
            Place::Simulated(disk) => {
                let paths = disk.paths();
                let names = paths.iter().filter_map(|path| path.strip_prefix("/work").ok());
                names.map(|name| name.display().to_string()).collect()
            }
        };
        names.sort();
        names
    }
}
