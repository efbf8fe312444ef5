//! `twistor traffic` tells values, changes and errors, and never ends by an error.

use crate::command::{Running, Service, Signal, refusing_address, run, twistor_without_routes};
use serde_json::Value;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use twistor::{Protocol, Transport};

/// Answers the first, second and every further request with these bytes; perhaps closes after each answer.
struct Feed {
    answers: &'static [&'static str],
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    close: bool,
}

impl Protocol for Feed {
    fn connection_made(&mut self, _: &mut Transport<'_>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    /// A request is small enough to come in one piece.
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(number).or(self.answers.last()).unwrap();
        transport.write(answer.as_bytes());
        if self.close {
            transport.lose_connection();
        }
    }
}

/// The service and how many connections it has had.
fn feed(answers: &'static [&'static str], close: bool) -> (Service, Arc<AtomicUsize>) {
    let (requests, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&connections);
    let new = move || Feed {
        answers,
        requests: Arc::clone(&requests),
        connections: Arc::clone(&connections),
        close,
    };
    (Service::start("127.0.0.1:0", new), seen)
}

fn events(arguments: &[&str]) -> Vec<Value> {
    events_with_code(arguments, 0)
}

fn events_with_code(arguments: &[&str], code: i32) -> Vec<Value> {
    let once = arguments.windows(2).any(|pair| pair == ["--count", "1"]);
    let every = if once { &[][..] } else { &["--interval", "30ms"] };
    let ended = run(&[&["traffic", "--json"], every, arguments].concat());
    assert_eq!((ended.code, ended.err.as_str()), (Some(code), ""), "{arguments:?}: {}", ended.out);
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const FIRST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 47\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n\
                     {\"congestion\":{\"level\":0.25},\"road\":\"A1\",\"n\":5}";
const SECOND: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                      10\r\n{\"congestion\":{\"\r\n1f\r\nlevel\":0.75},\"road\":\"A2\",\"n\":5}\r\n0\r\n\r\n";

#[test]
fn values_are_told_with_their_changes_over_one_connection() {
    let (service, connections) = feed(&[FIRST, SECOND], false);
    let url = format!("http://{}/roads.json", service.address);
    let fields = ["--field", "/congestion/level", "--field", "/road", "--field", "/n", "--field", "/gone"];
    let events = events(&[&[url.as_str(), "--count", "2"][..], &fields].concat());
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["values"]["/congestion/level"], 0.25);
    assert_eq!(
        (&events[0]["changes"], &events[0]["missing"]),
        (&serde_json::json!({}), &serde_json::json!(["/gone"]))
    );
    assert_eq!(events[0]["age_source"], "last-modified");
    let changes = serde_json::json!({"/congestion/level": {"added": 0.5}, "/road": {"was": "A1"}});
    assert_eq!((&events[1]["changes"], &events[1]["age_source"]), (&changes, &Value::Null));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_kept_connection_closed_by_the_server_is_replaced_silently() {
    let (service, connections) = feed(&[FIRST], true);
    let url = format!("http://{}/", service.address);
    let events = events(&[url.as_str(), "--count", "3"]);
    assert!(events.iter().all(|event| event["event"] == "reading"), "{events:#?}");
    assert_eq!((events.len(), connections.load(Ordering::SeqCst)), (3, 3));
}

/// Answers one request, and closes when another comes: what a stale connection looks like from the other end.
struct Fickle {
    connections: Arc<AtomicUsize>,
    answered: bool,
}

impl Protocol for Fickle {
    fn connection_made(&mut self, _: &mut Transport<'_>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        match std::mem::replace(&mut self.answered, true) {
            false => transport.write(FIRST.as_bytes()),
            true => transport.lose_connection(),
        }
    }
}

#[test]
fn a_request_on_a_stale_connection_is_resent_silently() {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connections);
    let new = move || Fickle { connections: Arc::clone(&connections), answered: false };
    let service = Service::start("127.0.0.1:0", new);
    let events = events(&[&format!("http://{}/", service.address), "--count", "3"]);
    assert!(events.iter().all(|event| event["event"] == "reading"), "{events:#?}");
    assert_eq!((events.len(), seen.load(Ordering::SeqCst)), (3, 3));
}

#[test]
fn every_error_is_an_event() {
    let (missing, _) = feed(&["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], false);
    let (garbled, _) = feed(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]"], false);
    let (other, _) = feed(&["220 mail.example ESMTP\r\n"], false);
    let (short, _) = feed(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], true);
    let (mute, _) = feed(&[""], true);
    let silent = Service::silent("127.0.0.1:0");
    let refusing = refusing_address();
    // One alone is to exceed its limit, however busy the machine is.
    for (address, reason, detail) in [
        (&missing.address, "status", "status 404"),
        (&garbled.address, "json", "not JSON: "),
        (&other.address, "http", "the answer is not HTTP/1"),
        (&short.address, "http", "closed in the middle of the body, after 1 of 9 bytes"),
        (&mute.address, "closed", "closed without an answer"),
        (&silent.address, "timed_out", "connected, but no answer within 1.0 s"),
        (&refusing, "connect", "connection refused"),
    ] {
        let url = format!("http://{address}/");
        let limit = if reason == "timed_out" { "1s" } else { "60s" };
        let events = events_with_code(&[&url, "--count", "2", "--timeout", limit], 1);
        assert_eq!(events.len(), 2, "{detail}");
        for event in events {
            assert_eq!((&event["event"], &event["reason"]), (&"error".into(), &reason.into()));
            assert!(event["detail"].as_str().unwrap().starts_with(detail), "{event}");
        }
    }
}

#[test]
fn a_machine_without_a_route_blames_no_feed() {
    let arguments = ["traffic", "--count", "1", "--json", "http://192.0.2.1/"];
    let Some(traffic) = twistor_without_routes(&arguments) else { return };
    let ended = Running::begin(traffic).end();
    let event: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&event["event"], &event["reason"]), (&"error".into(), &"local".into()), "{event}");
    let why = "this machine has no route to it: connect: ";
    assert!(event["detail"].as_str().unwrap().contains(why), "{event}");
    let words = format!("unread feeds: 1 of 1, for a reason of this machine: {why}");
    assert!(ended.err.contains(&words) && ended.err.lines().count() == 1, "{}", ended.err);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn people_read_a_line_for_each_feed() {
    let (service, _) = feed(&[FIRST, SECOND], false);
    let (roads, gone) =
        (format!("roads=http://{}/", service.address), format!("gone=http://{}/", refusing_address()));
    let mut traffic =
        Running::start(&["traffic", &roads, &gone, "--interval", "30ms", "--field", "/congestion/level"]);
    traffic.lines_with(&[
        &["roads  ok ", "congestion/level 0.25", "old (last-modified)", "took"],
        &["gone   error  connection refused"],
        &["roads  ok ", "congestion/level 0.75 (+0.5)"],
    ]);
    assert_eq!(traffic.end_by(Signal::TERM).code, Some(0));
}

#[test]
fn a_feed_is_read_via_an_endpoint_whatever_its_url_says() {
    let path = crate::command::short_temp_dir().join(format!("twistor-traffic-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1000];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(FIRST.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let via = format!("unix:{}", path.display());
    let events = events(&["http://app.invalid/status", "--via", &via, "--count", "1"]);
    assert_eq!(
        (&events[0]["event"], &events[0]["values"]["/n"]),
        (&"reading".into(), &5.into()),
        "{events:?}"
    );
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /status ") && request.contains("Host: app.invalid\r\n"), "{request}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_feed_that_was_never_read_is_exit_code_1() {
    let (service, _) = feed(&[FIRST], false);
    let (late, _) = feed(&["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", FIRST], false);
    let urls =
        [&service.address, &late.address, &refusing_address()].map(|address| format!("http://{address}/"));
    let [well, late, gone] = urls.each_ref().map(String::as_str);
    for (feeds, count, code) in [
        (&[well][..], "1", 0),
        (&[gone], "1", 1),
        // One of them is enough.
        (&[well, gone], "1", 1),
        (&[late], "2", 0),
    ] {
        events_with_code(&[feeds, &["--count", count]].concat(), code);
    }
}

/// What is told of one payload, once.
fn told_of(headers: &str, body: &[u8], arguments: &[&str]) -> (Option<i32>, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), body].concat();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1000];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(&answer).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let ended = run(&[&["traffic", &url, "--count", "1"][..], arguments].concat());
    let request = server.join().unwrap();
    assert!(request.contains("\r\nAccept-Encoding: gzip, deflate, br\r\n"), "{request}");
    assert_eq!(ended.err, "");
    (ended.code, ended.out)
}

#[test]
fn a_body_that_is_no_json_is_told_as_what_it_is() {
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    let latin = "Content-Type: application/json; charset=iso-8859-1\r\n";
    for (headers, body, words) in [
        (html, &b"<!DOCTYPE html><html>"[..], "text/html; charset=utf-8, begins with \"<!DOCTYPE html>"),
        (
            latin,
            b"{\"a\": \"caf\xe9\"}",
            "no UTF-8 at byte 10, which is 0xe9 (application/json; charset=iso-8859-1",
        ),
        ("Content-Encoding: gzip\r\n", b"\x1f\x8b\x08\0\0", "the compressed body is unreadable"),
        ("", b"\xff\xfe{\0}\0", "UTF-16"),
        ("", b"", "the body is empty"),
    ] {
        let (code, out) = told_of(headers, body, &[]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("  error  ") && out.contains(words), "{out}");
    }
    let (code, out) = told_of("", b"\xef\xbb\xbf{\"a\": 7}", &[]);
    assert!(code == Some(0) && out.contains("  ok     a 7  "), "{out}");
}

#[test]
fn a_value_that_cannot_be_read_costs_itself_alone() {
    let payload = br#"{"a": 1, "big": 1e400, "b": {"c": -1e999}, "at": "tomorrow", "a": 2}"#;
    let fields = ["--field", "/a", "--field", "/big", "--timestamp", "/at"];
    let (code, out) = told_of("", payload, &fields);
    assert_eq!(code, Some(0), "{out}");
    for words in [
        "  ok     a 2  ",
        "big 1e400 is out of the range of a number  ",
        "at \"tomorrow\" is not a time  ",
        "a occurs more than once, the last one counts  ",
    ] {
        assert!(out.contains(words), "no {words:?} in {out}");
    }
    assert!(!out.contains("missing") && !out.contains(" old"), "{out}");
    let (_, out) = told_of("", payload, &[&fields[..], &["--json"]].concat());
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(event["values"], serde_json::json!({"/a": 2}));
    assert_eq!((&event["missing"], &event["age_s"]), (&serde_json::json!([]), &Value::Null));
    let reasons = ["/big", "/at", "/a"].map(|pointer| event["problems"][pointer]["reason"].as_str().unwrap());
    assert_eq!(reasons, ["out_of_range", "no_time", "repeated"]);
}

#[test]
fn a_time_in_the_future_or_without_a_zone_is_told_as_such() {
    let (_, out) = told_of("", br#"{"at": 99999999999}"#, &["--timestamp", "/at"]);
    assert!(out.contains("  in the future by ") && out.contains("clock differs?"), "{out}");
    let (_, out) = told_of("", br#"{"at": 99999999999}"#, &["--timestamp", "/at", "--json"]);
    let event: Value = serde_json::from_str(&out).unwrap();
    assert!(event["age_s"].as_f64().unwrap() < 0.0, "{event}");
    let (_, out) = told_of("", br#"{"at": "2023-11-14 22:13:20"}"#, &["--timestamp", "/at"]);
    assert!(out.contains(" old (payload, no zone: taken as UTC)"), "{out}");
    let (_, out) = told_of("", br#"{"at": 1700000000000}"#, &["--timestamp", "/at"]);
    assert!(out.contains(" d ") && out.contains(" old (payload)"), "{out}");
}

#[test]
fn limits_of_a_payload_are_named() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let (code, out) = told_of("", deep.as_bytes(), &["--json"]);
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &event["reason"]), (Some(1), &"limit".into()));
    assert_eq!(event["detail"], "nested deeper than 128 levels, the limit of the depth");
    let long =
        format!("{{\"{}\": 1, \"list\": [{}0], \"z\": 7}}", "n".repeat(2_000_000), "0,".repeat(50_000));
    let (code, out) =
        told_of("", long.as_bytes(), &["--field", "/z", "--field", "/list", "--field", "/list/50000"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("  ok     z 7  list/50000 0  "), "{out}");
    assert!(out.contains("list has 100003 bytes, and the limit of a value is 65536  "), "{out}");
    let (code, out) = told_of("", long.as_bytes(), &[]);
    assert_eq!(code, Some(0));
    let name = format!("{}… has a name of 2000000 bytes, and the limit of a name is 256  ", "n".repeat(39));
    assert!(out.contains("  ok     z 7  ") && out.contains(&name) && out.len() < 400, "{out}");
}

/// The most memory that a process has had so far, in bytes.
#[cfg(target_os = "linux")]
fn peak(id: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn a_feed_of_many_small_objects_takes_little_beside_its_text() {
    const OBJECTS: usize = (4 << 20) / 8;
    let body = format!("[{}{{\"a\":7}}]", "{\"a\":0},".repeat(OBJECTS - 1));
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer: &'static str = Box::leak(answer.into_boxed_str());
    let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
    let (service, _) = feed(answers, false);
    let url = format!("http://{}/", service.address);
    let field = format!("/{}/a", OBJECTS - 1);
    let mut traffic =
        Running::start(&["traffic", &url, "--interval", "10ms", "--timeout", "1m", "--field", &field]);
    for _ in 0..2 {
        let line = traffic.line();
        assert!(line.contains("  ok     ") && line.contains("/a 7  "), "{line}");
    }
    // Its text, twice while it grows. A tree of it takes 350 MB.
    let peak = peak(traffic.id());
    assert!(peak < 64 << 20, "{peak}");
    assert_eq!(traffic.end_by(Signal::TERM).code, Some(0));
}
