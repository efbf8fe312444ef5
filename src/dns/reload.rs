//! The system's files as the configuration of a resolver. They are read on a thread, at the first
//! use and when they have changed.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dns::ResolverConfig;
use crate::dns::engine::Engine;
use crate::dns::system::{ConfigFile, FileStamp, NameServiceSwitch, NameSource, SystemConfig};
use crate::net::files::blocking::{ConfigStamp, config_stamp, read_config};
use crate::net::os::interface_index;
use crate::net::system::host_name;
use crate::{Handle, Instant, Reactor};

/// The files, and what the loop knows of them.
#[derive(Default)]
pub(in crate::dns) struct Files {
    /// Used by one thread at a time.
    config: Arc<Mutex<SystemConfig>>,
    switch: RefCell<NameServiceSwitch>,
    host_name: RefCell<String>,
    state: Cell<State>,
    /// Time from which the files are looked at again.
    next_check: Cell<Instant>,
    /// Look-ups that wait for the files, with their reactors.
    waiting: RefCell<Vec<(Handle, Waiting)>>,
}

type Waiting = Box<dyn FnOnce(&mut Reactor)>;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unread,
    /// A thread reads them for the first time.
    Loading,
    Loaded,
    /// A thread looks whether they have changed.
    Checking,
}

/// The means by which a host name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Means {
    /// The system's own resolver.
    System,
    /// The table of hosts, then the servers.
    HostsAndServers,
    Hosts,
    Servers,
}

/// The contents of changed files.
struct Contents {
    config: ResolverConfig,
    switch: NameServiceSwitch,
    host_name: String,
}

impl Files {
    /// Reads the files in this call.
    pub(in crate::dns) fn load(&self, engine: &Engine) {
        self.apply(engine, read_changed(&self.config, true));
    }

    pub(in crate::dns) fn is_loaded(&self) -> bool {
        matches!(self.state.get(), State::Loaded | State::Checking)
    }

    /// Whether a thread reads the files for the first time.
    pub(in crate::dns) fn is_loading(&self) -> bool {
        self.state.get() == State::Loading
    }

    /// Calls back from the loop once the files were read.
    pub(in crate::dns) fn when_loaded(&self, handle: Handle, call: impl FnOnce(&mut Reactor) + 'static) {
        self.waiting.borrow_mut().push((handle, Box::new(call)));
    }

    /// Looks at the files on a thread, if the last time is 5 s ago.
    pub(in crate::dns) fn refresh(self: &Rc<Files>, reactor: &mut Reactor, engine: &Rc<Engine>) {
        let now = reactor.now();
        let first = self.state.get() == State::Unread;
        match self.state.get() {
            State::Unread => self.state.set(State::Loading),
            State::Loaded if self.next_check.get() <= now => self.state.set(State::Checking),
            _ => return,
        }
        self.next_check.set(now + CHECK_INTERVAL);
        let config = Arc::clone(&self.config);
        let reader = Reader { files: Rc::clone(self), engine: Rc::clone(engine), done: false };
        let started = reactor.call_in_thread(
            move || read_changed(&config, first),
            // A panic is a bug of a parser: the files are taken as unchanged.
            move |_, contents| reader.done(contents.ok().flatten()),
        );
        if let Err(error) = started {
            log::warn!("the DNS configuration of the system is not read: {error}");
        }
    }

    fn apply(&self, engine: &Engine, contents: Option<Contents>) {
        self.state.set(State::Loaded);
        if let Some(Contents { config, switch, host_name }) = contents {
            *self.switch.borrow_mut() = switch;
            *self.host_name.borrow_mut() = host_name;
            engine.set_config(config);
        }
    }

    /// The means for a host name.
    pub(in crate::dns) fn means(&self, host: &str) -> Means {
        match self.switch.borrow().sources(host, &self.host_name.borrow()) {
            Ok([NameSource::Files, NameSource::Dns]) => Means::HostsAndServers,
            Ok([NameSource::Files]) => Means::Hosts,
            Ok([NameSource::Dns]) => Means::Servers,
            _ => Means::System,
        }
    }
}

/// The loop's end of the thread's work.
struct Reader {
    files: Rc<Files>,
    engine: Rc<Engine>,
    done: bool,
}

impl Reader {
    fn done(mut self, contents: Option<Contents>) {
        self.done = true;
        self.files.apply(&self.engine, contents);
        for (handle, call) in self.files.waiting.take() {
            handle.call(call);
        }
    }
}

impl Drop for Reader {
    /// The job was refused, or its reactor has finished: the next look-up starts another one.
    fn drop(&mut self) {
        if !self.done {
            self.files.state.set(match self.files.state.get() {
                State::Loading => State::Unread,
                _ => State::Loaded,
            });
            drop(self.files.waiting.take());
        }
    }
}

/// Reads the files that have changed. `None` if none has, except for the first time.
fn read_changed(config: &Mutex<SystemConfig>, first: bool) -> Option<Contents> {
    // A parser that has panicked has replaced nothing.
    let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
    let mut changed = first;
    for file in ConfigFile::ALL {
        let path = Path::new(file.path());
        let stamp = config_stamp(path).ok().map(|ConfigStamp { modified, size, inode }| FileStamp {
            modified,
            size,
            inode,
        });
        if !config.has_changed(file, stamp) {
            continue;
        }
        let bytes = stamp.map(|_| read_config(path, file.max_size() as u64));
        let (stamp, bytes) = match bytes {
            Some(Ok(bytes)) => (stamp, bytes),
            // Without descriptors, for example. The file is read at the next look.
            Some(Err(_)) if !first => continue,
            // A file that cannot be read is a missing file, as for glibc. It has no stamp, so that
            // the next look reads it.
            Some(Err(_)) | None => (None, Vec::new()),
        };
        changed = true;
        config.reload(file, stamp, &bytes, |name| interface_index(name).ok());
    }
    let host_name = changed.then(host_name)?;
    let mut conf = config.resolv_conf.clone();
    let variable = |name| std::env::var(name).ok();
    conf.apply_environment(variable("LOCALDOMAIN").as_deref(), variable("RES_OPTIONS").as_deref());
    conf.default_domain(&host_name);
    let resolver = ResolverConfig { hosts: config.hosts.clone(), ..ResolverConfig::from(&conf) };
    Some(Contents { config: resolver, switch: config.switch.clone(), host_name })
}

/// Time between two looks at the files. (Go's net package has the same.)
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
