//! Files beside the loop: reading, appending, replacing, locking and watching, on real and
//! simulated disks.
//!
//! A call on a file can block: for a slow disk, a network file system that hangs, or a full queue
//! of writes. Here nothing blocks the loop. An operation runs on a thread of a small pool, or in
//! virtual time on the simulated disk of a host, and its result comes back as a callback, as a
//! [`Deferred`](crate::Deferred), or by `await`:
//!
//! ```
//! use twistor::{Reactor, files};
//!
//! # let dir = std::env::temp_dir().join(format!("twistor-doc-files-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let path = dir.join("motd");
//! # let done = path.clone();
//! let mut reactor = Reactor::new()?;
//! // A callback.
//! files::write(&path, "welcome").start(&mut reactor, move |reactor, written| {
//!     written.unwrap();
//!     // A Deferred.
//!     files::read(&path).limit(1024).defer(reactor).done(move |reactor, text| {
//!         assert_eq!(text.unwrap(), b"welcome");
//!         // A future.
//!         reactor.spawn(async move {
//!             files::remove(&path).await?;
//!             assert!(files::metadata(&path).await.unwrap_err().is_not_found());
//!             let _ = twistor::Handle::current().unwrap().with_reactor(|reactor| reactor.stop());
//!             Ok::<_, files::FileError>(())
//!         }).detach();
//!     });
//! })?;
//! reactor.run()?;
//! # assert!(!done.exists());
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Operations
//!
//! | to | use | result |
//! |---|---|---|
//! | read a file, or a range of it | [`read`] | its bytes, up to a limit |
//! | read many ranges | [`open`] | a [`ReadFile`] |
//! | append to a log or a journal | [`append_to`] | an [`AppendFile`] |
//! | replace a file as a whole | [`write()`] | nothing |
//! | rename, remove, create a directory | [`rename`], [`remove`], [`create_dir`] | nothing |
//! | list a directory | [`list_dir`] | [`DirEntry`]s, up to a limit |
//! | open, list what a path from outside names | [`open_beneath`], [`list_beneath`] | nothing beyond a directory |
//! | look at a file | [`metadata`] | [`Metadata`] |
//! | exclude other processes | [`lock`] | a [`FileLock`] |
//! | notice changes | [`watch`] | a callback per [`FileChange`], or a [`FileWatcher`] |
//!
//! # Durability
//!
//! - Data that was appended survives the end of the process, also a kill. It survives a loss of
//!   power only after [`AppendFile::sync`].
//! - [`write()`], [`rename`], [`remove`], [`create_dir`] and the creation of a file by
//!   [`append_to`] are durable when they are reported as done.
//! - After a failed sync nothing is known about the data: the file is
//!   [poisoned](FileFault::Poisoned).
//!
//! # Order
//!
//! Operations on one [`AppendFile`] run in the order in which they were started. All others run at
//! the same time, in any order. An operation that has to come after another one is started in its
//! callback.
//!
//! # Limits
//!
//! | limit | default | error |
//! |---|---|---|
//! | operations that run or wait: [`Settings::file_queue`](crate::Settings::file_queue) | 10,000 | [`FileFault::QueueFull`] |
//! | threads: [`Settings::file_threads`](crate::Settings::file_threads) | 4 | operations wait |
//! | bytes that wait to be appended to a file: [`max_queued`](FileOperation::max_queued) | 1 MiB | [`FileFault::BufferFull`] |
//! | length of a file that is read as a whole: [`limit`](FileOperation::limit) | 16 MiB | [`FileFault::TooLong`] |
//! | entries of a directory: [`max_entries`](FileOperation::max_entries) | 10,000 | [`FileFault::TooManyEntries`] |
//!
//! Only regular files are read and appended to: a FIFO or a device could block its thread forever,
//! and fails with [`FileFault::NotRegular`]. [`no_symlink`](FileOperation::no_symlink) refuses
//! symbolic links.
//!
//! # The stop
//!
//! A graceful stop waits for accepted operations within
//! [`Settings::graceful_stop_timeout`](crate::Settings::graceful_stop_timeout). After it, and at a
//! stop that is not graceful, callbacks of unfinished operations get [`FileFault::Stopped`]. Their
//! work goes on until the reactor is dropped, which waits for it within the same limit.
//!
//! # Tests
//!
//! On a simulated network, each host has a [`Disk`](crate::sim::Disk). It keeps its files when a
//! process is killed, and loses or tears data that was not synced when the host
//! [crashes](crate::sim::Simulation::crash). It can be full, slow or read-only, and
//! [rules](crate::sim::Rule) can fail any call. See the guide's chapter on
//! [testing](crate::guide::testing).

mod deferred;
mod future;
mod watcher;

pub use crate::net::{DirEntry, FileKind, Metadata};
pub use crate::reactor::files::{
    AppendFile, FileAction, FileChange, FileError, FileFault, FileLock, FileOperation, FileWatch, ReadFile,
    WatchFile, append_to, create_dir, list_beneath, list_dir, lock, metadata, open, open_beneath, read,
    remove, rename, watch, write,
};

pub use self::future::FileFuture;
pub use self::watcher::FileWatcher;
