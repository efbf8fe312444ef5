//! Bookkeeping of all datagrams of a world: each one arrives unchanged or not at all, and at most
//! as often as the world duplicates it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::ledger::byte_at;

/// The datagrams of one world. Clones share them.
#[derive(Clone, Default)]
pub struct Post(Rc<RefCell<Books>>);

#[derive(Default)]
struct Books {
    /// UDP datagrams by number.
    lengths: Vec<usize>,
    /// UNIX senders by number.
    lines: Vec<Line>,
}

/// The datagrams that a UNIX sender has sent.
#[derive(Default)]
struct Line {
    written: u32,
    given_up: u32,
    /// The number of the next one, and the count of missing ones.
    next: u32,
    missing: u32,
}

/// The receive count of each number, for one socket.
pub type Seen = BTreeMap<u32, u32>;

impl Post {
    /// Returns a new datagram of this length, at least four bytes.
    pub fn letter(&self, length: usize) -> Vec<u8> {
        let number = self.0.borrow().lengths.len() as u32;
        let mut letter = number.to_be_bytes().to_vec();
        letter.extend((4..length.max(4)).map(|place| byte_at(place as u64, number as usize)));
        self.0.borrow_mut().lengths.push(letter.len());
        letter
    }

    /// Checks a received datagram, whole or truncated.
    pub fn came(&self, seen: &mut Seen, data: &[u8], cut: bool) {
        let head = data.first_chunk().expect("the shortest has four bytes");
        let number = u32::from_be_bytes(*head);
        let length = self.0.borrow().lengths[number as usize];
        assert!(if cut { data.len() < length } else { data.len() == length }, "{number}: {}", data.len());
        for (place, byte) in data.iter().enumerate().skip(4) {
            assert_eq!(*byte, byte_at(place as u64, number as usize), "byte {place} of {number}");
        }
        let times = seen.entry(number).or_default();
        *times += 1;
        assert!(*times <= 2, "{number} came {times} times");
    }

    /// Adds a UNIX sender, and returns its number.
    pub fn open_line(&self) -> u32 {
        self.0.borrow_mut().lines.push(Line::default());
        self.0.borrow().lines.len() as u32 - 1
    }

    /// Returns a sender's next datagram.
    pub fn next_of(&self, line: u32) -> [u8; 8] {
        let number = self.0.borrow().lines[line as usize].written;
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&line.to_be_bytes());
        bytes[4..].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    pub fn written(&self, line: u32) {
        self.0.borrow_mut().lines[line as usize].written += 1;
    }

    pub fn given_up(&self, line: u32) {
        self.0.borrow_mut().lines[line as usize].given_up += 1;
    }

    /// Checks a sender's received datagram: it is in order, and only datagrams whose send failed
    /// are missing.
    pub fn came_in_line(&self, data: &[u8]) {
        let (line, number) = data.split_at(4);
        let (line, number) = (u32::from_be_bytes(line.try_into().unwrap()), number.try_into().unwrap());
        let number = u32::from_be_bytes(number);
        let line = &mut self.0.borrow_mut().lines[line as usize];
        assert!(number >= line.next && number < line.written, "{number} after {}", line.next);
        line.missing += number - line.next;
        line.next = number + 1;
        assert!(line.missing <= line.given_up, "{} missing, {} given up", line.missing, line.given_up);
    }
}
