//! Response vectors. Each is parsed whole, byte by byte, and split in two at every position, with
//! the same result.

use super::{HttpError, Limits, Response, ResponseReader};

/// Result of a connection's bytes: the responses, how it ended, and the unused bytes.
type Outcome = (Vec<Response>, Result<(), HttpError>);

fn read(pieces: &[&[u8]], limits: &Limits) -> Outcome {
    let mut reader = ResponseReader::new(limits.clone());
    let mut responses = Vec::new();
    for piece in pieces {
        let mut data = *piece;
        while !data.is_empty() {
            match reader.feed(&mut data) {
                Ok(Some(response)) => responses.push(response),
                Ok(None) => assert!(data.is_empty(), "bytes are left although the reader wants more"),
                Err(error) => return (responses, Err(error)),
            }
        }
    }
    match reader.finish() {
        Ok(last) => {
            responses.extend(last);
            (responses, Ok(()))
        }
        Err(error) => (responses, Err(error)),
    }
}

fn read_with(bytes: &[u8], limits: &Limits) -> Outcome {
    let whole = read(&[bytes], limits);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single, limits), whole, "byte by byte: {}", bytes.escape_ascii());
    // Long vectors are split at every 97th position only, since the short ones cover the grammar.
    for cut in (0..bytes.len()).step_by(if bytes.len() > 2000 { 97 } else { 1 }) {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(read(&[first, second], limits), whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

fn one(bytes: impl AsRef<[u8]>) -> Response {
    let (mut responses, end) = read_with(bytes.as_ref(), &Limits::default());
    assert_eq!((responses.len(), end), (1, Ok(())));
    responses.remove(0)
}

fn error(bytes: impl AsRef<[u8]>) -> HttpError {
    let (responses, end) = read_with(bytes.as_ref(), &Limits::default());
    assert_eq!(responses, [], "an error was expected");
    end.expect_err("an error was expected")
}

fn head(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n")
}

fn chunked(body: &str) -> String {
    head("Transfer-Encoding: chunked\r\n") + body
}

#[test]
fn a_body_ends_at_its_content_length() {
    let response = one(head("Content-Length: 5\r\nX: a\r\nx: b\r\n") + "hello");
    assert_eq!((response.status, response.body.as_slice(), response.keep_alive), (200, &b"hello"[..], true));
    assert_eq!(response.headers.first("content-LENGTH"), Some("5"));
    assert_eq!(response.headers.all("x").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(one(head("Content-Length: 0\r\n")).body, b"");
    assert_eq!(one(head("Content-Length: 3, 3\r\nContent-Length: 3\r\n") + "abc").body, b"abc");
    assert_eq!(one("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").status, 200);
}

#[test]
fn a_chunked_body_ends_with_its_last_chunk_and_trailers() {
    let response = one(chunked("5\r\nhello\r\n00A ; name=\"x\"\r\n, world!!!\r\n0\r\n\r\n"));
    assert_eq!((response.body.as_slice(), response.keep_alive), (&b"hello, world!!!"[..], true));
    let response = one(chunked("1;x\r\na\r\n0\r\nDigest: z\r\nContent-Length: 9\r\n\r\n"));
    assert_eq!(response.body, b"a");
    assert_eq!((response.trailers.first("digest"), response.trailers.len()), (Some("z"), 2));
    assert_eq!(response.headers.first("content-length"), None);
    assert!(one(chunked("0\r\n\r\n")).body.is_empty());
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let response = one(head("") + "all of it\r\n\r\n");
    assert_eq!((response.body.as_slice(), response.keep_alive), (&b"all of it\r\n\r\n"[..], false));
    assert_eq!(one(head("")).body, b"");
}

#[test]
fn statuses_without_a_body_have_none() {
    for status in [204, 304] {
        assert!(one(format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n")).body.is_empty());
        assert!(one(format!("HTTP/1.1 {status} X\r\n\r\n")).keep_alive);
    }
}

#[test]
fn interim_responses_are_skipped() {
    let response = one("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".to_owned()
        + "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n.");
    assert_eq!((response.status, response.headers.len()), (404, 1));
    assert_eq!(error("HTTP/1.1 100 Continue\r\n\r\n".repeat(9)), HttpError::TooManyInterim(8));
    assert_eq!(error("HTTP/1.1 100 Continue\r\n\r\n"), HttpError::ClosedInHead);
    assert_eq!(error("HTTP/1.1 101 Switching\r\n\r\n"), HttpError::Upgrade);
}

#[test]
fn the_connection_is_kept_when_both_sides_can() {
    let kept = |version: &str, connection: &str| {
        one(format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{connection}\r\n")).keep_alive
    };
    assert!(kept("1.1", ""));
    assert!(!kept("1.1", "Connection: Close\r\n"));
    assert!(!kept("1.1", "Connection: x , close\r\n"));
    assert!(!kept("1.0", ""));
    assert!(kept("1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn responses_follow_each_other_on_one_connection() {
    let bytes = head("Content-Length: 1\r\n") + "a" + &chunked("1\r\nb\r\n0\r\n\r\n") + &head("") + "c";
    let (responses, end) = read_with(bytes.as_bytes(), &Limits::default());
    let bodies: Vec<_> = responses.iter().map(|response| response.body.as_slice()).collect();
    assert_eq!((bodies, end), (vec![&b"a"[..], b"b", b"c"], Ok(())));
}

#[test]
fn a_connection_that_ends_early_says_how_far_it_came() {
    assert_eq!(error("HTTP/1.1 200 OK\r\nContent-"), HttpError::ClosedInHead);
    assert_eq!(error("HTTP"), HttpError::ClosedInHead);
    let cut = HttpError::ClosedInBody { received: 2, expected: Some(5) };
    assert_eq!(error(head("Content-Length: 5\r\n") + "he"), cut);
    for end in ["", "2", "2\r", "2\r\n", "1\r\nb\r\n", "1\r\nb\r\n0\r\n", "1\r\nb\r\n0\r\nX: y\r\n"] {
        let cut = HttpError::ClosedInBody { received: end.contains('b').into(), expected: None };
        assert_eq!(error(chunked(end)), cut, "{end:?}");
    }
    assert_eq!(read(&[], &Limits::default()), (vec![], Ok(())));
}

#[test]
fn what_is_not_http_is_known_at_once() {
    for bytes in
        ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "\r\nHTTP/1.1", "\0"]
    {
        assert_eq!(error(bytes), HttpError::NotHttp, "{bytes:?}");
    }
    for bytes in [
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 2000\r\n\r\n",
    ] {
        assert_eq!(error(bytes), HttpError::StatusLine, "{bytes:?}");
    }
    assert_eq!(error("HTTP/1.1 099 X\r\n\r\n"), HttpError::Status(99));
    assert_eq!(error("HTTP/1.1 600 X\r\n\r\n"), HttpError::Status(600));
}

#[test]
fn malformed_lines_are_refused() {
    assert_eq!(error("HTTP/1.1 200 OK\n\n"), HttpError::BareLineFeed);
    assert_eq!(error("HTTP/1.1 200 OK\r\nA: b\n\r\n"), HttpError::BareLineFeed);
    assert_eq!(error("HTTP/1.1 200 OK\r\nA: b\r\n\n"), HttpError::BareLineFeed);
    assert_eq!(error("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"), HttpError::BareCarriageReturn);
    for line in ["A : b", " A: b", "A", ": b", "A: b\r\n c", "A\0: b", "A: \0", "A: \x07", "é: b"] {
        assert_eq!(error(head(&format!("{line}\r\n"))), HttpError::Header, "{line:?}");
    }
}

#[test]
fn lengths_that_could_be_read_in_two_ways_are_refused() {
    for value in ["+5", "-1", "0x5", "5_0", "", "5 0", "5,", "18446744073709551616", "five"] {
        let refused = error(head(&format!("Content-Length: {value}\r\n")));
        assert!(matches!(refused, HttpError::ContentLength(_)), "{value:?}: {refused:?}");
    }
    assert_eq!(
        error(head("Content-Length: 5\r\nContent-Length: 6\r\n")),
        HttpError::ContentLengthsDiffer(5, 6)
    );
    assert_eq!(error(head("Content-Length: 5, 6\r\n")), HttpError::ContentLengthsDiffer(5, 6));
    let both = head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(error(both), HttpError::LengthAndEncoding);
    for value in ["identity", "gzip, chunked", "chunked, chunked", ",chunked", "chunked;q=1", "x"] {
        let refused = error(head(&format!("Transfer-Encoding: {value}\r\n")));
        assert_eq!(refused, HttpError::TransferEncoding(value.into()));
    }
    let twice = head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
    assert!(matches!(error(twice), HttpError::TransferEncoding(_)));
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(matches!(error(old), HttpError::TransferEncoding(_)));
}

#[test]
fn malformed_chunks_are_refused() {
    for line in ["", " 5", "5 ", "0x5", "+5", "-5", "5_0", "g", "5;a\x07", "5 a", "00000000000000005", ";x"] {
        assert_eq!(error(chunked(&format!("{line}\r\nhello"))), HttpError::ChunkSize(line.into()));
    }
    assert_eq!(error(chunked("5\nhello\r\n")), HttpError::BareLineFeed);
    assert_eq!(error(chunked("5\rx\r\nhello\r\n")), HttpError::BareCarriageReturn);
    assert_eq!(error(chunked("5\r\nhello!\r\n")), HttpError::ChunkEnd);
    assert_eq!(error(chunked("5\r\nhello\n")), HttpError::ChunkEnd);
    assert_eq!(error(chunked("0\r\nA : b\r\n\r\n")), HttpError::Header);
    assert_eq!(error(chunked("FFFFFFFFFFFFFFFF\r\n")), HttpError::BodyTooLong(16 << 20));
}

/// For every limit, a value at the limit is accepted, and one above it is not.
#[test]
fn each_limit_holds_at_its_edge() {
    let limits = Limits {
        head: 100,
        line: 60,
        headers: 3,
        interim: 1,
        chunk_line: 8,
        chunk_extensions: 6,
        trailers: 30,
        body: 10,
    };
    let checked = |bytes: String| read_with(bytes.as_bytes(), &limits).1;
    let padded = |length: usize| {
        let start = head("A: \r\nB: \r\nContent-Length: 0\r\n");
        start.replace("A: ", &format!("A: {}", "x".repeat(length - start.len())))
    };
    assert_eq!(checked(padded(100)), Ok(()));
    assert_eq!(checked(padded(101)), Err(HttpError::HeadTooLong(100)));
    let line = |length: usize| head(&format!("A: {}\r\n", "x".repeat(length - 3)));
    assert_eq!(checked(line(60)), Ok(()));
    assert_eq!(checked(line(61)), Err(HttpError::LineTooLong(60)));
    assert_eq!(checked(head(&"A:\r\n".repeat(3))), Ok(()));
    assert_eq!(checked(head(&"A:\r\n".repeat(4))), Err(HttpError::TooManyHeaders(3)));
    let interim = |count| "HTTP/1.1 100 C\r\n\r\n".repeat(count) + &head("");
    assert_eq!(checked(interim(1)), Ok(()));
    assert_eq!(checked(interim(2)), Err(HttpError::TooManyInterim(1)));
    let body = |size: usize| head(&format!("Content-Length: {size}\r\n")) + &"x".repeat(size);
    assert_eq!(checked(body(10)), Ok(()));
    assert_eq!(checked(body(11)), Err(HttpError::BodyTooLong(10)));
    assert_eq!(checked(head("") + &"x".repeat(10)), Ok(()));
    assert_eq!(checked(head("") + &"x".repeat(11)), Err(HttpError::BodyTooLong(10)));
    let chunks =
        |second: usize| chunked(&format!("8\r\n12345678\r\n{second}\r\n{}\r\n0\r\n\r\n", "x".repeat(second)));
    assert_eq!(checked(chunks(2)), Ok(()));
    assert_eq!(checked(chunks(3)), Err(HttpError::BodyTooLong(10)));
    assert_eq!(checked(chunked("00000000\r\n\r\n")), Ok(()));
    assert_eq!(checked(chunked("000000000\r\n\r\n")), Err(HttpError::ChunkLineTooLong(8)));
    assert_eq!(checked(chunked("1;ab\r\nx\r\n0;cd\r\n\r\n")), Ok(()));
    assert_eq!(checked(chunked("1;ab\r\nx\r\n0;cde\r\n\r\n")), Err(HttpError::ChunkExtensionsTooLong(6)));
    let trailer = |length: usize| chunked(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(length - 7)));
    assert_eq!(checked(trailer(30)), Ok(()));
    assert_eq!(checked(trailer(31)), Err(HttpError::TrailersTooLong(30)));
}
