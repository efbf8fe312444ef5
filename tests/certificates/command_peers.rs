//! OpenSSL and nginx speak TLS with the command, in both roles.
//!
//! If such a program is not installed, its test prints that on stderr and passes.

use crate::authority::Authority;
use crate::command::{Running, Signal, free_address, run};
use crate::place::Place;
use crate::world::folder::Folder;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Whether a program is installed. If not, that is said past the capture of passing tests.
fn is_installed(program: &str, argument: &str) -> bool {
    let started = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if started.is_err() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
    }
    started.is_ok()
}

/// Files of an authority, of a server `localhost` and of a client.
struct Files {
    place: Place,
    authority: Authority,
}

impl Files {
    fn new() -> Files {
        let (place, authority) = (Place::Real(Folder::new()), Authority::new("Test Root"));
        place.put("ca.pem", authority.pem().as_bytes());
        authority.issue("localhost", -1..90).put(&place, "server");
        authority.issue("client.test", -1..90).put(&place, "client");
        Files { place, authority }
    }

    fn path(&self, name: &str) -> String {
        self.place.path(name).display().to_string()
    }

    /// Starts `twistor echo`. Returns it with its address.
    fn echo(&self, options: &str) -> (Running, String) {
        let (cert, key) = (self.path("server.pem"), self.path("server.key"));
        let listen = format!("tls:127.0.0.1:0:cert={cert}:key={key}{options}");
        let mut echo = Running::start(&["echo", "--listen", &listen]);
        let line = echo.line_with(&["listening on tls:"]);
        (echo, line.strip_prefix("listening on tls:").unwrap().to_owned())
    }
}

/// A server of another project, which runs until it is dropped.
struct Other(Child);

impl Other {
    /// Starts it, and waits until it accepts.
    fn start(program: &str, arguments: &[&str], address: SocketAddr) -> Other {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut other = Other(command.spawn().unwrap());
        for _ in 0..1000 {
            if TcpStream::connect(address).is_ok() {
                return other;
            }
            assert!(other.0.try_wait().unwrap().is_none(), "{program} ended at once");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{program} does not listen on {address}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `openssl s_client` until the handshake is completed, or has failed.
fn s_client(files: &Files, address: &str, arguments: &[&str]) -> Output {
    s_client_until(files, address, arguments, || true)
}

/// Runs `openssl s_client` until `done` returns true, or until the server ends the connection.
fn s_client_until(files: &Files, address: &str, arguments: &[&str], done: impl Fn() -> bool) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-CAfile", &files.path("ca.pem")]);
    command.args(["-verify_return_error", "-servername", "localhost"]).args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    while !done() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    // `Q` at the start of a line ends it, in good order. A client that was refused has ended.
    let _ = input.write_all(b"hello\nQ\n");
    drop(input);
    child.wait_with_output().unwrap()
}

#[test]
fn openssl_is_a_client_of_the_echo() {
    if !is_installed("openssl", "version") {
        return;
    }
    let files = Files::new();
    let (echo, address) = files.echo(":alpn=h2,http/1.1");
    for (arguments, words) in [
        (&["-tls1_2"][..], &["TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "Verify return code: 0 (ok)"][..]),
        (&["-tls1_3"], &["TLSv1.3", "TLS_AES_256_GCM_SHA384", "Verify return code: 0 (ok)"]),
        (&["-alpn", "http/1.1"], &["ALPN protocol: http/1.1"]),
        (&["-tls1_2", "-reconnect"], &["Reused, TLSv1.2"]),
    ] {
        let output = s_client(&files, &address, arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {output:?}");
    }
    // A session of TLS 1.3 is resumed with its ticket.
    let session = files.path("session.pem");
    let has_ticket = || fs::metadata(&session).is_ok_and(|file| file.len() > 0);
    s_client_until(&files, &address, &["-tls1_3", "-sess_out", &session], has_ticket);
    let output = s_client(&files, &address, &["-tls1_3", "-sess_in", &session]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Reused, TLSv1.3"), "{output:?}");
    // It refuses another protocol, and says so.
    let output = s_client(&files, &address, &["-alpn", "imap"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no application protocol"), "{output:?}");
    let ended = echo.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn openssl_needs_a_certificate_where_it_is_required() {
    if !is_installed("openssl", "version") {
        return;
    }
    let files = Files::new();
    let (echo, address) = files.echo(&format!(":client_ca={}", files.path("ca.pem")));
    for version in ["-tls1_2", "-tls1_3"] {
        let (cert, key) = (files.path("client.pem"), files.path("client.key"));
        let output = s_client(&files, &address, &[version, "-cert", &cert, "-key", &key]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("alert"), "{version}: {output:?}");
        // With TLS 1.3, the alert comes after the handshake.
        let output = s_client_until(&files, &address, &[version], || false);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("alert"), "{version}: {output:?}");
    }
    let ended = echo.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn openssl_is_a_server_that_is_looked_at() {
    if !is_installed("openssl", "version") {
        return;
    }
    let files = Files::new();
    let (cert, key, ca) = (files.path("server.pem"), files.path("server.key"), files.path("ca.pem"));
    for (flag, version, cipher) in [
        ("-tls1_2", "1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("-tls1_3", "1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let address = free_address();
        let accept = address.to_string();
        let fixed =
            ["s_server", "-quiet", "-accept", &accept, "-cert", &cert, "-key", &key, "-cert_chain", &ca];
        let client = ["-Verify", "1", "-CAfile", &ca, "-verify_return_error", "-alpn", "imap,h2"];
        let _server = Other::start("openssl", &[&fixed[..], &client, &[flag]].concat(), address);
        let own = format!("cert={}:key={}", files.path("client.pem"), files.path("client.key"));
        let ended = run(&["cert", "--json", &format!("tls:{accept}:roots={ca}:name=localhost:{own}")]);
        let json: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!((ended.code, &json["trusted"]), (Some(0), &true.into()), "{json}");
        assert_eq!((&json["version"], &json["cipher"]), (&version.into(), &cipher.into()));
        assert_eq!((&json["alpn"], &json["days_left"]), (&"h2".into(), &90.into()));
        // Without a certificate of its own it is refused: before the end of the handshake with TLS
        // 1.2, and after it with TLS 1.3.
        let ended = run(&["cert", "--short", &format!("tls:{accept}:roots={ca}:name=localhost")]);
        let expected = if version == "1.2" { (Some(9), "") } else { (Some(0), "90 trusted\n") };
        assert_eq!((ended.code, ended.out.as_str()), expected, "{ended:?}");
    }
}

#[test]
fn an_nginx_is_watched_until_its_certificate_is_replaced() {
    if !is_installed("nginx", "-v") {
        return;
    }
    let files = Files::new();
    let (address, folder) = (free_address(), files.path(""));
    let configuration = format!(
        "daemon off; master_process on; user root; pid '{folder}/pid'; error_log '{folder}/error.log';
         events {{ worker_connections 64; }}
         http {{ access_log off; client_body_temp_path '{folder}/a'; proxy_temp_path '{folder}/b';
                 fastcgi_temp_path '{folder}/c'; uwsgi_temp_path '{folder}/d'; scgi_temp_path '{folder}/e';
                 server {{ listen {address} ssl; root '{folder}'; ssl_certificate '{folder}/server.pem';
                           ssl_certificate_key '{folder}/server.key'; ssl_protocols TLSv1.2 TLSv1.3; }} }}"
    );
    // Only root may name a user.
    let is_root = rustix::process::geteuid().is_root();
    let configuration = if is_root { configuration } else { configuration.replace("user root; ", "") };
    fs::write(files.path("nginx.conf"), configuration).unwrap();
    let server = Other::start("nginx", &["-p", &folder, "-c", &files.path("nginx.conf")], address);
    let ca = files.path("ca.pem");
    let target = format!("tls:{address}:roots={ca}:name=localhost");
    let ended = run(&["cert", &target]);
    assert!(ended.code == Some(0) && ended.out.contains("  ALPN      http/1.1\n"), "{ended:?}");
    let watched = [&format!("probed={target}"), &format!("held=hold:{target}")];
    let options = ["--json", "--every-probe", "--interval", "50ms"];
    let mut monitor = Running::start(&[&["monitor", watched[0], watched[1]], &options[..]].concat());
    let up = [r#""event":"up""#, r#""tls":"1.3""#, r#""certificate_days":90"#];
    monitor.lines_with(&[
        &[&up[..], &[r#""name":"probed""#]].concat(),
        &[&up[..], &[r#""name":"held""#]].concat(),
    ]);
    // A new certificate, for another name.
    files.authority.issue("else.test", -1..90).put(&files.place, "server");
    let id = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    let down = monitor.line_with(&[r#""event":"down""#, r#""name":"probed""#]);
    assert!(down.contains(r#""reason":"bad_certificate""#) && down.contains("else.test"), "{down}");
    let ended = monitor.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}
