//! Socket calls, made as the reactor makes them, with their results as text.

use super::Bench;
use super::words;
use crate::net::{Accepted, Address, Close, Open, Readiness, SocketOption};

impl Bench {
    pub(in crate::net::conformance) fn open(&mut self, name: &str, options: &Open) -> String {
        let process = self.current;
        let token = self.next_token(process);
        match self.processes[process].open(token, options) {
            Ok(()) => {
                self.name(name, process, token);
                self.socket(name).listens =
                    matches!(options, Open::TcpListen { .. } | Open::UnixListen { .. });
                if let Ok(address) = self.processes[process].local_address(token) {
                    self.ports.learn(name, address.port().unwrap_or(0));
                }
                "ok".to_owned()
            }
            Err(failed) => format!("{}: {}", failed.step.name(), words::error(&failed.error)),
        }
    }

    pub(in crate::net::conformance) fn accept_now(&mut self, listener: &str, name: &str) -> String {
        let process = self.socket(listener).process;
        let token = self.next_token(process);
        let (net, from) = self.net_of(listener);
        match net.accept(from, token) {
            Ok(Accepted::Connection(peer)) => {
                self.used_up(listener, Readiness::READABLE, true);
                self.name(name, process, token);
                format!("from {}", self.show(&peer))
            }
            Ok(Accepted::Dropped(failed)) => format!("dropped: {}", words::error(&failed)),
            Err(failed) => {
                self.used_up(listener, Readiness::READABLE, failed.kind() == std::io::ErrorKind::WouldBlock);
                words::error(&failed)
            }
        }
    }

    /// Accepts after a report.
    pub(in crate::net::conformance) fn accept(&mut self, listener: &str, name: &str) -> String {
        self.when(listener, Readiness::READABLE, |bench| bench.accept_now(listener, name))
    }

    pub(in crate::net::conformance) fn recv_now(&mut self, name: &str, size: usize) -> String {
        match self.receive(name, size) {
            Ok(data) if data.is_empty() && size > 0 => "end".to_owned(),
            Ok(data) => words::bytes(&data),
            Err(failed) => words::error(&failed),
        }
    }

    /// Receives after a readable report.
    pub(in crate::net::conformance) fn recv(&mut self, name: &str, size: usize) -> String {
        self.when(name, Readiness::READABLE, |bench| bench.recv_now(name, size))
    }

    pub(in crate::net::conformance) fn receive(
        &mut self,
        name: &str,
        size: usize,
    ) -> std::io::Result<Vec<u8>> {
        let mut buffer = vec![0; size];
        let (net, token) = self.net_of(name);
        let result = net.recv(token, &mut buffer);
        let closed = self.socket(name).ready.has(Readiness::READ_CLOSED);
        match result {
            Ok(count) => {
                buffer.truncate(count);
                self.used_up(name, Readiness::READABLE, count < size && !closed);
                Ok(buffer)
            }
            Err(failed) => {
                self.used_up(name, Readiness::READABLE, failed.kind() == std::io::ErrorKind::WouldBlock);
                Err(failed)
            }
        }
    }

    pub(in crate::net::conformance) fn send_now(&mut self, name: &str, data: &[u8]) -> String {
        match self.transmit(name, data) {
            Ok(count) => count.to_string(),
            Err(failed) => words::error(&failed),
        }
    }

    /// Sends after a writable report.
    pub(in crate::net::conformance) fn send(&mut self, name: &str, data: &[u8]) -> String {
        self.when(name, Readiness::WRITABLE, |bench| bench.send_now(name, data))
    }

    pub(in crate::net::conformance) fn transmit(
        &mut self,
        name: &str,
        data: &[u8],
    ) -> std::io::Result<usize> {
        let (net, token) = self.net_of(name);
        let result = net.send(token, data);
        let is_short = match &result {
            Ok(count) => *count < data.len(),
            Err(failed) => failed.kind() == std::io::ErrorKind::WouldBlock,
        };
        self.used_up(name, Readiness::WRITABLE, is_short);
        result
    }

    /// Retries after each report until the result is not `WouldBlock`.
    pub(in crate::net::conformance) fn when(
        &mut self,
        name: &str,
        readiness: Readiness,
        mut call: impl FnMut(&mut Bench) -> String,
    ) -> String {
        while self.wait_for(name, readiness) {
            let answer = call(self);
            if answer != "WouldBlock" {
                return answer;
            }
        }
        "no report".to_owned()
    }

    pub(in crate::net::conformance) fn used_up(&mut self, name: &str, readiness: Readiness, used_up: bool) {
        if used_up {
            self.socket(name).ready.remove(readiness);
        }
    }

    pub(in crate::net::conformance) fn shed(&mut self, listener: &str, max: usize) -> String {
        let (net, token) = self.net_of(listener);
        net.shed(token, max).to_string()
    }

    pub(in crate::net::conformance) fn shutdown(&mut self, name: &str) -> String {
        let (net, token) = self.net_of(name);
        words::done(net.shutdown_write(token))
    }

    pub(in crate::net::conformance) fn close(&mut self, name: &str, how: Close) {
        let (net, token) = self.net_of(name);
        net.close(token, how);
        self.unname(name);
    }

    pub(in crate::net::conformance) fn local(&mut self, name: &str) -> String {
        let (net, token) = self.net_of(name);
        let address = net.local_address(token);
        self.address(address)
    }

    pub(in crate::net::conformance) fn peer(&mut self, name: &str) -> String {
        let (net, token) = self.net_of(name);
        let address = net.peer_address(token);
        self.address(address)
    }

    fn address(&self, address: std::io::Result<Address>) -> String {
        address.map_or_else(|failed| words::error(&failed), |address| self.show(&address))
    }

    pub(in crate::net::conformance) fn show(&self, address: &Address) -> String {
        match address {
            Address::Tcp(address) | Address::Udp(address) => self.ports.show(*address),
            Address::Unix(address) => self.names.show(address),
            Address::Pipe => address.to_string(),
        }
    }

    pub(in crate::net::conformance) fn credentials(&mut self, name: &str) -> String {
        let (net, token) = self.net_of(name);
        match net.credentials(token) {
            Ok(found) if found.process.is_some() => "known".to_owned(),
            Ok(_) => "unknown".to_owned(),
            Err(failed) => words::error(&failed),
        }
    }

    pub(in crate::net::conformance) fn error(&mut self, name: &str) -> String {
        let (net, token) = self.net_of(name);
        match net.take_error(token) {
            Ok(None) => "none".to_owned(),
            Ok(Some(pending)) => words::error(&pending),
            Err(failed) => format!("failed: {}", words::error(&failed)),
        }
    }

    pub(in crate::net::conformance) fn set(&mut self, name: &str, option: SocketOption) -> String {
        let (net, token) = self.net_of(name);
        words::done(net.set(token, option))
    }
}
