//! Datagram calls, made as the reactor makes them.

use std::io::ErrorKind;

use super::Bench;
use super::words;
use crate::net::{Address, BATCH, Origin, Readiness, RecvBatch, Transmit};

impl Bench {
    /// Sends datagrams with one call. Waits for a writable report unless `now`.
    pub(in crate::net::conformance) fn post(
        &mut self,
        name: &str,
        to: &str,
        data: &[&str],
        now: bool,
    ) -> String {
        let to = (to != "-").then(|| self.address_of(to));
        let data: Vec<Vec<u8>> = data.iter().map(|word| datagram(word)).collect();
        match now {
            true => self.post_now(name, to.as_ref(), &data),
            false => self.when(name, Readiness::WRITABLE, |bench| bench.post_now(name, to.as_ref(), &data)),
        }
    }

    /// Sends datagrams from a source address with one call, without a report.
    pub(in crate::net::conformance) fn post_from(
        &mut self,
        name: &str,
        source: &str,
        to: &str,
        data: &[&str],
    ) -> String {
        let to = self.address_of(to);
        let data: Vec<Vec<u8>> = data.iter().map(|word| datagram(word)).collect();
        let (address, interface) = source.split_once('%').unwrap_or((source, "0"));
        let address = address.parse().expect("an IP address");
        let origin = Origin::new(address, interface.parse().expect("a number"));
        self.post_with(name, Some(&to), &data, Some(origin))
    }

    fn post_now(&mut self, name: &str, to: Option<&Address>, data: &[Vec<u8>]) -> String {
        self.post_with(name, to, data, None)
    }

    fn post_with(
        &mut self,
        name: &str,
        to: Option<&Address>,
        data: &[Vec<u8>],
        origin: Option<Origin>,
    ) -> String {
        let datagrams: Vec<Transmit> =
            data.iter().map(|data| Transmit { length: data.len(), to: to.cloned(), origin }).collect();
        let (net, token) = self.net_of(name);
        match net.send_datagrams(token, &data.concat(), &datagrams) {
            Ok(count) => count.to_string(),
            Err(failed) => {
                self.used_up(name, Readiness::WRITABLE, failed.kind() == ErrorKind::WouldBlock);
                words::error(&failed)
            }
        }
    }

    /// Receives datagrams with one call, after a readable report.
    pub(in crate::net::conformance) fn take(&mut self, name: &str, size: usize) -> String {
        self.when(name, Readiness::READABLE, |bench| bench.take_now(name, size))
    }

    /// Receives datagrams with one call, after a readable report. Returns the destination of each,
    /// and the source address of an answer.
    pub(in crate::net::conformance) fn take_addressed(&mut self, name: &str) -> String {
        self.when(name, Readiness::READABLE, |bench| {
            let mut inbound = RecvBatch::default();
            if let Err(failed) = bench.receive_batch(name, &mut inbound, 1024) {
                return words::error(&failed);
            }
            let received = inbound.came().iter().map(|meta| {
                let data = words::bytes(inbound.data(meta));
                let Some(destination) = meta.to else { return format!("{data} to an unknown destination") };
                let answer = match destination.answer_from {
                    Some(origin) if origin.address == destination.address => "answered from there".to_owned(),
                    Some(origin) => format!("answered from {}", origin.address),
                    None => "answered from anywhere".to_owned(),
                };
                format!("{data} to {}, {answer}", destination.address)
            });
            received.collect::<Vec<_>>().join("; ")
        })
    }

    pub(in crate::net::conformance) fn take_now(&mut self, name: &str, size: usize) -> String {
        let mut inbound = RecvBatch::default();
        if let Err(failed) = self.receive_batch(name, &mut inbound, size) {
            return words::error(&failed);
        }
        let received = inbound.came().iter().map(|meta| {
            let (data, from) = (words::bytes(inbound.data(meta)), self.show(&meta.from));
            format!("{data} from {from}{}", if meta.truncated { ", cut" } else { "" })
        });
        received.collect::<Vec<_>>().join("; ")
    }

    fn receive_batch(&mut self, name: &str, inbound: &mut RecvBatch, size: usize) -> std::io::Result<()> {
        inbound.prepare(size, BATCH);
        let (net, token) = self.net_of(name);
        let result = net.recv_datagrams(token, inbound);
        let drained = match &result {
            Ok(()) => !inbound.more(),
            Err(failed) => failed.kind() == ErrorKind::WouldBlock,
        };
        self.used_up(name, Readiness::READABLE, drained);
        result
    }

    /// Sends numbered datagrams until a send fails, and returns the failure.
    pub(in crate::net::conformance) fn flood(&mut self, name: &str, to: &str) -> String {
        let to = (to != "-").then(|| self.address_of(to));
        for _ in 0..MAX_FLOOD {
            let number = (self.socket(name).sent as u32).to_be_bytes();
            let answer = self.post_now(name, to.as_ref(), &[number.to_vec()]);
            if answer != "1" {
                return answer;
            }
            self.socket(name).sent += 1;
        }
        "takes everything".to_owned()
    }

    /// Receives, each time after a readable report, until all datagrams of the other socket arrived
    /// in order.
    pub(in crate::net::conformance) fn gather(&mut self, name: &str, from: &str) -> String {
        let all = self.socket(from).sent;
        while self.socket(name).received < all {
            if !self.wait_for(name, Readiness::READABLE) {
                return "no report".to_owned();
            }
            let mut inbound = RecvBatch::default();
            match self.receive_batch(name, &mut inbound, 16) {
                Err(failed) if failed.kind() == ErrorKind::WouldBlock => continue,
                Err(failed) => return words::error(&failed),
                Ok(()) => {}
            }
            for meta in inbound.came() {
                let number = self.socket(name).received as u32;
                if inbound.data(meta) != number.to_be_bytes() {
                    return format!("other than {number}");
                }
                self.socket(name).received += 1;
            }
        }
        "all".to_owned()
    }
}

fn datagram(word: &str) -> Vec<u8> {
    match word.strip_prefix("long=") {
        Some(length) => vec![b'x'; length.parse().expect("a number")],
        None if word == "nothing" => Vec::new(),
        None => word.as_bytes().to_vec(),
    }
}

/// Longer than every queue.
const MAX_FLOOD: usize = 2000;
