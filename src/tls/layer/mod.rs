//! The layer of one connection.

mod handshake;
mod role;

use std::io::{self, BufRead, Read, Write};

use rustls::{Connection, IoState};

use self::handshake::Handshake;
pub(in crate::tls) use self::role::{Limits, Role, Shared};
use crate::tls::clock::with_clock;
use crate::tls::error::sorted;
use crate::tls::verify::take_findings;
use crate::tls::{CertificateProblem, TlsError};
use crate::{Layer, LayerContext, Reactor, Reason, WallClock};

/// The layer that encrypts one connection. [`TlsConnector::layer`](crate::tls::TlsConnector::layer)
/// and [`TlsAcceptor::layer`](crate::tls::TlsAcceptor::layer) make it. What a protocol above it
/// sees is in the docs of [the module](crate::tls).
#[doc(alias("TLSMemoryBIOProtocol", "SslStream", "TlsStream"))]
pub struct TlsLayer {
    state: State,
}

#[expect(clippy::large_enum_variant, reason = "the layer is in a box, and its usual state is `Open`")]
enum State {
    /// The layer was not started.
    New(Role),
    /// The handshake runs.
    Handshake(Box<Handshake>),
    Open(Session),
    /// An error, or the end of the connection.
    Ended,
}

/// A session whose handshake is completed.
struct Session {
    connection: Connection,
    /// The clock for tickets that a client receives. Servers need none.
    clock: Option<WallClock>,
    allow_truncation: bool,
    /// The peer has sent `close_notify`.
    input_ended: bool,
}

impl TlsLayer {
    pub(super) fn new(role: Role) -> TlsLayer {
        TlsLayer { state: State::New(role) }
    }

    /// Notes that TLS starts in mid-connection, for the text of errors.
    pub(super) fn in_mid_connection(mut self) -> TlsLayer {
        if let State::New(Role::Client { mid_connection, .. } | Role::Server { mid_connection, .. }) =
            &mut self.state
        {
            *mid_connection = true;
        }
        self
    }

    /// Ends the connection with an error. An alert that was passed down in the same call leaves
    /// first.
    fn fail(&mut self, below: &mut LayerContext<'_>, error: TlsError) {
        if let State::Handshake(handshake) = &self.state {
            handshake.log_failure(below, &error);
        }
        self.state = State::Ended;
        below.cancel_timer();
        below.end(error.into_layer_error());
    }

    fn receive_handshake(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        let State::Handshake(handshake) = &mut self.state else { return };
        let rest = match handshake.receive(below, data) {
            Ok(Some(rest)) => rest,
            Ok(None) => return,
            Err(error) => return self.fail(below, error),
        };
        let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Ended) else { return };
        match handshake.complete(below) {
            Ok(session) => {
                self.state = State::Open(session);
                // Input that came with the last message of the handshake.
                self.receive(below, rest);
            }
            Err(error) => below.end(error.into_layer_error()),
        }
    }

    fn receive(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        let State::Open(session) = &mut self.state else { return };
        if let Err(error) = session.receive(below, data) {
            self.fail(below, error);
        }
    }
}

impl Layer for TlsLayer {
    fn started(&mut self, below: &mut LayerContext<'_>) {
        let State::New(role) = std::mem::replace(&mut self.state, State::Ended) else { return };
        match Handshake::start(role, below) {
            Ok(handshake) => self.state = State::Handshake(Box::new(handshake)),
            Err(error) => below.end(error.into_layer_error()),
        }
    }

    fn data_received(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        match &self.state {
            State::Open(_) => self.receive(below, data),
            State::Handshake(_) => self.receive_handshake(below, data),
            State::New(_) | State::Ended => {}
        }
    }

    fn data_written(&mut self, below: &mut LayerContext<'_>, data: &[u8]) {
        match &mut self.state {
            State::Open(session) => session.write(below, data),
            State::Handshake(handshake) => handshake.output.extend_from_slice(data),
            State::New(_) | State::Ended => {}
        }
    }

    fn read_ended(&mut self, below: &mut LayerContext<'_>) {
        match &mut self.state {
            State::Open(session) if session.input_ended => {}
            State::Open(session) if session.allow_truncation => {
                session.input_ended = true;
                below.pass_eof_up();
            }
            State::Open(_) => self.fail(below, TlsError::Truncated),
            // A health check, for example: it connects and closes without sending anything.
            State::Handshake(handshake) if handshake.is_unasked() => below.close(None),
            State::Handshake(_) => self.fail(below, TlsError::ClosedInHandshake),
            State::New(_) | State::Ended => {}
        }
    }

    fn write_closing(&mut self, below: &mut LayerContext<'_>) {
        match &mut self.state {
            State::Open(session) => session.close(below),
            // What was written is sent once the handshake is completed.
            State::Handshake(handshake) if !handshake.output.is_empty() => handshake.closing = true,
            State::Handshake(handshake) => {
                handshake.connection.send_close_notify();
                send_records(&mut handshake.connection, below);
                below.pass_eof_down();
            }
            State::New(_) | State::Ended => below.pass_eof_down(),
        }
    }

    fn timer_expired(&mut self, below: &mut LayerContext<'_>) {
        if let State::Handshake(handshake) = &self.state {
            let limit = handshake.limits().handshake_timeout;
            self.fail(below, TlsError::HandshakeTimedOut(limit));
        }
    }

    fn buffered(&self) -> usize {
        match &self.state {
            State::Handshake(handshake) => handshake.output.len(),
            State::New(_) | State::Open(_) | State::Ended => 0,
        }
    }

    fn connection_lost(&mut self, _: &mut Reactor, _: &Reason) {
        self.state = State::Ended;
    }
}

impl Session {
    fn receive(&mut self, below: &mut LayerContext<'_>, mut data: &[u8]) -> Result<(), TlsError> {
        let large = data.len() > READ_SIZE;
        while !data.is_empty() && !self.input_ended {
            let processed = with_clock(&self.clock, || process(&mut self.connection, &mut data));
            self.pass_on(below, processed)?;
        }
        if large {
            self.release_memory();
        }
        Ok(())
    }

    /// Releases the memory of a long record or message. rustls does that when it reads again. This
    /// is such a read, which fails, so that an idle connection has a small buffer.
    fn release_memory(&mut self) {
        let _ = self.connection.read_tls(&mut NoInput);
    }

    /// Passes on what input has led to: plain text up, records down, and the end of the input.
    #[inline]
    fn pass_on(
        &mut self,
        below: &mut LayerContext<'_>,
        processed: Result<IoState, Refusal>,
    ) -> Result<(), TlsError> {
        let state = match processed {
            Ok(state) => state,
            Err(refusal) => {
                // Authentic data in front of an error is delivered.
                self.deliver(below);
                send_records(&mut self.connection, below);
                return Err(*refusal);
            }
        };
        if state.plaintext_bytes_to_read() > 0 {
            self.deliver(below);
        }
        if state.tls_bytes_to_write() > 0 {
            send_records(&mut self.connection, below);
        }
        if state.peer_has_closed() && !self.input_ended {
            self.input_ended = true;
            below.pass_eof_up();
        }
        Ok(())
    }

    fn deliver(&mut self, below: &mut LayerContext<'_>) {
        loop {
            let mut reader = self.connection.reader();
            let count = match reader.fill_buf() {
                Ok(plain) if !plain.is_empty() => {
                    below.pass_up(plain);
                    plain.len()
                }
                _ => return,
            };
            reader.consume(count);
        }
    }

    /// Encrypts output. At most 64 KiB of it are records that were not passed on.
    fn write(&mut self, below: &mut LayerContext<'_>, mut data: &[u8]) {
        while !data.is_empty() {
            let count = self.connection.writer().write(data).unwrap_or(0);
            if count == 0 && !self.connection.wants_write() {
                // The session has failed: the layer ends the connection.
                return;
            }
            send_records(&mut self.connection, below);
            data = data.get(count..).unwrap_or_default();
        }
    }

    fn close(&mut self, below: &mut LayerContext<'_>) {
        self.connection.send_close_notify();
        send_records(&mut self.connection, below);
        below.pass_eof_down();
    }
}

/// An error, in a box: results without one are small.
type Refusal = Box<TlsError>;

/// Gives rustls input, and processes it. Input after a `close_notify` is ignored.
#[inline]
fn process(connection: &mut Connection, data: &mut &[u8]) -> Result<IoState, Refusal> {
    let before = data.len();
    // It takes at most `READ_SIZE` at once.
    let read = connection.read_tls(data);
    match connection.process_new_packets() {
        Ok(state) if data.len() < before && read.is_ok() => Ok(state),
        Ok(state) if state.peer_has_closed() => Ok(state),
        // It would never take the rest.
        Ok(_) => Err(Box::new(TlsError::Protocol(rustls::Error::PeerSentOversizedRecord))),
        Err(error) => Err(refusal(error)),
    }
}

#[cold]
fn refusal(error: rustls::Error) -> Refusal {
    let findings = take_findings();
    Box::new(match findings.unknown_name {
        Some(name) => TlsError::UnknownServerName(name),
        None => sorted(error, findings.problem),
    })
}

/// Passes records down, each as it is.
fn send_records(connection: &mut Connection, below: &mut LayerContext<'_>) {
    while connection.wants_write() {
        if connection.write_tls(&mut Below(below)).is_err() {
            return;
        }
    }
}

/// A source without input.
struct NoInput;

impl Read for NoInput {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The layer below as a writer that takes everything.
struct Below<'a, 'b>(&'a mut LayerContext<'b>);

impl Write for Below<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.pass_down(data);
        Ok(data.len())
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut count = 0;
        for piece in pieces {
            self.0.pass_down(piece);
            count += piece.len();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The problem of a certificate whose dates do not fit any more.
fn date_problem(der: &[u8], now: std::time::SystemTime) -> Option<CertificateProblem> {
    let (not_before, not_after) = crate::tls::certificate::validity(der)?;
    if now > not_after {
        return Some(CertificateProblem::Expired { not_after, now });
    }
    (now < not_before).then_some(CertificateProblem::NotYetValid { not_before, now })
}

/// Bytes that rustls reads at once, and the memory that it keeps for input.
const READ_SIZE: usize = 4096;
