//! A cell is one workload: how many connections, how large a message, how many under way. Its name is its notation.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `pp c64 s1024 d16`: on each connection `depth` messages of `size` bytes are under way at any time.
    PingPong { connections: usize, size: usize, depth: usize },
    /// `bulk c1`: each connection is written to as fast as it takes the bytes, and the echo read.
    Bulk { connections: usize },
    /// `churn p64`: connect, one message of 64 bytes there and back, close; `parallel` of these at any time.
    Churn { parallel: usize },
}

/// The bulk cells count bytes in units of this size.
pub const BULK_UNIT: usize = 16 * 1024;

/// The message of a churned connection.
pub const CHURN_SIZE: usize = 64;

/// One message outstanding and many, few connections and more than a cache holds, small messages and large ones.
const STANDARD: [&str; 10] = [
    "pp c1 s64",
    "pp c64 s64",
    "pp c1024 s64",
    "pp c8192 s64",
    "pp c64 s1024",
    "pp c64 s16384",
    "pp c64 s64 d16",
    "pp c1024 s1024 d16",
    "bulk c1",
    "churn p64",
];

impl Cell {
    pub fn standard() -> Vec<Cell> {
        STANDARD.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Small enough for a smoke run.
    pub fn is_small(&self) -> bool {
        match *self {
            Cell::PingPong { connections, .. } | Cell::Bulk { connections } => connections <= 64,
            Cell::Churn { parallel } => parallel <= 64,
        }
    }

    /// What one count of this cell is.
    pub fn unit(&self) -> &'static str {
        match self {
            Cell::PingPong { .. } => "messages",
            Cell::Bulk { .. } => "x 16 KiB",
            Cell::Churn { .. } => "connections",
        }
    }
}

impl FromStr for Cell {
    type Err = String;

    /// Spaces and dashes separate alike: `pp c64 s64` and `pp-c64-s64`.
    fn from_str(name: &str) -> Result<Cell, String> {
        let mut words = name.split([' ', '-']).filter(|word| !word.is_empty());
        let kind = words.next().unwrap_or_default();
        let (mut connections, mut size, mut depth, mut parallel) = (1, 64, 1, 64);
        for word in words {
            let (letter, number) = word.split_at_checked(1).unwrap_or_default();
            let number = number.parse().ok().filter(|&number| number > 0);
            let number =
                number.ok_or_else(|| format!("cell `{name}`: `{word}` is not a letter and a number"))?;
            match letter {
                "c" => connections = number,
                "s" => size = number,
                "d" => depth = number,
                "p" => parallel = number,
                _ => return Err(format!("cell `{name}`: `{word}` is none of cN, sN, dN, pN")),
            }
        }
        match kind {
            "pp" => Ok(Cell::PingPong { connections, size, depth }),
            "bulk" => Ok(Cell::Bulk { connections }),
            "churn" => Ok(Cell::Churn { parallel }),
            _ => Err(format!("cell `{name}`: it starts with none of pp, bulk, churn")),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Cell::PingPong { connections, size, depth: 1 } => format!("pp c{connections} s{size}"),
            Cell::PingPong { connections, size, depth } => format!("pp c{connections} s{size} d{depth}"),
            Cell::Bulk { connections } => format!("bulk c{connections}"),
            Cell::Churn { parallel } => format!("churn p{parallel}"),
        };
        f.pad(&text)
    }
}
