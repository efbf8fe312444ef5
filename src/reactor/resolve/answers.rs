//! The resolver's side of a look-up.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::net::{LookedUp, NameError};
use crate::reactor::resolve::{End, Message};
use crate::reactor::threads::Inbox;
use crate::reactor::{Lookup, Reactor};

/// The receiver of a resolver's answers to one look-up. Answers may be given in any thread, and are
/// delivered from the loop in their order. After the look-up was cancelled or has timed out, they
/// are ignored. (Twisted: `IResolutionReceiver`.)
///
/// A drop before the end fails the look-up with
/// [`Reason::LookupFailed`](crate::Reason::LookupFailed).
#[must_use = "dropping it fails the look-up"]
pub struct Answers {
    inbox: Arc<Inbox>,
    lookup: Lookup,
    unordered: bool,
    ended: bool,
}

impl Answers {
    pub(in crate::reactor) fn new(inbox: Arc<Inbox>, lookup: Lookup) -> Answers {
        Answers { inbox, lookup, unordered: false, ended: false }
    }

    /// Declares that the order of the addresses has no meaning, as that of DNS records. They are
    /// then sorted by RFC 6724, with the source addresses that the system has for them. Those that
    /// arrive later are sorted together with those that a connector has not tried yet.
    pub fn unordered(mut self) -> Answers {
        self.unordered = true;
        self
    }

    /// Adds addresses, in the order in which they should be tried, unless they are
    /// [`unordered`](Answers::unordered). `ttl` is the time for which they
    /// are valid. Port 0 stands for the port of the query. Addresses that were added before, or
    /// are not of the query's family, are ignored.
    pub fn add(&self, addresses: impl IntoIterator<Item = SocketAddr>, ttl: Option<Duration>) {
        self.push(addresses, ttl, None);
    }

    /// Ends the look-up. It fails with [`Reason::Unresolved`](crate::Reason::Unresolved) if no
    /// address was added.
    pub fn finish(self) {
        self.finish_with([], None);
    }

    /// Adds the last addresses and ends the look-up, in one step.
    pub fn finish_with(mut self, addresses: impl IntoIterator<Item = SocketAddr>, ttl: Option<Duration>) {
        self.push(addresses, ttl, Some(End::Complete));
        self.ended = true;
    }

    /// Ends the look-up with an error. If addresses were added before, the look-up succeeds with
    /// these, and [`Resolution::incomplete`](crate::Resolution::incomplete) is the error.
    pub fn fail(mut self, error: NameError) {
        self.push([], None, Some(End::Failed(error)));
        self.ended = true;
    }

    /// Registers a call for the case that the look-up is cancelled or times out. The loop calls it
    /// once. It is dropped when the look-up ends in another way or the reactor finishes.
    pub fn on_cancel(&self, reactor: &mut Reactor, call: impl FnOnce(&mut Reactor) + 'static) {
        reactor.on_lookup_cancelled(self.lookup, Box::new(call));
    }

    /// The look-up that this answers.
    pub(in crate::reactor) fn lookup(&self) -> Lookup {
        self.lookup
    }

    /// Converts to a callback for the driver's answer. It reports nothing when it is dropped,
    /// because a driver drops only the callbacks of cancelled look-ups.
    pub(in crate::reactor) fn into_callback(mut self) -> impl FnOnce(LookedUp) + Send {
        self.ended = true;
        let (inbox, lookup, unordered) = (Arc::clone(&self.inbox), self.lookup, self.unordered);
        move |outcome: LookedUp| {
            let (addresses, end) = match outcome.found {
                Ok(addresses) => (addresses, End::Complete),
                Err(error) => (Vec::new(), End::Failed(error)),
            };
            let (began, end) = (Some(outcome.began), Some(end));
            let message = Message { addresses, unordered, ttl: None, began, end };
            send(&inbox, lookup, message);
        }
    }

    fn push(&self, addresses: impl IntoIterator<Item = SocketAddr>, ttl: Option<Duration>, end: Option<End>) {
        let addresses = addresses.into_iter().collect();
        let message = Message { addresses, unordered: self.unordered, ttl, began: None, end };
        send(&self.inbox, self.lookup, message);
    }
}

fn send(inbox: &Inbox, lookup: Lookup, message: Message) {
    // The push fails only if the reactor is gone. Then the answer is not needed.
    let _ = inbox.push(Box::new(move |reactor| reactor.answered(lookup, message)), usize::MAX);
}

impl Drop for Answers {
    fn drop(&mut self) {
        if !self.ended {
            self.push([], None, Some(End::Dropped));
        }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("lookup", &self.lookup).finish_non_exhaustive()
    }
}
