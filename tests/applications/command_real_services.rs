//! The monitor and the traffic reader tell the truth about servers of other projects.
//!
//! Where such a server is not installed its test says so on stderr, and passes.

use crate::command::{Running, Signal, free_address};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that runs until it is dropped.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it accepts. `None` when it is not installed.
    fn start(program: &str, arguments: &[&str], address: &str) -> Option<Server> {
        let quiet = || Stdio::null();
        let started =
            Command::new(program).args(arguments).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
        let Ok(child) = started else {
            // Past the capture of passing tests: it has to be seen.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
            return None;
        };
        let mut server = Server(child);
        for _ in 0..1000 {
            if TcpStream::connect(address).is_ok() {
                return Some(server);
            }
            assert!(server.0.try_wait().unwrap().is_none(), "{program} ended at once");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{program} does not listen on {address}");
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It was killed already, perhaps.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder for a server's files, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// One that serves the files in `folder`, with `more` in its configuration.
fn nginx(folder: &Path, address: &str, more: &str) -> Option<Server> {
    let here = folder.display();
    let configuration = format!(
        "daemon off; master_process off; pid '{here}/pid'; error_log '{here}/error.log';
         events {{ worker_connections 64; }}
         http {{ access_log '{here}/access.log'; client_body_temp_path '{here}/a'; proxy_temp_path '{here}/b';
                 fastcgi_temp_path '{here}/c'; uwsgi_temp_path '{here}/d'; scgi_temp_path '{here}/e';
                 log_format connections '$connection_requests';
                 access_log '{here}/requests.log' connections; {more}
                 server {{ listen {address}; root '{here}'; }} }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let arguments = ["-p", folder.to_str().unwrap(), "-c", file.to_str().unwrap()];
    Server::start("nginx", &arguments, address)
}

#[test]
fn an_nginx_that_closes_idle_connections_stays_up() {
    let address = free_address().to_string();
    let folder = folder("nginx-idle");
    // A minute, by default.
    let Some(mut server) = nginx(&folder, &address, "client_header_timeout 1s;") else { return };
    let mut monitor = Running::start(&["monitor", &format!("held=hold://{address}"), "--json"]);
    monitor.line_with(&[r#""event":"up""#]);
    let told = monitor.line();
    assert!(told.contains(r#""event":"reconnected""#) && told.contains(r#""idle":true"#), "{told}");
    server.kill();
    let told = monitor.line();
    assert!(told.contains(r#""event":"down""#) && told.contains(r#""reason":"closed""#), "{told}");
    let ended = monitor.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn the_death_of_redis_is_known_at_once_and_so_is_its_return() {
    let address = free_address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let address = address.to_string();
    let folder = folder("redis");
    let folder = folder.to_str().unwrap();
    let redis = ["--port", &port, "--bind", &host, "--save", "", "--dir", folder];
    let Some(mut server) = Server::start("redis-server", &redis, &address) else { return };
    let (held, probed) = (format!("held=hold://{address}"), format!("probed=tcp://{address}"));
    let quickly = ["--interval", "50ms", "--backoff", "20ms", "--backoff-max", "50ms"];
    let mut monitor = Running::start(&[&["monitor", &held, &probed], &quickly[..]].concat());
    monitor.lines_with(&[&["held    up"], &["probed  up"]]);
    server.kill();
    monitor.lines_with(&[&["held", "down", "was up for"], &["probed", "down", "refused"]]);
    let Some(_server) = Server::start("redis-server", &redis, &address) else { return };
    monitor.lines_with(&[&["held", "up", "was down for"], &["probed", "up", "was down for"]]);
    let ended = monitor.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn an_nginx_feed_is_read_on_one_connection_with_its_age() {
    let address = free_address();
    let folder = folder("nginx");
    let feed = folder.join("feed.json");
    fs::write(&feed, r#"{"congestion": {"level": 0.25}, "vehicles": 7}"#).unwrap();
    let Some(_server) = nginx(&folder, &address.to_string(), "") else { return };
    let url = format!("http://{address}/feed.json");
    let mut traffic = Running::start(&[
        "traffic",
        &url,
        "--field",
        "/congestion/level",
        "--field",
        "/vehicles",
        "--interval",
        "50ms",
    ]);
    let first = traffic.line_with(&["congestion/level 0.25", "vehicles 7"]);
    assert!(first.contains("old"), "{first}");
    fs::write(&feed, r#"{"congestion": {"level": 0.75}, "vehicles": 9}"#).unwrap();
    traffic.line_with(&["congestion/level 0.75 (+0.5)", "vehicles 9 (+2)"]);
    let ended = traffic.end_by(Signal::TERM);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let requests = fs::read_to_string(folder.join("requests.log")).unwrap();
    // The first request comes from the check whether it accepts, which asks nothing and is not logged.
    let numbers: Vec<usize> = requests.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        numbers.len() >= 2 && numbers.iter().copied().eq(1..=numbers.len()),
        "on one connection: {numbers:?}"
    );
}
