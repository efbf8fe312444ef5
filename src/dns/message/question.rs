//! The question of a query, and its place in a response.

use crate::dns::message::name::{MAX_LABEL, MAX_NAME};

/// A name in lower case and a type, as bytes on the stack: the key of the cache and the question of
/// a message are cut from it.
pub(in crate::dns) struct Question {
    bytes: [u8; MAX_NAME + 4],
    /// Length of the name.
    length: usize,
}

impl Question {
    /// Creates a question from a valid name in wire format.
    pub(in crate::dns) fn new(name: &[u8], record_type: u16) -> Question {
        let mut question = Question { bytes: [0; MAX_NAME + 4], length: name.len().min(MAX_NAME) };
        for (place, byte) in question.bytes.iter_mut().zip(name.iter().take(MAX_NAME)) {
            *place = byte.to_ascii_lowercase();
        }
        question.set_type(record_type);
        question
    }

    /// Creates the question of a host name without escapes, and an optional suffix. `None` if the
    /// name is too long or a label is empty or too long.
    pub(in crate::dns) fn of_host(host: &str, suffix: Option<&[u8]>, record_type: u16) -> Option<Question> {
        let host = host.as_bytes();
        let suffix = suffix.unwrap_or(&[0]);
        // The length byte of the first label precedes the text, and each dot becomes one.
        let length = 1 + host.len() + suffix.len();
        if host.is_empty() || length > MAX_NAME {
            return None;
        }
        let mut bytes = [0; MAX_NAME + 4];
        bytes.get_mut(1..=host.len())?.copy_from_slice(host);
        bytes.get_mut(1 + host.len()..length)?.copy_from_slice(suffix);
        bytes.get_mut(..length)?.make_ascii_lowercase();
        let mut end = host.len() + 1;
        for (index, byte) in host.iter().enumerate().rev() {
            if *byte == b'.' {
                end_label(&mut bytes, index + 1, end)?;
                end = index + 1;
            }
        }
        end_label(&mut bytes, 0, end)?;
        let mut question = Question { bytes, length };
        question.set_type(record_type);
        Some(question)
    }

    pub(in crate::dns) fn set_type(&mut self, record_type: u16) {
        let place = self.bytes.iter_mut().skip(self.length).take(2);
        for (place, byte) in place.zip(record_type.to_be_bytes()) {
            *place = byte;
        }
    }

    pub(in crate::dns) fn record_type(&self) -> u16 {
        let at = |index: usize| self.bytes.get(self.length + index).copied().unwrap_or_default();
        u16::from_be_bytes([at(0), at(1)])
    }

    /// Name and type.
    pub(in crate::dns) fn key(&self) -> &[u8] {
        self.bytes.get(..self.length + 2).unwrap_or_default()
    }

    /// Name, type and the number of a reactor.
    pub(in crate::dns) fn key_of(&mut self, home: u16) -> &[u8] {
        let place = self.bytes.iter_mut().skip(self.length + 2).take(2);
        for (place, byte) in place.zip(home.to_be_bytes()) {
            *place = byte;
        }
        self.bytes.get(..self.length + 4).unwrap_or_default()
    }
}

fn end_label(bytes: &mut [u8], length_at: usize, end: usize) -> Option<()> {
    let length = end - length_at - 1;
    if length == 0 || length > MAX_LABEL {
        return None;
    }
    *bytes.get_mut(length_at)? = length as u8;
    Some(())
}

/// A query in wire format, on the stack.
pub(in crate::dns) struct QueryMessage {
    bytes: [u8; HEADER + MAX_NAME + 4 + OPT_RECORD.len()],
    length: usize,
}

impl QueryMessage {
    /// Writes a query for one name. `edns` adds an OPT record with the size of our buffer, and
    /// `authentic` asks for the AD bit (RFC 6840 section 5.7).
    pub(in crate::dns) fn new(
        id: u16,
        name: &[u8],
        record_type: u16,
        edns: bool,
        authentic: bool,
    ) -> QueryMessage {
        let mut query = QueryMessage { bytes: [0; HEADER + MAX_NAME + 4 + OPT_RECORD.len()], length: 0 };
        query.push(&id.to_be_bytes());
        query.push(&[RECURSION_DESIRED, if authentic { AUTHENTIC_DATA } else { 0 }]);
        query.push(&[0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        query.push(name);
        query.push(&record_type.to_be_bytes());
        query.push(&CLASS_IN.to_be_bytes());
        if edns {
            query.push(&OPT_RECORD);
        }
        query
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    pub(in crate::dns) fn as_bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }

    pub(in crate::dns) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The relation of a received message to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Relation {
    /// Not a response to it: another id, another question, or not a response. (RFC 5452 section
    /// 9.1.)
    Mismatch,
    /// A response to it. Its records are not checked yet.
    Response,
    /// A response without the question: only a header with an error code. Some servers send it when
    /// they cannot read a query with EDNS.
    BareError,
}

/// Compares a message with a query: id, flags and question. `name` is the name as it was sent.
pub(in crate::dns) fn relation(
    message: &[u8],
    id: u16,
    name: &[u8],
    record_type: u16,
    exact_case: bool,
) -> Relation {
    let Some((header, rest)) = message.split_first_chunk::<HEADER>() else { return Relation::Mismatch };
    let [id_high, id_low, flags, code, q_high, q_low, ..] = *header;
    if u16::from_be_bytes([id_high, id_low]) != id || flags & (RESPONSE | OPCODE) != RESPONSE {
        return Relation::Mismatch;
    }
    match u16::from_be_bytes([q_high, q_low]) {
        1 => {}
        0 if rest.is_empty() && matches!(code & 15, 1 | 4) => return Relation::BareError,
        _ => return Relation::Mismatch,
    }
    let (Some(theirs), Some(fixed)) = (rest.get(..name.len()), rest.get(name.len()..name.len() + 4)) else {
        return Relation::Mismatch;
    };
    let same_name = match exact_case {
        true => theirs == name,
        false => theirs.eq_ignore_ascii_case(name),
    };
    let [type_high, type_low] = record_type.to_be_bytes();
    let [class_high, class_low] = CLASS_IN.to_be_bytes();
    match same_name && fixed == [type_high, type_low, class_high, class_low] {
        true => Relation::Response,
        false => Relation::Mismatch,
    }
}

/// Whether a message has the bit that it was truncated.
pub(in crate::dns) fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & TRUNCATION != 0)
}

/// Length of the header.
pub(in crate::dns) const HEADER: usize = 12;

const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATION: u8 = 2;
const RECURSION_DESIRED: u8 = 1;
const AUTHENTIC_DATA: u8 = 0x20;
const CLASS_IN: u16 = 1;

/// Size of a UDP answer that we ask for: it passes every path without fragments. (DNS flag day
/// 2020.)
const UDP_SIZE: u16 = 1232;

/// The OPT record of a query: the root, the type, our size, no flags, no options.
const OPT_RECORD: [u8; 11] = {
    let [high, low] = UDP_SIZE.to_be_bytes();
    [0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]
};
