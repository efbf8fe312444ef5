//! A protocol that keeps what it hears.

use crate::{Address, Protocol, Reason, Transport};

/// Keeps all that comes, and how it began and ended. (Twisted: `AccumulatingProtocol`.) It says nothing by itself, and closes
/// when its peer does, unless [`stays_open`](AccumulatingProtocol::stays_open).
///
/// ```
/// use twistor::Reason;
/// use twistor::testing::{AccumulatingProtocol, StringTransport};
///
/// let mut transport = StringTransport::client(AccumulatingProtocol::default());
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
    /// Leave the connection open when the peer has ended its direction. Default: no.
    pub stays_open: bool,
    /// The peer, once the connection is made.
    pub peer: Option<Address>,
    /// How often `connection_made` came.
    pub made: usize,
    /// All that came.
    pub data: Vec<u8>,
    /// How many bytes each `data_received` had.
    pub pieces: Vec<usize>,
    /// The peer has ended its direction.
    pub read_lost: bool,
    /// Our direction has ended, as it was asked to.
    pub write_lost: bool,
    /// How often `pause_writing` and `resume_writing` came.
    pub paused: usize,
    /// See [`paused`](AccumulatingProtocol::paused).
    pub resumed: usize,
    /// How often `connection_lost` came.
    pub closed: usize,
    /// Why the connection was lost.
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
