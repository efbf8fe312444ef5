//! Values that factories and layers keep with a connection until it is lost.

use std::any::Any;

/// Values that a connection holds until it is lost. They are dropped before the protocol's
/// `connection_lost`, or when the connection is closed without a protocol: the last one first, each
/// on its own, so that a panic in a drop concerns no other.
///
/// A policy holds a guard whose `Drop` undoes what the policy has done: it frees a slot, or returns
/// a permit. Factories reach them by [`BuildContext::guards`](crate::BuildContext::guards), layers
/// by [`LayerContext::guards`](crate::LayerContext::guards). Several values of one type can be
/// held, for example by two nested limits; so a policy finds its own by a test:
///
/// ```
/// use std::rc::Rc;
///
/// use twistor::ConnectionGuards;
///
/// struct Permit(Rc<str>);
///
/// let (disk, network): (Rc<str>, Rc<str>) = ("disk".into(), "network".into());
/// let mut guards = ConnectionGuards::default();
/// guards.hold(Permit(Rc::clone(&disk)));
/// guards.hold(Permit(Rc::clone(&network)));
/// assert!(guards.find(|Permit(of)| Rc::ptr_eq(of, &disk)).is_some());
///
/// let returned = guards.release(|Permit(of)| Rc::ptr_eq(of, &disk));
/// assert!(returned.is_some_and(|Permit(of)| &*of == "disk"));
/// assert!(guards.find(|Permit(of)| Rc::ptr_eq(of, &disk)).is_none());
/// ```
#[derive(Default)]
pub struct ConnectionGuards(Vec<Box<dyn Any>>);

impl ConnectionGuards {
    /// Holds a value until the connection is lost. If the connection is gone already, the value is
    /// dropped when the callback returns.
    pub fn hold<T: 'static>(&mut self, guard: T) {
        self.0.push(Box::new(guard));
    }

    /// Returns the first value of type `T` that passes the test.
    pub fn find<T: 'static>(&self, test: impl Fn(&T) -> bool) -> Option<&T> {
        self.0.iter().filter_map(|guard| guard.downcast_ref()).find(|guard| test(guard))
    }

    /// Removes and returns the first value of type `T` that passes the test.
    pub fn release<T: 'static>(&mut self, test: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.0.iter().position(|guard| guard.downcast_ref().is_some_and(&test))?;
        self.0.remove(index).downcast().ok().map(|guard| *guard)
    }

    /// Removes and returns the value held last.
    pub(in crate::reactor) fn pop(&mut self) -> Option<Box<dyn Any>> {
        self.0.pop()
    }
}
