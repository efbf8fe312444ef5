//! Clients of other projects. Where one is not installed, its test says so on stderr, and passes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use twistor::http::server::{Response, Site};
use twistor::{Reactor, RemoteHandle};

/// A site on a thread of its own, until it is dropped.
struct Server {
    address: String,
    remote: RemoteHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut reactor = Reactor::new().unwrap();
            let site = Site::new()
                .get("/", |_| Response::text("Hello, world!"))
                .post("/", |request| Response::bytes("application/octet-stream", request.body().to_vec()))
                .get("/large", |_| Response::bytes("text/plain", vec![b'x'; 5 << 20]));
            let listener = reactor.listen_tcp("127.0.0.1:0", site).unwrap();
            let address = listener.address().socket_address().unwrap().to_string();
            ready.send((address, reactor.remote())).unwrap();
            reactor.run().unwrap();
        });
        let (address, remote) = started.recv().unwrap();
        Server { address, remote, thread: Some(thread) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.remote.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Runs a program. `None`: it is not installed.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    match ran {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{program} {arguments:?}: {text}");
            Some(text)
        }
        Err(_) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
            None
        }
    }
}

#[test]
fn curl_gets_and_posts() {
    let server = Server::start();
    let url = server.url("/");
    let Some(text) = output_of("curl", &["-sS", &url, &url]) else { return };
    assert_eq!(text, "Hello, world!Hello, world!");
    let head = output_of("curl", &["-sS", "-I", &url]).unwrap();
    assert!(head.contains("Content-Length: 13"), "{head}");
    // A body of this length makes curl expect an interim response.
    let body = "y".repeat(1 << 20);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("http_server_body");
    std::fs::write(&file, &body).unwrap();
    let given = format!("@{}", file.display());
    let expects = ["-sS", "-H", "Expect: 100-continue", "--data-binary", &given, &url];
    let chunked = ["-sS", "-H", "Transfer-Encoding: chunked", "--data-binary", &given, &url];
    assert_eq!(output_of("curl", &expects).unwrap(), body);
    assert_eq!(output_of("curl", &chunked).unwrap(), body);
    assert_eq!(output_of("curl", &["-sS", &server.url("/large")]).unwrap().len(), 5 << 20);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn wrk_sees_no_error() {
    let server = Server::start();
    let Some(text) = output_of("wrk", &["-t1", "-c64", "-d1s", &server.url("/")]) else { return };
    assert!(text.contains("requests in") && !text.contains("errors"), "{text}");
}

#[test]
fn ab_sees_no_failure() {
    let server = Server::start();
    for more in [&[][..], &["-k"]] {
        let mut arguments = more.to_vec();
        let url = server.url("/");
        arguments.extend(["-q", "-n", "2000", "-c", "20", &url]);
        let Some(text) = output_of("ab", &arguments) else { return };
        assert!(text.contains("Failed requests:        0"), "{text}");
        assert!(text.contains("Complete requests:      2000"), "{text}");
    }
}
