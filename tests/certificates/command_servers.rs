//! `twistor echo`, `load` and `monitor` work over TLS.

use crate::authority::Authority;
use crate::command::{Running, Signal, run};
use crate::place::Place;
use crate::world::folder::Folder;
use serde_json::Value;

struct Files {
    place: Place,
    authority: Authority,
}

impl Files {
    fn new(days: std::ops::Range<i64>) -> Files {
        let (place, authority) = (Place::Real(Folder::new()), Authority::new("Test Root"));
        place.put("ca.pem", authority.pem().as_bytes());
        authority.issue("localhost", days).put(&place, "server");
        Files { place, authority }
    }

    fn path(&self, name: &str) -> String {
        self.place.path(name).display().to_string()
    }

    /// Starts an echo server. Returns it with its address.
    fn echo(&self, listen: &str, arguments: &[&str]) -> (Running, String) {
        let listen = format!("{listen}:cert={}:key={}", self.path("server.pem"), self.path("server.key"));
        let mut echo = Running::start(&[&["echo", "--listen", &listen], arguments].concat());
        let line = echo.line_with(&["listening on "]);
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        (echo, address)
    }
}

fn end(running: Running) -> String {
    let ended = running.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    ended.out
}

#[test]
fn load_reaches_an_echo_on_threads_and_processes() {
    let files = Files::new(-1..90);
    for shares in [&["--workers", "2"][..], &["--processes", "2"]] {
        let (echo, address) = files.echo("tls:127.0.0.1:0", shares);
        let target = format!("{address}:roots={}", files.path("ca.pem"));
        let ended = run(&["load", &target, "--connections", "4", "--for", "300ms", "--json"]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        let json: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
        assert!(json["messages"]["answered"].as_u64().is_some_and(|count| count > 0), "{json}");
        end(echo);
    }
}

#[test]
fn a_unix_socket_has_tls_too() {
    let files = Files::new(-1..90);
    let (echo, _) = files.echo(&format!("tls:unix:{}", files.path("socket")), &[]);
    let (socket, ca) = (files.path("socket"), files.path("ca.pem"));
    let target = format!("tls:unix:{socket}:name=localhost:roots={ca}");
    let ended = run(&["cert", "--short", &target]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "90 trusted\n"), "{ended:?}");
    let ended = run(&["monitor", "--once", &target]);
    assert!(ended.code == Some(0) && ended.out.contains("TLS 1.3, certificate for 90 days"), "{ended:?}");
    end(echo);
}

#[test]
fn an_echo_without_its_files_says_so_at_once() {
    let ended = run(&["echo", "--listen", "tls:0:cert=/none.pem"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("cannot read /none.pem") && ended.err.lines().count() == 1, "{}", ended.err);
}

#[test]
fn the_monitor_tells_of_certificates() {
    let files = Files::new(-1..5);
    let (echo, address) = files.echo("tls:127.0.0.1:0", &[]);
    let (ca, url) = (files.path("ca.pem"), address.replacen("tls:", "tls://", 1));
    let (good, held) = (format!("good={address}:roots={ca}"), format!("held=hold:{address}:roots={ca}"));
    let bad = format!("bad={url}");
    let other = format!("other={address}:roots={ca}:name=else.test");
    let open = format!("open={address}:insecure=yes");
    let arguments =
        ["monitor", "--json", "--interval", "50ms", "--count", "2", &good, &held, &bad, &other, &open];
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // It is said that nothing is verified.
    assert!(ended.err.lines().all(|line| line.contains("insecure=yes")) && !ended.err.is_empty());
    let lines: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |event: &str, name: &str| {
        lines.iter().find(|line| line["event"] == event && line["name"] == name).unwrap_or(&Value::Null)
    };
    for name in ["good", "held", "open"] {
        let up = find("up", name);
        assert_eq!((&up["tls"], &up["certificate_days"]), (&"1.3".into(), &5.into()), "{name}");
        assert_eq!(find("certificate_expires", name)["certificate_days"], 5, "{name}");
        assert_eq!(find("summary", name)["certificate_days"], 5, "{name}");
    }
    for (name, detail) in [("bad", "not a known root"), ("other", "not for else.test")] {
        let down = find("down", name);
        assert_eq!(down["reason"], "bad_certificate");
        assert!(down["detail"].as_str().unwrap().contains(detail), "{down}");
        assert!(find("summary", name).get("tls").is_none(), "{name}");
    }
    // The same for people.
    let ended = run(&["monitor", "--once", &good, &bad, "--cert-warning", "6d"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("warning  the certificate expires in 5 days, on 20"), "{}", ended.out);
    let ended = run(&["monitor", "--count", "1", &good, "--cert-warning", "0"]);
    assert!(ended.out.contains("  cert\n") && ended.out.contains("5 d\n"), "{}", ended.out);
    assert!(!ended.out.contains("warning"), "{}", ended.out);
    let ended = run(&["monitor", "--once", "tcp://127.0.0.1:1", "--cert-warning", "1d"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--cert-warning has no effect: no target has TLS"), "{}", ended.err);
    end(echo);
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    let files = Files::new(-1..5);
    // One file, so that there is no moment between two.
    files.authority.issue("localhost", -1..5).put_together(&files.place, "both.pem");
    let both = files.path("both.pem");
    let listen = format!("tls:127.0.0.1:0:reload=20ms:cert={both}");
    let mut echo = Running::start(&["echo", "--listen", &listen]);
    let line = echo.line_with(&["listening on "]);
    let address = line.strip_prefix("listening on ").unwrap();
    let target = format!("web={address}:roots={}", files.path("ca.pem"));
    let mut monitor = Running::start(&["monitor", "--json", "--every-probe", "--interval", "20ms", &target]);
    monitor.line_with(&[r#""event":"up""#, r#""certificate_days":5"#]);
    files.authority.issue("localhost", -1..90).put_together(&files.place, "both.pem");
    monitor.line_with(&[r#""event":"still_up""#, r#""certificate_days":90"#]);
    end(monitor);
    end(echo);
}
