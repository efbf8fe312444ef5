//! The workloads that are measured, and the sections of the results that they belong to.

use std::fmt;

use super::arguments::Mode;
use super::support::cell::Cell;

/// In the order of the results.
pub const SECTIONS: [&str; 7] = ["ten", "connections", "sizes", "bulk", "churn", "hold", "timers"];

/// One cell, measured once per round and server, even if several sections show it.
pub struct Workload {
    pub task: Task,
    pub sections: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Echo, bulk or churn.
    Load(Cell),
    /// A number of connections, and a message on each.
    Hold(usize),
    /// A number of outstanding timers, without a server.
    Timers(usize),
}

impl Workload {
    /// The cells of sections, and the named ones. With named cells, sections are limited to these.
    pub fn of_sections(sections: &[String], mode: Mode, named: &[Cell]) -> Vec<Workload> {
        let mut workloads: Vec<Workload> = Vec::new();
        let named: Vec<Task> = named.iter().copied().map(Task::Load).collect();
        for section in sections {
            for task in tasks(section, mode) {
                let others = matches!(task, Task::Load(_)) && !named.is_empty() && !named.contains(&task);
                match workloads.iter_mut().find(|workload| workload.task == task) {
                    _ if others => {}
                    Some(known) => known.sections.push(section.clone()),
                    None => workloads.push(Workload { task, sections: vec![section.clone()] }),
                }
            }
        }
        for task in named {
            let section = "cells".to_string();
            match workloads.iter_mut().find(|workload| workload.task == task) {
                Some(known) => known.sections.push(section),
                None => workloads.push(Workload { task, sections: vec![section] }),
            }
        }
        workloads
    }

    /// Makes it small enough for a smoke run. False if that is not possible.
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

    /// Fewer rounds for cells that take long and hardly vary.
    pub fn rounds(&self, rounds: usize, mode: Mode) -> usize {
        match (self.task, mode) {
            (Task::Load(_), _) => rounds,
            (Task::Hold(_) | Task::Timers(_), Mode::Full) => rounds.min(3),
            (Task::Hold(_) | Task::Timers(_), Mode::Quick) => rounds.min(1),
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

fn tasks(section: &str, mode: Mode) -> Vec<Task> {
    let quick = mode == Mode::Quick;
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

/// One connection wakes the server for each message. The last number is what a process can hold
/// with the usual hard limit of 20,000 descriptors.
const CONNECTIONS: [usize; 8] = [1, 16, 64, 256, 1024, 4096, 8192, 16384];
const QUICK_CONNECTIONS: [usize; 5] = [1, 64, 1024, 8192, 16384];

/// Bytes. The last is the read size of the loops in C and on mio.
const SIZES: [usize; 6] = [64, 256, 1024, 4096, 16384, 65536];
const QUICK_SIZES: [usize; 4] = [64, 1024, 16384, 65536];

const DEPTHS: [usize; 2] = [1, 16];
