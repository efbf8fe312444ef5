//! Strict framing: requests that could be read in two ways are refused, at any cut.

use twistor::http::server::{Response, Site};
use twistor::testing::Peer;

use crate::lab::{Lab, statuses, text};

fn echo() -> Site {
    Site::new()
        .post("/", |request| Response::text(String::from_utf8_lossy(request.body()).into_owned()))
        .get("/", |_| Response::text("got"))
}

/// A request, and the statuses of its responses. After the last one the connection is closed if that
/// is an error of framing.
fn vectors() -> Vec<(Vec<u8>, Vec<u16>)> {
    let mut all: Vec<(Vec<u8>, Vec<u16>)> = Vec::new();
    let mut add = |request: &str, statuses: &[u16]| all.push((request.into(), statuses.into()));
    let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // Accepted.
    add(&(head("Content-Length: 3\r\n") + "abc" + next), &[200, 200]);
    add(&(head("Content-Length: 0\r\n") + next), &[200, 200]);
    add(&(head("Content-Length: 003\r\n") + "abc" + next), &[200, 200]);
    add(
        &(head("Transfer-Encoding: Chunked\r\n") + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n" + next),
        &[200, 200],
    );
    add(&("\r\n".to_owned() + next + "\r\n" + next), &[200, 200]);
    add("GET / HTTP/1.0\r\n\r\n", &[200]);
    add("GET / HTTP/1.1\r\nHost:a\r\nX:\t b \r\nY:\r\nZ: \x7f", &[]);
    add("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", &[200]);
    // Two lengths.
    add(&(head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "abc"), &[400]);
    for lengths in
        ["3\r\nContent-Length: 3", "3\r\nContent-Length: 4", "3, 3", "+3", "-3", "0x3", "3_0", "", "3 0"]
    {
        add(&(head(&format!("Content-Length: {lengths}\r\n")) + "abc"), &[400]);
    }
    add(&head("Content-Length: 18446744073709551616\r\n"), &[400]);
    add(&head("Content-Length: 18446744073709551615\r\n"), &[413]);
    // Codings.
    for (coding, status) in [
        ("chunked, chunked", 400),
        (",chunked", 400),
        ("", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        ("gzip, chunked", 501),
        ("identity", 501),
        ("x", 501),
        ("chunked;q=1", 501),
        ("\"chunked\"", 501),
    ] {
        add(&head(&format!("Transfer-Encoding: {coding}\r\n")), &[status]);
    }
    add("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &[400]);
    // Lines.
    for lines in [
        "A : b\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\n",
        "A: b\rc\r\n",
        "A\r\n",
        ": b\r\n",
        "A: b\0\r\n",
        "A\u{e9}: b\r\n",
        "A(: b\r\n",
        "A: \x07\r\n",
    ] {
        add(&head(lines), &[400]);
    }
    add("POST / HTTP/1.1\nHost: a\r\n\r\n", &[400]);
    add("POST / HTTP/1.1\r\nHost: a\r\n\n", &[400]);
    add("POST / HTTP/1.1\r\n A: b\r\nHost: a\r\n\r\n", &[400]);
    add("\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]);
    add("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]);
    // Request lines.
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET\t/ HTTP/1.1",
        "GET / a HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET http:/// HTTP/1.1",
        " GET / HTTP/1.1",
    ] {
        add(&format!("{line}\r\nHost: a\r\n\r\n"), &[400]);
    }
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/9.9"] {
        add(&format!("GET / {version}\r\nHost: a\r\n\r\n"), &[505]);
    }
    add("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505]);
    // Hosts.
    for host in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a:b\r\n",
        "Host: a:65536\r\n",
        "Host: me@a\r\n",
        "Host: [::1\r\n",
        "Host: [x]\r\n",
        "Host: :80\r\n",
    ] {
        add(&format!("GET / HTTP/1.1\r\n{host}\r\n"), &[400]);
    }
    add("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", &[400]);
    // Expectations.
    add(&head("Expect: something\r\n"), &[417]);
    // Chunks.
    let chunked = |body: &str| head("Transfer-Encoding: chunked\r\n") + body;
    for body in [
        "\r\n",
        "g\r\n",
        "0x1\r\n",
        "+1\r\n",
        "1_0\r\n",
        " 1\r\n",
        "1 \r\n",
        "1\n",
        "1\rx\r\n",
        "1\r\nab",
        "1\r\na\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "1;\x07\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nA: b\n\r\n",
    ] {
        add(&chunked(body), &[400]);
    }
    add(&chunked("FFFFFFFFFFFFFFFF\r\n"), &[413]);
    all.push((b"\x16\x03\x01\x02\x00\x01".to_vec(), vec![400]));
    all.push((b"\x00".to_vec(), vec![400]));
    all.push((b"\xff\xfe".to_vec(), vec![400]));
    all
}

fn outcome(peer: &mut Peer) -> (String, bool) {
    (text(peer), peer.end().is_none())
}

#[test]
fn each_vector_has_its_status() {
    let mut lab = Lab::new(echo());
    for (request, expected) in vectors() {
        let (response, open) = lab.ask(&request);
        let shown = request.escape_ascii();
        assert_eq!(statuses(&response), expected, "{shown}");
        let refused = expected.last().is_some_and(|status| *status >= 400);
        let old = request.starts_with(b"GET / HTTP/1.0");
        assert_eq!(open, !refused && !old, "{shown}");
        assert!(!refused || response.contains("\r\nConnection: close\r\n"), "{shown}");
    }
}

#[test]
fn a_request_means_the_same_at_any_cut() {
    let mut lab = Lab::new(echo());
    for (request, _) in vectors() {
        let whole = lab.ask(&request);
        let mut peer = lab.connect();
        for byte in &request {
            peer.feed(&[*byte]);
        }
        assert_eq!(outcome(&mut peer), whole, "byte by byte: {}", request.escape_ascii());
        for cut in 1..request.len() {
            let mut peer = lab.connect();
            peer.feed(&request[..cut]);
            peer.feed(&request[cut..]);
            assert_eq!(outcome(&mut peer), whole, "cut at {cut}: {}", request.escape_ascii());
        }
    }
}

#[test]
fn no_input_makes_the_server_panic() {
    // A panic in a callback fails the test.
    let mut lab = Lab::new(echo());
    let seeds = vectors();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..3000 {
        let mut request = seeds[random(seeds.len())].0.clone();
        for _ in 0..=random(4) {
            let at = random(request.len() + 1);
            match random(4) {
                0 if at < request.len() => request[at] = random(256) as u8,
                1 if at < request.len() => _ = request.remove(at),
                2 => request.insert(at, b"\r\n :,;\0x0"[random(9)]),
                _ => {
                    let other = &seeds[random(seeds.len())].0;
                    request.truncate(at);
                    request.extend_from_slice(&other[random(other.len())..]);
                }
            }
            if request.is_empty() {
                request.push(b'\r');
            }
        }
        let whole = lab.ask(&request);
        let cut = random(request.len());
        let mut peer = lab.connect();
        peer.feed(&request[..cut]);
        peer.feed(&request[cut..]);
        assert_eq!(outcome(&mut peer), whole, "cut at {cut}: {}", request.escape_ascii());
    }
}
