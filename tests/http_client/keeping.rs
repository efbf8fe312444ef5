//! Connections are kept, limited, and given up in time.

use crate::scene::{SECOND, Scene, Step, answer, ok, steps};
use std::time::Duration;
use twistor::http::{ClientSettings, FetchError, FetchStage};

#[test]
fn a_request_in_the_callback_takes_the_same_connection() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([ok("one"), ok("two")]);
    let (client, results) = (scene.client.clone(), scene.results.clone());
    let reactor = scene.simulation.reactor(scene.user);
    scene.client.get("http://server/1").start(reactor, move |reactor, first| {
        results.borrow_mut().push((reactor.now().since_origin(), first));
        client.get("http://server/2").start(reactor, move |reactor, second| {
            results.borrow_mut().push((reactor.now().since_origin(), second));
        });
    });
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["one", "two"]);
    assert_eq!(scene.connections(), 1);
    let results = scene.results.borrow();
    let second = results[1].1.as_ref().unwrap();
    assert!(second.reused && second.timings.connect.is_none());
    assert!(results[0].1.as_ref().unwrap().timings.connect.is_some());
}

#[test]
fn a_lost_answer_is_retried_on_a_new_connection() {
    for loss in [Step::Close, Step::Abort] {
        let mut scene = Scene::new(ClientSettings::default());
        scene.answers([ok("one"), steps(std::slice::from_ref(&loss)), ok("two")]);
        scene.get("http://server/");
        scene.run(SECOND);
        scene.get("http://server/");
        scene.run(SECOND);
        assert_eq!(scene.bodies(), ["one", "two"], "{loss:?}");
        assert_eq!((scene.connections(), scene.requests().len()), (2, 3));
    }
}

#[test]
fn only_idempotent_requests_are_retried() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([ok("one"), steps(&[Step::Close]), ok("two")]);
    scene.get("http://server/");
    scene.run(SECOND);
    scene.start(scene.client.post("http://server/", "x"));
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["one", "closed without an answer"]);
}

#[test]
fn an_answer_lost_on_a_new_connection_is_an_error() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([steps(&[Step::Close]), ok("two")]);
    let error = scene.result(scene.client.get("http://server/")).unwrap_err();
    assert!(matches!(error, FetchError::Closed(_)), "{error:?}");
    assert_eq!(scene.requests().len(), 1);
}

#[test]
fn a_retry_is_not_retried_again() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([ok("one"), steps(&[Step::Close]), steps(&[Step::Close]), ok("never")]);
    scene.get("http://server/");
    scene.run(SECOND);
    scene.get("http://server/");
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["one", "closed without an answer"]);
    assert_eq!(scene.requests().len(), 3);
}

#[test]
fn a_server_has_six_connections_and_the_rest_waits() {
    let mut scene = Scene::new(ClientSettings::default());
    let slow = |number: usize| vec![Step::Wait(SECOND), ok(&number.to_string()).remove(0)];
    scene.answers((0..8).map(slow));
    for number in 0..8 {
        scene.get(&format!("http://server/{number}"));
    }
    scene.run(SECOND + SECOND / 2);
    assert_eq!((scene.connections(), scene.results.borrow().len()), (6, 6));
    scene.run(SECOND);
    assert_eq!((scene.connections(), scene.results.borrow().len()), (6, 8));
    let waited = scene
        .results
        .borrow()
        .iter()
        .filter(|(_, result)| result.as_ref().unwrap().timings.queued > SECOND / 2)
        .count();
    assert_eq!(waited, 2);
}

#[test]
fn requests_that_wait_are_limited() {
    let settings = ClientSettings { max_per_host: 1, max_waiting: 2, ..ClientSettings::default() };
    let mut scene = Scene::new(settings);
    for _ in 0..4 {
        scene.get("http://server/");
    }
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["2 requests wait for a connection already", "default", "default", "default"]);
    assert_eq!(scene.connections(), 1);
}

#[test]
fn an_idle_connection_gives_way_to_another_server() {
    let settings = ClientSettings { max_connections: 1, ..ClientSettings::default() };
    let mut scene = Scene::new(settings);
    scene.get("http://server:80/");
    scene.run(SECOND);
    assert_eq!((scene.client.connections(), scene.client.idle_connections()), (1, 1));
    scene.get("http://server:443/");
    scene.run(SECOND);
    assert_eq!((scene.client.connections(), scene.client.idle_connections()), (1, 1));
    // Without an idle one, a request waits for the other.
    scene.answers([vec![Step::Wait(SECOND), ok("slow").remove(0)], ok("after it")]);
    scene.get("http://server:443/");
    scene.get("http://server:80/");
    scene.run(SECOND / 2);
    assert_eq!(scene.results.borrow().len(), 2);
    scene.run(SECOND);
    assert_eq!(scene.bodies()[2..], ["slow", "after it"]);
    assert_eq!(scene.script.borrow().open, 1);
}

#[test]
fn an_idle_connection_is_left_a_second_before_its_server() {
    for (header, allowed) in [
        ("", 60),
        ("Keep-Alive: timeout=5\r\n", 4),
        ("Keep-Alive: max=9, timeout=\"7\"\r\n", 6),
        ("Keep-Alive: timeout=600\r\n", 60),
    ] {
        let before = SECOND * allowed - Duration::from_millis(100);
        let mut scene = Scene::new(ClientSettings::default());
        scene.answers([answer("200 OK", header, "one"), answer("200 OK", header, "two")]);
        scene.get("http://server/");
        scene.run(before);
        assert_eq!(scene.client.idle_connections(), 1, "{header}");
        scene.get("http://server/");
        scene.run(before);
        assert_eq!((scene.connections(), scene.client.idle_connections()), (1, 1), "{header}");
        scene.run(SECOND);
        assert_eq!((scene.client.idle_connections(), scene.script.borrow().open), (0, 0), "{header}");
    }
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([answer("200 OK", "Keep-Alive: timeout=1\r\n", "one")]);
    scene.get("http://server/");
    scene.run(SECOND / 2);
    assert_eq!((scene.client.idle_connections(), scene.script.borrow().open), (0, 0));
}

#[test]
fn an_unsolicited_response_is_never_taken_for_the_next() {
    let mut scene = Scene::new(ClientSettings::default());
    let poison = ok("poison").remove(0);
    scene.answers([vec![ok("one").remove(0), Step::Wait(SECOND), poison.clone()], ok("two")]);
    scene.get("http://server/");
    scene.run(2 * SECOND);
    assert_eq!(scene.client.connections(), 0);
    scene.get("http://server/");
    scene.run(SECOND);
    // In one piece with the response.
    let mut scene = Scene::new(ClientSettings::default());
    let (Step::Send(one), Step::Send(more)) = (ok("one").remove(0), poison) else { unreachable!() };
    scene.answers([steps(&[Step::Send(one + &more)]), ok("two")]);
    scene.get("http://server/");
    scene.run(SECOND);
    scene.get("http://server/");
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["one", "two"]);
    assert_eq!(scene.connections(), 2);
}

#[test]
fn a_cancelled_request_is_not_reported() {
    let mut scene = Scene::new(ClientSettings { max_per_host: 1, ..ClientSettings::default() });
    scene.answers([steps(&[Step::Wait(100 * SECOND)]), ok("next")]);
    let reactor = scene.simulation.reactor(scene.user);
    let request = scene.client.get("http://server/").start(reactor, |_, _| panic!("it was cancelled"));
    let waiting = scene.client.get("http://server/").start(reactor, |_, _| panic!("it was cancelled"));
    scene.get("http://server/third");
    scene.run(SECOND);
    let reactor = scene.simulation.reactor(scene.user);
    waiting.cancel(reactor);
    request.cancel(reactor);
    request.cancel(reactor);
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["next"]);
    assert_eq!((scene.connections(), scene.client.connections()), (2, 1));
    // Before it is connected.
    let reactor = scene.simulation.reactor(scene.user);
    let early = scene.client.get("http://server:443/").start(reactor, |_, _| panic!("it was cancelled"));
    early.cancel(reactor);
    scene.run(SECOND);
    assert_eq!(scene.client.connections(), 1);
}

#[test]
fn a_panic_of_a_callback_loses_one_connection() {
    let mut scene = Scene::new(ClientSettings::default());
    let client = scene.client.clone();
    let results = scene.results.clone();
    let reactor = scene.simulation.reactor(scene.user);
    scene.client.get("http://server/").start(reactor, move |reactor, _| {
        client.get("http://server/").start(reactor, move |reactor, result| {
            results.borrow_mut().push((reactor.now().since_origin(), result));
        });
        panic!("a mistake of the user");
    });
    // The simulation reports the panic, and goes on.
    assert!(scene.simulation.run_for(SECOND).is_err());
    scene.run(SECOND);
    assert_eq!(scene.bodies(), ["default"]);
    assert_eq!((scene.connections(), scene.client.connections()), (2, 1));
}

#[test]
fn a_million_requests_never_lose_an_answer() {
    let mut scene = Scene::new(ClientSettings::default());
    let count: usize =
        std::env::var("TWISTOR_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let mut lost = 0;
    for number in 0..count {
        if number % 7 == 3 {
            let (server, user) = (scene.server, scene.user);
            scene.simulation.network().reset_connections(server, user);
        }
        let body = number.to_string();
        let good = ok(&body);
        scene.answers([match number % 5 {
            1 => steps(&[good[0].clone(), Step::Close]),
            2 => steps(&[Step::Wait(SECOND / 10), good[0].clone()]),
            3 => {
                let Step::Send(text) = &good[0] else { unreachable!() };
                steps(&[
                    Step::Send(text[..20].into()),
                    Step::Wait(SECOND / 20),
                    Step::Send(text[20..].into()),
                ])
            }
            4 => steps(&[
                Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()),
                Step::Wait(SECOND / 20),
                Step::Abort,
            ]),
            _ => good,
        }]);
        scene.start(scene.client.get(format!("http://server/{number}")));
        scene.run(SECOND);
        let (_, result) = scene.results.borrow_mut().pop().expect("every request has one result");
        match result {
            Ok(fetched) => assert_eq!(fetched.body, body.as_bytes(), "the answer is that of the request"),
            Err(FetchError::Lost(_) | FetchError::Http(_)) if number % 5 == 4 => lost += 1,
            Err(error) => panic!("request {number}: {error}"),
        }
        scene.script.borrow_mut().requests.clear();
        scene.script.borrow_mut().received.clear();
        scene.script.borrow_mut().answers.clear();
    }
    assert_eq!(lost, count / 5);
    assert!(scene.client.connections() <= 1);
}

#[test]
fn the_wait_for_a_connection_is_limited() {
    let mut scene = Scene::new(ClientSettings { max_per_host: 1, ..ClientSettings::default() });
    scene.answers([steps(&[Step::Wait(100 * SECOND)])]);
    scene.get("http://server/");
    scene.get("http://server/");
    scene.run(10 * SECOND);
    let results = scene.results.borrow();
    let limit = 10 * SECOND;
    assert_eq!(results[0].1.as_ref().unwrap_err(), &FetchError::TimedOut(limit, FetchStage::Queued));
}
