//! Bookkeeping of all connections of a world, and their invariants.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use twistor::sim::{Network, Random};

/// The bookkeeping of one world. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    pub network: Network,
    books: Rc<RefCell<Books>>,
}

struct Books {
    /// The random stream of protocols.
    random: Random,
    lines: Vec<Line>,
    /// Counters of calls by name.
    acts: BTreeMap<&'static str, u64>,
    /// No new work is started.
    quiet: bool,
}

/// A connection: the connecting side, and the accepting side after its first bytes have identified
/// it.
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
    /// A UNIX stream; and whether no data was discarded at its end.
    pub unix: bool,
    pub clean: bool,
    /// The process was killed or crashed.
    pub gone: bool,
}

impl End {
    /// Returns whether the reactor accepts writes now.
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

    /// Counts a call.
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

    /// Adds a connection, and returns its number.
    pub fn open_line(&self, client: &Track) -> u32 {
        let mut books = self.books.borrow_mut();
        books.lines.push(Line { ends: [Some(Rc::clone(client)), None] });
        books.lines.len() as u32 - 1
    }

    /// Sets the accepting side of a connection.
    pub fn join(&self, number: u32, server: &Track) {
        let mut books = self.books.borrow_mut();
        let line = &mut books.lines[number as usize];
        assert!(line.ends[1].is_none(), "connection {number} was accepted twice");
        line.ends[1] = Some(Rc::clone(server));
    }

    /// At the end of input, checks that all bytes of the other side have arrived.
    pub fn check_end_of_input(&self, number: Option<u32>, side: usize) {
        let Some(number) = number else { return };
        let line = self.books.borrow().lines[number as usize].clone();
        let (Some(here), Some(there)) = (&line.ends[side], &line.ends[1 - side]) else { return };
        let (here, there) = (here.borrow(), there.borrow());
        // A UNIX socket closed without a shutdown looks like one that has sent everything.
        let cut_short = here.unix && there.lost && !there.clean;
        assert!(
            cut_short || there.gone || here.received == there.written,
            "connection {number}: the end came after {} of {} bytes",
            here.received,
            there.written
        );
    }

    /// Checks that the received bytes were sent.
    pub fn check_received(&self, number: Option<u32>, side: usize) {
        let Some(number) = number else { return };
        let line = self.books.borrow().lines[number as usize].clone();
        if let (Some(here), Some(there)) = (&line.ends[side], &line.ends[1 - side]) {
            assert!(here.borrow().received <= there.borrow().written, "more came than was written");
        }
    }

    /// After a long time without faults, checks that open connections have delivered everything.
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

    /// Checks that every connection that was made was lost, unless its process was killed.
    pub fn check_all_lost(&self) {
        for (number, line) in self.books.borrow().lines.iter().enumerate() {
            for end in line.ends.iter().flatten() {
                let end = end.borrow();
                assert!(end.lost || end.gone || !end.made, "connection {number} was never lost");
            }
        }
    }
}

/// Returns the byte at a position of the stream of the connecting (0) or accepting (1) side. No two
/// ranges are equal.
pub fn byte_at(place: u64, side: usize) -> u8 {
    let mixed = (place ^ (side as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
}
