//! Certificates in files, which are loaded again when the files change.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::escape::Escaped;
use crate::files::{self, FileError, FileFault, FileWatch};
use crate::tls::credentials::pem;
use crate::tls::{CertificateDer, Identity, TlsAcceptor, TlsConfigError};
use crate::{DelayedCall, Reactor};

/// The PEM files of a certificate chain and of its private key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityFiles {
    /// The file of the chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The file of the private key. It can be the same.
    pub key: PathBuf,
}

impl IdentityFiles {
    /// Names the files.
    pub fn new(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> IdentityFiles {
        IdentityFiles { chain: chain.into(), key: key.into() }
    }

    /// Reads the files. Blocks: call it while the program starts, or on the thread pool.
    ///
    /// # Errors
    /// Those of [`Identity::from_files`].
    pub fn read(&self) -> Result<Identity, TlsConfigError> {
        Identity::from_files(&self.chain, &self.key)
    }

    /// Reads the files from the disk of the reactor's host. Blocks.
    pub(in crate::tls) fn read_at(&self, reactor: &mut Reactor) -> Result<Identity, TlsConfigError> {
        self.parse(&read_at(reactor, &self.chain)?, &read_at(reactor, &self.key)?)
    }

    fn parse(&self, chain: &[u8], key: &[u8]) -> Result<Identity, TlsConfigError> {
        let certificates = pem::certificates(chain, Some(&self.chain))?;
        Identity::new(certificates, pem::key(key, Some(&self.key))?)
    }
}

impl TlsAcceptor {
    /// Prepares to replace the certificates of this acceptor and of its clones by those in `files`,
    /// now and at each change of the files.
    ///
    /// - The files are read beside the loop, through the reactor's [`files`](crate::files).
    /// - A change is noticed by [metadata](crate::files::watch()), also where a symbolic link on
    ///   the way to a file is switched, as Kubernetes does with `..data`.
    /// - Certificates that do not fit (a file is missing or half written, the key belongs to
    ///   another certificate) are tried once more after an interval. If they still do not fit, that
    ///   is logged and counted, and **the old ones stay**.
    /// - Open connections go on with their certificate. Later handshakes use the new one.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join(format!("twistor-doc-reload-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let made = rcgen::generate_simple_self_signed(["example.org".to_owned()])?;
    /// # let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    /// # std::fs::write(&chain, made.cert.pem())?;
    /// # std::fs::write(&key, made.signing_key.serialize_pem())?;
    /// use twistor::tls::{IdentityFiles, ServerTls, TlsAcceptor};
    ///
    /// let mut reactor = twistor::Reactor::new()?;
    /// let files = IdentityFiles::new(chain, key);
    /// let acceptor = TlsAcceptor::new(ServerTls::from(files.read()?))?;
    /// let watch = acceptor.watch_files(vec![files]).start(&mut reactor, |reactor, outcome| {
    ///     match outcome {
    ///         Ok(identities) => println!("{} certificates", identities.len()),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    ///     # reactor.stop();
    /// });
    /// // For administrators who do not want to wait for the next look.
    /// let at_hangup = watch.clone();
    /// reactor.on_signal(twistor::Signal::Hangup, move |reactor| at_hangup.reload(reactor))?;
    /// reactor.run()?;
    /// assert_eq!(watch.statistics().loads, 1);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_files(&self, files: Vec<IdentityFiles>) -> WatchIdentities {
        WatchIdentities { acceptor: self.clone(), files, interval: DEFAULT_INTERVAL }
    }
}

/// A watch of certificates that was not started. See [`TlsAcceptor::watch_files`].
#[derive(Clone, Debug)]
#[must_use = "a watch does nothing until it is started"]
pub struct WatchIdentities {
    acceptor: TlsAcceptor,
    files: Vec<IdentityFiles>,
    interval: Duration,
}

impl WatchIdentities {
    /// The time between two looks at the files, and before a failed load is tried once more.
    /// Default: 10 s.
    pub fn interval(mut self, interval: Duration) -> WatchIdentities {
        self.interval = interval;
        self
    }

    /// Loads the files, and starts to watch them, until [`IdentityWatch::stop`] or the stop of the
    /// reactor. `callback` is called after each load that found other files than the one before it:
    /// with the new certificates. It is also called with the reason why the old ones stay.
    pub fn start(
        self,
        reactor: &mut Reactor,
        callback: impl FnMut(&mut Reactor, Result<&[Identity], &TlsConfigError>) + 'static,
    ) -> IdentityWatch {
        let state = State {
            callback: Some(Box::new(callback)),
            watches: Vec::new(),
            load: Load::Idle,
            failed_before: false,
            retry: None,
            loaded: Vec::new(),
            statistics: ReloadStatistics::default(),
            stopped: false,
        };
        let watch = IdentityWatch(Rc::new(Shared { options: self, state: RefCell::new(state) }));
        let mut paths: Vec<PathBuf> = watch.0.paths().cloned().collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let changed = watch.clone();
            let look = files::watch(path).interval(watch.0.options.interval);
            let look = look.start(reactor, move |reactor, _| changed.reload(reactor));
            watch.0.state.borrow_mut().watches.push(look);
        }
        watch
    }
}

/// The handle of a watch. A clone is another handle of the same watch. Its drop does not end the
/// watch.
#[derive(Clone)]
pub struct IdentityWatch(Rc<Shared>);

/// Counts of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadStatistics {
    /// Number of loads that gave the acceptor new certificates, the first one included.
    pub loads: u64,
    /// Number of loads that failed, so that the old certificates stayed.
    pub failures: u64,
}

struct Shared {
    options: WatchIdentities,
    state: RefCell<State>,
}

struct State {
    /// `None` while it is called.
    callback: Option<Callback>,
    watches: Vec<FileWatch>,
    load: Load,
    /// Whether the last load failed and was not reported yet.
    failed_before: bool,
    /// The timer of a second attempt.
    retry: Option<DelayedCall>,
    /// The data of the files at the last successful load.
    loaded: Vec<Vec<u8>>,
    statistics: ReloadStatistics,
    stopped: bool,
}

type Callback = Box<dyn FnMut(&mut Reactor, Result<&[Identity], &TlsConfigError>)>;

/// The load in progress.
enum Load {
    Idle,
    /// Files are being read. `again`: one of them may have changed meanwhile.
    Reading {
        results: Vec<Option<Result<Vec<u8>, FileError>>>,
        again: bool,
    },
}

impl Shared {
    /// All files: chain and key of the first pair, then those of the next one.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.options.files.iter().flat_map(|files| [&files.chain, &files.key])
    }
}

impl IdentityWatch {
    /// Loads the files now, for example because of SIGHUP. A load that is in progress is followed
    /// by another one.
    pub fn reload(&self, reactor: &mut Reactor) {
        let paths: Vec<PathBuf> = self.0.paths().cloned().collect();
        {
            let mut state = self.0.state.borrow_mut();
            if state.stopped {
                return;
            }
            if let Load::Reading { again, .. } = &mut state.load {
                *again = true;
                return;
            }
            state.load = Load::Reading { results: paths.iter().map(|_| None).collect(), again: false };
            if let Some(retry) = state.retry.take() {
                // It may be the one that is running.
                let _ = retry.cancel(reactor);
            }
        }
        for (position, path) in paths.into_iter().enumerate() {
            let watch = self.clone();
            let read = files::read(path).limit(MAX_LENGTH);
            let started = read.start(reactor, move |reactor, read| watch.read(reactor, position, read));
            if let Err(error) = started {
                self.read(reactor, position, Err(error));
            }
        }
    }

    /// Ends the watch. The certificates stay as they are.
    pub fn stop(&self, reactor: &mut Reactor) {
        let (watches, retry, callback) = {
            let mut state = self.0.state.borrow_mut();
            state.stopped = true;
            (std::mem::take(&mut state.watches), state.retry.take(), state.callback.take())
        };
        for watch in watches {
            watch.stop(reactor);
        }
        if let Some(retry) = retry {
            let _ = retry.cancel(reactor);
        }
        drop(callback);
    }

    /// The counts so far.
    pub fn statistics(&self) -> ReloadStatistics {
        self.0.state.borrow().statistics
    }

    /// Notes the data of one file, and ends the load after the last one.
    fn read(&self, reactor: &mut Reactor, position: usize, read: Result<Vec<u8>, FileError>) {
        let results = {
            let mut state = self.0.state.borrow_mut();
            let Load::Reading { results, again } = &mut state.load else { return };
            if let Some(result) = results.get_mut(position) {
                *result = Some(read);
            }
            if results.iter().any(Option::is_none) {
                return;
            }
            let (results, again) = (std::mem::take(results), *again);
            state.load = Load::Idle;
            if state.stopped {
                return;
            }
            if again { None } else { Some(results) }
        };
        match results {
            Some(results) => self.finish(reactor, results.into_iter().flatten().collect()),
            None => self.reload(reactor),
        }
    }

    fn finish(&self, reactor: &mut Reactor, results: Vec<Result<Vec<u8>, FileError>>) {
        if results.iter().any(|read| matches!(read, Err(error) if matches!(error.fault, FileFault::Stopped)))
        {
            return;
        }
        let outcome = self.0.replace(results);
        let mut state = self.0.state.borrow_mut();
        match &outcome {
            Ok(None) => {
                state.failed_before = false;
                return;
            }
            Ok(Some(identities)) => {
                state.failed_before = false;
                state.statistics.loads += 1;
                log::info!("TLS certificates loaded from files: {}", Summary(identities));
            }
            Err(_) if !state.failed_before => {
                // The files may be between two steps of their change.
                state.failed_before = true;
                let again = self.clone();
                let call = move |reactor: &mut Reactor| again.reload(reactor);
                state.retry = Some(reactor.call_later(self.0.options.interval, call));
                return;
            }
            Err(error) => {
                state.failed_before = false;
                state.statistics.failures += 1;
                log_warn!("TLS certificates not loaded, the old ones stay: {error}");
            }
        }
        let callback = state.callback.take();
        drop(state);
        let Some(mut callback) = callback else { return };
        match &outcome {
            Ok(identities) => callback(reactor, Ok(identities.as_deref().unwrap_or_default())),
            Err(error) => callback(reactor, Err(error)),
        }
        let mut state = self.0.state.borrow_mut();
        if !state.stopped {
            state.callback = Some(callback);
        }
    }
}

impl Shared {
    /// Gives the acceptor the certificates. Returns `None` if the files are those of the last load.
    fn replace(
        &self,
        results: Vec<Result<Vec<u8>, FileError>>,
    ) -> Result<Option<Vec<Identity>>, TlsConfigError> {
        let data = results.into_iter().collect::<Result<Vec<_>, _>>().map_err(config_error)?;
        if self.state.borrow().loaded == data {
            return Ok(None);
        }
        let pairs = self.options.files.iter().zip(data.chunks(2));
        let parsed = pairs.map(|(files, pair)| match pair {
            [chain, key] => files.parse(chain, key),
            // There are two results for each pair of files.
            _ => Err(TlsConfigError::NoIdentity),
        });
        let identities = parsed.collect::<Result<Vec<_>, _>>()?;
        self.options.acceptor.replace_identities(&identities)?;
        self.state.borrow_mut().loaded = data;
        Ok(Some(identities))
    }
}

/// Reads the certificates in a file on the disk of the reactor's host. Blocks.
pub(in crate::tls) fn certificates_at(
    reactor: &mut Reactor,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    pem::certificates(&read_at(reactor, path)?, Some(path))
}

fn read_at(reactor: &mut Reactor, path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    let read = reactor.read_credentials(path);
    read.map_err(|source| TlsConfigError::File { path: path.to_owned(), source })
}

fn config_error(error: FileError) -> TlsConfigError {
    let FileError { path, fault, .. } = error;
    let source = match fault {
        FileFault::System { source, .. } => source,
        other => io::Error::other(other.to_string()),
    };
    TlsConfigError::File { path, source }
}

/// Subjects of certificates, for a log.
struct Summary<'a>(&'a [Identity]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, identity) in self.0.iter().enumerate() {
            let separator = if position > 0 { "; " } else { "" };
            write!(f, "{separator}{}", Escaped(identity.names().join(", ")))?;
        }
        Ok(())
    }
}

impl fmt::Debug for IdentityWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&Path> = self.0.paths().map(PathBuf::as_path).collect();
        f.debug_struct("IdentityWatch").field("files", &paths).finish_non_exhaustive()
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Limit of the length of a file.
const MAX_LENGTH: usize = 1024 * 1024;
