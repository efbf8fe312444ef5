//! Reading: pauses, and input that a protocol keeps or gives back.

use crate::reactor::Transport;
use crate::reactor::connection::{Pauses, State};

/// Whether a connection delivers input ([`Transport::read_state`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    /// Received bytes are processed.
    Reading,
    /// Reading is paused by [`Transport::pause_reading`]. A protocol keeps what it has not
    /// processed.
    Paused,
    /// A layer was added in this callback, so what is not processed was meant for it. A protocol
    /// gives it back by [`Transport::unread`].
    LayerAdded,
    /// The protocol closed the connection, or it is lost. What is not processed is discarded.
    Closed,
}

impl Transport<'_> {
    /// Whether reading is paused by [`pause_reading`](Transport::pause_reading).
    pub fn reading_paused(&self) -> bool {
        self.reactor.registry.connection(self.token).is_some_and(|c| c.pauses.has(Pauses::PROTOCOL))
    }

    /// Stops reading until `resume_reading`. Data and the peer's FIN stay in the kernel. (Twisted:
    /// `pauseProducing`.)
    ///
    /// A connection that fails meanwhile (reset by the peer, keepalive) is lost at once if all
    /// earlier input was delivered. Undelivered input comes first, whether it is in the kernel, in
    /// a layer, or kept by the protocol
    /// ([`schedule_data_received`](Transport::schedule_data_received)). The loss then follows when
    /// reading is resumed, or as soon as a write fails. The kernel reports failures of TCP and UNIX
    /// sockets (EPOLLERR), but not of pipes.
    #[doc(alias("pauseProducing", "stopReading"))]
    pub fn pause_reading(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::PROTOCOL, true);
            if connection.state == State::Broken {
                // Only earlier input was still to be read, and it is no longer wanted.
                self.reactor.finish_broken(self.token);
            }
        }
    }

    /// Resumes reading. (Twisted: `resumeProducing`.)
    #[doc(alias("resumeProducing", "startReading"))]
    pub fn resume_reading(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::PROTOCOL, false);
            let layered = connection.is_layered();
            if layered && connection.layers_keep_input() {
                connection.pauses.set(Pauses::KEPT, true);
            }
            if connection.wants_read()
                || connection.reads_descriptors()
                || connection.pauses.has(Pauses::AGAIN)
            {
                // No edge reports data that is already there.
                self.reactor.schedule_resume(self.token);
            }
            if layered {
                // Output may wait above the layers.
                self.reactor.schedule_flush(self.token);
            }
        }
    }

    /// Schedules one call of `data_received` from the loop, without bytes, as soon as reading is
    /// not paused. For a protocol that was paused in the middle of its input and keeps the rest.
    /// Newer input is delivered after that call.
    ///
    /// ```
    /// use twistor::{Protocol, Transport};
    ///
    /// /// Processes bytes one by one, and pauses at a full stop.
    /// #[derive(Default)]
    /// struct Bytes {
    ///     rest: Vec<u8>,
    /// }
    ///
    /// impl Protocol for Bytes {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         self.rest.extend_from_slice(data);
    ///         while !self.rest.is_empty() {
    ///             if transport.reading_paused() {
    ///                 return transport.schedule_data_received();
    ///             }
    ///             let byte = self.rest.remove(0);
    ///             if byte == b'.' {
    ///                 transport.pause_reading();
    ///             }
    ///         }
    ///     }
    /// }
    /// # let mut transport = twistor::testing::StringTransport::new(Bytes::default());
    /// # transport.feed(b"a.b");
    /// # transport.with(|bytes, _| assert_eq!(bytes.rest, b"b"));
    /// # transport.with(|_, transport| transport.resume_reading());
    /// # transport.with(|bytes, _| assert_eq!(bytes.rest, b""));
    /// ```
    pub fn schedule_data_received(&mut self) {
        if let Some(connection) = self.reactor.registry.connection_mut(self.token) {
            connection.pauses.set(Pauses::AGAIN, true);
            if !connection.pauses.has(Pauses::PROTOCOL) {
                self.reactor.schedule_resume(self.token);
            }
        }
    }

    /// Whether input is delivered now. It changes during a callback, by
    /// [`pause_reading`](Transport::pause_reading) and by closing.
    ///
    /// A protocol that cuts input into messages asks after each message. It keeps the rest while
    /// reading is paused, and asks for another call in time:
    ///
    /// ```
    /// use twistor::{Protocol, ReadState, Transport};
    ///
    /// /// Handles messages of four bytes.
    /// struct Fours<F> {
    ///     rest: Vec<u8>,
    ///     handle: F,
    /// }
    ///
    /// impl<F: FnMut(&mut Transport<'_>, &[u8]) + 'static> Protocol for Fours<F> {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         self.rest.extend_from_slice(data);
    ///         while self.rest.len() >= 4 {
    ///             match transport.read_state() {
    ///                 ReadState::Reading => (self.handle)(transport, &self.rest[..4]),
    ///                 ReadState::Paused => return transport.schedule_data_received(),
    ///                 ReadState::LayerAdded => return transport.unread(&std::mem::take(&mut self.rest)),
    ///                 ReadState::Closed => return,
    ///             }
    ///             self.rest.drain(..4);
    ///         }
    ///     }
    /// }
    /// # let _ = Fours { rest: Vec::new(), handle: |_: &mut Transport<'_>, _: &[u8]| {} };
    /// ```
    #[inline]
    pub fn read_state(&self) -> ReadState {
        match self.reactor.registry.connection(self.token) {
            Some(connection) => match connection.state {
                State::Closing { .. } | State::Lost | State::Lingering => ReadState::Closed,
                _ if !connection.pauses.stops_delivery() => ReadState::Reading,
                _ if connection.pauses.has(Pauses::LAYER_ADDED) => ReadState::LayerAdded,
                _ => ReadState::Paused,
            },
            None => ReadState::Closed,
        }
    }

    /// Gives received bytes back. They come before all other input: to the layer that was added in
    /// this callback, as its first input, or else to `data_received` again, from the loop, as soon
    /// as reading is not paused. Bytes given back later come before earlier ones. Does nothing when
    /// the connection is closing or lost.
    ///
    /// ```
    /// use twistor::{Layer, Protocol, Transport};
    ///
    /// /// Inverts the bits of all bytes.
    /// struct Inverse;
    ///
    /// impl Layer for Inverse {
    ///     fn data_received(&mut self, below: &mut twistor::LayerContext<'_>, data: &[u8]) {
    ///         let data: Vec<u8> = data.iter().map(|byte| !byte).collect();
    ///         below.pass_up(&data);
    ///     }
    /// }
    ///
    /// /// Adds the layer at the first full stop. What follows is the layer's.
    /// struct Starting {
    ///     added: bool,
    ///     seen: Vec<u8>,
    /// }
    ///
    /// impl Protocol for Starting {
    ///     fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
    ///         match data.iter().position(|byte| *byte == b'.').filter(|_| !self.added) {
    ///             Some(stop) => {
    ///                 self.added = true;
    ///                 self.seen.extend_from_slice(&data[..=stop]);
    ///                 transport.add_layer(Inverse);
    ///                 transport.unread(&data[stop + 1..]);
    ///             }
    ///             None => self.seen.extend_from_slice(data),
    ///         }
    ///     }
    /// }
    ///
    /// # let starting = Starting { added: false, seen: Vec::new() };
    /// # let mut transport = twistor::testing::StringTransport::new(starting);
    /// # transport.feed(b"go.");
    /// # transport.feed(&[!b'o', !b'n']);
    /// # transport.with(|starting, _| assert_eq!(starting.seen, b"go.on"));
    /// ```
    pub fn unread(&mut self, data: &[u8]) {
        self.reactor.unread(self.token, data);
    }
}
