//! Programs that work on files in all ways, and check what they find there after any fault.

use std::time::Duration;

use twistor::files::{self, FileChange, FileError, FileFault};
use twistor::{Reactor, task};

use super::ledger::Ledger;

const LOG: &str = "/var/log";
const CONFIG: &str = "/config";

/// Keeps a log for the life of the process, until all is quiet.
pub fn keep_a_log(ledger: &Ledger, reactor: &mut Reactor) {
    let ledger = ledger.clone();
    let keep = async move {
        while !ledger.is_quiet() {
            // After a fault it is opened again, and checked.
            drop(log(&ledger).await);
            task::sleep(Duration::from_millis(1 + ledger.below(200))).await;
        }
    };
    reactor.spawn(keep).detach();
}

/// Starts some work on files, which ends by itself.
pub fn begin(ledger: &Ledger, reactor: &mut Reactor) {
    ledger.acts("watch");
    ledger.acts("WatchFile::interval");
    ledger.acts("WatchFile::start");
    let watched = files::watch(CONFIG).interval(Duration::from_millis(1 + ledger.below(100)));
    let watched = if ledger.below(4) == 0 {
        ledger.acts("WatchFile::no_symlink");
        watched.no_symlink()
    } else {
        watched
    };
    let own = ledger.clone();
    let watch = watched.start(reactor, move |_, change| {
        own.acts("FileChange::metadata");
        assert_eq!(
            change.metadata().is_none(),
            matches!(change, FileChange::Missing | FileChange::Failed(_))
        );
    });
    let own = ledger.clone();
    reactor.call_later(Duration::from_millis(ledger.below(1000)), move |reactor| {
        own.acts("FileWatch::stop");
        assert!(watch.stop(reactor) && !watch.stop(reactor));
    });
    let own = ledger.clone();
    reactor.spawn(async move { drop(write_all(&own).await) }).detach();
    let own = ledger.clone();
    ledger.acts("FileOperation::start");
    ledger.acts("read");
    ledger.acts("FileOperation::limit");
    let started = files::read(CONFIG).limit(1000).start(reactor, move |_, text| match text {
        Ok(text) => check_config(&text),
        Err(error) => {
            own.acts("FileError::kind");
            own.acts("FileError::is_not_found");
            assert_eq!(error.is_not_found(), error.kind() == std::io::ErrorKind::NotFound);
            assert_eq!(error.path.to_str(), Some(CONFIG));
        }
    });
    // A thread may be missing.
    drop(started);
}

/// The file is replaced as a whole, so it never has a part.
fn check_config(text: &[u8]) {
    let whole = text.chunks(10).all(|line| line == b"a setting\n") && text.len() <= 100;
    assert!(whole, "{:?}", String::from_utf8_lossy(text));
}

async fn write_all(ledger: &Ledger) -> Result<(), FileError> {
    let acts = |name| ledger.acts(name);
    match ledger.below(4) {
        0 => {
            acts("write");
            acts("FileOperation::mode");
            acts("FileOperation::no_symlink");
            let lines = 1 + ledger.below(10) as usize;
            let write = files::write(CONFIG, "a setting\n".repeat(lines)).mode(0o600);
            if ledger.below(2) == 0 { write.await } else { write.no_symlink().await }
        }
        1 => names(ledger).await,
        2 => {
            acts("lock");
            acts("FileOperation::timeout");
            acts("FileLock::path");
            let timeout = Duration::from_millis(ledger.below(500));
            let lock = files::lock("/lock").mode(0o600).timeout(timeout).await?;
            assert_eq!(lock.path().to_str(), Some("/lock"));
            task::sleep(Duration::from_millis(ledger.below(300))).await;
            drop(lock);
            Ok(())
        }
        _ => log(ledger).await,
    }
}

async fn names(ledger: &Ledger) -> Result<(), FileError> {
    let acts = |name| ledger.acts(name);
    acts("create_dir");
    acts("list_dir");
    acts("FileOperation::max_entries");
    acts("rename");
    acts("remove");
    acts("metadata");
    let dir = format!("/spool{}", ledger.below(3));
    // Another one may have created it.
    let _ = files::create_dir(&dir).await;
    let file = format!("{dir}/item{}", ledger.below(5));
    files::write(&file, "item").await?;
    let _ = files::rename(&file, format!("{dir}/done")).await;
    acts("open_beneath");
    // Another program may have removed it, and a full disk may have cut it.
    if let Ok(item) = files::open_beneath(&dir, "done").await {
        assert!(item.opened().length <= 4);
    }
    acts("list_beneath");
    if let Ok(entries) = files::list_beneath("/", dir.trim_start_matches('/')).await {
        assert!(entries.iter().all(|(_, found)| found.length <= 4));
    }
    for entry in files::list_dir(&dir).max_entries(1000).await? {
        let path = std::path::Path::new(&dir).join(entry.name);
        if let Ok(found) = files::metadata(&path).await {
            assert!(found.length <= 4);
        }
        if ledger.below(2) == 0 {
            let _ = files::remove(path).await;
        }
    }
    Ok(())
}

/// Several programs append to the same log, one after the other.
async fn log(ledger: &Ledger) -> Result<(), FileError> {
    let acts = |name| ledger.acts(name);
    let lock = files::lock("/log.lock").timeout(Duration::from_millis(200)).await?;
    acts("append_to");
    acts("FileOperation::max_queued");
    acts("AppendFile::opened");
    acts("AppendFile::path");
    let open = files::append_to(LOG).max_queued(100);
    let log = match ledger.below(3) {
        0 => {
            acts("FileOperation::existing");
            open.existing().await?
        }
        _ => open.await?,
    };
    assert_eq!(log.path().to_str(), Some(LOG));
    // A crash may have left a part of a record.
    let whole = log.opened().length / 8 * 8;
    acts("AppendFile::truncate");
    log.truncate(whole).await?;
    let mut end = whole;
    for _ in 0..ledger.below(10) {
        acts("AppendFile::append");
        acts("AppendFile::queued");
        acts("AppendFile::is_poisoned");
        let records = "a record".repeat(1 + ledger.below(12) as usize);
        let length = records.len() as u64;
        let offset = match log.append(records).await {
            Ok(offset) => offset,
            Err(error) => {
                assert!(!matches!(error.fault, FileFault::BufferFull { .. }), "it waits for each");
                return Err(error);
            }
        };
        assert_eq!((offset, log.queued(), log.is_poisoned()), (end, 0, false));
        end += length;
        if ledger.below(2) == 0 {
            acts("AppendFile::sync");
            log.sync().await?;
        }
    }
    acts("AppendFile::metadata");
    assert_eq!(log.metadata().await?.length % 8, 0);
    acts("open");
    acts("ReadFile::path");
    acts("ReadFile::opened");
    acts("ReadFile::metadata");
    acts("ReadFile::read");
    let reader = files::open(LOG).await?;
    assert!(reader.path().to_str() == Some(LOG) && reader.opened().is_same_file(log.opened()));
    assert!(reader.metadata().await?.is_same_file(log.opened()));
    let record = reader.read(reader.opened().length.saturating_sub(8), 8).await?;
    assert!(record.is_empty() || record.len() == 8, "{record:?}");
    acts("FileOperation::range");
    assert!(files::read(LOG).range(0, 8).await?.len() <= 8);
    drop(lock);
    Ok(())
}
