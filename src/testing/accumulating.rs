//! A protocol that records its callbacks.

use crate::{Address, Protocol, Reason, Transport};

/// A protocol that records received data and the start and end of its connection. (Twisted:
/// `AccumulatingProtocol`.) It writes nothing, and closes when its peer does, unless
/// [`stays_open`](AccumulatingProtocol::stays_open).
///
/// ```
/// use twistor::Reason;
/// use twistor::testing::{AccumulatingProtocol, StringTransport};
///
/// let mut transport = StringTransport::new(AccumulatingProtocol::default());
/// transport.feed(b"one ");
/// transport.feed(b"two");
/// transport.finish();
/// transport.with(|seen, _| {
///     assert_eq!(seen.data, b"one two");
///     assert_eq!(seen.pieces, [4, 3]);
///     assert_eq!(seen.lost, Some(Reason::Done));
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccumulatingProtocol {
    /// Leaves the connection open after the peer's FIN. Default: false.
    pub stays_open: bool,
    /// The peer's address, once the connection is made.
    pub peer: Option<Address>,
    /// The number of `connection_made` calls.
    pub made: usize,
    /// All received bytes.
    pub data: Vec<u8>,
    /// The length of the data of each `data_received`.
    pub pieces: Vec<usize>,
    /// `read_connection_lost` was called: the peer has closed its write side.
    pub read_lost: bool,
    /// `write_connection_lost` was called: the requested half-close is complete.
    pub write_lost: bool,
    /// The number of `pause_writing` calls.
    pub paused: usize,
    /// The number of `resume_writing` calls.
    pub resumed: usize,
    /// The number of `connection_lost` calls.
    pub closed: usize,
    /// The reason of the loss.
    pub lost: Option<Reason>,
}

impl Protocol for AccumulatingProtocol {
    fn connection_made(&mut self, transport: &mut Transport<'_>) {
        self.made += 1;
        self.peer = Some(transport.peer().clone());
    }

    fn data_received(&mut self, _: &mut Transport<'_>, data: &[u8]) {
        self.data.extend_from_slice(data);
        self.pieces.push(data.len());
    }

    fn read_connection_lost(&mut self, transport: &mut Transport<'_>) {
        self.read_lost = true;
        if !self.stays_open {
            transport.lose_connection();
        }
    }

    fn write_connection_lost(&mut self, _: &mut Transport<'_>) {
        self.write_lost = true;
    }

    fn pause_writing(&mut self, _: &mut Transport<'_>) {
        self.paused += 1;
    }

    fn resume_writing(&mut self, _: &mut Transport<'_>) {
        self.resumed += 1;
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.closed += 1;
        self.lost = Some(reason.clone());
    }
}
