//! Sockets that are listening already: `fd:`, `systemd:`, and descriptors that the program holds.
//!
//! A descriptor given by number or name is duplicated for each listener. The inherited descriptor
//! stays open until the process ends. Its port therefore stays bound after listening stops, and new
//! connections wait in its backlog. Child processes no longer inherit a descriptor that was used.
//! Once one of systemd's descriptors is used, they inherit none of these.
//!
//! Not the crate `listenfd`: it does not read LISTEN_FDNAMES, takes descriptors without a
//! LISTEN_PID, and removes environment variables, which is unsafe beside other threads. Not
//! `sd-notify`: it returns numbers, and only unsafe code can make an owned descriptor of a number.
//! Neither tells why no descriptor was found.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::endpoint::text::TextBuilder;
use crate::endpoint::{Argument, Arguments, ParseError, ServerEndpoint};
use crate::net::os::adopt_inherited_fd;
use crate::{Error, Factory, Listener, Reactor, Result};

/// A listening descriptor as an endpoint that can be used once. (Twisted:
/// `AdoptedStreamServerEndpoint`.)
///
/// ```
/// use twistor::endpoint::{Adopted, ServerEndpoint};
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
///
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let endpoint = Adopted::new(socket);
/// let mut reactor = twistor::Reactor::new()?;
/// endpoint.listen(&mut reactor, Box::new(|| Echo))?;
/// assert!(endpoint.listen(&mut reactor, Box::new(|| Echo)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[doc(alias("AdoptedStreamServerEndpoint", "adoptStreamPort", "LISTEN_FDS"))]
pub struct Adopted {
    /// `None` after the first use.
    descriptor: RefCell<Option<OwnedFd>>,
    number: RawFd,
}

impl Adopted {
    /// Creates an endpoint from a listening socket. The socket is closed with the endpoint, or with
    /// its listener.
    pub fn new(descriptor: impl Into<OwnedFd>) -> Adopted {
        let descriptor = descriptor.into();
        Adopted { number: descriptor.as_raw_fd(), descriptor: RefCell::new(Some(descriptor)) }
    }
}

impl ServerEndpoint for Adopted {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        let used = || cannot(&self.describe(), "adopt", io::Error::other("it was used already"));
        let descriptor = self.descriptor.take().ok_or_else(used)?;
        reactor.adopt_listener(descriptor, factory)
    }

    fn describe(&self) -> String {
        TextBuilder::new("fd").positional(self.number).text()
    }
}

/// A descriptor given by its number: `fd:3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::endpoint) struct NumberedFd(RawFd);

impl ServerEndpoint for NumberedFd {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        adopt(reactor, self.0, &self.describe(), factory)
    }

    fn describe(&self) -> String {
        TextBuilder::new("fd").positional(self.0).text()
    }
}

/// A descriptor passed by systemd: `systemd:name=web`, `systemd:index=0`, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::endpoint) struct SystemdSocket {
    name: Option<String>,
    index: Option<usize>,
}

impl ServerEndpoint for SystemdSocket {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        let text = self.describe();
        let names = passed_names(std::process::id(), |variable| std::env::var(variable).ok());
        let found = names.and_then(|names| Ok((self.find(&names)?, names.len())));
        let (number, count) = found.map_err(|why| cannot(&text, "LISTEN_FDS", io::Error::other(why)))?;
        // Duplicating a descriptor sets close-on-exec on the inherited one, so that child processes
        // do not inherit it.
        (FIRST_FD..).take(count).for_each(|number| drop(adopt_inherited_fd(number)));
        adopt(reactor, number, &text, factory)
    }

    fn describe(&self) -> String {
        TextBuilder::new("systemd").optional("name", self.name.as_ref()).optional("index", self.index).text()
    }
}

impl SystemdSocket {
    /// Returns the number of the selected descriptor. `names` are the names of all passed
    /// descriptors.
    fn find(&self, names: &[String]) -> Result<RawFd, String> {
        let named =
            (FIRST_FD..).zip(names).filter(|(_, name)| self.name.as_ref().is_none_or(|want| want == *name));
        let found = named.map(|(number, _)| number).nth(self.index.unwrap_or(0));
        found.ok_or_else(|| {
            format!("no such socket was passed; there are {}: {}", names.len(), names.join(", "))
        })
    }
}

/// Returns the names of the descriptors that systemd passed to this process. The first has number
/// 3.
fn passed_names(process: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let count = variable("LISTEN_FDS").ok_or("no sockets were passed to this process")?;
    let count: usize =
        count.parse().ok().filter(|count| *count <= MAX_FDS).ok_or("LISTEN_FDS is not a number")?;
    match variable("LISTEN_PID") {
        Some(meant) if meant.parse() == Ok(process) => {}
        _ => return Err("the sockets were passed to another process, named by LISTEN_PID".to_owned()),
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    // systemd uses this name for descriptors without one.
    let named = |name: &str| if name.is_empty() { "unknown".to_owned() } else { name.to_owned() };
    let mut names: Vec<String> = names.split(':').map(named).collect();
    names.resize(count, named(""));
    Ok(names)
}

fn adopt(reactor: &mut Reactor, number: RawFd, text: &str, factory: Box<dyn Factory>) -> Result<Listener> {
    let descriptor = adopt_inherited_fd(number).map_err(|error| cannot(text, "dup", error))?;
    reactor.adopt_listener(descriptor, factory).map_err(|error| match error {
        Error::CannotListen { call, source, .. } => cannot(text, call, source),
        other => other,
    })
}

fn cannot(address: &str, call: &'static str, source: io::Error) -> Error {
    Error::CannotListen { address: address.to_owned(), call, source }
}

/// Parses `fd:N`.
pub(in crate::endpoint) fn numbered(arguments: &mut Arguments) -> Result<NumberedFd, ParseError> {
    arguments.required("number", Argument::number).map(NumberedFd)
}

/// Parses `systemd:name=NAME` or `systemd:index=N`.
pub(in crate::endpoint) fn systemd(arguments: &mut Arguments) -> Result<SystemdSocket, ParseError> {
    let name = arguments.key("name", Argument::text)?;
    let index = arguments.key("index", Argument::number)?;
    match (&name, index) {
        (None, None) => Err(arguments.missing("name", "it is missing; write name=NAME or index=N")),
        _ => Ok(SystemdSocket { name, index }),
    }
}

/// Number of the first passed descriptor. (sd_listen_fds(3), SD_LISTEN_FDS_START.)
const FIRST_FD: RawFd = 3;
/// More descriptors than any process may have open.
const MAX_FDS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(process: u32, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        passed_names(process, |want| {
            variables.iter().find(|(name, _)| *name == want).map(|(_, value)| (*value).to_owned())
        })
    }

    fn number(text: &str, names: &[&str]) -> Result<RawFd, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        systemd(&mut Arguments::of(text).unwrap()).unwrap().find(&names)
    }

    #[test]
    fn what_systemd_passed_is_read_from_the_environment() {
        let two = [("LISTEN_FDS", "2"), ("LISTEN_PID", "7"), ("LISTEN_FDNAMES", "web:admin")];
        assert_eq!(names(7, &two).unwrap(), ["web", "admin"]);
        assert!(names(8, &two).unwrap_err().contains("LISTEN_PID"));
        assert_eq!(names(7, &two[..2]).unwrap(), ["unknown", "unknown"]);
        assert!(names(7, &two[1..]).unwrap_err().contains("no sockets"));
        assert!(names(7, &[("LISTEN_FDS", "2")]).unwrap_err().contains("LISTEN_PID"));
        for bad in ["", "-1", "many", "99999999999"] {
            assert!(names(7, &[("LISTEN_FDS", bad), ("LISTEN_PID", "7")]).is_err());
        }
    }

    #[test]
    fn a_socket_is_found_by_name_and_by_index() {
        let names = ["web", "admin", "web"];
        for (text, found) in [
            ("systemd:name=admin", 4),
            ("systemd:index=2", 5),
            ("systemd:name=web", 3),
            ("systemd:name=web:index=1", 5),
        ] {
            assert_eq!(number(text, &names), Ok(found), "{text}");
        }
        for text in ["systemd:name=other", "systemd:index=3", "systemd:name=admin:index=1"] {
            assert!(number(text, &names).unwrap_err().contains("web, admin, web"), "{text}");
        }
    }
}
