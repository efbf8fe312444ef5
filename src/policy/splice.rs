//! Two connections joined into one.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use crate::{ConnectionId, Error, Instant, Layer, LayerContext, Reactor, Reason, Result};

/// Joins two connections: all input of each is written to the other, until both have ended. Then
/// `done` is called. (HAProxy and nginx: TCP mode; Twisted: the two sides of `portforward`. Tasks
/// use [`copy_bidirectional`](crate::stream::copy_bidirectional).)
///
/// It works on any two open connections of this reactor, of any kind and with any layers, also
/// from their own callbacks. It adds a [`Layer`] on top of each. Their protocols stay in place.
/// They get no more input and no `read_connection_lost`. Their other callbacks, writes and closes
/// still work.
///
/// - **Backpressure.** Reading of one side pauses while the other has more unsent bytes than the
///   high-water mark, and resumes below the low one. A side holds at most the high-water mark and
///   one read, in bytes, besides data that the lower layers of the other release at once.
/// - **Half-close.** The end of one side's input is passed on as a half-close, after all bytes.
///   When both inputs have ended, both connections are closed.
/// - **Close.** A side that is closed here in good order ([`Reason::is_clean`]) closes the other
///   after all bytes were sent.
/// - **Errors.** When a side is lost for any other reason, such as a reset, the other side sends
///   the bytes that it has got, for at most
///   [`Settings::close_timeout`](crate::Settings::close_timeout), and is aborted, so that its peer
///   does not take a part for the whole. As in every abort, the kernel may discard what the peer
///   has not acknowledged.
///
/// The call resumes reading on both sides. Input that a protocol has received before is not passed
/// on, and neither is its end: write such input to the other side before the call, and pause
/// reading until then.
///
/// ```
/// use twistor::policy::splice;
/// use twistor::{ConnectionId, Protocol, Transport};
///
/// /// The connection to the target of a proxy, made for a client whose reading is paused.
/// struct Target {
///     client: ConnectionId,
/// }
///
/// impl Protocol for Target {
///     fn connection_made(&mut self, transport: &mut Transport<'_>) {
///         let own = transport.id();
///         let spliced = splice(transport.reactor(), self.client, own, |_, ended| {
///             println!("{} bytes there, {} back: {}", ended.a_to_b, ended.b_to_a, ended.reason);
///         });
///         if spliced.is_err() {
///             // The client has gone.
///             transport.abort_connection();
///         }
///     }
///     fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
/// }
/// # let _ = |client: ConnectionId| Target { client };
/// ```
///
/// # Errors
/// [`Error::NotConnected`] if one of the connections is closing or gone, or if they are the same.
/// Nothing is changed then.
#[doc(alias = "copy_bidirectional")]
pub fn splice(
    reactor: &mut Reactor,
    a: ConnectionId,
    b: ConnectionId,
    done: impl FnOnce(&mut Reactor, SpliceResult) + 'static,
) -> Result<()> {
    let mut open = |id| reactor.transport(id).is_some_and(|transport| !transport.is_closing());
    if a == b || !open(a) || !open(b) {
        return Err(Error::NotConnected);
    }
    let high_water = reactor.settings().high_water.min(reactor.settings().write_buffer_limit);
    let joint = Rc::new(Joint {
        a: Side::new(a),
        b: Side::new(b),
        high_water,
        reason: OnceCell::new(),
        done: Cell::new(Some(Box::new(done))),
    });
    for (id, is_a) in [(a, true), (b, false)] {
        if let Some(mut transport) = reactor.transport(id) {
            transport.add_layer(SpliceLayer { joint: Rc::clone(&joint), is_a, watching: false });
            transport.resume_reading();
        }
    }
    Ok(())
}

/// The end of two joined connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpliceResult {
    /// Bytes received from the first connection and written to the second.
    pub a_to_b: u64,
    /// Bytes received from the second connection and written to the first.
    pub b_to_a: u64,
    /// The reason of the connection that was lost first.
    pub reason: Reason,
}

/// State shared by both layers. No value is borrowed while user code runs.
struct Joint {
    a: Side,
    b: Side,
    high_water: usize,
    /// The reason of the first loss.
    reason: OnceCell<Reason>,
    done: Cell<Option<Done>>,
}

type Done = Box<dyn FnOnce(&mut Reactor, SpliceResult)>;

/// State of one connection.
struct Side {
    id: ConnectionId,
    /// Bytes received here and written to the other side.
    passed_on: Cell<u64>,
    /// Reading is paused because the other side has too many unsent bytes.
    paused: Cell<bool>,
    /// The end of the input was passed on.
    ended: Cell<bool>,
    lost: Cell<bool>,
}

impl Side {
    fn new(id: ConnectionId) -> Side {
        Side {
            id,
            passed_on: Cell::new(0),
            paused: Cell::new(false),
            ended: Cell::new(false),
            lost: Cell::new(false),
        }
    }

    /// Closes the connection after the other one was lost in good order.
    fn close(&self, reactor: &mut Reactor) {
        if let Some(mut transport) = reactor.transport(self.id) {
            transport.lose_connection();
        }
    }

    /// Aborts the connection after the other one was lost with an error.
    fn abort(&self, reactor: &mut Reactor) {
        if let Some(mut transport) = reactor.transport(self.id) {
            // Its input has no receiver any more.
            transport.pause_reading();
        }
        let last = reactor.now() + reactor.settings().close_timeout;
        abort_when_sent(reactor, self.id, last);
    }
}

/// Aborts a connection when its output is sent, or at `last`.
fn abort_when_sent(reactor: &mut Reactor, id: ConnectionId, last: Instant) {
    let late = reactor.now() >= last;
    let Some(mut transport) = reactor.transport(id) else { return };
    if late || transport.write_buffer_size() == 0 {
        return transport.abort_connection();
    }
    // Seldom, so a look now and then is simpler than an event for each send.
    reactor.call_later(ABORT_INTERVAL, move |reactor| abort_when_sent(reactor, id, last));
}

/// Interval of the looks at the output of a connection that is to be aborted.
const ABORT_INTERVAL: Duration = Duration::from_millis(5);

/// The layer of one side.
struct SpliceLayer {
    joint: Rc<Joint>,
    is_a: bool,
    /// `sent` is called.
    watching: bool,
}

impl SpliceLayer {
    fn own(&self) -> &Side {
        if self.is_a { &self.joint.a } else { &self.joint.b }
    }

    fn other(&self) -> &Side {
        if self.is_a { &self.joint.b } else { &self.joint.a }
    }
}

impl Layer for SpliceLayer {
    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        let (own, other) = (self.own(), self.other());
        let Some(mut target) = below.reactor().transport(other.id) else { return };
        let before = target.write_buffer_size();
        target.write(data);
        let unsent = target.write_buffer_size();
        if unsent <= before {
            // The output is closed, so the data has no receiver.
            return;
        }
        own.passed_on.set(own.passed_on.get() + data.len() as u64);
        let full = unsent > self.joint.high_water || target.writing_paused();
        if full && let Some(mut source) = below.reactor().transport(own.id) {
            own.paused.set(true);
            source.pause_reading();
        }
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        // The calls of `sent` cost something, so they begin with the first pause. It was made after
        // a write, which comes here later.
        if !self.watching && self.other().paused.get() {
            self.watching = true;
            below.watch_sent();
        }
        below.pass_down(data);
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        let (own, other) = (self.own(), self.other());
        own.ended.set(true);
        if let Some(mut target) = below.reactor().transport(other.id) {
            target.lose_write_connection();
        }
        if other.ended.get() {
            own.close(below.reactor());
            other.close(below.reactor());
        }
    }

    fn sent(&mut self, below: &mut LayerContext<'_>, _: usize) {
        let (own, other) = (self.own(), self.other());
        let Some(target) = below.reactor().transport(own.id) else { return };
        let unsent = target.write_buffer_size();
        // The water marks are updated after this call, so they may say that writing is paused when
        // all is sent. With less sent, this is called again.
        let has_room = unsent == 0 || (unsent <= self.joint.high_water / 4 && !target.writing_paused());
        if has_room
            && other.paused.replace(false)
            && let Some(mut source) = below.reactor().transport(other.id)
        {
            source.resume_reading();
        }
    }

    fn connection_lost(&mut self, reactor: &mut Reactor, reason: &Reason) {
        let (own, other) = (self.own(), self.other());
        own.lost.set(true);
        let _ = self.joint.reason.set(reason.clone());
        match other.lost.get() {
            // The reactor ends the other connection too.
            false if *reason == Reason::Stopped => {}
            false if reason.is_clean() => other.close(reactor),
            false => other.abort(reactor),
            true => {
                if let Some(done) = self.joint.done.take() {
                    let reason = self.joint.reason.get().unwrap_or(reason).clone();
                    let (a_to_b, b_to_a) = (self.joint.a.passed_on.get(), self.joint.b.passed_on.get());
                    done(reactor, SpliceResult { a_to_b, b_to_a, reason });
                }
            }
        }
    }
}
