//! Every datagram of a world: what was sent may come, as it was sent, and no more often than the world doubles it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::ledger::byte_at;

/// The books of one world's datagrams; clones share them.
#[derive(Clone, Default)]
pub struct Post(Rc<RefCell<Books>>);

#[derive(Default)]
struct Books {
    /// UDP: by number.
    lengths: Vec<usize>,
    /// UNIX: by number of the sender.
    lines: Vec<Line>,
}

/// What a UNIX sender has sent, and what came of it.
#[derive(Default)]
struct Line {
    written: u32,
    given_up: u32,
    /// The number that comes next, and how many were left out.
    next: u32,
    missing: u32,
}

/// What a socket has received: how often each number came.
pub type Seen = BTreeMap<u32, u32>;

impl Post {
    /// A datagram of this length, and at least four bytes, that nobody has sent before.
    pub fn letter(&self, length: usize) -> Vec<u8> {
        let number = self.0.borrow().lengths.len() as u32;
        let mut letter = number.to_be_bytes().to_vec();
        letter.extend((4..length.max(4)).map(|place| byte_at(place as u64, number as usize)));
        self.0.borrow_mut().lengths.push(letter.len());
        letter
    }

    /// One came, whole or cut.
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

    /// One more UNIX sender.
    pub fn open_line(&self) -> u32 {
        self.0.borrow_mut().lines.push(Line::default());
        self.0.borrow().lines.len() as u32 - 1
    }

    /// What it sends next.
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

    /// One of a line came: none is out of order, and none is missing but those that the sender was told of.
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
