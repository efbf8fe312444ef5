//! Static files, on a simulated disk and on the real one.

use std::time::Duration;

use twistor::http::server::{Site, StaticFiles};
use twistor::sim::Disk;

use crate::lab::{Lab, get, statuses, text};

fn lab() -> Lab {
    lab_of(|files| files)
}

fn lab_of(change: impl FnOnce(StaticFiles) -> StaticFiles) -> Lab {
    let files = change(StaticFiles::new("/srv/www").listing(true));
    let lab = Lab::new(Site::new().files("/", files).gzip(true));
    let disk = disk(&lab);
    for path in ["/srv/www/sub/deep", "/srv/www/site", "/srv/www/.git", "/etc"] {
        assert!(disk.create_dir(path), "{path}");
    }
    for (path, data) in [
        ("/srv/www/hello.txt", "0123456789"),
        ("/srv/www/site/index.html", "<h1>index</h1>"),
        ("/srv/www/a<b>&.txt", "x"),
        ("/srv/www/.secret", "secret"),
        ("/srv/www/.git/config", "secret"),
        ("/etc/passwd", "secret"),
        ("/srv/secret", "secret"),
    ] {
        assert!(disk.write(path, data), "{path}");
    }
    disk.symlink("/etc/passwd", "/srv/www/absolute");
    disk.symlink("../../etc/passwd", "/srv/www/relative");
    disk.symlink("../..", "/srv/www/up");
    disk.symlink("../hello.txt", "/srv/www/sub/inside");
    disk.symlink("loop", "/srv/www/loop");
    lab
}

fn disk(lab: &Lab) -> Disk {
    let (network, host) = lab.memory.network();
    network.disk(host)
}

impl Lab {
    fn fetch(&mut self, request: &str) -> String {
        let mut peer = self.connect();
        peer.feed(request.as_bytes());
        self.memory.advance(Duration::from_millis(500));
        text(&mut peer)
    }

    fn status(&mut self, path: &str) -> u16 {
        statuses(&self.fetch(&get(path)))[0]
    }

    fn with(&mut self, path: &str, field: &str) -> String {
        self.fetch(&get(path).replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n")))
    }
}

fn value<'a>(response: &'a str, name: &str) -> &'a str {
    let start = format!("{name}: ");
    response.lines().find_map(|line| line.strip_prefix(start.as_str())).unwrap_or_default()
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn a_file_is_served_with_its_type_and_tag() {
    let mut lab = lab();
    let response = lab.fetch(&get("/hello.txt"));
    assert_eq!((statuses(&response), body(&response)), (vec![200], "0123456789"));
    assert_eq!(value(&response, "Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(value(&response, "Accept-Ranges"), "bytes");
    assert!(value(&response, "ETag").starts_with('"'));
    assert!(value(&response, "Last-Modified").ends_with(" GMT"));
    let head = lab.fetch(&get("/hello.txt").replace("GET", "HEAD"));
    assert_eq!((value(&head, "Content-Length"), body(&head)), ("10", ""));
    assert_eq!(statuses(&lab.fetch(&get("/hello.txt").replace("GET", "POST"))), [405]);
}

#[test]
fn nothing_outside_of_the_directory_is_served() {
    let mut lab = lab();
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/../../secret",
        "/sub%2f..%2f..%2fsecret",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/absolute",
        "/relative",
        "/up/etc/passwd",
        "/up/secret",
        "/loop",
        "/hello.txt%00",
        "/hello.txt/",
        "/hello.txt/x",
        "/none",
        "/%zz",
        "/.secret",
        "/.git/config",
        "/.git/",
    ] {
        let response = lab.fetch(&get(path));
        assert_eq!(statuses(&response), [404], "{path}");
        assert!(!response.contains("secret"), "{path}");
    }
    // A link that stays inside is followed.
    assert_eq!(body(&lab.fetch(&get("/sub/inside"))), "0123456789");
    let mut open = lab_of(|files| files.hidden(true));
    assert_eq!(
        (open.status("/.secret"), open.status("/../secret"), open.status("/.git/config")),
        (200, 404, 200)
    );
}

#[test]
fn the_real_disk_serves_nothing_outside_either() {
    use std::os::unix::fs::symlink;

    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("http_server_outside");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("www/sub")).unwrap();
    std::fs::write(root.join("secret"), "secret").unwrap();
    std::fs::write(root.join("www/hello"), "hello").unwrap();
    symlink(root.join("secret"), root.join("www/absolute")).unwrap();
    symlink("../secret", root.join("www/relative")).unwrap();
    symlink("..", root.join("www/up")).unwrap();
    symlink("../hello", root.join("www/sub/inside")).unwrap();
    let www = root.join("www");
    twistor::block_on(async move {
        use twistor::files::{list_beneath, open_beneath};

        for path in ["../secret", "absolute", "relative", "up/secret", "sub/../../secret", "/etc/passwd"] {
            let error = open_beneath(&www, path).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::CrossesDevices, "{path}");
        }
        for path in ["hello", "sub/inside", "sub/../hello"] {
            let file = open_beneath(&www, path).await.unwrap();
            assert_eq!(file.read(0, 10).await.unwrap(), b"hello", "{path}");
        }
        let listed = list_beneath(&www, ".").await.unwrap();
        let names: Vec<_> = listed.iter().map(|(entry, _)| entry.name.to_str().unwrap()).collect();
        assert_eq!(names, ["absolute", "hello", "relative", "sub", "up"]);
        assert_eq!(listed[1].1.length, 5);
        assert_eq!(list_beneath(&www, "up").await.unwrap_err().kind(), std::io::ErrorKind::CrossesDevices);
    })
    .unwrap();
    std::fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_directory_has_an_index_or_a_listing() {
    let mut lab = lab();
    assert_eq!(body(&lab.fetch(&get("/site/"))), "<h1>index</h1>");
    let response = lab.fetch(&get("/sub?q"));
    assert_eq!((statuses(&response), value(&response, "Location")), (vec![308], "/sub/?q"));
    // Not another host.
    assert_eq!(value(&lab.fetch(&get("//sub")), "Location"), "/sub/");
    let page = lab.fetch(&get("/"));
    assert_eq!(statuses(&page), [200]);
    assert!(page.contains("<a href=\"./a%3Cb%3E%26.txt\">a&lt;b&gt;&amp;.txt</a><td>1 B"), "{page}");
    assert!(page.contains("prefers-color-scheme") || page.contains("color-scheme:light dark"));
    assert!(!page.contains("secret") && !page.contains(".git") && !page.contains("a<b>"));
    // Directories first, each by name.
    let order: Vec<usize> = ["./site/\"", "./sub/\"", "./a%3C", "./hello.txt\"", "./loop\""]
        .iter()
        .map(|link| page.find(link).unwrap_or_else(|| panic!("{link} in {page}")))
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(lab.fetch(&get("/sub/deep/")).contains("This directory is empty."));
    let mut closed = lab_of(|files| files.listing(false));
    assert_eq!((closed.status("/"), closed.status("/site/")), (404, 200));
}

#[test]
fn a_client_that_has_the_file_gets_no_body() {
    let mut lab = lab();
    let first = lab.fetch(&get("/hello.txt"));
    let (etag, modified) = (value(&first, "ETag"), value(&first, "Last-Modified"));
    for (field, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: \"x\", W/{etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {modified}"), 200),
        (format!("If-Modified-Since: {modified}"), 304),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        (format!("If-Match: {etag}"), 200),
        ("If-Match: \"x\"".to_owned(), 412),
        ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), 412),
    ] {
        let response = lab.with("/hello.txt", &field);
        assert_eq!(statuses(&response), [status], "{field}");
        assert_eq!(body(&response).is_empty(), status != 200, "{field}");
        assert_eq!(value(&response, "ETag"), etag);
    }
    assert!(disk(&lab).write("/srv/www/hello.txt", "other text"));
    assert_eq!(statuses(&lab.with("/hello.txt", &format!("If-None-Match: {etag}"))), [200]);
}

#[test]
fn one_range_of_a_file_can_be_asked_for() {
    let mut lab = lab();
    let etag = value(&lab.fetch(&get("/hello.txt")), "ETag").to_owned();
    for (field, status, expected, range) in [
        ("Range: bytes=2-4".to_owned(), 206, "234", "bytes 2-4/10"),
        ("Range: bytes=-3".to_owned(), 206, "789", "bytes 7-9/10"),
        ("Range: bytes=8-100".to_owned(), 206, "89", "bytes 8-9/10"),
        (format!("Range: bytes=0-0\r\nIf-Range: {etag}"), 206, "0", "bytes 0-0/10"),
        ("Range: bytes=0-0\r\nIf-Range: \"x\"".to_owned(), 200, "0123456789", ""),
        ("Range: bytes=0-0,2-3".to_owned(), 200, "0123456789", ""),
        ("Range: bytes=10-".to_owned(), 416, "416 Range Not Satisfiable\n", "bytes */10"),
    ] {
        let response = lab.with("/hello.txt", &field);
        assert_eq!((statuses(&response), body(&response)), (vec![status], expected), "{field}");
        assert_eq!(value(&response, "Content-Range"), range);
    }
}

#[test]
fn a_large_file_is_read_as_the_client_reads() {
    let mut lab = lab();
    let data: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    assert!(disk(&lab).write("/srv/www/large.bin", &data));
    disk(&lab).set_latency(Duration::from_millis(1));
    let mut peer = lab.connect();
    peer.stop_reading();
    peer.feed(get("/large.bin").as_bytes());
    lab.seconds(5);
    assert!(lab.unsent() < 300_000, "{}", lab.unsent());
    peer.resume_reading();
    let mut received = Vec::new();
    for _ in 0..40 {
        lab.seconds(1);
        received.extend(peer.take());
    }
    assert!(received.ends_with(&data));
    peer.feed(get("/large.bin").replace("\r\n\r\n", "\r\nRange: bytes=100-200099\r\n\r\n").as_bytes());
    let mut received = Vec::new();
    for _ in 0..10 {
        lab.seconds(1);
        received.extend(peer.take());
    }
    assert!(received.starts_with(b"HTTP/1.1 206 ") && received.ends_with(&data[100..200_100]));
}

#[test]
fn no_file_stays_open_after_its_client() {
    let mut lab = lab();
    assert!(disk(&lab).write("/srv/www/large.bin", vec![0; 3_000_000]));
    let mut peer = lab.connect();
    peer.stop_reading();
    peer.feed(get("/large.bin").as_bytes());
    lab.seconds(1);
    peer.reset();
    lab.seconds(1);
    // The listener alone.
    assert_eq!(lab.memory.reactor().resource_count(), 1);
}

#[cfg(feature = "gzip")]
#[test]
fn text_is_compressed_for_those_who_accept_it() {
    use std::io::Read;

    let mut lab = lab();
    let text = "a line of text\n".repeat(100);
    assert!(disk(&lab).write("/srv/www/long.txt", &text));
    assert!(disk(&lab).write("/srv/www/long.png", &text));
    let mut ask = |path: &str, accept: &str| {
        let mut peer = lab.connect();
        let request = get(path).replace("\r\n\r\n", &format!("\r\nAccept-Encoding: {accept}\r\n\r\n"));
        peer.feed(request.as_bytes());
        lab.memory.advance(Duration::from_millis(500));
        let received = peer.take();
        let end = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(received[..end].to_vec()).unwrap(), received[end..].to_vec())
    };
    let (head, body) = ask("/long.txt", "br, gzip;q=0.5");
    assert_eq!((value(&head, "Content-Encoding"), value(&head, "Vary")), ("gzip", "Accept-Encoding"));
    assert_eq!(value(&head, "Content-Length"), body.len().to_string());
    let mut decoded = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut decoded).unwrap();
    assert_eq!(decoded, text);
    for (path, accept) in
        [("/long.txt", "gzip;q=0"), ("/long.txt", "br"), ("/long.png", "gzip"), ("/hello.txt", "gzip")]
    {
        let (head, _) = ask(path, accept);
        assert_eq!(value(&head, "Content-Encoding"), "", "{path} {accept}");
    }
}
