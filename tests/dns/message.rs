//! Messages of test servers, written byte by byte.

use std::net::{IpAddr, SocketAddr};

/// A query as a server receives it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: u16,
    /// Text without the dot at the end, as it was sent.
    pub name: String,
    pub record_type: u16,
    /// Bytes of the question section.
    pub question: Vec<u8>,
    /// Size of the sender's buffer, if the query has EDNS.
    pub edns: Option<u16>,
    pub authentic: bool,
    pub tcp: bool,
    pub from: SocketAddr,
}

impl Asked {
    pub fn read(bytes: &[u8], tcp: bool, from: SocketAddr) -> Asked {
        assert_eq!((&bytes[4..6], &bytes[6..10]), (&[0, 1][..], &[0; 4][..]), "one question");
        assert_eq!(bytes[2], 1, "a query that asks for recursion");
        let mut labels = Vec::new();
        let mut at = 12;
        while bytes[at] != 0 {
            let length = usize::from(bytes[at]);
            labels.push(String::from_utf8_lossy(&bytes[at + 1..at + 1 + length]).into_owned());
            at += 1 + length;
        }
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let end = at + 5;
        let edns = (number(10) == 1).then(|| {
            assert_eq!(bytes[end..end + 3], [0, 0, 41], "an OPT record of the root");
            number(end + 3)
        });
        assert_eq!(bytes.len(), end + edns.map_or(0, |_| 11), "nothing else");
        Asked {
            id: number(0),
            name: labels.join("."),
            record_type: number(at + 1),
            question: bytes[12..end].to_vec(),
            edns,
            authentic: bytes[3] & 0x20 != 0,
            tcp,
            from,
        }
    }

    pub fn reply(&self) -> Message {
        Message {
            id: self.id,
            flags: 0x8180,
            question: self.question.clone(),
            counts: [1, 0, 0, 0],
            records: Vec::new(),
        }
    }
}

/// A response that is being written.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: u16,
    pub flags: u16,
    pub question: Vec<u8>,
    pub counts: [u16; 4],
    pub records: Vec<u8>,
}

impl Message {
    pub fn code(mut self, code: u16) -> Message {
        self.flags = self.flags & !15 | code;
        self
    }

    pub fn flag(mut self, bit: u16, on: bool) -> Message {
        self.flags = if on { self.flags | bit } else { self.flags & !bit };
        self
    }

    pub fn record(self, section: usize, name: &str, record_type: u16, ttl: u32, data: &[u8]) -> Message {
        self.raw_record(section, &wire(name), record_type, 1, ttl, data)
    }

    pub fn raw_record(
        mut self,
        section: usize,
        name: &[u8],
        record_type: u16,
        class: u16,
        ttl: u32,
        data: &[u8],
    ) -> Message {
        self.counts[section] += 1;
        self.records.extend_from_slice(name);
        self.records.extend_from_slice(&record_type.to_be_bytes());
        self.records.extend_from_slice(&class.to_be_bytes());
        self.records.extend_from_slice(&ttl.to_be_bytes());
        self.records.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        self.records.extend_from_slice(data);
        self
    }

    pub fn address(self, name: &str, ttl: u32, address: &str) -> Message {
        match address.parse().unwrap() {
            IpAddr::V4(address) => self.record(1, name, 1, ttl, &address.octets()),
            IpAddr::V6(address) => self.record(1, name, 28, ttl, &address.octets()),
        }
    }

    pub fn alias(self, name: &str, ttl: u32, target: &str) -> Message {
        self.record(1, name, 5, ttl, &wire(target))
    }

    /// A SOA record in the authority section, for a negative answer.
    pub fn start_of_zone(self, zone: &str, ttl: u32, minimum: u32) -> Message {
        let mut data = wire("ns.example");
        data.extend(wire("admin.example"));
        for number in [1, 2, 3, 4, minimum] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        self.record(2, zone, 6, ttl, &data)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&self.flags.to_be_bytes());
        for count in self.counts {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        bytes.extend_from_slice(&self.question);
        bytes.extend_from_slice(&self.records);
        bytes
    }
}

/// A name in wire format.
pub fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}
