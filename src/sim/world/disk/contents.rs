//! The contents of a file: as processes see them, and as they are after a loss of power.

use crate::sim::random::Random;

/// Contents, and the changes that were not synced.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Contents {
    data: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    what: What,
    /// The kernel has given up writing it, after a failed sync: no later sync makes it durable.
    dropped: bool,
}

#[derive(Clone, Debug)]
enum What {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// The effect of a loss of power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sim) struct Loss {
    /// Some change is gone as a whole.
    pub(in crate::sim) lost: bool,
    /// A part of some change is left.
    pub(in crate::sim) torn: bool,
}

impl Contents {
    pub(in crate::sim) fn durable(data: &[u8]) -> Contents {
        Contents { data: data.to_vec(), durable: data.to_vec(), unsynced: Vec::new() }
    }

    pub(in crate::sim) fn data(&self) -> &[u8] {
        &self.data
    }

    /// What is certain to survive a loss of power.
    pub(in crate::sim) fn durable_data(&self) -> &[u8] {
        &self.durable
    }

    pub(in crate::sim) fn append(&mut self, data: &[u8]) {
        let what = What::Write(self.data.len(), data.to_vec());
        self.data.extend_from_slice(data);
        self.unsynced.push(Change { what, dropped: false });
    }

    pub(in crate::sim) fn truncate(&mut self, length: usize) {
        self.data.resize(length, 0);
        self.unsynced.push(Change { what: What::Length(length), dropped: false });
    }

    /// Takes back the end of the last append, which a kill has interrupted.
    pub(in crate::sim) fn interrupt(&mut self, length: usize) {
        if let Some(Change { what: What::Write(offset, bytes), .. }) = self.unsynced.last_mut()
            && *offset <= length
            && *offset + bytes.len() == self.data.len()
        {
            bytes.truncate(length - *offset);
            self.data.truncate(length);
        }
    }

    pub(in crate::sim) fn sync(&mut self) {
        let durable = &mut self.durable;
        self.unsynced.retain(|change| {
            if !change.dropped {
                apply(durable, &change.what);
            }
            change.dropped
        });
    }

    /// A sync that fails. As in Linux, the pages count as clean afterwards: the next sync succeeds
    /// without them.
    pub(in crate::sim) fn fail_sync(&mut self) {
        self.unsynced.iter_mut().for_each(|change| change.dropped = true);
    }

    /// Loses power. What was not synced is kept, lost or torn, by the random numbers.
    pub(in crate::sim) fn lose_power(&mut self, random: &mut Random) -> Loss {
        let changes = std::mem::take(&mut self.unsynced);
        let mut loss = Loss::default();
        if !changes.is_empty() {
            let manner = random.below(4);
            let total: usize = changes.iter().map(Change::size).sum();
            // The number of bytes that were written back, in the order of the changes.
            let mut rest = match manner {
                0 => 0,
                1 => total,
                _ => random.index(total + 1),
            };
            for change in changes {
                match &change.what {
                    _ if change.dropped => loss.lost = true,
                    What::Write(offset, bytes) if manner == 3 => {
                        loss = loss.and(write_sectors(&mut self.durable, *offset, bytes, random));
                    }
                    What::Write(_, bytes) if rest >= bytes.len().max(1) => {
                        rest -= bytes.len();
                        apply(&mut self.durable, &change.what);
                    }
                    What::Write(offset, bytes) => {
                        let kept = bytes.get(..rest).unwrap_or_default();
                        loss = loss.and(Loss { lost: kept.is_empty(), torn: !kept.is_empty() });
                        if !kept.is_empty() {
                            apply(&mut self.durable, &What::Write(*offset, kept.to_vec()));
                        }
                        rest = 0;
                    }
                    What::Length(_) if rest > 0 || manner == 3 && random.chance(0.5) => {
                        rest = rest.saturating_sub(1);
                        apply(&mut self.durable, &change.what);
                    }
                    What::Length(_) => loss.lost = true,
                }
            }
        }
        self.data = self.durable.clone();
        loss
    }
}

impl Change {
    fn size(&self) -> usize {
        match &self.what {
            What::Write(_, bytes) => bytes.len(),
            What::Length(_) => 1,
        }
    }
}

impl Loss {
    pub(in crate::sim) fn and(self, other: Loss) -> Loss {
        Loss { lost: self.lost || other.lost, torn: self.torn || other.torn }
    }
}

/// Writes some of the sectors, in no order. Sectors before them are then zeros.
fn write_sectors(durable: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut Random) -> Loss {
    let (mut at, mut rest) = (offset, bytes);
    let (mut kept, mut lost) = (false, false);
    while !rest.is_empty() {
        let length = (SECTOR - at % SECTOR).min(rest.len());
        let (sector, after) = rest.split_at(length);
        if random.chance(0.5) {
            kept = true;
            apply(durable, &What::Write(at, sector.to_vec()));
        } else {
            lost = true;
        }
        (at, rest) = (at + length, after);
    }
    Loss { lost: lost && !kept, torn: lost && kept }
}

fn apply(data: &mut Vec<u8>, what: &What) {
    match what {
        What::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if data.len() < end {
                data.resize(end, 0);
            }
            // In bounds: resized above.
            data[*offset..end].copy_from_slice(bytes);
        }
        What::Length(length) => data.resize(*length, 0),
    }
}

/// The unit that a disk writes as a whole.
const SECTOR: usize = 512;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn synced_data_survives_and_the_rest_is_torn_anywhere() {
        let mut lengths = BTreeSet::new();
        for seed in 0..400 {
            let mut contents = Contents::durable(b"old");
            contents.append(b"synced");
            contents.sync();
            contents.append(b"abc");
            contents.append(b"defg");
            let loss = contents.lose_power(&mut Random::new(seed, "test"));
            assert_eq!(contents.data(), contents.durable_data());
            assert_eq!(&contents.data()[..9], b"oldsynced");
            lengths.insert(contents.data().len());
            assert_eq!(loss == Loss::default(), contents.data() == b"oldsyncedabcdefg", "{loss:?}");
        }
        assert_eq!(lengths, (9..=16).collect());
    }

    #[test]
    fn a_failed_sync_drops_data_that_a_later_one_reports_as_synced() {
        let mut contents = Contents::default();
        contents.append(b"abc");
        contents.fail_sync();
        contents.append(b"def");
        contents.sync();
        assert_eq!((contents.data(), contents.durable_data()), (&b"abcdef"[..], &b"\0\0\0def"[..]));
        assert!(contents.lose_power(&mut Random::new(1, "test")).lost);
        assert_eq!(contents.data(), b"\0\0\0def");
    }

    #[test]
    fn sectors_are_lost_one_by_one() {
        let mut seen = BTreeSet::new();
        for seed in 0..400 {
            let mut contents = Contents::default();
            contents.append(&[b'x'; 3 * SECTOR]);
            contents.lose_power(&mut Random::new(seed, "test"));
            let sectors = contents.data().chunks(SECTOR);
            seen.insert(sectors.map(|sector| sector.iter().all(|byte| *byte == b'x')).collect::<Vec<_>>());
        }
        assert!(
            seen.contains(&vec![false, false, true]) && seen.contains(&vec![true, false, true]),
            "{seen:?}"
        );
    }
}
