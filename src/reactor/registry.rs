//! The table of all sources: connections, attempts, listeners, connectors, datagram sockets,
//! processes and watched descriptors.

use slab::Slab;

use crate::net::Token;
use crate::reactor::connect::ConnectorSlot;
use crate::reactor::connection::{Connection, State};
use crate::reactor::datagram::DatagramSlot;
use crate::reactor::descriptor::FdSlot;
use crate::reactor::listen::ListenerSlot;
use crate::reactor::process::ProcessSlot;
use crate::reactor::{Handle, Reactor};

/// An object that a token refers to.
pub(crate) enum Source {
    Connection(Connection),
    /// A connection attempt of this connector.
    Attempt(Token),
    Listener(Box<ListenerSlot>),
    Connector(Box<ConnectorSlot>),
    Datagram(Box<DatagramSlot>),
    Process(Box<ProcessSlot>),
    Descriptor(Box<FdSlot>),
}

/// All sources by index. A token of an old generation finds nothing.
pub(crate) struct Registry {
    slots: Slab<Slot>,
    /// The number of insertions. It makes tokens unique, until it wraps after four billion.
    generation: u32,
    connections: usize,
    processes: usize,
}

struct Slot {
    generation: u32,
    source: Source,
}

impl Registry {
    pub(in crate::reactor) fn new() -> Registry {
        Registry { slots: Slab::new(), generation: 0, connections: 0, processes: 0 }
    }

    /// The token of the next insertion.
    pub(in crate::reactor) fn next_token(&self) -> Token {
        Token::new(self.slots.vacant_key() as u32, self.generation)
    }

    pub(in crate::reactor) fn insert(&mut self, source: Source) -> Token {
        let token = self.next_token();
        match &source {
            Source::Connection(connection) if !connection.is_child_pipe() => self.connections += 1,
            Source::Process(_) => self.processes += 1,
            _ => {}
        }
        self.slots.insert(Slot { generation: self.generation, source });
        self.generation = self.generation.wrapping_add(1);
        token
    }

    /// Turns an attempt into a connection that keeps its token.
    pub(in crate::reactor) fn promote(&mut self, token: Token, connection: Connection) {
        if let Some(source) = self.get_mut(token) {
            *source = Source::Connection(connection);
            self.connections += 1;
        }
    }

    pub(in crate::reactor) fn remove(&mut self, token: Token) -> Option<Source> {
        self.get(token)?;
        let source = self.slots.try_remove(token.index())?.source;
        match &source {
            Source::Connection(connection) if !connection.is_child_pipe() => self.connections -= 1,
            Source::Process(_) => self.processes -= 1,
            _ => {}
        }
        let shrinks = matches!(source, Source::Connection(_)) && self.connections == 0;
        if shrinks && self.slots.capacity() > SHRINK_ABOVE {
            self.slots.shrink_to_fit();
        }
        Some(source)
    }

    pub(in crate::reactor) fn get(&self, token: Token) -> Option<&Source> {
        let slot = self.slots.get(token.index())?;
        (slot.generation == token.generation()).then_some(&slot.source)
    }

    #[inline]
    pub(in crate::reactor) fn get_mut(&mut self, token: Token) -> Option<&mut Source> {
        let slot = self.slots.get_mut(token.index())?;
        (slot.generation == token.generation()).then_some(&mut slot.source)
    }

    pub(in crate::reactor) fn connection(&self, token: Token) -> Option<&Connection> {
        match self.get(token) {
            Some(Source::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    #[inline]
    pub(in crate::reactor) fn connection_mut(&mut self, token: Token) -> Option<&mut Connection> {
        match self.get_mut(token) {
            Some(Source::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    pub(in crate::reactor) fn listener_mut(&mut self, token: Token) -> Option<&mut ListenerSlot> {
        match self.get_mut(token) {
            Some(Source::Listener(listener)) => Some(listener),
            _ => None,
        }
    }

    pub(in crate::reactor) fn datagram(&self, token: Token) -> Option<&DatagramSlot> {
        match self.get(token) {
            Some(Source::Datagram(datagram)) => Some(datagram),
            _ => None,
        }
    }

    pub(in crate::reactor) fn datagram_mut(&mut self, token: Token) -> Option<&mut DatagramSlot> {
        match self.get_mut(token) {
            Some(Source::Datagram(datagram)) => Some(datagram),
            _ => None,
        }
    }

    pub(in crate::reactor) fn descriptor(&self, token: Token) -> Option<&FdSlot> {
        match self.get(token) {
            Some(Source::Descriptor(descriptor)) => Some(descriptor),
            _ => None,
        }
    }

    pub(in crate::reactor) fn descriptor_mut(&mut self, token: Token) -> Option<&mut FdSlot> {
        match self.get_mut(token) {
            Some(Source::Descriptor(descriptor)) => Some(descriptor),
            _ => None,
        }
    }

    pub(in crate::reactor) fn process(&self, token: Token) -> Option<&ProcessSlot> {
        match self.get(token) {
            Some(Source::Process(process)) => Some(process),
            _ => None,
        }
    }

    pub(in crate::reactor) fn process_mut(&mut self, token: Token) -> Option<&mut ProcessSlot> {
        match self.get_mut(token) {
            Some(Source::Process(process)) => Some(process),
            _ => None,
        }
    }

    pub(in crate::reactor) fn connector(&self, token: Token) -> Option<&ConnectorSlot> {
        match self.get(token) {
            Some(Source::Connector(connector)) => Some(connector),
            _ => None,
        }
    }

    pub(in crate::reactor) fn connector_mut(&mut self, token: Token) -> Option<&mut ConnectorSlot> {
        match self.get_mut(token) {
            Some(Source::Connector(connector)) => Some(connector),
            _ => None,
        }
    }

    /// The number of open connections, including lingering ones.
    pub(in crate::reactor) fn connections(&self) -> usize {
        self.connections
    }

    /// Whether a graceful stop has connections or processes to wait for.
    pub(in crate::reactor) fn drains(&self) -> bool {
        self.connections > 0 || self.processes > 0
    }

    /// The number of child processes that have not ended.
    pub(in crate::reactor) fn processes(&self) -> usize {
        self.processes
    }

    pub(in crate::reactor) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The tokens of all sources that match `choose`, ordered by index.
    pub(in crate::reactor) fn tokens(&self, choose: impl Fn(&Source) -> bool) -> Vec<Token> {
        let chosen = self.slots.iter().filter(|(_, slot)| choose(&slot.source));
        chosen.map(|(index, slot)| Token::new(index as u32, slot.generation)).collect()
    }
}

impl Reactor {
    /// A description of each [resource in use](Reactor::resource_count), such as `a connection with
    /// 192.0.2.7:80`, for leak checks and reports. All
    /// jobs are one line, and so are all look-ups.
    pub fn resources(&self) -> Vec<String> {
        let sources = self.registry.slots.iter().map(|(_, slot)| match &slot.source {
            Source::Connection(connection) if connection.state == State::Lingering => {
                format!("a lingering connection with {}", connection.peer)
            }
            Source::Connection(connection) if connection.is_child_pipe() => {
                "a pipe of a child process".to_owned()
            }
            Source::Connection(connection) => format!("a connection with {}", connection.peer),
            Source::Attempt(_) => "a connection attempt".to_owned(),
            Source::Listener(listener) => format!("a listener on {}", listener.address()),
            Source::Connector(connector) => format!("a connector to {}", connector.destination),
            Source::Datagram(datagram) => format!("a datagram socket at {}", datagram.host),
            Source::Descriptor(_) => "a watched descriptor".to_owned(),
            Source::Process(process) => format!("the child process {}: {}", process.number, process.program),
        });
        let jobs =
            (self.threads.jobs.len() > 0).then(|| format!("{} pending job results", self.threads.jobs.len()));
        let names = self.threads.lookups.len();
        let lookups = (names > 0).then(|| format!("{names} pending host name look-ups"));
        let hooks = self.handle.get().map(Handle::resources).unwrap_or_default();
        let files = self.threads.files.resources();
        sources.chain(jobs).chain(lookups).chain(files).chain(hooks).collect()
    }
}

/// Capacity in slots that is always kept. Above it, the table shrinks when the last connection is
/// removed.
const SHRINK_ABOVE: usize = 1024;

/// Defines the public ID of a source: its token, with a type.
macro_rules! source_id {
    ($(#[$docs:meta])+ pub struct $id:ident;) => {
        $(#[$docs])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $id(pub(crate) crate::net::Token);

        impl std::fmt::Debug for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($id), "({:?})"), self.0)
            }
        }

        /// Formats the index, a dot, and the generation.
        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

pub(in crate::reactor) use source_id;
