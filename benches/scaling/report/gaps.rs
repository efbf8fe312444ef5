//! What was tried in a run and gave nothing, told by reason.

use std::fmt;

use super::super::figures::{Missing, Run};
use super::palette;
use super::statistics::EVERY;

/// Cells that some servers have no figure of, all for one reason.
pub struct Gap<'a> {
    servers: Vec<&'a str>,
    reason: &'a str,
    cells: Vec<Place<'a>>,
}

/// A cell, and the rounds in which it is missing, from 0.
#[derive(PartialEq)]
struct Place<'a> {
    cell: &'a str,
    rounds: Vec<usize>,
}

impl<'a> Gap<'a> {
    /// Servers that lack the same for the same reason are together.
    pub fn of(run: &'a Run) -> Vec<Gap<'a>> {
        let mut single: Vec<Gap<'_>> = Vec::new();
        for missing in &run.missing {
            let is_same =
                |gap: &&mut Gap<'_>| gap.servers == [&missing.server] && gap.reason == missing.reason;
            match single.iter_mut().find(is_same) {
                Some(gap) => gap.add(missing),
                None => {
                    let (servers, reason) = (vec![missing.server.as_str()], missing.reason.as_str());
                    let mut gap = Gap { servers, reason, cells: Vec::new() };
                    gap.add(missing);
                    single.push(gap);
                }
            }
        }
        let mut shared: Vec<Gap<'_>> = Vec::new();
        for gap in single {
            match shared.iter_mut().find(|other| other.reason == gap.reason && other.cells == gap.cells) {
                Some(other) => other.servers.extend(gap.servers),
                None => shared.push(gap),
            }
        }
        shared
    }

    /// A cell that is in two sections is missing in both, and told once.
    fn add(&mut self, missing: &'a Missing) {
        match self.cells.iter_mut().find(|place| place.cell == missing.cell) {
            Some(place) if place.rounds.contains(&missing.round) => {}
            Some(place) => place.rounds.push(missing.round),
            None => self.cells.push(Place { cell: &missing.cell, rounds: vec![missing.round] }),
        }
    }
}

/// `Twisted, uvloop: connection refused. pp c64 s64 (rounds 1, 2).`, with the cells as code.
impl fmt::Display for Gap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |server| if server == EVERY { "every server" } else { palette::name(server) };
        let servers: Vec<&str> = self.servers.iter().copied().map(name).collect();
        let reason: Vec<&str> = self.reason.split_whitespace().collect();
        let places: Vec<String> = self.cells.iter().map(Place::to_string).collect();
        write!(f, "{}: {}. {}.", servers.join(", "), reason.join(" "), places.join(", "))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cell == EVERY {
            return f.write_str("It took no part");
        }
        let name = if self.rounds.len() == 1 { "round" } else { "rounds" };
        let rounds: Vec<String> = self.rounds.iter().map(|round| (round + 1).to_string()).collect();
        write!(f, "`{}` ({name} {})", self.cell, rounds.join(", "))
    }
}
