//! The measurements of a run. They are saved as JSON, and every table and plot is made from them alone.
//!
//! A [`Sample`] is one server in one cell and round. The report takes ratios between samples of the
//! same cell and round. Times are in seconds, memory is in bytes.

use std::path::Path;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};

use super::support::Result;

/// One run of the bench.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub machine: Machine,
    /// When the run began: ISO 8601, UTC.
    pub date: String,
    /// The command line.
    pub command: String,
    pub samples: Vec<Sample>,
    /// Attempts that gave no sample.
    pub missing: Vec<Missing>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// Bytes.
    pub memory: u64,
    pub kernel: String,
    pub rustc: String,
    /// Share of a core that other programs used just before the run: 0.0 on a quiet machine, up to
    /// the number of cores.
    pub load_before: f64,
    /// The cores of servers and load; `None` if they were not pinned.
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
    /// `ten`, `connections`, `sizes`, `bulk`, `churn`, `hold`, `timers`, or `cells` for cells by name.
    /// A cell of two sections is measured once and stored twice.
    pub section: String,
    /// `pp c64 s64 d16` (depth 1 is left out), `bulk c1`, `churn p64`, `hold c1024`, `timers 1000000 set`.
    pub cell: String,
    /// A name of the option `--servers`; among timers also `heap`.
    pub server: String,
    /// From 0.
    pub round: usize,
    /// Messages; in bulk units of 16 KiB, in churn and hold connections, with timers operations.
    pub count: u64,
    /// Seconds for all of `count`.
    pub elapsed: f64,
    /// CPU seconds of the server for all of `count`.
    pub cpu: f64,
    /// Of messages; in churn from connecting until the echo is complete. Bulk, hold and timers have none.
    pub latency: Option<Latency>,
    /// In hold only.
    pub memory: Option<Memory>,
}

/// Seconds from the write of a message until its echo is complete.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Resident bytes of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Without a connection.
    pub before: u64,
    /// With all connections, before a message.
    pub idle: u64,
    /// After a message on each.
    pub used: u64,
    /// With all connections closed.
    pub after: u64,
}

/// A server that failed in a cell, or could not be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    pub section: String,
    pub cell: String,
    pub server: String,
    pub round: usize,
    pub reason: String,
}

/// `AMD EPYC, 2 cores, 24 GiB, Linux 6.18.44`.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory as f64 / (1_u64 << 30) as f64;
        let cores = if self.cores == 1 { "core" } else { "cores" };
        let kernel = self.kernel.trim_start_matches("Linux ");
        write!(f, "{}, {} {cores}, {memory:.0} GiB, Linux {kernel}", self.processor, self.cores)
    }
}

impl Run {
    /// When the run began: `2026-11-21 15:40 UTC`.
    pub fn minute(&self) -> String {
        match self.date.split_once('T') {
            Some((day, time)) => format!("{day} {} UTC", time.get(..5).unwrap_or(time)),
            None => self.date.clone(),
        }
    }

    /// Errors: a file that cannot be written; a NaN, which JSON would not read back.
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
