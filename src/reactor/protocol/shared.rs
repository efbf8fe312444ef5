//! One factory for several listeners and connectors.

use std::cell::RefCell;
use std::rc::Rc;

use crate::reactor::{BuildContext, ClientFactory, Connector, Factory, Layer, Protocol, Reactor, Reason};

/// Shares one factory between several listeners and connectors.
///
/// All clones are the same factory. It is started at the first use of any clone and stopped after
/// the last. (Twisted counts in `doStart` and `doStop`.)
///
/// ```
/// # struct Echo;
/// # impl twistor::Protocol for Echo {
/// #     fn data_received(&mut self, _: &mut twistor::Transport<'_>, _: &[u8]) {}
/// # }
/// # let mut reactor = twistor::Reactor::new()?;
/// let echo = twistor::shared(|| Echo);
/// reactor.listen_tcp("127.0.0.1:0", echo.clone())?;
/// reactor.listen_tcp("127.0.0.1:0", echo)?;
/// # Ok::<(), twistor::Error>(())
/// ```
pub fn shared<F: Factory>(factory: F) -> Shared<F> {
    Shared(Rc::new(RefCell::new(Counted { factory, uses: 0 })))
}

/// A shared factory; see [`shared`].
pub struct Shared<F>(Rc<RefCell<Counted<F>>>);

struct Counted<F> {
    factory: F,
    uses: usize,
}

impl<F> Shared<F> {
    /// Calls `look` with the factory. Returns `None` inside one of its own callbacks.
    pub fn with_factory<R>(&self, look: impl FnOnce(&mut F) -> R) -> Option<R> {
        Some(look(&mut self.0.try_borrow_mut().ok()?.factory))
    }
}

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Shared<F> {
        Shared(Rc::clone(&self.0))
    }
}

impl<F: Factory> Factory for Shared<F> {
    fn build_protocol(&mut self, context: &mut BuildContext<'_>) -> Option<Box<dyn Protocol>> {
        self.0.try_borrow_mut().ok()?.factory.build_protocol(context)
    }

    fn layers(&mut self, context: &mut BuildContext<'_>) -> Vec<Box<dyn Layer>> {
        match self.0.try_borrow_mut() {
            Ok(mut counted) => counted.factory.layers(context),
            // Inside one of its own callbacks.
            Err(_) => {
                context.reject();
                Vec::new()
            }
        }
    }

    fn start_factory(&mut self, reactor: &mut Reactor) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.uses += 1;
            if counted.uses == 1 {
                counted.factory.start_factory(reactor);
            }
        }
    }

    fn stop_factory(&mut self, reactor: &mut Reactor) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.uses = counted.uses.saturating_sub(1);
            if counted.uses == 0 {
                counted.factory.stop_factory(reactor);
            }
        }
    }
}

impl<F: ClientFactory> ClientFactory for Shared<F> {
    fn started_connecting(&mut self, connector: &mut Connector<'_>) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.factory.started_connecting(connector);
        }
    }

    fn client_connection_failed(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.factory.client_connection_failed(connector, reason);
        }
    }

    fn client_connection_lost(&mut self, connector: &mut Connector<'_>, reason: &Reason) {
        if let Ok(mut counted) = self.0.try_borrow_mut() {
            counted.factory.client_connection_lost(connector, reason);
        }
    }
}
