//! Responses are read while they arrive: by callbacks, in tasks, as events and as lines.

use crate::scene::{SECOND, Scene, Step, ok, steps};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use twistor::http::{ClientSettings, StreamEvent};

fn scene() -> Scene {
    Scene::new(ClientSettings::default())
}

#[test]
fn parts_are_passed_on_as_they_arrive() {
    let mut scene = scene();
    scene.answers([steps(&[
        Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into()),
        Step::Wait(SECOND),
        Step::Send("he".into()),
        Step::Wait(SECOND),
        Step::Send("llo".into()),
    ])]);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&seen);
    let reactor = scene.simulation.reactor(scene.user);
    scene.client.get("http://server/").stream_with(reactor, move |reactor, event| {
        let text = match event {
            StreamEvent::Head(head) => head.status.to_string(),
            StreamEvent::Piece(piece) => String::from_utf8_lossy(piece).into_owned(),
            StreamEvent::End(end) => format!("end {}", end.unwrap().reused),
        };
        note.borrow_mut().push((reactor.now().since_origin().as_secs(), text));
    });
    scene.run(5 * SECOND);
    let seen = seen.borrow();
    let texts: Vec<&str> = seen.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["200", "he", "llo", "end false"]);
    assert!(seen[1].0 > seen[0].0 && seen[2].0 > seen[1].0 && seen[3].0 == seen[2].0);
}

#[test]
fn a_paused_response_holds_its_server_back() {
    let mut scene = scene();
    let body = "x".repeat(8 << 20);
    scene.answers([ok(&body)]);
    let count = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&count);
    let reactor = scene.simulation.reactor(scene.user);
    let request = scene.client.get("http://server/").stream_with(reactor, move |_, event| {
        if let StreamEvent::Piece(piece) = event {
            *counted.borrow_mut() += piece.len();
        }
    });
    request.pause(reactor);
    scene.run(SECOND);
    let reactor = scene.simulation.reactor(scene.user);
    request.pause(reactor);
    scene.run(SECOND / 10);
    let before = *count.borrow();
    // Longer than the limit between two pieces, which does not count for a paused response.
    scene.run(100 * SECOND);
    assert_eq!(*count.borrow(), before);
    let reactor = scene.simulation.reactor(scene.user);
    request.resume(reactor);
    scene.run(60 * SECOND);
    assert_eq!(*count.borrow(), 8 << 20);
}

/// Runs a future on the client's host.
fn run<F: Future<Output = T> + 'static, T: 'static>(scene: &mut Scene, future: F) -> T {
    let result = Rc::new(RefCell::new(None));
    let place = Rc::clone(&result);
    let reactor = scene.simulation.reactor(scene.user);
    reactor.spawn(async move { *place.borrow_mut() = Some(future.await) }).detach();
    scene.run(600 * SECOND);
    result.borrow_mut().take().expect("the task has ended")
}

#[test]
fn a_task_awaits_a_response_and_its_json() {
    let mut scene = scene();
    scene.answers([ok("{\"level\": 7}")]);
    let client = scene.client.clone();
    let level = run(&mut scene, async move {
        let traffic: serde_json::Value = client.get("http://server/").await?.json()?;
        Ok::<_, Box<dyn std::error::Error>>(traffic["level"].clone())
    });
    assert_eq!(level.unwrap(), 7);
}

#[test]
fn a_task_reads_a_body_of_any_size_with_backpressure() {
    let mut scene = scene();
    scene.answers([ok(&"x".repeat(20 << 20))]);
    let client = scene.client.clone();
    let read = run(&mut scene, async move {
        let mut response = client.get("http://server/").stream().await.unwrap();
        let (mut bytes, mut largest) = (0, 0);
        while let Some(piece) = response.chunk().await.unwrap() {
            bytes += piece.len();
            largest = largest.max(piece.len());
            twistor::task::sleep(Duration::from_millis(20)).await;
        }
        (bytes, largest, response.end().is_some())
    });
    assert_eq!((read.0, read.2), (20 << 20, true));
    assert!(read.1 < 1 << 20, "{} bytes were buffered", read.1);
}

#[test]
fn events_and_lines_are_streams() {
    let mut scene = scene();
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: a\n\nda";
    let lines = "HTTP/1.1 200 OK\r\n\r\n{\"n\":1}\n{\"n\"";
    scene.answers([
        steps(&[Step::Send(events.into()), Step::Wait(SECOND), Step::Send("ta: b\n\n".into()), Step::Close]),
        steps(&[Step::Send(lines.into()), Step::Wait(SECOND), Step::Send(":2}".into()), Step::Close]),
    ]);
    let client = scene.client.clone();
    let (events, lines) = run(&mut scene, async move {
        let mut events = client.get("http://server/").stream().await.unwrap().events();
        let mut data = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            data.push((event.id, event.data));
        }
        let mut lines = client.get("http://server/").stream().await.unwrap().lines();
        let mut numbers = Vec::new();
        while let Some(line) = lines.next_json::<serde_json::Value>().await.unwrap() {
            numbers.push(line["n"].as_u64().unwrap());
        }
        (data, numbers)
    });
    assert_eq!(events, [("1".to_owned(), "a".to_owned()), ("1".to_owned(), "b".to_owned())]);
    assert_eq!(lines, [1, 2]);
}

#[test]
fn a_dropped_future_cancels_its_request() {
    let mut scene = scene();
    scene.answers([steps(&[Step::Wait(1000 * SECOND)])]);
    let client = scene.client.clone();
    let reactor = scene.simulation.reactor(scene.user);
    let task = reactor.spawn(async move { client.get("http://server/").await.map(drop) });
    scene.run(SECOND);
    assert_eq!(scene.client.connections(), 1);
    drop(task);
    scene.run(SECOND);
    assert_eq!((scene.client.connections(), scene.script.borrow().open), (0, 0));
}

#[test]
fn a_cancelled_deferred_cancels_its_request() {
    let mut scene = scene();
    scene.answers([steps(&[Step::Wait(1000 * SECOND)])]);
    let reactor = scene.simulation.reactor(scene.user);
    let deferred = scene.client.get("http://server/").defer(reactor);
    scene.run(SECOND);
    drop(deferred);
    scene.run(SECOND);
    assert_eq!((scene.client.connections(), scene.script.borrow().open), (0, 0));
    let reactor = scene.simulation.reactor(scene.user);
    let body = Rc::new(RefCell::new(None));
    let place = Rc::clone(&body);
    let deferred = scene.client.get("http://server/").defer(reactor);
    deferred.done(move |_, result| *place.borrow_mut() = Some(result.unwrap().body.clone()));
    scene.run(SECOND);
    assert_eq!(body.borrow().as_deref(), Some(&b"default"[..]));
}
