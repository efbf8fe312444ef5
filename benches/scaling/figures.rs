//! What a run measured, as data: it goes to JSON and comes back the same, and every table and plot is made from it alone.
//!
//! Nothing here is a result yet: a [`Sample`] is one server in one cell in one round, and ratios are for the reader to
//! take, between samples of the same cell and the same round. Times are in seconds, memory is in bytes.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::support::Result;

/// Everything that one run of the bench found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub machine: Machine,
    /// ISO 8601, UTC: when the run began.
    pub date: String,
    /// The command line that made it.
    pub command: String,
    pub samples: Vec<Sample>,
    /// What was tried and gave no sample.
    pub missing: Vec<Missing>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// Bytes.
    pub memory: u64,
    pub kernel: String,
    pub rustc: String,
    /// Share of a core that others used just before the run: 0.0 on a quiet machine, up to the number of cores.
    pub load_before: f64,
    /// Where servers and load were held; `None` where there is one core only.
    pub pinning: Option<Pinning>,
}

/// Numbers of cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinning {
    pub servers: usize,
    pub load: usize,
}

/// One server in one cell in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// `ten`, `connections`, `sizes`, `bulk`, `churn`, `hold`, `timers`, or `cells` for those that were asked for by name.
    /// A cell that belongs to two sections is measured once, and is here twice.
    pub section: String,
    /// `pp c64 s64 d16` (depth 1 is not written), `bulk c1`, `churn p64`, `hold c1024`, `timers 1000000 set`.
    pub cell: String,
    /// `twistor`, `streams`, `mio`, `c`, `tokio`, `asyncio`, `uvloop`, `twisted`; among timers `heap` too.
    pub server: String,
    /// From 0.
    pub round: usize,
    /// Messages; units of 16 KiB in bulk; connections in churn; in hold the connections, each answered once; operations
    /// of timers.
    pub count: u64,
    /// Seconds that `count` took.
    pub elapsed: f64,
    /// Seconds of CPU that `count` took the server.
    pub cpu: f64,
    /// Of messages; in churn of a connection, from connecting until the whole echo is back. Bulk, hold and timers have none.
    pub latency: Option<Latency>,
    /// Of held connections alone.
    pub memory: Option<Memory>,
}

/// Seconds from the write of a message until its whole echo had been read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Bytes of the server that are resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// With no connection yet.
    pub before: u64,
    /// With all of the connections, none of which has said anything.
    pub idle: u64,
    /// After a message on each.
    pub used: u64,
    /// With all of them closed.
    pub after: u64,
}

/// A server that failed in a cell, or could not be tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    pub section: String,
    pub cell: String,
    pub server: String,
    pub round: usize,
    pub reason: String,
}

impl Run {
    /// Errors: what cannot be written; a figure that is no number, which JSON would not bring back.
    pub fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .map_err(|error| format!("writing {}: {error}", path.display()))?;
        match Run::load(path)? == *self {
            true => Ok(()),
            false => Err(format!("{} does not read back as it was written", path.display()).into()),
        }
    }

    pub fn load(path: &Path) -> Result<Run> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }
}
