//! `twistor traffic` tells values, changes and errors, and never ends by an error.
#![cfg(feature = "cli")]

mod command;

use command::{Running, Service, Signal, nobody, run};
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
    let ended = run(&[&["traffic", "--json", "--every", "30ms"][..], arguments].concat());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
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
fn a_kept_connection_that_the_server_closed_is_replaced_without_a_word() {
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
fn a_request_that_met_a_stale_connection_is_sent_again_without_a_word() {
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
    let nobody = nobody();
    // One alone is to exceed its limit, however busy the machine is.
    for (address, reason, detail) in [
        (&missing.address, "status", "status 404"),
        (&garbled.address, "json", "not JSON: "),
        (&other.address, "http", "the answer is not HTTP/1"),
        (&short.address, "http", "closed in the middle of the body, after 1 of 9 bytes"),
        (&mute.address, "closed", "closed without an answer"),
        (&silent.address, "timed_out", "connected, but no answer within 1.0 s"),
        (&nobody, "connect", "connection refused"),
    ] {
        let url = format!("http://{address}/");
        let limit = if reason == "timed_out" { "1s" } else { "60s" };
        let events = events(&[&url, "--count", "2", "--timeout", limit]);
        assert_eq!(events.len(), 2, "{detail}");
        for event in events {
            assert_eq!((&event["event"], &event["reason"]), (&"error".into(), &reason.into()));
            assert!(event["detail"].as_str().unwrap().starts_with(detail), "{event}");
        }
    }
}

#[test]
fn people_read_a_line_for_each_feed() {
    let (service, _) = feed(&[FIRST, SECOND], false);
    let (roads, gone) = (format!("roads=http://{}/", service.address), format!("gone=http://{}/", nobody()));
    let mut traffic =
        Running::start(&["traffic", &roads, &gone, "--every", "30ms", "--field", "/congestion/level"]);
    traffic.lines_with(&[
        &["roads  ok ", "congestion/level 0.25", "old (last-modified)", "took"],
        &["gone   error  connection refused"],
        &["roads  ok ", "congestion/level 0.75 (+0.5)"],
    ]);
    assert_eq!(traffic.end_by(Signal::TERM).code, Some(0));
}

#[test]
fn a_feed_is_read_via_an_endpoint_whatever_its_url_says() {
    let path = command::short_temp_dir().join(format!("twistor-traffic-{}", std::process::id()));
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
