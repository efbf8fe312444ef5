//! Producers: sources of bytes that a transport pauses and resumes.

use crate::reactor::{Reactor, Transport};

/// A source of bytes that a transport controls. (Twisted: `IPushProducer`, `IPullProducer`.)
#[doc(alias("IPushProducer", "IPullProducer", "IProducer"))]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a producer",
    label = "does not implement `Producer`",
    note = "implement `Producer` for it: `resume_producing` is the only method without a default"
)]
pub trait Producer: 'static {
    /// Push producer: continue producing. Pull producer: write the next piece now.
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&mut self, transport: &mut Transport<'_>);

    /// Push producer: stop producing until resumed. Not called for a pull producer.
    #[doc(alias = "pauseProducing")]
    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        let _ = transport;
    }

    /// The connection is lost and consumes no more data. Called before the protocol's
    /// `connection_lost`.
    #[doc(alias = "stopProducing")]
    fn stop_producing(&mut self, reactor: &mut Reactor) {
        let _ = reactor;
    }
}

/// The kind of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "streaming")]
pub enum ProducerKind {
    /// Writes by itself until it is paused. (Twisted: `streaming=True`.)
    Push,
    /// Writes one piece per call. The calls come at once, and when all data was sent.
    ///
    /// A call that writes nothing is repeated after 1 ms, then after twice the time, up to 100 ms.
    /// It comes sooner when other data has been sent, and after
    /// [`Transport::resume_producer`](crate::reactor::Transport::resume_producer).
    Pull,
}
