//! Each phase of a request has a time limit.

use crate::scene::{SECOND, Scene, Step, ok, steps};
use std::time::Duration;
use twistor::http::{ClientSettings, FetchError, FetchStage, Timeouts};

fn scene() -> Scene {
    let timeouts =
        Timeouts { total: Some(20 * SECOND), connect: 2 * SECOND, first_byte: 3 * SECOND, idle: 4 * SECOND };
    Scene::new(ClientSettings { timeouts, ..ClientSettings::default() })
}

fn timed_out(scene: &mut Scene) -> (Duration, FetchError) {
    let begin = scene.simulation.reactor(scene.user).now().since_origin();
    scene.get("http://server/");
    scene.run(100 * SECOND);
    let (end, result) = scene.results.borrow_mut().pop().unwrap();
    assert_eq!(scene.client.connections(), 0);
    (Duration::from_secs((end - begin).as_secs()), result.unwrap_err())
}

#[test]
fn each_phase_has_a_limit() {
    let head = Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh".into());
    let mut scene = scene();
    scene.simulation.network().drop_connects(scene.server, Some(80));
    let limit = 2 * SECOND;
    assert_eq!(timed_out(&mut scene), (limit, FetchError::TimedOut(limit, FetchStage::Connecting)));
    scene.simulation.network().accept_connects(scene.server, Some(80));
    scene.answers([steps(&[Step::Wait(50 * SECOND), head.clone()])]);
    let limit = 3 * SECOND;
    assert_eq!(timed_out(&mut scene), (limit, FetchError::TimedOut(limit, FetchStage::Waiting)));
    scene.answers([steps(&[head.clone(), Step::Wait(50 * SECOND)])]);
    let limit = 4 * SECOND;
    assert_eq!(timed_out(&mut scene), (limit, FetchError::TimedOut(limit, FetchStage::Reading)));
    // Progress within each limit, and yet too slow.
    let mut slow = vec![head];
    slow.resize_with(13, || Step::Wait(3 * SECOND));
    let slow = slow.into_iter().flat_map(|step| [step, Step::Send("x".into())]).take(12).collect::<Vec<_>>();
    let mut dripping = vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".into())];
    dripping.extend(slow.into_iter().skip(2));
    dripping.extend([
        Step::Wait(3 * SECOND),
        Step::Send("x".into()),
        Step::Wait(3 * SECOND),
        Step::Send("x".into()),
    ]);
    scene.answers([dripping]);
    let limit = 20 * SECOND;
    assert_eq!(timed_out(&mut scene), (limit, FetchError::TimedOut(limit, FetchStage::Reading)));
}

#[test]
fn a_limit_is_kept_at_its_edge() {
    for (wait, expected) in [(2900, true), (3100, false)] {
        let mut scene = scene();
        scene.answers([vec![Step::Wait(Duration::from_millis(wait)), ok("in time").remove(0)]]);
        assert_eq!(scene.result(scene.client.get("http://server/")).is_ok(), expected, "{wait} ms");
    }
}

#[test]
fn the_total_of_a_call_is_its_own() {
    let mut scene = scene();
    scene.answers([steps(&[Step::Wait(50 * SECOND)])]);
    let error = scene.result(scene.client.get("http://server/").timeout(SECOND)).unwrap_err();
    assert_eq!(error, FetchError::TimedOut(SECOND, FetchStage::Waiting));
}

#[test]
fn a_refused_connection_is_an_error_at_once() {
    let mut scene = scene();
    scene.simulation.network().refuse(scene.server, Some(80));
    let error = scene.result(scene.client.get("http://server/")).unwrap_err();
    assert!(matches!(error, FetchError::Connect(_)), "{error:?}");
    let error = scene.result(scene.client.get("http://nowhere/")).unwrap_err();
    assert!(matches!(error, FetchError::Connect(_)), "{error:?}");
    let error = scene.result(scene.client.get("nowhere")).unwrap_err();
    assert!(matches!(error, FetchError::Url(_)), "{error:?}");
    assert_eq!(scene.client.connections(), 0);
}
