//! The resolver of the operating system.

use crate::net::NotAsked;
use crate::reactor::resolve::answers::Answers;
use crate::reactor::settings::LOOKUP_QUEUE;
use crate::reactor::{Error, Query, Reactor, Resolve, Result};

/// The system's resolver: `getaddrinfo` on separate threads. A simulation has names and time of its
/// own. This is the default of a reactor without the feature `dns`.
///
/// Concurrent requests for a name share one look-up. Look-ups start in the order of their requests.
/// At most [`Settings::lookup_threads`](crate::Settings::lookup_threads) run at a time. All
/// addresses come at once, without a TTL.
///
/// # Errors
/// - [`Error::QueueFull`] when 100,000 look-ups are pending.
/// - [`Error::System`] when no thread can be started.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, reactor: &mut Reactor, query: &Query, answers: Answers) -> Result<()> {
        let lookup = answers.lookup();
        let asked = reactor.net.resolve(&query.host, query.port, Box::new(answers.into_callback()));
        let id = asked.map_err(|error| match error {
            NotAsked::QueueFull => Error::QueueFull(LOOKUP_QUEUE),
            NotAsked::NoThread(source) => Error::System { call: "thread", source },
        })?;
        reactor.set_system_lookup(lookup, id);
        Ok(())
    }
}
