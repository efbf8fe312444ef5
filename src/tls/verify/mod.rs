//! Verification of the peer's certificates: that of webpki, pinned keys, and a record of what was
//! found.

mod problem;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hash::{Hash, HashAlgorithm};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme, SupportedCipherSuite,
};

pub use self::problem::CertificateProblem;

/// The findings of a verifier in the current call of rustls, for the layer that made it. A verifier
/// is shared by all connections of a configuration, so they are kept for the thread.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problem: Option<CertificateProblem>,
    /// The peer has stapled an OCSP response to its certificate.
    pub(super) ocsp_stapled: bool,
    /// The server name that no certificate is for.
    pub(super) unknown_name: Option<String>,
}

/// Takes the findings since the last call.
pub(super) fn take_findings() -> Findings {
    FINDINGS.take()
}

pub(super) fn note(change: impl FnOnce(&mut Findings)) {
    FINDINGS.with_borrow_mut(change);
}

thread_local! {
    static FINDINGS: RefCell<Findings> = RefCell::default();
}

/// The verifier of servers' certificates.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None`: only the pinned keys are trusted.
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    /// SHA-256 hashes of public keys. Empty: every key.
    pub(super) pins: Vec<[u8; 32]>,
    /// Whether a certificate with a problem is refused.
    pub(super) enforced: bool,
    /// There is one if keys are pinned.
    pub(super) hash: Option<Sha256>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), (Error, CertificateProblem)> {
        if let Some(chain) = &self.chain
            && let Err(error) = chain.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        {
            let problem = problem_of(&error, end_entity, intermediates);
            return Err((error, problem));
        }
        let Some(hash) = self.hash.filter(|_| !self.pins.is_empty()) else { return Ok(()) };
        let key = match ParsedCertificate::try_from(end_entity) {
            Ok(parsed) => hash.of(parsed.subject_public_key_info().as_ref()),
            Err(error) => return Err((error, CertificateProblem::Malformed)),
        };
        match self.pins.contains(&key) {
            true => Ok(()),
            false => {
                let error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
                Err((error, CertificateProblem::WrongKey(key)))
            }
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let result = self.check(end_entity, intermediates, server_name, ocsp_response, now);
        note(|findings| findings.ocsp_stapled = !ocsp_response.is_empty());
        if let Err((error, problem)) = result {
            note(|findings| findings.problem = Some(problem));
            if self.enforced {
                return Err(error);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The verifier of clients' certificates. It only notes what the inner one finds.
#[derive(Debug)]
pub(super) struct ClientVerifier(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let result = self.0.verify_client_cert(end_entity, intermediates, now);
        if let Err(error) = &result {
            let problem = problem_of(error, end_entity, intermediates);
            note(|findings| findings.problem = Some(problem));
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn problem_of(
    error: &Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> CertificateProblem {
    match error {
        Error::InvalidCertificate(error) => CertificateProblem::new(error, end_entity, intermediates),
        other => CertificateProblem::Other(other.to_string()),
    }
}

/// SHA-256 of a crypto provider.
#[derive(Clone, Copy)]
pub(super) struct Sha256(&'static dyn Hash);

impl Sha256 {
    /// Returns the hash function of a provider, which it has as a part of its cipher suites.
    pub(super) fn of_provider(provider: &CryptoProvider) -> Option<Sha256> {
        let hashes = provider.cipher_suites.iter().map(|suite| match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        });
        let mut fitting = hashes.filter(|hash| hash.algorithm() == HashAlgorithm::SHA256);
        fitting.next().map(Sha256)
    }

    pub(super) fn of(self, data: &[u8]) -> [u8; 32] {
        let mut output = [0; 32];
        for (place, byte) in output.iter_mut().zip(self.0.hash(data).as_ref()) {
            *place = *byte;
        }
        output
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}
