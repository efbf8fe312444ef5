//! Configurations: what is wrong with them is said, and keys are not shown.

use std::fs;

use rcgen::KeyPair;
use twistor::tls::{
    Certificate, ClientTls, Identity, Roots, ServerTls, TlsAcceptor, TlsConfigError, TlsConnector,
    certificates_from_file, certificates_from_pem,
};

use crate::certificates::{Authority, NAME};
use crate::world::folder::Folder;

fn pem() -> (String, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (chain, _) = pem();
    let (_, key) = pem();
    let identity = Identity::from_pem(chain, key).unwrap();
    let error = TlsAcceptor::new(ServerTls::from(identity)).unwrap_err();
    assert!(matches!(error, TlsConfigError::KeyMismatch(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "the private key does not belong to the certificate of CN=rcgen self signed cert"
    );
}

#[test]
fn bad_pem_is_refused_without_showing_it() {
    let (chain, key) = pem();
    let cut = |text: &str| text[..text.len() - 40].to_owned();
    for (chain, key, expected) in [
        ("", key.as_str(), "the PEM text contains no certificate (BEGIN CERTIFICATE)"),
        (&chain, "", "the PEM text contains no private key (BEGIN PRIVATE KEY)"),
        (&cut(&chain), &key, "the PEM text is not valid PEM: a section has no END line"),
        (&chain, &cut(&key), "the PEM text is not valid PEM: a section has no END line"),
        (&chain, &key.replace('M', "!"), "the PEM text is not valid PEM: a section is not base64"),
    ] {
        let error = Identity::from_pem(chain, key).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = Identity::from_pem(broken, &key).unwrap_err();
    assert!(matches!(error, TlsConfigError::BadCertificate(0, _)), "{error}");
}

#[test]
fn files_are_read_and_named_in_errors() {
    let folder = Folder::new();
    let (chain, key) = pem();
    let path = folder.path("both.pem");
    fs::write(&path, format!("{key}\nsome text\n{chain}")).unwrap();
    let identity = Identity::from_files(&path, &path).unwrap();
    assert_eq!(identity.names(), [NAME]);
    assert_eq!(certificates_from_file(&path).unwrap().len(), 1);
    let missing = folder.path("missing.pem");
    let error = Identity::from_files(&missing, &path).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot read {}", missing.display())), "{error}");
    fs::write(&missing, "nothing").unwrap();
    let error = Identity::from_files(&path, &missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} contains no private key (BEGIN PRIVATE KEY)", missing.display())
    );
}

#[test]
fn configurations_without_what_they_need_are_refused() {
    let error = TlsAcceptor::new(ServerTls::default()).unwrap_err();
    assert!(matches!(error, TlsConfigError::NoIdentity));
    for roots in [Roots::Only(Vec::new()), Roots::PinnedKeys] {
        let error = TlsConnector::new(ClientTls { roots, ..ClientTls::default() }).unwrap_err();
        assert!(matches!(error, TlsConfigError::NoRoots(_)), "{error}");
    }
    let connector = Authority::new().connector();
    for name in ["", "two words", "a..b", "-", "tcp:host:80"] {
        let error = connector.layer(name).err().unwrap();
        assert!(matches!(error, TlsConfigError::BadServerName(_)), "{name}: {error}");
    }
    for name in ["a", "A.example.", "xn--bcher-kva.example", "127.0.0.1", "::1", "[::1]", "with_underscore.x"]
    {
        assert!(connector.layer(name).is_ok(), "{name}");
    }
}

#[test]
fn debug_output_shows_no_key() {
    let (chain, key) = pem();
    let identity = Identity::from_pem(&chain, &key).unwrap();
    let shown = format!("{identity:?} {:?}", TlsAcceptor::new(ServerTls::from(identity.clone())).unwrap());
    let line = key.lines().nth(1).unwrap();
    assert!(!shown.contains(&line[..16]), "{shown}");
    assert!(!shown.contains("key:"), "{shown}");
}

#[test]
fn a_certificate_is_shown_with_all_its_parts() {
    let authority = Authority::new();
    let identity = authority.issue_with("example.test", |params| {
        params.serial_number = Some(rcgen::SerialNumber::from(0x1234u64));
        params.subject_alt_names.push(rcgen::SanType::IpAddress("192.0.2.7".parse().unwrap()));
    });
    let shown = identity.certificate().unwrap();
    assert_eq!(shown.subject, "CN=example.test (test)");
    assert!(shown.issuer.starts_with("CN=Test Root "));
    assert_eq!(shown.names, ["example.test", "192.0.2.7"]);
    assert_eq!(shown.serial, "1234");
    assert_eq!((shown.key_kind.as_str(), shown.key_bits), ("P-256", 256));
    assert_eq!(shown.signature_algorithm, "ecdsa-with-SHA256");
    assert!(!shown.is_ca && !shown.is_self_issued());
    let root = Certificate::parse(&authority.der()).unwrap();
    assert!(root.is_ca && root.is_self_issued());
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let own = rcgen::CertificateParams::new([]).unwrap().self_signed(&key).unwrap();
    let shown = Certificate::parse(own.der()).unwrap();
    assert_eq!((shown.key_kind.as_str(), shown.signature_algorithm.as_str()), ("Ed25519", "Ed25519"));
    Certificate::parse(b"no certificate").unwrap_err();
    let bundle = [pem().0, pem().0].concat();
    assert_eq!(certificates_from_pem(bundle.as_bytes()).unwrap().len(), 2);
}
