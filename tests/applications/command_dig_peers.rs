//! `twistor dig` has the answers of `dig`, from servers of other projects.
//!
//! Where one of them is not installed its test says so on stderr, and passes.

use crate::command::{free_address, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        // Past the capture of passing tests: it has to be seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
    }
    found
}

/// A folder for a server's files, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A DNS server that runs until it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts it, and waits until it answers. `None` when it is not installed.
    fn start(program: &str, arguments: &[&str], address: String) -> Option<Server> {
        if !is_installed("dig") || !is_installed(program) {
            return None;
        }
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = Server { child: command.spawn().unwrap(), address };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // A query for a name that each of them knows by itself.
        let query = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01";
        for _ in 0..400 {
            // Refused while the port is closed, and then an error of the next receive.
            let _ = socket.send_to(query, &server.address);
            if socket.recv(&mut [0; 512]).is_ok() {
                return Some(server);
            }
            if let Some(ended) = server.child.try_wait().unwrap() {
                let mut said = String::new();
                std::io::Read::read_to_string(server.child.stderr.as_mut().unwrap(), &mut said).unwrap();
                panic!("{program} ended at once, {ended}: {said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{program} does not answer at {}", server.address);
    }

    /// The code and the answers of `dig`, each with its words.
    fn ask_dig(&self, name: &str, record_type: &str) -> (String, BTreeSet<Vec<String>>) {
        let (host, port) = self.address.split_once(':').unwrap();
        let mut dig = Command::new("dig");
        dig.args([
            &format!("@{host}"),
            "-p",
            port,
            "+noall",
            "+nosplit",
            "+comments",
            "+answer",
            "+tries=1",
            name,
            record_type,
        ]);
        let output = dig.output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let code = out.split("status: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("none");
        let records = out.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
        let words = |line: &str| -> Vec<String> {
            // Name, TTL, class, type, data.
            line.split_whitespace()
                .enumerate()
                .filter(|(at, _)| *at != 2)
                .map(|(_, word)| word.to_owned())
                .collect()
        };
        (code.to_owned(), records.map(words).collect())
    }

    fn ask_twistor(&self, name: &str, record_type: &str, option: &[&str]) -> (String, BTreeSet<Vec<String>>) {
        let server = format!("@{}", self.address);
        let ended = run(&[&["dig", "--json", name, record_type, &server], option].concat());
        let document: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
        let words = |record: &Value| {
            let text = |key: &str| record[key].as_str().unwrap().to_owned();
            let data = text("data");
            let mut words = vec![text("name"), record["ttl"].to_string(), text("type")];
            words.extend(data.split_whitespace().map(str::to_owned));
            words
        };
        let records = document["answers"].as_array().unwrap().iter().map(words).collect();
        (document["code"].as_str().unwrap().to_owned(), records)
    }

    /// Compares the answers, and returns their number.
    #[track_caller]
    fn compare(&self, name: &str, record_type: &str) -> (String, usize) {
        let expected = self.ask_dig(name, record_type);
        for option in [&[][..], &["--tcp"]] {
            assert_eq!(
                self.ask_twistor(name, record_type, option),
                expected,
                "{name} {record_type} {option:?}"
            );
        }
        (expected.0, expected.1.len())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const RECORDS: &[&str] = &[
    "example. 3600 IN SOA ns.example. admin.example. 7 7200 900 1209600 300",
    "example. 3600 IN NS ns.example.",
    "example. 300 IN MX 10 mail.example.",
    "example. 300 IN MX 20 backup.example.",
    "www.example. 300 IN A 192.0.2.1",
    "www.example. 300 IN A 192.0.2.2",
    "www.example. 300 IN AAAA 2001:db8::1",
    "_http._tcp.example. 60 IN SRV 1 2 8080 www.example.",
    r#"example. 60 IN TXT "v=spf1 include:_spf.example ~all" "second" "with \"quotes\"" "semi;colon""#,
    r#"bytes.example. 60 IN TXT "\001\127\200\255 tab\009""#,
    r#"example. 60 IN CAA 0 issue "ca.example; account=1""#,
    r#"example. 60 IN CAA 128 tbs "unknown""#,
    r#"web.example. 60 IN HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1"#,
    "web.example. 60 IN HTTPS 0 www.example.",
    r#"_dns.example. 60 IN SVCB 2 www.example. mandatory=alpn alpn="dot" key667="hello""#,
    r"example. 60 IN TYPE65280 \# 4 01020304",
    "example. 60 IN NAPTR 100 10 \"u\" \"sip+E2U\" \"!^.*$!sip:info@example.!\" .",
    "_443._tcp.example. 60 IN TLSA 3 1 1 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "example. 60 IN SSHFP 4 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "example. 60 IN HINFO \"PC\" \"Linux\"",
    "1.2.0.192.in-addr.arpa. 300 IN PTR www.example.",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 300 IN PTR six.example.",
];

fn unbound() -> Option<Server> {
    let folder = folder("dig-unbound");
    let address = free_address();
    let here = folder.display();
    let mut configuration = format!(
        "server:
  interface: {}@{}
  chroot: \"\"
  username: \"\"
  directory: \"{here}\"
  pidfile: \"\"
  use-syslog: no
  do-daemonize: no
  module-config: \"iterator\"
  local-zone: \"example.\" static
  local-zone: \"2.0.192.in-addr.arpa.\" static
  local-zone: \"8.b.d.0.1.0.0.2.ip6.arpa.\" static
  local-zone: \"refused.\" refuse
",
        address.ip(),
        address.port()
    );
    let quoted = |string: &str| format!("\"{}\"", string.repeat(25));
    let long = (0..16).map(|_| quoted("0123456789")).collect::<Vec<_>>().join(" ");
    let long = format!("long.example. 60 IN TXT {long}");
    for record in RECORDS.iter().copied().chain([long.as_str()]) {
        configuration += &format!("  local-data: '{record}'\n");
    }
    // Nothing listens there, and so it fails.
    configuration += "stub-zone:\n  name: \"servfail.\"\n  stub-addr: 127.0.0.1@1\nremote-control:\n  control-enable: no\n";
    let file = folder.join("unbound.conf");
    fs::write(&file, configuration).unwrap();
    Server::start("unbound", &["-d", "-c", file.to_str().unwrap()], address.to_string())
}

#[test]
fn answers_of_unbound_are_those_of_dig() {
    let Some(server) = unbound() else { return };
    let mut types = BTreeSet::new();
    for record in RECORDS {
        let mut words = record.split(' ');
        let (name, record_type) = (words.next().unwrap(), words.nth(2).unwrap());
        if types.insert((name, record_type)) {
            let (code, answers) = server.compare(name, record_type);
            assert!(code == "NOERROR" && answers > 0, "{name} {record_type}: {code}");
        }
    }
    assert!(types.len() >= 18);
    for (name, record_type, code) in [
        ("nope.example.", "A", "NXDOMAIN"),
        ("www.example.", "MX", "NOERROR"),
        ("a.refused.", "A", "REFUSED"),
        ("a.servfail.", "A", "SERVFAIL"),
    ] {
        assert_eq!(server.compare(name, record_type), (code.to_owned(), 0));
    }
    // 4 KB, over TCP after a truncated response.
    assert_eq!(server.compare("long.example.", "TXT"), ("NOERROR".to_owned(), 1));
}

#[test]
fn answers_of_dnsmasq_are_those_of_dig() {
    let address = free_address();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let listen = format!("--listen-address={host}");
    let port = format!("--port={port}");
    let long = format!("--txt-record=long.example,{}", vec!["0123456789".repeat(25); 16].join(","));
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=",
        "--group=",
        "--pid-file=",
        "--local=/example/",
        &listen,
        &port,
        "--host-record=www.example,192.0.2.1,2001:db8::1,300",
        "--cname=alias.example,www.example,60",
        "--mx-host=example,mail.example,10",
        "--srv-host=_http._tcp.example,www.example,8080,1,2",
        "--txt-record=example,one,two words",
        "--caa-record=example,0,issue,ca.example",
        "--naptr-record=example,100,10,u,sip+E2U,!^.*$!sip:info@example!",
        "--dns-rr=example,65280,01020304",
        &long,
    ];
    let Some(server) = Server::start("dnsmasq", &arguments, address.to_string()) else { return };
    for (name, record_type, answers) in [
        ("www.example.", "A", 1),
        ("www.example.", "AAAA", 1),
        ("alias.example.", "A", 2),
        ("alias.example.", "CNAME", 1),
        ("example.", "MX", 1),
        ("_http._tcp.example.", "SRV", 1),
        ("example.", "TXT", 1),
        ("example.", "CAA", 1),
        ("example.", "NAPTR", 1),
        ("example.", "TYPE65280", 1),
        ("1.2.0.192.in-addr.arpa.", "PTR", 1),
        ("long.example.", "TXT", 1),
        ("www.example.", "MX", 0),
    ] {
        assert_eq!(
            server.compare(name, record_type),
            ("NOERROR".to_owned(), answers),
            "{name} {record_type}"
        );
    }
    assert_eq!(server.compare("nope.example.", "A").0, "NXDOMAIN");
}

#[test]
fn without_a_server_those_of_resolv_conf_are_asked() {
    if !is_installed("dnsmasq") {
        return;
    }
    // In a network and a file system of its own, where port 53 is free.
    let folder = folder("dig-resolv");
    let file = folder.join("resolv.conf");
    fs::write(&file, "nameserver 127.0.0.1\noptions timeout:1 use-vc\n").unwrap();
    let script = format!(
        "ip link set lo up && mount --bind '{}' /etc/resolv.conf || exit 77
         dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --user= --group= --pid-file= --listen-address=127.0.0.1 \
             --bind-interfaces --keep-in-foreground --host-record=www.example,192.0.2.1 &
         for try in $(seq 100); do
             \"$@\" dig --json www.example >'{}'
             code=$?
             [ $code = 9 ] || break
             sleep 0.05
         done
         kill $!
         exit $code",
        file.display(),
        folder.join("out").display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", &script, "sh"]);
    let output = command.arg(env!("CARGO_BIN_EXE_twistor")).output().unwrap();
    if output.status.code() != Some(0) && !String::from_utf8_lossy(&output.stderr).contains("twistor") {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a user cannot make a network and a mount namespace");
        return;
    }
    let document: Value = serde_json::from_str(&fs::read_to_string(folder.join("out")).unwrap()).unwrap();
    assert_eq!((output.status.code(), &document["records"]), (Some(0), &1.into()), "{document}");
    assert_eq!((&document["server"], &document["transport"]), (&"127.0.0.1:53".into(), &"tcp".into()));
}
