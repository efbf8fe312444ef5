//! What every connection of a world has sent and received, and what must hold of it.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use twistor::sim::{Network, Random};

/// The books of one world; clones share them.
#[derive(Clone)]
pub struct Ledger {
    pub network: Network,
    books: Rc<RefCell<Books>>,
}

struct Books {
    /// What protocols draw.
    random: Random,
    lines: Vec<Line>,
    /// What was done how often, by the name of the call.
    acts: BTreeMap<&'static str, u64>,
    /// Nobody begins anything new.
    quiet: bool,
}

/// A connection: the side that connected, and the one that accepted once it has said who it is.
#[derive(Clone, Default)]
struct Line {
    ends: [Option<Track>; 2],
}

/// One end of a connection.
pub type Track = Rc<RefCell<End>>;

#[derive(Debug, Default)]
pub struct End {
    pub written: u64,
    pub received: u64,
    pub made: bool,
    pub lost: bool,
    pub read_ended: bool,
    pub write_ended: bool,
    pub writing_paused: bool,
    pub has_producer: bool,
    pub closing: bool,
    /// Over a UNIX socket; and nothing was thrown away at its end.
    pub unix: bool,
    pub clean: bool,
    /// Its process has ended without a word.
    pub gone: bool,
}

impl End {
    /// Whether the reactor takes what is written now.
    pub fn takes_writes(&self) -> bool {
        !self.lost && !self.write_ended && (!self.closing || self.has_producer)
    }
}

impl Ledger {
    pub fn new(network: &Network) -> Ledger {
        let books =
            Books { random: network.random("acts"), lines: Vec::new(), acts: BTreeMap::new(), quiet: false };
        Ledger { network: network.clone(), books: Rc::new(RefCell::new(books)) }
    }

    pub fn random(&self) -> RefMut<'_, Random> {
        RefMut::map(self.books.borrow_mut(), |books| &mut books.random)
    }

    pub fn below(&self, limit: u64) -> u64 {
        self.random().below(limit)
    }

    /// A call is made.
    pub fn acts(&self, name: &'static str) {
        *self.books.borrow_mut().acts.entry(name).or_default() += 1;
    }

    pub fn acted(&self) -> BTreeMap<&'static str, u64> {
        self.books.borrow().acts.clone()
    }

    pub fn be_quiet(&self) {
        self.books.borrow_mut().quiet = true;
    }

    pub fn is_quiet(&self) -> bool {
        self.books.borrow().quiet
    }

    /// A connection begins; its number.
    pub fn open_line(&self, client: &Track) -> u32 {
        let mut books = self.books.borrow_mut();
        books.lines.push(Line { ends: [Some(Rc::clone(client)), None] });
        books.lines.len() as u32 - 1
    }

    /// The side that accepted has learned which one it is.
    pub fn join(&self, number: u32, server: &Track) {
        let mut books = self.books.borrow_mut();
        let line = &mut books.lines[number as usize];
        assert!(line.ends[1].is_none(), "connection {number} was accepted twice");
        line.ends[1] = Some(Rc::clone(server));
    }

    /// The end of what comes was read: all that the other side wrote has come.
    pub fn check_end_of_input(&self, number: Option<u32>, side: usize) {
        let Some(number) = number else { return };
        let line = self.books.borrow().lines[number as usize].clone();
        let (Some(here), Some(there)) = (&line.ends[side], &line.ends[1 - side]) else { return };
        let (here, there) = (here.borrow(), there.borrow());
        // A UNIX socket that is closed without ado looks like one that had nothing more to say.
        let cut_short = here.unix && there.lost && !there.clean;
        assert!(
            cut_short || there.gone || here.received == there.written,
            "connection {number}: the end came after {} of {} bytes",
            here.received,
            there.written
        );
    }

    /// What was received was sent before.
    pub fn check_received(&self, number: Option<u32>, side: usize) {
        let Some(number) = number else { return };
        let line = self.books.borrow().lines[number as usize].clone();
        if let (Some(here), Some(there)) = (&line.ends[side], &line.ends[1 - side]) {
            assert!(here.borrow().received <= there.borrow().written, "more came than was written");
        }
    }

    /// After a long time without faults: whatever both sides hold open has brought everything.
    pub fn check_all_arrived(&self) {
        for (number, line) in self.books.borrow().lines.iter().enumerate() {
            let [Some(client), Some(server)] = &line.ends else { continue };
            let (client, server) = (client.borrow(), server.borrow());
            let open = |end: &End| end.made && !end.lost && !end.gone && !end.closing && !end.read_ended;
            if open(&client) && open(&server) {
                assert_eq!(client.written, server.received, "{number}, to the server: {client:?} {server:?}");
                assert_eq!(server.written, client.received, "{number}, to the client: {client:?} {server:?}");
            }
        }
    }

    /// Every connection that was made was lost, but for those whose process was not there to hear of it.
    pub fn check_all_lost(&self) {
        for (number, line) in self.books.borrow().lines.iter().enumerate() {
            for end in line.ends.iter().flatten() {
                let end = end.borrow();
                assert!(end.lost || end.gone || !end.made, "connection {number} was never lost");
            }
        }
    }
}

/// The byte at a place of the stream from the side that connected (0) or accepted (1): no two
/// stretches of it are alike.
pub fn byte_at(place: u64, side: usize) -> u8 {
    let mixed = (place ^ (side as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
}
