//! Watching files by their metadata.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::FileError;
use super::operation::metadata;
use crate::escape::Escaped;
use crate::net::Metadata;
use crate::reactor::turn::lifecycle::RunState;
use crate::reactor::{CallbackKind, DelayedCall, Reactor, TimedCall};

/// Watches a file for changes by looking at its metadata at an interval: device, inode,
/// modification time and length. It sees any kind of change on any file system:
/// - The file is written to.
/// - It is replaced by a rename, as editors and [`write`](super::write) do.
/// - A symbolic link on the way to it is switched, as Kubernetes does with `..data`.
/// - It is removed, or it appears.
///
/// The first look is reported as well, as [`FileChange::Found`] or [`FileChange::Missing`]. So a
/// program that reads the file at each change needs no other code for its start.
///
/// Two changes within an interval are one. A change that keeps the length, within the file system's
/// granularity of time (some milliseconds), is not seen if a look came in between. A file is often
/// seen while it is being written in place: its reader has to expect a part, and the next look
/// reports the rest.
///
/// ```
/// use std::time::Duration;
/// use twistor::Reactor;
/// use twistor::files::{self, FileChange};
///
/// let mut reactor = Reactor::new()?;
/// files::watch("/etc/hosts").interval(Duration::from_secs(5)).start(&mut reactor, |reactor, change| {
///     match change {
///         FileChange::Missing => println!("no file"),
///         FileChange::Failed(error) => println!("{error}"),
///         _ => {
///             // Not started during the stop.
///             let _ = files::read("/etc/hosts").start(reactor, |reactor, hosts| {
///                 println!("{:?}", hosts.map(|hosts| hosts.len()));
///                 # reactor.stop();
///             });
///         }
///     }
/// });
/// reactor.run()?;
/// # Ok::<(), twistor::Error>(())
/// ```
#[doc(alias("inotify", "notify", "INotify", "uv_fs_poll"))]
pub fn watch(path: impl Into<PathBuf>) -> WatchFile {
    WatchFile { path: path.into(), interval: DEFAULT_INTERVAL, follow: true }
}

/// A watch that has not been started. See [`watch`].
#[derive(Clone, Debug)]
#[must_use = "a watch does nothing until it is started"]
pub struct WatchFile {
    path: PathBuf,
    interval: Duration,
    follow: bool,
}

impl WatchFile {
    /// The time between two looks, at least 1 ms. Default: 1 s.
    pub fn interval(mut self, interval: Duration) -> WatchFile {
        self.interval = interval.max(MIN_INTERVAL);
        self
    }

    /// Watches a symbolic link itself. Default: links are followed.
    pub fn no_symlink(mut self) -> WatchFile {
        self.follow = false;
        self
    }

    /// Starts to watch. `callback` is called from the loop, with the first look and with each
    /// change, until [`FileWatch::stop`] or the stop of the reactor.
    pub fn start(
        self,
        reactor: &mut Reactor,
        callback: impl FnMut(&mut Reactor, FileChange) + 'static,
    ) -> FileWatch {
        let files = &mut reactor.threads.files;
        files.count += 1;
        let number = files.count;
        let callback: Option<OnChange> = Some(Box::new(callback));
        let watch = Watch { file: self, seen: Seen::Nothing, callback, next: None };
        files.watches.insert(number, watch);
        reactor.look_at_file(number);
        FileWatch(number)
    }
}

/// The handle of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileWatch(u64);

impl FileWatch {
    /// Ends the watch and drops its callback. Returns `false` when it has ended before.
    pub fn stop(self, reactor: &mut Reactor) -> bool {
        let watch = reactor.threads.files.watches.remove(self.0);
        let stopped = watch.is_some();
        if let Some(next) = watch.as_ref().and_then(|watch| watch.next) {
            // Not active while a look is in progress.
            let _ = next.cancel(reactor);
        }
        reactor.drop_value(watch);
        stopped
    }
}

/// A change that a watch has seen.
#[derive(Debug)]
pub enum FileChange {
    /// The file exists: at the first look, or it has appeared.
    Found(Metadata),
    /// The modification time or the length has changed.
    Modified(Metadata),
    /// Another file has its place.
    Replaced(Metadata),
    /// The file does not exist: at the first look, or it was removed.
    Missing,
    /// The file could not be looked at, for example for lack of permission. Reported once, until a
    /// look succeeds.
    Failed(FileError),
}

impl FileChange {
    /// The metadata, if the file exists.
    pub fn metadata(&self) -> Option<&Metadata> {
        match self {
            FileChange::Found(metadata) | FileChange::Modified(metadata) | FileChange::Replaced(metadata) => {
                Some(metadata)
            }
            FileChange::Missing | FileChange::Failed(_) => None,
        }
    }
}

/// A watch that was started.
pub(super) struct Watch {
    file: WatchFile,
    seen: Seen,
    /// `None` while it is called.
    callback: Option<OnChange>,
    /// The timer of the next look.
    next: Option<DelayedCall>,
}

type OnChange = Box<dyn FnMut(&mut Reactor, FileChange)>;

/// The last look.
#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    Missing,
    Failed,
    File(Metadata),
}

impl Seen {
    /// Compares with a new look. Returns the change, if there is one.
    fn change(&mut self, look: Result<Metadata, FileError>) -> Option<FileChange> {
        let (now, change) = match (*self, look) {
            (Seen::File(before), Ok(now)) if now.is_unchanged(&before) => return None,
            (Seen::File(before), Ok(now)) if now.is_same_file(&before) => {
                (Seen::File(now), FileChange::Modified(now))
            }
            (Seen::File(_), Ok(now)) => (Seen::File(now), FileChange::Replaced(now)),
            (_, Ok(now)) => (Seen::File(now), FileChange::Found(now)),
            (Seen::Missing, Err(error)) if error.is_not_found() => return None,
            (_, Err(error)) if error.is_not_found() => (Seen::Missing, FileChange::Missing),
            (Seen::Failed, Err(_)) => return None,
            (_, Err(error)) => (Seen::Failed, FileChange::Failed(error)),
        };
        *self = now;
        Some(change)
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a watch of {}", Escaped(self.file.path.display()))
    }
}

impl Reactor {
    /// Takes a look at a watched file.
    fn look_at_file(&mut self, number: u64) {
        let Some(watch) = self.threads.files.watches.get(number) else { return };
        if !matches!(self.lifecycle.state, RunState::New | RunState::Starting | RunState::Running) {
            // The stop waits for nothing new.
            return;
        }
        let WatchFile { path, follow, .. } = watch.file.clone();
        let look = match follow {
            true => metadata(path),
            false => metadata(path).no_symlink(),
        };
        let done = move |reactor: &mut Reactor, look| reactor.file_looked_at(number, look);
        if look.start_draining(self, false, done).is_err() {
            // The queue is full: the next look may find room.
            self.look_later(number);
        }
    }

    fn look_later(&mut self, number: u64) {
        let Some(watch) = self.threads.files.watches.get(number) else { return };
        let at = self.now() + watch.file.interval;
        let call = move |reactor: &mut Reactor| reactor.look_at_file(number);
        let next = self.timers.set(at, TimedCall::Reactor(Box::new(call)));
        if let Some(watch) = self.threads.files.watches.get_mut(number) {
            watch.next = Some(next);
        }
    }

    fn file_looked_at(&mut self, number: u64, look: Result<Metadata, FileError>) {
        let Some(watch) = self.threads.files.watches.get_mut(number) else { return };
        if let Some(change) = watch.seen.change(look)
            && let Some(mut callback) = watch.callback.take()
        {
            self.call(CallbackKind::FileChange, |reactor| {
                callback(reactor, change);
                // Dropped here if the watch was stopped meanwhile.
                if let Some(watch) = reactor.threads.files.watches.get_mut(number) {
                    watch.callback = Some(callback);
                }
            });
        }
        self.look_later(number);
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// The granularity of timers.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::time::SystemTime;

    use super::*;
    use crate::net::FileKind;
    use crate::reactor::files::{FileAction, FileFault};

    fn file(inode: u64, length: u64) -> Result<Metadata, FileError> {
        let modified = SystemTime::UNIX_EPOCH;
        Ok(Metadata { kind: FileKind::Regular, length, modified, mode: 0o644, device: 1, inode })
    }

    fn failed(kind: io::ErrorKind) -> Result<Metadata, FileError> {
        let fault = FileFault::System { call: "stat", source: kind.into() };
        Err(FileError { action: FileAction::Metadata, path: Path::new("f").into(), fault })
    }

    #[test]
    fn each_pair_of_looks_has_its_change() {
        use io::ErrorKind::{NotFound, PermissionDenied};
        let mut seen = Seen::Nothing;
        let mut looks = Vec::new();
        for look in [
            file(1, 10),
            file(1, 10),
            file(1, 11),
            file(2, 11),
            failed(NotFound),
            failed(NotFound),
            failed(PermissionDenied),
            failed(PermissionDenied),
            file(2, 11),
        ] {
            looks.push(match seen.change(look) {
                Some(FileChange::Found(_)) => "found",
                Some(FileChange::Modified(_)) => "modified",
                Some(FileChange::Replaced(_)) => "replaced",
                Some(FileChange::Missing) => "missing",
                Some(FileChange::Failed(_)) => "failed",
                None => "-",
            });
        }
        let expected = ["found", "-", "modified", "replaced", "missing", "-", "failed", "-", "found"];
        assert_eq!(looks, expected);
    }
}
