//! `twistor cert` shows certificates, and says why they are not trusted.

use crate::authority::{ALWAYS, Authority, Pem, day};
use crate::command::{Running, Service, Signal, refusing_address, run};
use crate::place::Place;
use crate::world::folder::Folder;
use rcgen::DnType;
use serde_json::Value;
use twistor::{Protocol, Transport};

/// A server with TLS, and the files of the authority that its certificate is from.
struct Server {
    place: Place,
    echo: Running,
    port: String,
}

impl Server {
    fn start(authority: &Authority, pem: &Pem, options: &str) -> Server {
        let place = Place::Real(Folder::new());
        place.put("ca.pem", authority.pem().as_bytes());
        pem.put(&place, "server");
        let [cert, key] = ["server.pem", "server.key"].map(|name| place.path(name).display().to_string());
        let listen = format!("tls:127.0.0.1:0:cert={cert}:key={key}{options}");
        let mut echo = Running::start(&["echo", "--listen", &listen]);
        let line = echo.line_with(&["listening on tls:127.0.0.1:"]);
        let port = line.rsplit(':').next().unwrap().to_owned();
        Server { place, echo, port }
    }

    fn ca(&self) -> String {
        self.place.path("ca.pem").display().to_string()
    }

    /// Shows the certificate with these arguments after the endpoint.
    fn show(&self, arguments: &[&str]) -> (i32, String) {
        let endpoint = format!("127.0.0.1:{}", self.port);
        let ended = run(&[&["cert", &endpoint], arguments].concat());
        assert_eq!(ended.err, "");
        (ended.code.unwrap(), ended.out)
    }

    fn end(self) {
        let ended = self.echo.end_by(Signal::TERM);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_trusted_certificate_is_shown_with_its_chain() {
    let authority = Authority::new("Test Root");
    let server = Server::start(&authority, &authority.issue("server.test", -10..90), ":alpn=h2");
    let (code, text) = server.show(&["--roots", &server.ca(), "--name", "server.test"]);
    assert_eq!(code, 0, "{text}");
    for line in [
        &format!("127.0.0.1:{}  trusted, 90 days left\n", server.port),
        "  name      server.test\n",
        "  protocol  TLS 1.3, TLS_AES_256_GCM_SHA384, X25519\n",
        "  ALPN      h2\n",
        "  OCSP      not stapled\n",
        "\n  1  CN=server.test\n",
        "     names      server.test, 127.0.0.1\n",
        "     issuer     CN=Test Root\n",
        "     key        P-256\n",
        "\n  2  CN=Test Root (CA)\n",
        "     issuer     itself\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    // In a pipe it is plain, and fits into 80 columns nevertheless.
    assert!(text.lines().all(|line| line.len() <= 80 && line.bytes().all(|byte| byte >= b' ')), "{text}");
    let (code, text) = server.show(&["--roots", &server.ca(), "--short"]);
    assert_eq!((code, text.as_str()), (0, "90 trusted\n"));
    server.end();
}

#[test]
fn each_reason_not_to_trust_is_named() {
    let authority = Authority::new("Test Root");
    let stranger = Authority::new("Other Root").pem();
    for (pem, name, short) in [
        (authority.issue("server.test", -90..-2), "server.test", "-2 expired"),
        (authority.issue("server.test", 2..90), "server.test", "90 not_yet_valid"),
        (authority.issue("server.test", -9..90), "else.test", "90 wrong_name"),
        (Authority::new("Unknown").issue("server.test", -9..90), "server.test", "90 unknown_issuer"),
        (authority.issue("server.test", -9..5), "server.test", "5 expires_soon"),
    ] {
        let server = Server::start(&authority, &pem, "");
        let arguments = ["--roots", &server.ca(), "--name", name];
        let (code, text) = server.show(&[&arguments[..], &["--short"]].concat());
        assert_eq!((code, text.trim_end()), (1, short));
        let (code, text) = server.show(&arguments);
        let title = text.lines().next().unwrap().to_owned();
        let word = short.split_once(' ').unwrap().1.replace('_', " ");
        assert!(
            code == 1 && title.contains(&word.replace("expires soon", "trusted, and expires soon")),
            "{text}"
        );
        let (code, text) = server.show(&[&arguments[..], &["--json"]].concat());
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(code, 1);
        assert_eq!(json["trusted"], short.ends_with("expires_soon"));
        assert_eq!(json["why"].is_null(), short.ends_with("expires_soon"), "{json}");
        server.end();
    }
    let server = Server::start(&authority, &Pem::self_signed("server.test"), "");
    server.place.put("other.pem", stranger.as_bytes());
    let other = server.place.path("other.pem").display().to_string();
    let (code, text) = server.show(&["--roots", &other, "--name", "server.test"]);
    assert!(code == 1 && text.contains("not trusted: self signed\n"), "{text}");
    assert!(text.contains("add it to the roots, or pin its key"), "{text}");
    server.end();
}

#[test]
fn json_has_everything_that_the_text_has() {
    let authority = Authority::new("Test Root");
    let server = Server::start(&authority, &authority.issue("server.test", -10..90), ":min_version=1.3");
    let endpoint = format!("tls:127.0.0.1:{}:roots={}:alpn=x", server.port, server.ca());
    let ended = run(&["cert", "--json", &endpoint]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    let json: Value = serde_json::from_str(&ended.out).unwrap();
    for (member, value) in [
        ("endpoint", Value::from(endpoint.as_str())),
        ("name", "127.0.0.1".into()),
        ("trusted", true.into()),
        ("problem", Value::Null),
        ("days_left", 90.into()),
        ("expires_soon", false.into()),
        ("version", "1.3".into()),
        ("cipher", "TLS_AES_256_GCM_SHA384".into()),
        ("key_exchange", "X25519".into()),
        ("alpn", Value::Null),
        ("ocsp_stapled", false.into()),
    ] {
        assert_eq!(json[member], value, "{member}");
    }
    let own = &json["certificates"][0];
    assert_eq!((&own["subject"], &own["key_bits"]), (&"CN=server.test".into(), &256.into()));
    // The pin is one for endpoints.
    let pin = own["pin"].as_str().unwrap();
    let pinned = run(&["cert", "--short", &format!("tls:127.0.0.1:{}:roots=none:pin={pin}", server.port)]);
    assert_eq!((pinned.code, pinned.out.as_str()), (Some(0), "90 trusted\n"));
    let other = run(&[
        "cert",
        "--short",
        &format!("tls:127.0.0.1:{}:roots=none:pin={}", server.port, "0".repeat(64)),
    ]);
    assert_eq!((other.code, other.out.as_str()), (Some(1), "90 wrong_key\n"));
    server.end();
}

#[test]
fn the_time_of_the_warning_is_chosen() {
    let authority = Authority::new("Test Root");
    let server = Server::start(&authority, &authority.issue("server.test", -10..20), "");
    for (warn, code, short) in
        [("0", 0, "20 trusted\n"), ("20d", 0, "20 trusted\n"), ("21d", 1, "20 expires_soon\n")]
    {
        let shown = server.show(&["--roots", &server.ca(), "--short", "--warn", warn]);
        assert_eq!(shown, (code, short.to_owned()), "{warn}");
    }
    server.end();
}

#[test]
fn text_of_a_certificate_cannot_reach_the_terminal() {
    let authority = Authority::new("Test Root");
    let name = "\u{1b}]0;owned\u{7}\u{202e}";
    let pem = authority.issue_between("server.test", day(-1), day(90), |params| {
        params.distinguished_name.push(DnType::OrganizationName, name);
    });
    let server = Server::start(&authority, &pem, "");
    for form in ["--json", "--warn=0"] {
        let (_, text) = server.show(&["--roots", &server.ca(), form]);
        let raw = |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
        assert!(text.contains("owned") && !text.contains(raw), "{text:?}");
    }
    server.end();
}

#[test]
fn a_server_that_requires_another_protocol_is_shown() {
    let authority = Authority::new("Test Root");
    let server = Server::start(&authority, &authority.issue("server.test", ALWAYS), ":alpn=imap");
    let (code, text) = server.show(&["--roots", &server.ca()]);
    assert!(code == 0 && text.contains("  ALPN      none\n"), "{text}");
    let (code, text) = server.show(&["--roots", &server.ca(), "--alpn", "http/1.1,imap"]);
    assert!(code == 0 && text.contains("  ALPN      imap\n"), "{text}");
    let ended = run(&["cert", &format!("127.0.0.1:{}", server.port), "--alpn", "h2"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(9), ""));
    assert!(ended.err.contains("it supports none of the offered ALPN protocols"), "{}", ended.err);
    server.end();
}

#[test]
fn without_a_handshake_the_reason_is_said() {
    struct Banner;
    impl Protocol for Banner {
        fn connection_made(&mut self, transport: &mut Transport<'_>) {
            transport.write(b"220 mail.test ESMTP\r\n");
        }
        fn data_received(&mut self, _: &mut Transport<'_>, _: &[u8]) {}
    }
    let mail = Service::start("127.0.0.1:0", || Banner);
    let refused = refusing_address();
    for (endpoint, why, problem) in [
        (mail.address.as_str(), "does not speak TLS, it sent \"220 mail.test ES\"", "not_tls"),
        (refused.as_str(), "refused", "no_connection"),
    ] {
        let ended = run(&["cert", endpoint]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(9), ""));
        assert!(ended.err.contains(why) && ended.err.lines().count() == 1, "{}", ended.err);
        let ended = run(&["cert", "--json", endpoint]);
        let json: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(
            (ended.code, &json["trusted"], &json["problem"]),
            (Some(9), &Value::Null, &problem.into())
        );
        assert!(json["error"].as_str().unwrap().contains(why), "{json}");
    }
}

#[test]
fn bad_usage_is_named() {
    for (arguments, why) in [
        (&["https://example.org/path"][..], "https:// begins a URL; did you mean example.org?"),
        (&["tls:tcp:h:443:nmae=x"], "did you mean name?"),
        (&["unix:/run/x"], "add --name NAME"),
        (&["udp:h:1"], "udp"),
        (&["h:0"], "port 0 cannot be connected to"),
        (&["h:1", "--roots", "/none/ca.pem"], "cannot read /none/ca.pem"),
        (&["h:1", "--name", "a b"], "\"a b\" is neither a DNS name nor an IP address"),
        (&["h:1", "--short", "--json"], "--short"),
        (&["h:1", "--warn", "soon"], "soon"),
    ] {
        let ended = run(&[&["cert"], arguments].concat());
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(why) && ended.err.lines().count() == 1, "{arguments:?}: {}", ended.err);
    }
}
