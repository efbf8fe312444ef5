//! nginx as an origin, with and without TLS, and tinyproxy before it.
//!
//! Where one of them is not installed, its test says so on stderr, and passes.

use crate::command::{free_address, run};
use crate::scene::folder_of;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that runs until it is dropped.
struct Peer(Child);

impl Peer {
    /// Starts it, and waits until it accepts. `None` when it is not installed.
    fn start(program: &str, arguments: &[&str], address: &str) -> Option<Peer> {
        let quiet = || Stdio::null();
        let started =
            Command::new(program).args(arguments).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
        let Ok(child) = started else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
            return None;
        };
        let mut peer = Peer(child);
        for _ in 0..1000 {
            if TcpStream::connect(address).is_ok() {
                return Some(peer);
            }
            assert!(peer.0.try_wait().unwrap().is_none(), "{program} ended at once");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{program} does not listen on {address}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx with plain HTTP and TLS, and a certificate for its address.
fn nginx(folder: &Path, plain: &str, secure: &str) -> Option<Peer> {
    fs::create_dir_all(folder).unwrap();
    let address = secure.split(':').next().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed([address]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("page.txt"), "a page\n".repeat(20_000)).unwrap();
    let path = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/log; events {{}}\n\
         http {{ access_log off; root {path}; gzip on; gzip_types text/plain; default_type text/plain;\n\
         client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;\n\
         uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n\
         server {{ listen {plain}; listen {secure} ssl; ssl_certificate {path}/cert.pem;\n\
         ssl_certificate_key {path}/key.pem; location = /old {{ return 301 /page.txt; }} }} }}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    Peer::start("nginx", &["-c", file.to_str().unwrap(), "-e", folder.join("log").to_str().unwrap()], plain)
}

#[test]
fn nginx_answers_with_and_without_tls() {
    let folder = folder_of("origin");
    let [plain, secure] = [(); 2].map(|()| free_address().to_string());
    let Some(_nginx) = nginx(&folder, &plain, &secure) else { return };
    let page = "a page\n".repeat(20_000);
    let got = run(&["get", &format!("http://{plain}/page.txt")]);
    assert_eq!((got.code, got.err.as_str()), (Some(0), ""));
    assert!(got.out == page, "{} bytes", got.out.len());
    let ca = folder.join("cert.pem");
    let url = format!("https://{secure}/old");
    let got = run(&["get", "-L", "--json", &url, "--ca", ca.to_str().unwrap()]);
    assert_eq!((got.code, got.err.as_str()), (Some(0), ""));
    let got: serde_json::Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!((got["status"].as_u64(), got["body"].as_str()), (Some(200), Some(page.as_str())));
    assert_eq!(got["redirects"], serde_json::json!([url]));
    assert!(
        got["headers"].as_array().unwrap().iter().any(|header| header[1] == "gzip"),
        "{}",
        got["headers"]
    );
    // Not trusted.
    let refused = run(&["get", &url]);
    assert_eq!(refused.code, Some(9), "{}", refused.err);
    assert!(refused.err.contains("certificate"), "{}", refused.err);
    let loud = run(&["get", "-L", &url, "--insecure"]);
    assert_eq!(loud.code, Some(0), "{}", loud.err);
    assert!(loud.err.contains("--insecure") && loud.out == page);
    // A feed over TLS: not JSON, but read.
    let feed = run(&["traffic", "--count", "1", "--json", &url, "--ca", ca.to_str().unwrap()]);
    assert!(feed.out.contains("\"reason\":\"json\""), "{} {}", feed.out, feed.err);
}

#[test]
fn tinyproxy_forwards_and_makes_tunnels() {
    let folder = folder_of("proxied");
    let [plain, secure, proxy] = [(); 3].map(|()| free_address().to_string());
    let Some(_nginx) = nginx(&folder, &plain, &secure) else { return };
    let (host, port) = proxy.rsplit_once(':').unwrap();
    let config = folder.join("proxy.conf");
    fs::write(
        &config,
        format!("Port {port}\nListen {host}\nTimeout 60\nAllow 127.0.0.0/8\nBasicAuth me secret\n"),
    )
    .unwrap();
    let Some(_proxy) = Peer::start("tinyproxy", &["-d", "-c", config.to_str().unwrap()], &proxy) else {
        return;
    };
    let through = format!("http://me:secret@{proxy}");
    let page = "a page\n".repeat(20_000);
    let got = run(&["get", &format!("http://{plain}/page.txt"), "--proxy", &through]);
    assert!(got.code == Some(0) && got.out == page, "{}", got.err);
    let ca = folder.join("cert.pem");
    let url = format!("https://{secure}/page.txt");
    let got = run(&["get", "-v", &url, "--proxy", &through, "--ca", ca.to_str().unwrap()]);
    assert!(got.code == Some(0) && got.out == page, "{}", got.err);
    let got =
        run(&["get", &url, "--proxy", &format!("http://me:wrong@{proxy}"), "--ca", ca.to_str().unwrap()]);
    assert_eq!(got.code, Some(9));
    assert!(got.err.contains("the proxy refused the tunnel with status 4"), "{}", got.err);
}
