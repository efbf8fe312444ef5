//! Redirects, and the cookies that responses set on the way.

use crate::scene::{SECOND, Scene, Step, answer, ok, steps};
use twistor::http::{Body, ClientSettings, FetchError, Method};

fn to(status: &str, location: &str) -> Vec<Step> {
    answer(status, &format!("Location: {location}\r\n"), "moved")
}

#[test]
fn redirects_are_followed_on_the_same_connection() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([to("301 Moved", "../b?x"), to("302 Found", "http://server/c"), ok("there")]);
    let fetched = scene.result(scene.client.get("http://server/a/a")).unwrap();
    assert_eq!(
        (fetched.body.as_slice(), fetched.url.to_string().as_str()),
        (&b"there"[..], "http://server/c")
    );
    let redirects: Vec<String> = fetched.redirects.iter().map(ToString::to_string).collect();
    assert_eq!(redirects, ["http://server/a/a", "http://server/b?x"]);
    assert_eq!(scene.connections(), 1);
}

#[test]
fn ten_redirects_are_followed_and_no_more() {
    for (count, expected) in [(9, true), (10, true), (11, false)] {
        let mut scene = Scene::new(ClientSettings::default());
        scene.answers((0..count).map(|number| to("307 Temporary", &format!("/{number}"))));
        let result = scene.result(scene.client.get("http://server/"));
        assert_eq!(result.is_ok(), expected, "{count}");
        if let Err(error) = result {
            assert_eq!(error, FetchError::TooManyRedirects(10));
        }
    }
    let mut scene = Scene::new(ClientSettings { max_redirects: 0, ..ClientSettings::default() });
    scene.answers([to("301 Moved", "/x")]);
    assert_eq!(scene.result(scene.client.get("http://server/")).unwrap().status, 301);
}

#[test]
fn a_redirect_changes_the_method_as_the_standard_says() {
    for (method, status, next, body) in [
        (Method::POST, "301 Moved", "GET", false),
        (Method::POST, "302 Found", "GET", false),
        (Method::PUT, "302 Found", "PUT", true),
        (Method::PUT, "303 See Other", "GET", false),
        (Method::HEAD, "303 See Other", "HEAD", false),
        (Method::POST, "307 Temporary", "POST", true),
        (Method::DELETE, "308 Permanent", "DELETE", true),
    ] {
        let mut scene = Scene::new(ClientSettings::default());
        let head_only =
            steps(&[Step::Send(format!("HTTP/1.1 {status}\r\nLocation: /n\r\nContent-Length: 0\r\n\r\n"))]);
        scene.answers([head_only, steps(&[Step::Send("HTTP/1.1 204 Done\r\n\r\n".into())])]);
        scene.result(scene.client.call(method.clone(), "http://server/").body("data")).unwrap();
        let followed = scene.requests().remove(1);
        assert!(followed.starts_with(&format!("{next} /n HTTP/1.1\r\n")), "{method} {status}: {followed}");
        assert_eq!(followed.ends_with("data"), body, "{method} {status}");
    }
}

#[test]
fn credentials_stay_with_their_server() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([to("302 Found", "/same"), to("302 Found", "http://server:443/other"), ok("end")]);
    let call = scene
        .client
        .get("http://server/")
        .basic_auth("me", "secret")
        .header("Cookie", "a=b")
        .header("X", "kept");
    scene.result(call).unwrap();
    let with: Vec<bool> =
        scene.requests().iter().map(|request| request.contains("Authorization: Basic ")).collect();
    assert_eq!(with, [true, true, false]);
    assert!(!scene.requests()[2].contains("Cookie") && scene.requests()[2].contains("X: kept"));
}

#[test]
fn a_bad_redirect_is_refused() {
    for location in
        ["file:///etc/passwd", "ftp://server/", "unix:/run/x.sock", "http://u:p@server/", "http://"]
    {
        let mut scene = Scene::new(ClientSettings::default());
        scene.answers([to("302 Found", location)]);
        let error = scene.result(scene.client.get("http://server/")).unwrap_err();
        assert!(matches!(error, FetchError::BadRedirect(..)), "{location}: {error:?}");
        assert_eq!(scene.requests().len(), 1);
    }
}

#[test]
fn a_long_redirect_is_not_read_to_its_end() {
    for (length, connections) in [(64 << 10, 1), ((64 << 10) + 1, 2)] {
        let mut scene = Scene::new(ClientSettings::default());
        scene.answers([answer("302 Found", "Location: /x\r\n", &"x".repeat(length)), ok("there")]);
        assert_eq!(scene.result(scene.client.get("http://server/")).unwrap().body, b"there");
        assert_eq!(scene.connections(), connections, "{length}");
    }
}

#[test]
fn a_streamed_body_is_not_sent_to_another_place() {
    let mut scene = Scene::new(ClientSettings::default());
    let (sender, body) = Body::stream(Some(2));
    sender.write("ab").unwrap();
    sender.finish().unwrap();
    scene.answers([to("307 Temporary", "/x")]);
    assert_eq!(scene.result(scene.client.post("http://server/", body)).unwrap().status, 307);
}

#[test]
fn cookies_are_kept_if_asked_for() {
    for (cookies, sent) in [(true, true), (false, false)] {
        let mut scene = Scene::new(ClientSettings { cookies, ..ClientSettings::default() });
        scene.answers([answer("302 Found", "Set-Cookie: id=7; Path=/\r\nLocation: /x\r\n", ""), ok("end")]);
        scene.result(scene.client.get("http://server/")).unwrap();
        assert_eq!(scene.requests()[1].contains("\r\nCookie: id=7\r\n"), sent);
    }
}

#[test]
fn a_redirect_that_ends_with_the_connection_is_followed() {
    let mut scene = Scene::new(ClientSettings::default());
    scene.answers([
        steps(&[Step::Send("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nmoved".into())]),
        ok("there"),
    ]);
    assert_eq!(scene.result(scene.client.get("http://server/")).unwrap().body, b"there");
    scene.run(SECOND);
    assert_eq!(scene.connections(), 2);
}
