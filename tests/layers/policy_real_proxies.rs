//! Third-party proxies and clients send PROXY headers that are parsed correctly, and parse ours.
//!
//! If such a program is not installed, its test prints that on stderr and passes.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::{Record, Recorder, free_address, idle_protocol, on_the_real_network, once};
use twistor::proxy_protocol::{Header, ProxyOptions, Version, behind_proxy, with_proxy_header};
use twistor::{Address, Protocol, Reactor, Reason, Transport, factory};

fn trusting() -> ProxyOptions {
    ProxyOptions::from("127.0.0.1".parse().unwrap())
}

/// Written directly to stderr, so that it is also shown for passing tests.
fn skipped(program: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
}

/// A child process that is ended on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// HAProxy in front of a server, with a port for each kind of PROXY header, and one that expects a
/// header.
struct HaProxy {
    addresses: [SocketAddr; 4],
    _running: Running,
}

const WAYS: [&str; 3] = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"];

impl HaProxy {
    fn start(server: u16) -> Option<HaProxy> {
        let addresses = [free_address(), free_address(), free_address(), free_address()];
        let mut text =
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n"
                .to_owned();
        let [one, two, three, accepting] = addresses;
        for (address, accept, way) in [
            (one, "", WAYS[0]),
            (two, "", WAYS[1]),
            (three, "", WAYS[2]),
            (accepting, " accept-proxy", WAYS[2]),
        ] {
            text += &format!(
                "listen port{}\n  bind {address}{accept}\n  unique-id-format name-of-it\n  server s 127.0.0.1:{server} {way}\n",
                address.port()
            );
        }
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("haproxy.cfg");
        fs::write(&file, text).unwrap();
        let started = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Running(started.ok()?);
        for address in addresses {
            while TcpStream::connect(address).is_err() {
                assert!(running.0.try_wait().unwrap().is_none(), "haproxy ended at once");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Some(HaProxy { addresses, _running: running })
    }
}

#[test]
fn haproxy_tells_who_its_clients_are_and_believes_us() {
    on_the_real_network("HAProxy speaks to the system's network", |world| {
        let mut reactor = world.reactor();
        let record = Record::new();
        let noted = record.clone();
        // Received data, and the client's address.
        let known = factory(move |_| {
            let noted = noted.clone();
            Some(idle_protocol().acting(move |what, transport, data| match what {
                "data" => noted.add(format!("{} from {}", data.escape_ascii(), transport.peer())),
                "read lost" => transport.lose_connection(),
                _ => {}
            }))
        });
        let listener = reactor.listen_tcp("127.0.0.1:0", behind_proxy(known, trusting())).unwrap();
        let Some(proxy) = HaProxy::start(listener.address().port().unwrap()) else {
            return skipped("haproxy");
        };
        for (address, way) in proxy.addresses.into_iter().zip(WAYS) {
            let mut client = world.connect(&Address::Tcp(address));
            client.send(way.as_bytes());
            let expected = format!("{way} from {}", client.local_address());
            world.run_until(&mut reactor, &expected, |_| record.has(&expected));
            client.finish();
            client.read_to_end(&mut reactor);
        }
        // HAProxy passes on the addresses of our header.
        for (version, name) in [(Version::One, "one"), (Version::Two, "two")] {
            let address = |text: &str| Address::Tcp(text.parse().unwrap());
            let header = Header::new(version, address("192.0.2.7:40000"), address("198.51.100.1:443"));
            let says = move || {
                Recorder::new(&Record::new()).acting(move |what, transport, _| {
                    if what == "made" {
                        transport.write(name.as_bytes());
                        transport.lose_connection();
                    }
                })
            };
            let to = proxy.addresses[3];
            reactor.connect_tcp(to, with_proxy_header(once(says(), &Record::new()), header)).unwrap();
            let expected = format!("{name} from 192.0.2.7:40000");
            world.run_until(&mut reactor, &expected, |_| record.has(&expected));
        }
        drop(proxy);
        world.close(&mut reactor, &listener);
    });
}

/// Answers an HTTP request with the client's address.
struct Answer;

impl Protocol for Answer {
    fn data_received(&mut self, transport: &mut Transport<'_>, _: &[u8]) {
        let body = transport.peer().to_string();
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        transport.write_sequence(&[head.as_bytes(), body.as_bytes()]);
        transport.lose_connection();
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, _: &Reason) {
        transport.reactor().stop();
    }
}

#[test]
fn curl_and_its_header_are_understood() {
    on_the_real_network("curl speaks to the system's network", |world| {
        let mut reactor: Reactor = world.reactor();
        let listener = reactor.listen_tcp("127.0.0.1:0", behind_proxy(|| Answer, trusting())).unwrap();
        let curl = Command::new("curl")
            .args(["--silent", "--haproxy-protocol", "--max-time", "15"])
            .arg(format!("http://{}/", listener.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(curl) = curl else {
            return skipped("curl");
        };
        world.run(&mut reactor);
        let said = curl.wait_with_output().unwrap();
        let body = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(body.starts_with("127.0.0.1:"), "curl's own address, as it told: {body}");
    });
}
