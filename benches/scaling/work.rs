//! What is measured: which cells there are, and to which sections of the results they belong.

use std::fmt;

use super::choices::Extent;
use super::support::cell::Cell;

/// In the order of the results.
pub const SECTIONS: [&str; 7] = ["ten", "connections", "sizes", "bulk", "churn", "hold", "timers"];

/// One cell, measured once a round for every server, however many sections show it.
pub struct Work {
    pub task: Task,
    pub sections: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Messages there and back.
    Load(Cell),
    /// So many connections, a message on each.
    Hold(usize),
    /// So many delayed calls outstanding; there is no server in it.
    Timers(usize),
}

impl Work {
    /// The cells of sections, and those that are named. Where any are named, sections give of their own only these.
    pub fn of_sections(sections: &[String], extent: Extent, named: &[Cell]) -> Vec<Work> {
        let mut work: Vec<Work> = Vec::new();
        let named: Vec<Task> = named.iter().copied().map(Task::Load).collect();
        for section in sections {
            for task in tasks(section, extent) {
                let others = matches!(task, Task::Load(_)) && !named.is_empty() && !named.contains(&task);
                match work.iter_mut().find(|work| work.task == task) {
                    _ if others => {}
                    Some(known) => known.sections.push(section.clone()),
                    None => work.push(Work { task, sections: vec![section.clone()] }),
                }
            }
        }
        for task in named {
            let section = "cells".to_string();
            match work.iter_mut().find(|work| work.task == task) {
                Some(known) => known.sections.push(section),
                None => work.push(Work { task, sections: vec![section] }),
            }
        }
        work
    }

    /// Makes it small enough for a smoke run; false when it cannot be.
    pub fn shrink(&mut self) -> bool {
        match &mut self.task {
            Task::Load(cell) => cell.is_small(),
            Task::Hold(connections) => *connections <= 64,
            Task::Timers(outstanding) => {
                *outstanding = 1_000;
                true
            }
        }
    }

    /// What is the same in every round, and takes long, is not measured as often as the rest.
    pub fn rounds(&self, rounds: usize, extent: Extent) -> usize {
        match (self.task, extent) {
            (Task::Load(_), _) => rounds,
            (Task::Hold(_) | Task::Timers(_), Extent::Whole) => rounds.min(3),
            (Task::Hold(_) | Task::Timers(_), Extent::Quick) => rounds.min(1),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Load(cell) => cell.fmt(f),
            Task::Hold(connections) => write!(f, "hold c{connections}"),
            Task::Timers(outstanding) => write!(f, "timers {outstanding}"),
        }
    }
}

fn tasks(section: &str, extent: Extent) -> Vec<Task> {
    let quick = extent == Extent::Quick;
    let connections: &[usize] = if quick { &QUICK_CONNECTIONS } else { &CONNECTIONS };
    let ping_pong = |connections, size, depth| Task::Load(Cell::PingPong { connections, size, depth });
    match section {
        "ten" => Cell::standard().into_iter().map(Task::Load).collect(),
        "connections" => {
            let depths: &[usize] = if quick { &DEPTHS[..1] } else { &DEPTHS };
            let both = depths.iter().flat_map(|&depth| connections.iter().map(move |&count| (count, depth)));
            both.map(|(count, depth)| ping_pong(count, 64, depth)).collect()
        }
        "sizes" => {
            let sizes: &[usize] = if quick { &QUICK_SIZES } else { &SIZES };
            let both = DEPTHS.iter().flat_map(|&depth| sizes.iter().map(move |&size| (size, depth)));
            both.map(|(size, depth)| ping_pong(64, size, depth)).collect()
        }
        "bulk" => {
            let connections: &[usize] = if quick { &[1, 64] } else { &[1, 16, 64, 256] };
            connections.iter().map(|&connections| Task::Load(Cell::Bulk { connections })).collect()
        }
        "churn" => {
            let parallel: &[usize] = if quick { &[1, 64] } else { &[1, 16, 64, 256] };
            parallel.iter().map(|&parallel| Task::Load(Cell::Churn { parallel })).collect()
        }
        "hold" => {
            let connections: &[usize] = if quick { &[64, 1024, 16384] } else { &CONNECTIONS };
            connections.iter().map(|&count| Task::Hold(count)).collect()
        }
        "timers" => vec![Task::Timers(1_000_000)],
        _ => Vec::new(),
    }
}

/// One is a wake-up for each message; the last is what a process can have with the usual hard limit of 20,000 descriptors.
const CONNECTIONS: [usize; 8] = [1, 16, 64, 256, 1024, 4096, 8192, 16384];
const QUICK_CONNECTIONS: [usize; 5] = [1, 64, 1024, 8192, 16384];

/// Bytes. The last is as much as the loops by hand read at once.
const SIZES: [usize; 6] = [64, 256, 1024, 4096, 16384, 65536];
const QUICK_SIZES: [usize; 4] = [64, 1024, 16384, 65536];

const DEPTHS: [usize; 2] = [1, 16];
