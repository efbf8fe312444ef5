//! The calls on sockets of datagrams, made as the reactor makes them.

use std::io::ErrorKind;

use super::bench::Bench;
use super::words;
use crate::net::{Address, BATCH, Origin, Readiness, RecvBatch, Transmit};

impl Bench {
    /// Sends datagrams with one call; without `now` only when told that there is room.
    pub(super) fn post(&mut self, name: &str, to: &str, data: &[&str], now: bool) -> String {
        let to = (to != "-").then(|| self.address_of(to));
        let data: Vec<Vec<u8>> = data.iter().map(|word| datagram(word)).collect();
        match now {
            true => self.post_now(name, to.as_ref(), &data),
            false => self.when(name, Readiness::WRITABLE, |bench| bench.post_now(name, to.as_ref(), &data)),
        }
    }

    /// Sends datagrams from an address with one call, whatever was told.
    pub(super) fn post_from(&mut self, name: &str, source: &str, to: &str, data: &[&str]) -> String {
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
        let going: Vec<Transmit> =
            data.iter().map(|data| Transmit { length: data.len(), to: to.cloned(), origin }).collect();
        let (net, token) = self.net_of(name);
        match net.send_datagrams(token, &data.concat(), &going) {
            Ok(count) => count.to_string(),
            Err(failed) => {
                self.used_up(name, Readiness::WRITABLE, failed.kind() == ErrorKind::WouldBlock);
                words::error(&failed)
            }
        }
    }

    /// Takes datagrams with one call, only when told that there are some.
    pub(super) fn take(&mut self, name: &str, room: usize) -> String {
        self.when(name, Readiness::READABLE, |bench| bench.take_now(name, room))
    }

    /// Takes datagrams with one call, when told that there are some, and says where each was sent to, and where an answer
    /// leaves from.
    pub(super) fn take_told(&mut self, name: &str) -> String {
        self.when(name, Readiness::READABLE, |bench| {
            let mut inbound = RecvBatch::default();
            if let Err(failed) = bench.receive_mail(name, &mut inbound, 1024) {
                return words::error(&failed);
            }
            let came = inbound.came().iter().map(|came| {
                let data = words::bytes(inbound.data(came));
                let Some(destination) = came.to else { return format!("{data} to nowhere known") };
                let answer = match destination.answer_from {
                    Some(origin) if origin.address == destination.address => "answered from there".to_owned(),
                    Some(origin) => format!("answered from {}", origin.address),
                    None => "answered from anywhere".to_owned(),
                };
                format!("{data} to {}, {answer}", destination.address)
            });
            came.collect::<Vec<_>>().join("; ")
        })
    }

    pub(super) fn take_now(&mut self, name: &str, room: usize) -> String {
        let mut inbound = RecvBatch::default();
        if let Err(failed) = self.receive_mail(name, &mut inbound, room) {
            return words::error(&failed);
        }
        let came = inbound.came().iter().map(|came| {
            let (data, from) = (words::bytes(inbound.data(came)), self.show(&came.from));
            format!("{data} from {from}{}", if came.truncated { ", cut" } else { "" })
        });
        came.collect::<Vec<_>>().join("; ")
    }

    fn receive_mail(&mut self, name: &str, inbound: &mut RecvBatch, room: usize) -> std::io::Result<()> {
        inbound.prepare(room, BATCH);
        let (net, token) = self.net_of(name);
        let result = net.recv_datagrams(token, inbound);
        let drained = match &result {
            Ok(()) => !inbound.more(),
            Err(failed) => failed.kind() == ErrorKind::WouldBlock,
        };
        self.used_up(name, Readiness::READABLE, drained);
        result
    }

    /// Sends numbered datagrams until one is not taken; what was answered then.
    pub(super) fn flood(&mut self, name: &str, to: &str) -> String {
        let to = (to != "-").then(|| self.address_of(to));
        for _ in 0..MOST_OF_A_FLOOD {
            let number = (self.socket(name).sent as u32).to_be_bytes();
            let answer = self.post_now(name, to.as_ref(), &[number.to_vec()]);
            if answer != "1" {
                return answer;
            }
            self.socket(name).sent += 1;
        }
        "takes everything".to_owned()
    }

    /// Reads, each time only when told to, until everything that the other has sent was there, in order.
    pub(super) fn gather(&mut self, name: &str, from: &str) -> String {
        let all = self.socket(from).sent;
        while self.socket(name).received < all {
            if !self.wait_for(name, Readiness::READABLE) {
                return "nothing was told".to_owned();
            }
            let mut inbound = RecvBatch::default();
            match self.receive_mail(name, &mut inbound, 16) {
                Err(failed) if failed.kind() == ErrorKind::WouldBlock => continue,
                Err(failed) => return words::error(&failed),
                Ok(()) => {}
            }
            for came in inbound.came() {
                let number = self.socket(name).received as u32;
                if inbound.data(came) != number.to_be_bytes() {
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

/// No queue is that long.
const MOST_OF_A_FLOOD: usize = 2000;
