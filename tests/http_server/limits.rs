//! Limits of requests: each at one below, at, and one above.

use twistor::http::server::{Response, Route, Site, SiteLimits};

use crate::lab::{Lab, statuses, with_limits};

fn status(limits: &SiteLimits, request: impl AsRef<[u8]>) -> u16 {
    let site = with_limits(limits.clone())
        .get("/{*any}", |_| Response::text("got"))
        .route(Route::new("POST", "/", |request| Response::text(format!("{}", request.body().len()))))
        .route(Route::new("PUT", "/", |_| Response::text("put")).max_body(20));
    let mut lab = Lab::new(site);
    let (response, open) = lab.ask(&request);
    let found = statuses(&response);
    assert_eq!(open, found == [200], "{response}");
    // Byte by byte it is the same.
    let mut peer = lab.connect();
    for byte in request.as_ref() {
        peer.feed(&[*byte]);
    }
    assert_eq!(statuses(&crate::lab::text(&mut peer)), found);
    found[0]
}

#[test]
fn the_lines_of_a_head_are_limited() {
    let limits = SiteLimits { max_line: 100, ..SiteLimits::default() };
    let line = |length: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - "GET / HTTP/1.1".len()))
    };
    let field = |length: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length - "X: ".len()))
    };
    for (length, request, header) in [(99, 200, 200), (100, 200, 200), (101, 414, 431), (500, 414, 431)] {
        assert_eq!((status(&limits, line(length)), status(&limits, field(length))), (request, header));
    }
}

#[test]
fn the_head_as_a_whole_is_limited() {
    let limits = SiteLimits { max_head: 200, ..SiteLimits::default() };
    let head = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\nY: b\r\n\r\n";
        start.replace("X: ", &format!("X: {}", "x".repeat(length - start.len())))
    };
    for (length, expected) in [(199, 200), (200, 200), (201, 431)] {
        assert_eq!(status(&limits, head(length)), expected, "{length}");
    }
}

#[test]
fn the_number_of_headers_is_limited() {
    let limits = SiteLimits { max_headers: 5, ..SiteLimits::default() };
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(count - 1));
    for (count, expected) in [(4, 200), (5, 200), (6, 431)] {
        assert_eq!(status(&limits, head(count)), expected, "{count}");
    }
    let defaults = SiteLimits::default();
    assert_eq!((status(&defaults, head(100)), status(&defaults, head(101))), (200, 431));
    let most = SiteLimits { max_headers: usize::MAX, ..SiteLimits::default() };
    assert_eq!((status(&most, head(256)), status(&most, head(257))), (200, 431));
}

#[test]
fn the_body_is_limited_by_route() {
    let limits = SiteLimits { max_body: 10, ..SiteLimits::default() };
    let sized = |method: &str, length: usize| {
        let body = "x".repeat(length);
        format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let chunked = |method: &str, length: usize| {
        let body = "1\r\nx\r\n".repeat(length);
        format!("{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
    };
    for (length, post, put) in [(9, 200, 200), (10, 200, 200), (11, 413, 200), (20, 413, 200), (21, 413, 413)]
    {
        for request in [&sized, &chunked] as [&dyn Fn(&str, usize) -> String; 2] {
            assert_eq!(status(&limits, request("POST", length)), post, "{length}");
            assert_eq!(status(&limits, request("PUT", length)), put, "{length}");
        }
    }
}

#[test]
fn chunks_and_trailers_are_limited() {
    let limits = SiteLimits {
        max_chunk_line: 8,
        max_chunk_extensions: 6,
        max_trailers: 30,
        max_headers: 3,
        ..SiteLimits::default()
    };
    let chunked =
        |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let line = |length: usize| chunked(&format!("{}\r\n\r\n", "0".repeat(length)));
    assert_eq!(
        (status(&limits, line(7)), status(&limits, line(8)), status(&limits, line(9))),
        (200, 200, 400)
    );
    let flood = |length: usize| chunked(&format!("1;ab\r\nx\r\n0;{}\r\n\r\n", "c".repeat(length)));
    assert_eq!(
        (status(&limits, flood(1)), status(&limits, flood(2)), status(&limits, flood(3))),
        (200, 200, 400)
    );
    let trailer = |length: usize| chunked(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(length - 7)));
    assert_eq!((status(&limits, trailer(29)), status(&limits, trailer(30))), (200, 200));
    assert_eq!(status(&limits, trailer(31)), 431);
    let fields = |count: usize| chunked(&format!("0\r\n{}\r\n", "A:\r\n".repeat(count)));
    assert_eq!(
        (status(&limits, fields(2)), status(&limits, fields(3)), status(&limits, fields(4))),
        (200, 200, 431)
    );
}

#[test]
fn a_connection_has_a_limit_of_requests_and_age() {
    let limits = SiteLimits { max_requests: 3, ..SiteLimits::default() };
    let mut lab = Lab::new(with_limits(limits).get("/", |_| Response::text("x")));
    let (response, open) = lab.ask(crate::lab::get("/").repeat(5));
    assert_eq!((statuses(&response), open), (vec![200, 200, 200], false));
    assert_eq!(response.matches("Connection: close").count(), 1);

    let mut lab = Lab::new(Site::new().get("/", |_| Response::text("x")));
    let mut peer = lab.connect();
    for round in 0..=72 {
        assert!(peer.end().is_none());
        peer.feed(crate::lab::get("/").as_bytes());
        assert_eq!(crate::lab::text(&mut peer).contains("Connection: close"), round == 72, "{round}");
        lab.seconds(50);
    }
    assert!(peer.end().is_some());
}
