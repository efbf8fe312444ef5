//! `twistor dig` prints what a DNS server answers, and says so when none does.

use crate::command::{Ended, Running, Signal, TIME_LIMIT, refusing_address, run};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const MX: u16 = 15;
const TXT: u16 = 16;

/// A query for a name without an answer has arrived.
static SILENT_ASKED: AtomicBool = AtomicBool::new(false);

/// A record: name, type and data. The TTL is 5400 s.
type Answer = (&'static str, u16, Vec<u8>);

/// The server's response to a question.
#[derive(Default)]
struct Reply {
    code: u8,
    answers: Vec<Answer>,
    authorities: Vec<Answer>,
    /// Over UDP, only the header is sent, with the TC bit.
    only_over_tcp: bool,
    silent: bool,
}

/// A DNS server on threads of the test. Dropping it ends it.
struct Server {
    address: String,
    ended: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}

fn text(strings: &[&[u8]]) -> Vec<u8> {
    strings.iter().flat_map(|string| [&[string.len() as u8], *string].concat()).collect()
}

/// Reads the question, and writes the response.
fn respond(query: &[u8], is_tcp: bool, answer: fn(&str, u16) -> Reply) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (String::new(), 12);
    while query[at] > 0 {
        let length = usize::from(query[at]);
        labels += &String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase();
        labels.push('.');
        at += length + 1;
    }
    let record_type = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let mut reply = answer(&labels, record_type);
    if reply.silent {
        return None;
    }
    let truncated = reply.only_over_tcp && !is_tcp;
    if truncated {
        reply.answers.clear();
    }
    let mut response = query[..2].to_vec();
    response.extend([0x81 | if truncated { 2 } else { 0 }, 0x80 | reply.code, 0, 1]);
    response.extend(
        [reply.answers.len() as u16, reply.authorities.len() as u16, 0].map(u16::to_be_bytes).as_flattened(),
    );
    response.extend(&query[12..at + 5]);
    for (owner, record_type, data) in reply.answers.iter().chain(&reply.authorities) {
        response.extend(name(owner));
        response.extend(record_type.to_be_bytes());
        response.extend([0, 1, 0, 0, 0x15, 0x18]);
        response.extend((data.len() as u16).to_be_bytes());
        response.extend(data);
    }
    Some(response)
}

impl Server {
    fn start(answer: fn(&str, u16) -> Reply) -> Server {
        // The same port for both protocols.
        let (datagrams, streams) = loop {
            let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(streams) = TcpListener::bind(datagrams.local_addr().unwrap()) {
                break (datagrams, streams);
            }
        };
        let address = datagrams.local_addr().unwrap().to_string();
        let ended = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&ended);
        let udp = move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(response) = respond(&buffer[..length], false, answer) {
                    datagrams.send_to(&response, from).unwrap();
                }
            }
        };
        let is_over = Arc::clone(&ended);
        let tcp = move || {
            for stream in streams.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let mut stream = stream.unwrap();
                // One query after the other, until the client closes.
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query).unwrap();
                    if let Some(response) = respond(&query, true, answer) {
                        let length = (response.len() as u16).to_be_bytes();
                        stream.write_all(&[&length, response.as_slice()].concat()).unwrap();
                    }
                }
            }
        };
        let threads = vec![thread::spawn(udp), thread::spawn(tcp)];
        Server { address, ended, threads }
    }

    fn dig(&self, arguments: &[&str]) -> Ended {
        run(&[&["dig", &format!("@{}", self.address)], arguments].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes both threads.
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[0; 12], &self.address);
        let _ = std::net::TcpStream::connect(&self.address);
        let ended = self.threads.drain(..).map(thread::JoinHandle::join);
        assert!(ended.into_iter().all(|ended| ended.is_ok()) || thread::panicking());
    }
}

fn zone(asked: &str, record_type: u16) -> Reply {
    let soa = [
        name("ns.example"),
        name("admin.example"),
        [7_u32, 7200, 900, 1_209_600, 300].map(u32::to_be_bytes).concat(),
    ]
    .concat();
    let negative =
        |code| Reply { code, authorities: vec![("example", SOA, soa.clone())], ..Reply::default() };
    let positive = |answers| Reply { answers, ..Reply::default() };
    match (asked, record_type) {
        ("www.example.", A) => {
            positive(vec![("www.example", A, vec![192, 0, 2, 1]), ("www.example", A, vec![192, 0, 2, 2])])
        }
        ("alias.example.", A) => {
            let alias = ("alias.example", CNAME, name("www.example"));
            positive(vec![alias, ("www.example", A, vec![192, 0, 2, 1])])
        }
        ("example.", MX) => positive(vec![("example", MX, [&[0, 10][..], &name("mail.example")].concat())]),
        ("hostile.example.", TXT) => {
            positive(vec![("hostile.example", TXT, text(&[b"\x1b]0;owned\x07", "\u{202e}\"\\".as_bytes()]))])
        }
        ("long.example.", TXT) => {
            let strings = [[b'x'; 250].as_slice(); 16];
            Reply { only_over_tcp: true, ..positive(vec![("long.example", TXT, text(&strings))]) }
        }
        ("1.2.0.192.in-addr.arpa.", 12) => {
            positive(vec![("1.2.0.192.in-addr.arpa", 12, name("www.example"))])
        }
        ("www.example." | "alias.example.", _) => negative(0),
        ("broken.example.", _) => Reply { code: 2, ..Reply::default() },
        ("refused.example.", _) => Reply { code: 5, ..Reply::default() },
        ("silent.example.", _) => {
            SILENT_ASKED.store(true, Ordering::Relaxed);
            Reply { silent: true, ..Reply::default() }
        }
        _ => negative(3),
    }
}

/// Replaces the parts that differ each time.
fn steady(out: &str, server: &Server) -> String {
    let took = out.split(" in ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    let out = out.replace(&server.address, "SERVER");
    if took.is_empty() { out } else { out.replace(took, "TIME") }
}

#[test]
fn an_answer_is_printed_with_its_origin() {
    let server = Server::start(zone);
    let ended = server.dig(&["www.example"]);
    let expected = "\
www.example.  A  2 records

  www.example.  1h30m  A  192.0.2.1
  www.example.  1h30m  A  192.0.2.2

  NOERROR from SERVER over UDP in TIME, 83 bytes
";
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(steady(&ended.out, &server), expected);
    let ended = server.dig(&["--tcp", "alias.example"]);
    let expected = "\
alias.example.  A  1 record

  alias.example.  1h30m  CNAME  www.example.
  www.example.    1h30m  A      192.0.2.1

  NOERROR from SERVER over TCP in TIME, 96 bytes
";
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(steady(&ended.out, &server), expected);
}

#[test]
fn a_name_without_records_is_exit_code_1() {
    let server = Server::start(zone);
    for (arguments, outcome) in [
        (&["nope.example"][..], "nope.example.  A  the name does not exist (NXDOMAIN)"),
        (&["www.example", "MX"], "www.example.  MX  the name has no such records"),
        (&["broken.example"], "broken.example.  A  the server failed to find an answer (SERVFAIL)"),
        (&["refused.example"], "refused.example.  A  the server refuses to answer (REFUSED)"),
    ] {
        let ended = server.dig(arguments);
        assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
        assert_eq!(ended.out.lines().next(), Some(outcome));
        let has_authority = ended.out.contains("  authority\n  example.  1h30m  SOA  ns.example.");
        assert_eq!(has_authority, !outcome.contains("the server"), "{}", ended.out);
        // With --short, stdout has data only.
        let ended = server.dig(&[arguments, &["--short"]].concat());
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
        assert_eq!(ended.err.lines().count(), 1);
        let outcome = outcome.split("  ").last().unwrap();
        assert!(ended.err.starts_with("twistor: ") && ended.err.contains(outcome), "{}", ended.err);
    }
}

#[test]
fn short_prints_the_data_of_the_type_alone() {
    let server = Server::start(zone);
    for (arguments, out) in [
        (&["www.example"][..], "192.0.2.1\n192.0.2.2\n"),
        (&["alias.example"], "192.0.2.1\n"),
        (&["MX", "example"], "10 mail.example.\n"),
        (&["192.0.2.1"], "www.example.\n"),
        (&["-x", "192.0.2.1"], "www.example.\n"),
    ] {
        let ended = server.dig(&[arguments, &["--short"]].concat());
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), out, ""), "{arguments:?}");
    }
}

#[test]
fn json_is_one_document() {
    let server = Server::start(zone);
    let ended = server.dig(&["--json", "example", "MX"]);
    assert_eq!((ended.code, ended.err.as_str(), ended.out.lines().count()), (Some(0), "", 1));
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["name"], "example.");
    assert_eq!(document["code"], "NOERROR");
    assert_eq!(document["server"], server.address.as_str());
    assert_eq!(document["transport"], "udp");
    let answer = &document["answers"][0];
    assert_eq!((&answer["ttl"], &answer["data"]), (&5400.into(), &"10 mail.example.".into()));
    assert_eq!(answer["fields"], serde_json::json!({ "preference": 10, "exchange": "mail.example." }));
    assert!(document["took_ms"].as_f64().unwrap() > 0.0);
    let ended = server.dig(&["--json", "nope.example"]);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (ended.code, &document["code"], &document["records"]),
        (Some(1), &"NXDOMAIN".into(), &0.into())
    );
    assert_eq!(document["authorities"][0]["fields"]["serial"], 7);
}

#[test]
fn a_response_too_long_for_udp_is_asked_for_over_tcp() {
    let server = Server::start(zone);
    let ended = server.dig(&["long.example", "TXT"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains(" over TCP in "), "{}", ended.out);
    let strings = format!("\"{}\"", "x".repeat(250));
    assert_eq!(
        server.dig(&["long.example", "TXT", "--short"]).out.trim_end(),
        [strings.as_str(); 16].join(" ")
    );
}

#[test]
fn records_cannot_write_to_the_terminal() {
    let server = Server::start(zone);
    for form in [&[][..], &["--short"], &["--json"]] {
        let ended = server.dig(&[&["hostile.example", "TXT"], form].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        let is_printable = |c: char| c == '\n' || (' '..='~').contains(&c);
        assert!(ended.out.chars().all(is_printable), "{:?}", ended.out);
        if !form.contains(&"--json") {
            assert!(ended.out.contains(r#""\027]0;owned\007" "\226\128\174\"\\""#), "{}", ended.out);
        }
    }
}

#[test]
fn no_answer_is_exit_code_9_with_the_reason() {
    let closed = refusing_address();
    let server = format!("@{closed}");
    for form in [&[][..], &["--short"], &["--tcp"], &["--json"]] {
        let ended = run(&[&["dig", "www.example", &server], form].concat());
        assert_eq!((ended.code, ended.err.lines().count()), (Some(9), 1), "{}", ended.err);
        assert!(
            ended.err.starts_with("twistor: www.example. A: ") && ended.err.contains(&closed),
            "{}",
            ended.err
        );
        match form {
            ["--json"] => {
                let document: Value = serde_json::from_str(&ended.out).unwrap();
                assert!(document["code"].is_null());
                assert!(document["error"].as_str().unwrap().contains(&closed), "{document}");
            }
            _ => assert_eq!(ended.out, ""),
        }
    }
    let ended = run(&["dig", "www.example", "@nowhere.invalid"]);
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.lines().count()),
        (Some(9), "", 1),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("the server nowhere.invalid cannot be asked"), "{}", ended.err);
}

#[test]
fn a_signal_ends_the_wait_for_an_answer() {
    let server = Server::start(zone);
    let dig = Running::start(&["dig", "silent.example", &format!("@{}", server.address)]);
    let began = Instant::now();
    while !SILENT_ASKED.load(Ordering::Relaxed) {
        assert!(began.elapsed() < TIME_LIMIT, "no query arrived");
        thread::yield_now();
    }
    let ended = dig.end_by(Signal::INT);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
    assert!(ended.err.contains("ended before an answer arrived"), "{}", ended.err);
}

#[test]
fn a_bench_counts_answers_and_failures() {
    let server = Server::start(zone);
    let ended = server.dig(&["www.example", "--bench", "200ms", "--depth", "4"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    assert!(ended.out.starts_with(&format!("www.example.  A  {} over UDP\n\n  answers   ", server.address)));
    for words in [" a second\n", "  failures  0\n", " NOERROR\n", "  latency   p50 "] {
        assert!(ended.out.contains(words), "{words:?} is not in {}", ended.out);
    }
    let ended = server.dig(&["nope.example", "--bench", "100ms", "--tcp", "--depth", "1", "--json"]);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!((&document["transport"], &document["failures"]), (&"tcp".into(), &0.into()));
    let answers = document["answers"].as_u64().unwrap();
    assert!(answers > 0 && document["codes"]["NXDOMAIN"] == answers, "{document}");
    assert!(document["latency_ms"]["p99"].as_f64().unwrap() > 0.0);

    let ended = run(&["dig", "www.example", &format!("@{}", refusing_address()), "--bench", "50ms"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(9), ""), "{}", ended.out);
    assert!(ended.out.contains("answers   0 in "), "{}", ended.out);
}
