//! The transcript language.
//!
//! The calls:
//! - `process 1`: the process with this number opens the sockets that follow
//! - `ends 1`: ends that process and starts another one in its place
//! - `listen l 127.0.0.1:0 backlog=1`: opens; options: `backlog`, `reuse_address`, `reuse_port`,
//!   `v6only`, `dual`
//! - `connect a l`, `connect a 127.0.0.1:l from=127.0.0.1:0`: connects to a listener's address, or
//!   to any; a port can be a socket's name
//! - `free p`: names an unused port, on all addresses, `p`
//! - `pair a b`: opens a listener `l` unless it exists, connects `a` and accepts `b`
//! - `accept l b`: accepts after a report
//! - `recv b`, `recv b 5`, `send a hello`: receives or sends after a report; 5 is the buffer size;
//!   `nothing` is empty
//! - `accept_now`, `recv_now`, `send_now`: the call without a report
//! - `shed l 3`: the call
//! - `fill a`, `fill_short a`, `drain b a`, `drain_most b a`, `pump a b 100000`: many bytes: see
//!   `flow`
//! - `shutdown a`, `close a`, `reset a`, `set a nodelay=on`: the calls
//! - `local a`, `peer a`, `error a`: the calls
//! - `wait a readable`: waits for a report: `readable`, `writable` or `closed`
//! - `forget a`: forgets earlier reports
//! - `settle`: waits until no more events arrive
//! - `listen l /s`, `connect a /s from=/c`, `listen l @s`: UNIX streams: a path in the case's own
//!   directory, an abstract name; options: `mode=600`, `keep_stale`, `keep_file`, `backlog`
//! - `unix_pair a b`: as `pair`, with the listener at `/l`
//! - `file /s`, `mode /s`, `remove /s`: the file of a socket
//! - `credentials a`: whether the peer's credentials are known
//! - `datagrams a 127.0.0.1:0 to=b`, `datagrams a /s`, `datagrams a unnamed to=/s`: opens; options:
//!   `reuse_port`, `reuse_address`, `v6only`, `dual`, `broadcast`, `receive=4096`, and those of
//!   UNIX listeners
//! - `post a b hello`, `post a - hello you`, `post_now a 127.0.0.1:b long=9000`: sends one datagram
//!   per word, with one call; to a socket's address, to the connected peer, to any address
//! - `take b`, `take b 5`, `take_now b`: receives the datagrams of one call
//! - `post_from a 127.0.0.2 b hello`: as `post_now`, with a source address
//! - `take_addressed b`: as `take`, with the destination of each datagram
//! - `flood a b`, `gather b a`: sends numbered datagrams until a send fails; receives all of them,
//!   each time after a report
//!
//! A name without a socket stands for a token that has never been used.

use std::fmt::Write;
use std::time::Duration;

use super::{Bench, Socket};
use crate::net::{Address, Buffers, Close, Interface, Open, Readiness, SocketOption};

impl Bench {
    /// Runs the lines and compares the observed results with the expected ones.
    pub(in crate::net::conformance) fn play(&mut self, text: &str) -> Result<(), String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (mut transcript, mut differences) = (String::new(), 0);
        for line in lines {
            let (call, expected) = line.split_once(" -> ").unwrap_or((line, ""));
            let observed = self.call(call);
            let arrow = if observed.is_empty() { "" } else { " -> " };
            writeln!(transcript, "    {call}{arrow}{observed}").unwrap();
            if observed != expected {
                differences += 1;
                writeln!(transcript, "      expected: {expected}").unwrap();
            }
        }
        if differences == 0 { Ok(()) } else { Err(transcript) }
    }

    /// Makes a call and returns the observed result.
    fn call(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, words) = words.split_first().expect("a line has words");
        let name = *words.first().unwrap_or(&"");
        let second = *words.get(1).unwrap_or(&"");
        if !matches!(
            *verb,
            "listen" | "connect" | "datagrams" | "free" | "process" | "ends" | "file" | "mode" | "remove"
        ) && !self.sockets.contains_key(name)
        {
            // No socket has this name, so it gets an unused token.
            let (process, token) = (self.current, self.next_token(self.current));
            self.sockets.insert(name.to_owned(), Socket::new(process, token));
        }
        match *verb {
            "ends" => self.end(name.parse().expect("a number")),
            "process" => self.enter(name.parse().expect("a number")),
            "free" => self.learn_free_port(name),
            "pair" => self.pair(name, second),
            "unix_pair" => self.unix_pair(name, second),
            "settle" => self.settle(),
            "forget" => self.socket(name).ready = Readiness::default(),
            "close" => self.close(name, Close::Graceful),
            "reset" => self.close(name, Close::Reset),
            _ => return self.call_socket(verb, name, second, words),
        }
        String::new()
    }

    fn call_socket(&mut self, verb: &str, name: &str, second: &str, words: &[&str]) -> String {
        let size = if second.is_empty() { BUFFER } else { second.parse().unwrap_or(BUFFER) };
        let data = if second == "nothing" { "" } else { second }.as_bytes();
        match verb {
            "listen" => {
                let options = self.listening(second, &words[2..]);
                self.open(name, &options)
            }
            "connect" if !second.contains([':', '/', '@']) && !self.sockets.contains_key(second) => {
                format!("no socket is called {second}")
            }
            "connect" => {
                let options = self.connecting(second, &words[2..]);
                self.open(name, &options)
            }
            "datagrams" => {
                let options = self.datagrams(second, &words[2..]);
                self.open(name, &options)
            }
            "post" | "post_now" => self.post(name, second, &words[2..], verb == "post_now"),
            "post_from" => self.post_from(name, second, words[2], &words[3..]),
            "take" => self.take(name, size),
            "take_addressed" => self.take_addressed(name),
            "take_now" => self.take_now(name, size),
            "flood" => self.flood(name, second),
            "gather" => self.gather(name, second),
            "file" => if self.mode_of(name).is_some() { "there" } else { "not there" }.to_owned(),
            "mode" => self.mode_of(name).map_or("not there".to_owned(), |mode| format!("{mode:o}")),
            "remove" => self.remove_file(name).to_owned(),
            "credentials" => self.credentials(name),
            "accept" => self.accept(name, second),
            "accept_now" => self.accept_now(name, second),
            "shed" => self.shed(name, size),
            "recv" => self.recv(name, size),
            "recv_now" => self.recv_now(name, size),
            "send" => self.send(name, data),
            "send_now" => self.send_now(name, data),
            "fill" => self.fill(name),
            "fill_short" => self.fill_until_short(name),
            "drain" => self.drain(name, second),
            "drain_most" => self.drain_most(name, second),
            "pump" => self.pump(name, second, words[2].parse().expect("how many")),
            "shutdown" => self.shutdown(name),
            "local" => self.local(name),
            "peer" => self.peer(name),
            "error" => self.error(name),
            "set" => self.set(name, option(second)),
            "wait" => if self.wait_for(name, readiness(second)) { "yes" } else { "no" }.to_owned(),
            _ => panic!("{verb} is not a call"),
        }
    }

    /// Opens a listener on an ephemeral port of all addresses of both families, and closes it. The
    /// system does not reuse the port soon, although other cases take ports as well.
    fn learn_free_port(&mut self, name: &str) {
        let options = self.listening("[::]:0", &["dual"]);
        assert_eq!(self.open(name, &options), "ok");
        self.close(name, Close::Graceful);
    }

    pub(in crate::net::conformance) fn pair(&mut self, client: &str, accepted: &str) {
        let listens = self.sockets.get("l").is_some_and(|listener| listener.open);
        let listening = if listens { "" } else { "listen l 127.0.0.1:0 -> ok" };
        let made = self.play(&format!(
            "{listening}
            connect {client} l -> ok
            accept l {accepted} -> from 127.0.0.1:{client}
            wait {client} writable -> yes"
        ));
        made.expect("a pair");
    }

    pub(in crate::net::conformance) fn unix_pair(&mut self, client: &str, accepted: &str) {
        let listens = self.sockets.get("l").is_some_and(|listener| listener.open);
        let listening = if listens { "" } else { "listen l /l -> ok" };
        let made = self.play(&format!(
            "{listening}
            connect {client} l -> ok
            accept l {accepted} -> from (unnamed)
            wait {client} writable -> yes"
        ));
        made.expect("a pair");
    }

    fn listening(&mut self, address: &str, options: &[&str]) -> Open {
        let has = |option: &str| options.contains(&option);
        let ipv6_only = if has("v6only") { Some(true) } else { has("dual").then_some(false) };
        let backlog = options.iter().find_map(|option| option.strip_prefix("backlog="));
        if address.starts_with(['/', '@']) {
            return Open::UnixListen {
                address: self.names.read(address),
                mode: mode(options),
                backlog: backlog.map_or(128, |backlog| backlog.parse().expect("a number")),
                remove_stale: !has("keep_stale"),
                unlink: !has("keep_file"),
                buffers: Buffers::default(),
            };
        }
        Open::TcpListen {
            address: self.ports.read(address),
            reuse_address: has("reuse_address"),
            reuse_port: has("reuse_port"),
            ipv6_only,
            backlog: backlog.map_or(128, |backlog| backlog.parse().expect("a number")),
            buffers: Buffers::default(),
            nodelay: false,
        }
    }

    fn connecting(&mut self, to: &str, options: &[&str]) -> Open {
        let bind = options.iter().find_map(|option| option.strip_prefix("from="));
        let address = match self.address_of(to) {
            Address::Unix(address) => {
                let bind = bind.map(|bind| self.names.read(bind));
                return Open::UnixConnect { address, bind, buffers: Buffers::default() };
            }
            address => address.socket_address().expect("an IP address"),
        };
        Open::TcpConnect {
            address,
            bind: bind.map(|bind| self.ports.read(bind)),
            reuse_address: options.contains(&"reuse_address"),
            buffers: Buffers::default(),
        }
    }
}

impl Bench {
    /// The address of a named socket, or a literal address.
    pub(in crate::net::conformance) fn address_of(&mut self, text: &str) -> Address {
        if text.starts_with(['/', '@']) {
            Address::Unix(self.names.read(text))
        } else if self.sockets.contains_key(text) {
            let (net, token) = self.net_of(text);
            net.local_address(token).expect("an address")
        } else {
            Address::Udp(self.ports.read(text))
        }
    }

    fn datagrams(&mut self, at: &str, options: &[&str]) -> Open {
        let has = |option: &str| options.contains(&option);
        let value = |name: &str| options.iter().find_map(|option| option.strip_prefix(name));
        let connect = value("to=").map(|to| self.address_of(to));
        let receive = value("receive=").map(|size| size.parse().expect("a number"));
        let buffers = Buffers { send: None, receive };
        if at == "unnamed" || at.starts_with(['/', '@']) {
            return Open::UnixDatagram {
                bind: (at != "unnamed").then(|| self.names.read(at)),
                connect: connect.map(|to| to.unix().expect("a UNIX address").clone()),
                mode: mode(options),
                remove_stale: !has("keep_stale"),
                unlink: !has("keep_file"),
                buffers,
            };
        }
        Open::Udp {
            bind: self.ports.read(at),
            connect: connect.map(|to| to.socket_address().expect("an IP address")),
            reuse_address: has("reuse_address"),
            reuse_port: has("reuse_port"),
            ipv6_only: if has("v6only") { Some(true) } else { has("dual").then_some(false) },
            broadcast: has("broadcast"),
            buffers,
        }
    }
}

fn mode(options: &[&str]) -> Option<u32> {
    let mode = options.iter().find_map(|option| option.strip_prefix("mode="));
    mode.map(|mode| u32::from_str_radix(mode, 8).expect("an octal number"))
}

fn readiness(name: &str) -> Readiness {
    match name {
        "readable" => Readiness::READABLE,
        "writable" => Readiness::WRITABLE,
        "closed" => Readiness::READ_CLOSED,
        _ => panic!("{name} is not a readiness"),
    }
}

fn option(text: &str) -> SocketOption {
    match text {
        "nodelay=on" => SocketOption::NoDelay(true),
        "nodelay=off" => SocketOption::NoDelay(false),
        "keepalive=off" => SocketOption::KeepAlive(None),
        "broadcast=on" => SocketOption::Broadcast(true),
        "broadcast=off" => SocketOption::Broadcast(false),
        "loop=on" => SocketOption::MulticastLoop(true),
        "loop=off" => SocketOption::MulticastLoop(false),
        _ if !text.starts_with("keepalive=") => other_option(text),
        _ => {
            let idle = text.strip_prefix("keepalive=").and_then(|idle| idle.parse().ok());
            SocketOption::KeepAlive(Some(Duration::from_millis(idle.expect("an option"))))
        }
    }
}

fn other_option(text: &str) -> SocketOption {
    let (name, value) = text.split_once('=').expect("an option");
    let group = |value: &str| {
        let (group, interface) = value.split_once('%').expect("a group and an interface");
        (group.parse().expect("an address"), interface_of(interface))
    };
    match name {
        "user_timeout" if value == "off" => SocketOption::UserTimeout(None),
        "user_timeout" => {
            let limit = Duration::from_millis(value.parse().expect("milliseconds"));
            SocketOption::UserTimeout(Some(limit))
        }
        "ttl" => SocketOption::Ttl(value.parse().expect("a number")),
        "multicast_ttl" => SocketOption::MulticastTtl(value.parse().expect("a number")),
        "interface" => SocketOption::MulticastInterface(interface_of(value)),
        "join" => SocketOption::Join(group(value).0, group(value).1),
        "leave" => SocketOption::Leave(group(value).0, group(value).1),
        _ => panic!("{name} is not an option"),
    }
}

fn interface_of(text: &str) -> Interface {
    match text.parse() {
        Ok(index) => Interface::Index(index),
        Err(_) => Interface::Address(text.parse().expect("an address")),
    }
}

const BUFFER: usize = 64 * 1024;
