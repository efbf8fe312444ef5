//! `twistor get`: body, heads, JSON, files and exit codes.

use crate::command::{Service, refusing_address, run};
use crate::scene::folder_of;
use twistor::{Protocol, Transport};

struct Fixed(&'static str);

impl Protocol for Fixed {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        let request = String::from_utf8_lossy(data).into_owned();
        match self.0 {
            "" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len());
                transport.write(head + &request);
            }
            answer => transport.write(answer),
        }
        transport.lose_connection();
    }
}

fn service(answer: &'static str) -> Service {
    Service::start("127.0.0.1:0", move || Fixed(answer))
}

fn get(answer: &'static str, arguments: &[&str]) -> crate::command::Ended {
    let service = service(answer);
    let url = format!("http://{}/x", service.address);
    run(&[&["get", url.as_str()], arguments].concat())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX: \u{9b}1m\r\n\r\nbody\u{7}\n";

#[test]
fn a_pipe_gets_the_body_and_nothing_else() {
    let ended = get(OK, &[]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "body\u{7}\n", ""));
    let ended = get("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", &[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), "gone"));
}

#[test]
fn heads_and_timings_go_to_stderr() {
    let ended = get(OK, &["-v", "-H", "Authorization: Bearer secret"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "body\u{7}\n"));
    for part in
        ["> GET http://", "< HTTP/1.1 200", "< Content-Length: 6", "connect ", "first byte ", "total "]
    {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    assert!(!ended.err.contains("secret") && !ended.err.contains('\u{9b}'), "{}", ended.err);
}

#[test]
fn json_has_everything() {
    let ended = get(OK, &["--json"]);
    let object: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((object["status"].as_u64(), object["body"].as_str()), (Some(200), Some("body\u{7}\n")));
    assert!(object["timings_ms"]["connect"].as_f64().is_some() && object["timings_ms"]["tls"].is_null());
    assert_eq!(ended.err, "");
    let ended = run(&["get", "--json", &format!("http://{}/", refusing_address())]);
    let object: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert!(object["status"].is_null() && object["error"].as_str().unwrap().contains("refused"), "{object}");
    assert_eq!(ended.code, Some(9));
}

#[test]
fn a_request_has_a_method_headers_and_a_body() {
    let ended = get("", &["-d", "data", "-H", "X: y", "-u", "me:secret"]);
    assert!(
        ended.out.starts_with("POST /x HTTP/1.1\r\n") && ended.out.ends_with("\r\n\r\ndata"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("\r\nX: y\r\n") && ended.out.contains("Authorization: Basic bWU6c2VjcmV0\r\n")
    );
    let ended = get("", &["-X", "PURGE"]);
    assert!(ended.out.starts_with("PURGE /x HTTP/1.1\r\n"), "{}", ended.out);
    let file = folder_of("sent").join("body");
    std::fs::write(&file, "from a file").unwrap();
    let ended = get("", &["-d", &format!("@{}", file.display())]);
    assert!(ended.out.ends_with("\r\n\r\nfrom a file"), "{}", ended.out);
}

#[test]
fn a_body_is_written_to_a_file_as_a_whole() {
    let file = folder_of("got").join("page");
    let ended = get(OK, &["-o", file.to_str().unwrap()]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "body\u{7}\n");
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\nhalf";
    let ended = get(half, &["-o", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(9));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "body\u{7}\n");
    let ended = get(OK, &["-o", "/nonexistent/x"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
}

#[test]
fn bad_usage_is_told_before_anything_is_sent() {
    for (arguments, part) in [
        (&["ftp://h/"][..], "not http or https"),
        (&["http://h/", "-X", "A B"], "not a request method"),
        (&["http://h/", "-H", "no colon"], "not a header name"),
        (&["http://h/", "-H", "Content-Length: 1"], "cannot be set"),
        (&["http://h/", "--proxy", "socks5://p"], "socks5"),
        (&["https://h/", "--ca", "/nonexistent"], "/nonexistent"),
    ] {
        let ended = run(&[&["get"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.err.contains(part) && ended.err.lines().count() == 1, "{arguments:?}: {}", ended.err);
    }
}
