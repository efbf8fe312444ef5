//! The handshake.

use rustls::{Connection, HandshakeKind};

use crate::net::Instant;
use crate::tls::clock::with_clock;
use crate::tls::layer::role::{Limits, Role};
use crate::tls::layer::{Session, date_problem, process, refusal, send_records};
use crate::tls::verify::{Findings, take_findings};
use crate::tls::{TlsError, TlsInfo};
use crate::{LayerContext, WallClock};

/// A session whose handshake runs.
pub(super) struct Handshake {
    pub(super) connection: Connection,
    role: Role,
    clock: Option<WallClock>,
    started: Instant,
    /// Bytes received so far.
    received: usize,
    findings: Findings,
    /// Output that waits for the end of the handshake.
    pub(super) output: Vec<u8>,
    /// The output has ended.
    pub(super) closing: bool,
}

impl Handshake {
    /// Begins. A client sends its first message.
    pub(super) fn start(role: Role, below: &mut LayerContext<'_>) -> Result<Handshake, TlsError> {
        let started = below.now();
        let clock = Some(below.reactor().wall_clock());
        let connection = with_clock(&clock, || role.connection()).map_err(TlsError::Protocol)?;
        below.set_timer(role.shared().limits.handshake_timeout);
        let mut handshake = Handshake {
            connection,
            role,
            clock,
            started,
            received: 0,
            findings: Findings::default(),
            output: Vec::new(),
            closing: false,
        };
        send_records(&mut handshake.connection, below);
        Ok(handshake)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.role.shared().limits
    }

    /// Whether this is a server that has received nothing.
    pub(super) fn is_unasked(&self) -> bool {
        !self.role.is_client() && self.received == 0
    }

    /// Processes input. Returns the rest of it, which is not of the handshake, once that is
    /// completed.
    pub(super) fn receive<'d>(
        &mut self,
        below: &mut LayerContext<'_>,
        mut data: &'d [u8],
    ) -> Result<Option<&'d [u8]>, TlsError> {
        if self.received == 0 && !data.first().is_some_and(|first| may_start_record(*first)) {
            below.pass_down(UNEXPECTED_MESSAGE);
            let start = data.get(..SHOWN_START).unwrap_or(data).to_vec();
            return Err(TlsError::NotTls { start, mid_connection: self.role.is_mid_connection() });
        }
        let limit = self.limits().max_handshake_bytes;
        while !data.is_empty() {
            let allowed = data.len().min(limit.saturating_sub(self.received));
            if allowed == 0 {
                return Err(TlsError::HandshakeTooLarge(limit));
            }
            let mut part = data.get(..allowed).unwrap_or(data);
            let processed = with_clock(&self.clock, || process(&mut self.connection, &mut part));
            let taken = allowed - part.len();
            self.received += taken;
            data = data.get(taken..).unwrap_or_default();
            self.keep(take_findings());
            send_records(&mut self.connection, below);
            // An error behind the end of the handshake is one of the session.
            if !self.connection.is_handshaking() {
                return Ok(Some(data));
            }
            processed.map_err(|refusal| *refusal)?;
        }
        Ok(None)
    }

    fn keep(&mut self, new: Findings) {
        self.findings.ocsp_stapled |= new.ocsp_stapled;
        if new.problem.is_some() {
            self.findings.problem = new.problem;
        }
    }

    /// Completes the handshake, and sends the output that has waited for it.
    pub(super) fn complete(mut self, below: &mut LayerContext<'_>) -> Result<Session, TlsError> {
        below.cancel_timer();
        let info = self.info(below);
        if info.resumed && self.limits().checks_dates {
            let now = below.reactor().system_time();
            if let Some(problem) = info.chain().first().and_then(|own| date_problem(own, now)) {
                self.connection.send_close_notify();
                send_records(&mut self.connection, below);
                let error = TlsError::BadCertificate(problem);
                self.log_failure(below, &error);
                return Err(error);
            }
        }
        below.insert_extension(info);
        below.ready();
        let mut session = Session {
            clock: self.clock.filter(|_| self.role.is_client()),
            allow_truncation: self.role.shared().limits.allow_truncation,
            connection: self.connection,
            input_ended: false,
        };
        session.write(below, &self.output);
        if self.closing {
            session.close(below);
        }
        // Data may have come with the last message of the handshake.
        let state = session.connection.process_new_packets();
        let state = state.map_err(refusal);
        session.pass_on(below, state)?;
        session.release_memory();
        Ok(session)
    }

    fn info(&mut self, below: &LayerContext<'_>) -> TlsInfo {
        let connection = &self.connection;
        let shared = self.role.shared();
        let server_name = match (&self.role, connection) {
            (Role::Client { name, .. }, _) => Some(name.to_str().into()),
            (_, Connection::Server(server)) => server.server_name().map(Into::into),
            (_, Connection::Client(_)) => None,
        };
        TlsInfo {
            version: connection.protocol_version().unwrap_or(rustls::ProtocolVersion::Unknown(0)),
            cipher_suite: connection
                .negotiated_cipher_suite()
                .map_or(rustls::CipherSuite::Unknown(0), |suite| suite.suite()),
            key_exchange: connection.negotiated_key_exchange_group().map(|group| group.name()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            handshake_time: below.now() - self.started,
            ocsp_stapled: self.findings.ocsp_stapled,
            problem: self.findings.problem.take(),
            alpn: connection.alpn_protocol().map(Into::into),
            server_name,
            chain: connection.peer_certificates().map(|chain| shared.shared_chain(chain)),
            hash: shared.hash,
        }
    }

    /// Logs a failure on a server, where no protocol learns of it.
    pub(super) fn log_failure(&self, below: &LayerContext<'_>, error: &TlsError) {
        if !self.role.is_client() {
            let (id, peer, error) = (below.id(), below.peer(), crate::escape::Escaped(error));
            log::info!(connection:% = id, peer:% = peer; "TLS handshake with {peer}: {error}");
        }
    }
}

/// Whether a byte can be the type of a record (RFC 8446, section 5.1), or the start of a
/// ClientHello in the format of SSL 2.
fn may_start_record(byte: u8) -> bool {
    matches!(byte, 20..=23 | 0x80)
}

/// A fatal alert as a record of its own.
const UNEXPECTED_MESSAGE: &[u8] = &[21, 3, 3, 0, 2, 2, 10];

/// Bytes of a peer that speaks no TLS, for the error's text.
const SHOWN_START: usize = 16;
