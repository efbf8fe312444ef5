//! An HTTP server: routes, a JSON API with state, a clock of server-sent events, and files.
//!
//! `cargo run --example http_server -- 127.0.0.1:8000 .`, then `curl http://127.0.0.1:8000/`

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use twistor::http::server::{Event, EventSource, Response, Route, Site, StaticFiles, escape_html};
use twistor::{LoopingCall, Reactor, println_or_exit, task};

type Notes = Rc<RefCell<BTreeMap<String, String>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let folder = std::env::args().nth(2).unwrap_or_else(|| ".".to_owned());
    let mut reactor = Reactor::new()?;

    let (notes, clock) = (Notes::default(), EventSource::new());
    let (written, read, events) = (Rc::clone(&notes), Rc::clone(&notes), clock.clone());
    let site = Site::new()
        .get("/", |_| Response::html(PAGE))
        .get("/hello/{name}", |request| {
            let name = escape_html(request.parameter("name").unwrap_or_default());
            Response::html(format!("<h1>Hello, {name}!</h1>\n"))
        })
        .put("/notes/{name}", move |request| {
            let name = request.parameter("name").unwrap_or_default().to_owned();
            let text = String::from_utf8_lossy(request.body()).into_owned();
            written.borrow_mut().insert(name, text);
            Response::new(204)
        })
        .get("/notes/{name}", move |request| {
            let name = request.parameter("name").unwrap_or_default();
            match read.borrow().get(name) {
                Some(text) => Response::text(text.clone()),
                None => Response::of_status(404),
            }
        })
        .route(Route::task("GET", "/slow", |_| async {
            task::sleep(Duration::from_secs(1)).await;
            Response::text("That took a second.\n")
        }))
        .get("/clock", move |_| events.subscribe())
        .files("/files/", StaticFiles::new(folder).listing(true))
        .gzip(true)
        .access_log(true);

    let listener = reactor.listen_tcp(address.as_str(), site)?;
    let address = listener.address().clone();
    println_or_exit!("serving at http://{}/", address.socket_address().ok_or("not TCP")?);
    // An event to all readers of the clock each second.
    let ticks = LoopingCall::new(move |reactor: &mut Reactor, tick| {
        clock.send(reactor, &Event::new(tick.count.to_string()).with_type("tick"));
    });
    ticks.start(&mut reactor, Duration::from_secs(1))?.detach();
    reactor.run()?;
    Ok(())
}

const PAGE: &str = r#"<!DOCTYPE html>
<meta charset="utf-8"><title>twistor</title>
<p><a href="hello/world">hello</a>, <a href="files/">files</a>, ticks: <b id="ticks">0</b>
<script>
new EventSource("clock").addEventListener("tick", event => ticks.textContent = event.data)
</script>
"#;
