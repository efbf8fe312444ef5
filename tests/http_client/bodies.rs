//! Bodies of requests and of responses, whole, in pieces and cut off.

use crate::scene::{SECOND, Scene, Step, answer, ok, steps};
use std::time::Duration;
use twistor::http::{Body, BodyError, ClientSettings, FetchError, HttpError, Limits, Method};

fn scene() -> Scene {
    Scene::new(ClientSettings::default())
}

#[test]
fn a_half_sent_body_is_an_error() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for (text, expected) in [(head, Some(10)), (chunks, None)] {
        let mut scene = scene();
        scene.answers([steps(&[Step::Send(text.into()), Step::Close])]);
        let error = scene.result(scene.client.get("http://server/")).unwrap_err();
        assert_eq!(error, FetchError::Http(HttpError::ClosedInBody { received: 4, expected }));
        scene.answers([steps(&[Step::Send(text.into()), Step::Wait(SECOND), Step::Abort])]);
        let error = scene.result(scene.client.get("http://server/")).unwrap_err();
        assert!(matches!(error, FetchError::Lost(_)), "{error:?}");
        assert_eq!(scene.client.connections(), 0);
    }
}

#[test]
fn a_body_ends_with_the_connection_if_nothing_says_more() {
    let mut scene = scene();
    scene.answers([steps(&[
        Step::Send("HTTP/1.1 200 OK\r\n\r\nall".into()),
        Step::Wait(SECOND),
        Step::Close,
    ])]);
    assert_eq!(scene.result(scene.client.get("http://server/")).unwrap().body, b"all");
    assert_eq!(scene.client.connections(), 0);
}

#[test]
fn a_response_is_the_same_at_any_cut() {
    let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                5;x=y\r\nhello\r\n7\r\n, world\r\n0\r\nDigest: z\r\n\r\n";
    for cut in 1..text.len() {
        let mut scene = scene();
        let pause = Step::Wait(Duration::from_millis(10));
        scene.answers([steps(&[Step::Send(text[..cut].into()), pause, Step::Send(text[cut..].into())])]);
        let fetched = scene.result(scene.client.get("http://server/")).unwrap();
        assert_eq!(
            (fetched.body.as_slice(), fetched.trailers.first("digest")),
            (&b"hello, world"[..], Some("z"))
        );
    }
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    let mut scene = scene();
    let lying =
        |status: &str| steps(&[Step::Send(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n"))]);
    scene.answers([lying("200 OK"), lying("304 Not Modified"), lying("204 No Content"), ok("end")]);
    for (method, status, body) in
        [(Method::HEAD, 200, ""), (Method::GET, 304, ""), (Method::GET, 204, ""), (Method::GET, 200, "end")]
    {
        scene.start(scene.client.call(method, "http://server/"));
        scene.run(SECOND);
        let (_, result) = scene.results.borrow_mut().pop().unwrap();
        let fetched = result.unwrap();
        assert_eq!((fetched.status, fetched.body.as_slice()), (status, body.as_bytes()));
    }
    assert_eq!(scene.connections(), 1);
}

#[test]
fn a_collected_body_has_a_limit_and_a_streamed_one_has_none() {
    let limits = Limits { body: 10, ..Limits::default() };
    let mut scene = Scene::new(ClientSettings { limits, ..ClientSettings::default() });
    scene.answers([ok("0123456789"), ok("0123456789a"), ok("0123456789a")]);
    assert_eq!(scene.result(scene.client.get("http://server/")).unwrap().body.len(), 10);
    let error = scene.result(scene.client.get("http://server/")).unwrap_err();
    assert_eq!(error, FetchError::Http(HttpError::BodyTooLong(10)));
    let length = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = length.clone();
    let reactor = scene.simulation.reactor(scene.user);
    scene.client.get("http://server/").stream_with(reactor, move |_, event| {
        if let twistor::http::StreamEvent::Piece(piece) = event {
            counted.set(counted.get() + piece.len());
        }
    });
    scene.run(SECOND);
    assert_eq!(length.get(), 11);
}

#[test]
fn a_large_body_is_sent_as_the_server_takes_it() {
    let mut scene = scene();
    let body = vec![b'x'; 3 << 20];
    scene.answers([steps(&[Step::Wait(10 * SECOND), ok("got it").remove(0)])]);
    assert_eq!(scene.result(scene.client.post("http://server/", body)).unwrap().body, b"got it");
    let received = scene.script.borrow().received.len();
    assert!(received > 3 << 20, "{received}");
    assert!(scene.requests()[0].contains(&format!("Content-Length: {}\r\n", 3 << 20)));
}

#[test]
fn a_streamed_body_is_sent_in_chunks_as_it_is_written() {
    let mut scene = scene();
    let (sender, body) = Body::stream(None);
    sender.write("before").unwrap();
    scene.answers([steps(&[Step::Wait(3 * SECOND), ok("got it").remove(0)])]);
    scene.start(scene.client.post("http://server/", body));
    scene.run(SECOND);
    assert!(scene.script.borrow().received.ends_with("\r\n\r\n6\r\nbefore\r\n"));
    sender.write("and after").unwrap();
    scene.run(SECOND / 10);
    assert!(scene.script.borrow().received.ends_with("6\r\nbefore\r\n9\r\nand after\r\n"));
    sender.finish().unwrap();
    scene.run(3 * SECOND);
    assert!(scene.script.borrow().received.ends_with("and after\r\n0\r\n\r\n"));
    assert_eq!(scene.bodies(), ["got it"]);
}

#[test]
fn a_streamed_body_keeps_the_length_it_announced() {
    let (sender, body) = Body::stream(Some(5));
    assert_eq!(sender.write("123456"), Err(BodyError::TooLong(5)));
    sender.write("123").unwrap();
    let mut scene = scene();
    scene.start(scene.client.call(Method::PUT, "http://server/").body(body));
    assert_eq!(sender.finish(), Err(BodyError::TooShort { length: 5, written: 3 }));
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["the body of the request was not finished"]);
    assert_eq!(scene.client.connections(), 0);
}

#[test]
fn a_sender_learns_that_its_request_is_over() {
    let mut scene = scene();
    let (sender, body) = Body::stream(None);
    scene.answers([answer("413 Content Too Large", "", "no")]);
    let fetched = scene.result(scene.client.post("http://server/", body)).unwrap();
    assert_eq!(fetched.status, 413);
    assert!(sender.is_closed());
    assert_eq!(sender.write("x"), Err(BodyError::Closed));
    // The rest of the body would be taken for the next request.
    assert_eq!(scene.client.connections(), 0);
}

#[test]
fn a_body_waits_for_the_agreement_of_the_server() {
    let expecting = |scene: &Scene| scene.client.post("http://server/", "the body").expect_continue(SECOND);
    // It agrees.
    let mut scene = scene();
    scene.answers([steps(&[
        Step::Send("HTTP/1.1 100 Continue\r\n\r\n".into()),
        Step::Wait(SECOND),
        ok("ok").remove(0),
    ])]);
    scene.start(expecting(&scene));
    scene.run(SECOND / 2);
    assert!(scene.requests()[0].contains("Expect: 100-continue\r\n"));
    assert!(scene.script.borrow().received.ends_with("\r\n\r\nthe body"));
    scene.run(SECOND);
    // It says nothing for the time of patience.
    scene.answers([steps(&[Step::Wait(2 * SECOND), ok("late").remove(0)])]);
    scene.start(expecting(&scene));
    scene.run(SECOND - Duration::from_millis(50));
    assert!(scene.script.borrow().received.ends_with("\r\n\r\n"));
    scene.run(SECOND / 5);
    assert!(scene.script.borrow().received.ends_with("the body"));
    scene.run(3 * SECOND);
    // It refuses, and the body is never sent.
    scene.answers([answer("417 Expectation Failed", "", "no")]);
    scene.start(expecting(&scene));
    scene.run(5 * SECOND);
    assert!(scene.script.borrow().received.ends_with("\r\n\r\n"));
    assert_eq!(scene.bodies(), ["ok", "late", "no"]);
    assert_eq!(scene.client.connections(), 0);
}
