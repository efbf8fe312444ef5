//! twistor: an event-driven network framework with Twisted's vocabulary.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod net;
mod reactor;

pub use reactor::{
    Address, BadAddress, ClientFactory, ConnectTcp, ConnectionId, Connector, ConnectorId, ConnectorState,
    DelayedCall, Error, Factory, Hold, Instant, JobPanicked, ListenTcp, Listener, Phase, Place, Producer,
    ProducerKind, Protocol, Reactor, Reason, Remote, Result, Settings, Shared, Signal, SlowCallback,
    Statistics, SystemError, SystemEvent, Transport, TriggerId, factory, shared,
};
