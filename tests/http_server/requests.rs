//! Routes, methods, keep-alive and pipelining.

use twistor::http::server::{Reply, Request, Resource, Response, Route, Site, SiteLimits};

use crate::lab::{Lab, get, statuses, text};

fn hello() -> Site {
    Site::new()
        .get("/", |_| Response::text("Hello, world!"))
        .get("/users/{id}", |request| {
            let (id, more) = (request.parameter("id").unwrap(), request.query_value("more"));
            Response::text(format!("{id} {more:?} {}", request.method()))
        })
        .post("/", |request| Response::text(format!("{} bytes", request.body().len())))
}

#[test]
fn a_request_is_answered_and_the_connection_kept() {
    let mut lab = Lab::new(hello());
    let mut peer = lab.connect();
    for _ in 0..3 {
        peer.feed(get("/").as_bytes());
        assert_eq!(
            text(&mut peer),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\nHello, world!"
        );
        assert_eq!(peer.end(), None);
    }
    assert_eq!((lab.statistics.connections(), lab.statistics.requests()), (1, 3));
}

#[test]
fn the_date_is_that_of_the_clock() {
    let mut lab = Lab::new(hello());
    let mut date = || {
        let mut peer = lab.connect();
        peer.feed(get("/").as_bytes());
        let response = String::from_utf8(peer.take()).unwrap();
        let line = response.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap();
        let date = httpdate(line);
        let now = lab.memory.reactor().system_time();
        let late = now.duration_since(date).unwrap();
        assert!(late.as_secs() < 1, "{late:?}");
        lab.memory.advance(std::time::Duration::from_millis(1500));
        date
    };
    assert!(date() < date());
}

fn httpdate(text: &str) -> std::time::SystemTime {
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, zone] = parts[..] else { panic!("{text}") };
    assert_eq!((zone, text.len()), ("GMT", 29));
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|known| *known == month).unwrap() as u64;
    let number = |text: &str| text.parse::<u64>().unwrap();
    // Days from the civil calendar, for years after 2000.
    let year = number(year);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = (1970..year).map(|year| 365 + u64::from(leap(year))).sum::<u64>()
        + lengths[..month as usize].iter().sum::<u64>()
        + number(day)
        - 1;
    let seconds = ((days * 24 + number(hour)) * 60 + number(minute)) * 60 + number(second);
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

#[test]
fn parameters_and_queries_are_decoded() {
    let mut lab = Lab::new(hello());
    let (response, _) = lab.ask(get("/users/a%20b?x=1&more=%C3%BC+y"));
    assert!(response.ends_with("\r\n\r\na b Some(\"ü y\") GET"), "{response}");
}

#[test]
fn a_head_request_gets_no_body() {
    let mut lab = Lab::new(hello());
    let (response, open) = lab.ask(get("/").replace("GET", "HEAD") + &get("/"));
    let (head, second) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Content-Length: 13"));
    assert!(second.starts_with("HTTP/1.1 200 OK\r\n") && second.ends_with("Hello, world!"));
    assert!(open);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let mut lab = Lab::new(hello());
    let (response, open) = lab.ask(get("/none"));
    assert_eq!((statuses(&response), open), (vec![404], true));
    let (response, open) = lab.ask(get("/").replace("GET", "DELETE"));
    assert!(response.contains("\r\nAllow: GET, HEAD, OPTIONS, POST\r\n"), "{response}");
    assert_eq!((statuses(&response), open), (vec![405], true));
    let (response, _) = lab.ask(get("/").replace("GET", "OPTIONS"));
    assert!(response.starts_with("HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, OPTIONS, POST\r\n\r\n"));
    assert_eq!(statuses(&lab.ask(get("*").replace("GET", "OPTIONS")).0), [204]);
    assert_eq!(statuses(&lab.ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").0), [405]);
    assert_eq!(statuses(&lab.ask(get("/").replace("GET", "get")).0), [405]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let limits = SiteLimits { max_requests: u32::MAX, ..SiteLimits::default() };
    let mut lab = Lab::new(hello().limits(limits));
    let requests: String = (0..10_000).map(|number| get(&format!("/users/{number}"))).collect();
    let mut peer = lab.connect();
    peer.feed(requests.as_bytes());
    let response = text(&mut peer);
    let bodies: Vec<&str> = response.lines().filter(|line| line.contains(" None ")).collect();
    assert_eq!(bodies.len(), 10_000);
    for (number, body) in bodies.iter().enumerate() {
        // The next response begins on the same line.
        assert!(body.starts_with(&format!("{number} None GET")), "{body}");
    }
}

#[test]
fn a_slow_answer_holds_the_next_request_back() {
    let started = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&started);
    let site = Site::new().get("/{id}", move |request| {
        count.set(count.get() + 1);
        let id = request.parameter("id").unwrap().to_owned();
        let responder = request.responder();
        request.reactor().call_later(std::time::Duration::from_secs(1), move |reactor| {
            responder.respond(reactor, Response::text(id));
        });
        Reply::Later
    });
    let mut lab = Lab::new(site);
    let mut peer = lab.connect();
    peer.feed((get("/a") + &get("/b") + &get("/c")).as_bytes());
    for (number, id) in ["a", "b", "c"].iter().enumerate() {
        assert_eq!((text(&mut peer), started.get()), (String::new(), number + 1));
        lab.seconds(1);
        assert!(text(&mut peer).ends_with(&format!("\r\n\r\n{id}")));
    }
    assert_eq!(peer.end(), None);
}

#[test]
fn a_dropped_responder_answers_with_an_error() {
    let site = Site::new().get("/", |request| {
        drop(request.responder());
        Reply::Later
    });
    let mut lab = Lab::new(site);
    assert_eq!(statuses(&lab.ask(get("/")).0), [500]);
}

#[test]
fn an_error_of_a_handler_is_answered_with_500() {
    let site = Site::new().get("/", |_| Response::text("x").header("X-A", "a\r\nB: c"));
    let (response, open) = Lab::new(site).ask(get("/"));
    assert_eq!((statuses(&response), open), (vec![500], true));
    assert!(!response.contains("B: c"));
}

#[test]
fn a_task_answers_later() {
    let route = Route::task("GET", "/{name}", |request| {
        let name = request.parameter("name").unwrap().to_owned();
        async move {
            twistor::task::sleep(std::time::Duration::from_secs(2)).await;
            Response::text(name)
        }
    });
    let mut lab = Lab::new(Site::new().route(route));
    let mut peer = lab.connect();
    peer.feed(get("/x").as_bytes());
    lab.seconds(1);
    assert_eq!(text(&mut peer), "");
    lab.seconds(1);
    assert!(text(&mut peer).ends_with("\r\n\r\nx"));
}

#[test]
fn connections_close_when_either_side_asks_for_it() {
    let mut lab = Lab::new(hello());
    let kept = |lab: &mut Lab, request: &str| {
        let (response, open) = lab.ask(request);
        assert_eq!(response.contains("Connection: close"), !open, "{response}");
        (open, response.contains("Connection: keep-alive"))
    };
    assert_eq!(kept(&mut lab, "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"), (false, false));
    assert_eq!(kept(&mut lab, "GET / HTTP/1.0\r\n\r\n"), (false, false));
    assert_eq!(kept(&mut lab, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), (true, true));
}

#[test]
fn a_resource_has_all_methods_of_its_path() {
    struct Echo;
    impl Resource for Echo {
        fn handle(&mut self, request: &mut Request<'_>) -> Reply {
            Response::text(format!("{} {}", request.method(), request.path())).into()
        }
    }
    let mut lab = Lab::new(Site::new().resource("/a/{*rest}", Echo));
    assert!(lab.ask("PATCH /a/b/c HTTP/1.1\r\nHost: a\r\n\r\n").0.ends_with("PATCH /a/b/c"));
}

#[test]
fn an_absolute_target_must_name_the_host() {
    let mut lab = Lab::new(hello());
    let ask = |lab: &mut Lab, target: &str| {
        let (response, open) = lab.ask(get(target));
        (statuses(&response)[0], open)
    };
    assert_eq!(ask(&mut lab, "http://a/"), (200, true));
    assert_eq!(ask(&mut lab, "HTTP://A"), (200, true));
    assert_eq!(ask(&mut lab, "http://b/"), (400, false));
    assert_eq!(ask(&mut lab, "ftp://a/"), (400, false));
    assert_eq!(ask(&mut lab, "http://me@a/"), (400, false));
}

#[test]
fn another_protocol_can_take_over() {
    struct Upper(Vec<u8>);
    impl twistor::Protocol for Upper {
        fn connection_made(&mut self, transport: &mut twistor::Transport<'_>) {
            transport.write(b"ready.");
        }
        fn data_received(&mut self, transport: &mut twistor::Transport<'_>, data: &[u8]) {
            self.0.extend_from_slice(data);
            transport.write(data.to_ascii_uppercase());
        }
    }
    let site = Site::new().get("/", |request| {
        assert!(request.wants_upgrade());
        Response::upgrade("upper", Upper(Vec::new()))
    });
    let mut lab = Lab::new(site);
    let mut peer = lab.connect();
    peer.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\nabc");
    peer.feed(b"def");
    let response = text(&mut peer);
    assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{response}");
    assert!(response.ends_with("Connection: upgrade\r\n\r\nready.ABCDEF"), "{response}");
    lab.seconds(3600);
    assert_eq!(peer.end(), None);
    let id = lab.memory.reactor().connections()[0];
    let seen = lab.memory.reactor().with_protocol(id, |upper: &mut Upper, _| upper.0.clone());
    assert_eq!(seen.unwrap(), b"abcdef");
}

#[test]
fn a_panic_in_a_handler_ends_only_its_connection() {
    let site = Site::new().get("/", |request| {
        assert!(request.query().is_none(), "asked for it");
        Response::text("fine")
    });
    let mut lab = Lab::new(site);
    lab.memory.allow_panics();
    let mut other = lab.connect();
    let (response, open) = lab.ask(get("/?panic"));
    assert_eq!((response.as_str(), open), ("", false));
    other.feed(get("/").as_bytes());
    assert!(text(&mut other).ends_with("fine"));
}

#[test]
fn a_client_that_ends_its_half_gets_its_answer() {
    let site = Site::new().get("/", |request| {
        let responder = request.responder();
        request.reactor().call_later(std::time::Duration::from_secs(1), move |reactor| {
            responder.respond(reactor, Response::text("late"));
        });
        Reply::Later
    });
    let mut lab = Lab::new(site);
    let mut peer = lab.connect();
    peer.feed(get("/").as_bytes());
    peer.finish();
    lab.seconds(1);
    let response = text(&mut peer);
    assert!(response.contains("Connection: close") && response.ends_with("late"));
    assert!(peer.end().is_some());
}
