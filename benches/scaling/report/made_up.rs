//! Figures that nobody measured: runs as they might come out, for looking at pictures and for checking them.

use super::super::figures::{Latency, Machine, Memory, Missing, Pinning, Run, Sample};

/// How the servers of a run compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As one expects it.
    Usual,
    /// All of them the same: every label wants the same place.
    Equal,
    /// Everything is nothing.
    Zero,
    /// From a picosecond to a millisecond.
    Wide,
}

/// Servers and what they cost, relative to the loop in C. The last is in no list of servers.
pub const SERVERS: [(&str, f64); 9] = [
    ("c", 1.0),
    ("twistor", 0.94),
    ("mio", 0.99),
    ("tokio", 1.05),
    ("streams", 1.02),
    ("uvloop", 1.22),
    ("asyncio", 1.71),
    ("twisted", 3.3),
    ("another", 1.4),
];

/// A run of the first so many servers. The last one fails where there are many connections.
pub fn run(servers: usize, rounds: usize, shape: Shape) -> Run {
    let mut run = Run {
        machine: Machine {
            processor: "Some Processor 7B13 with a Name of the Usual Length".into(),
            cores: 2,
            memory: 24 << 30,
            kernel: "6.12.8".into(),
            rustc: "rustc 1.88.0".into(),
            load_before: if shape == Shape::Usual { 0.006 } else { 0.4 },
            pinning: (shape == Shape::Usual).then_some(Pinning { servers: 1, load: 0 }),
        },
        date: "2026-11-21T15:40:12Z".into(),
        command: "cargo bench --bench scaling -- --python --rounds 5 --seconds 0.6".into(),
        samples: Vec::new(),
        missing: Vec::new(),
    };
    let mut chance = Chance(servers as u64 + 1);
    for (server, factor) in SERVERS.into_iter().take(servers) {
        for round in 0..rounds {
            for (section, cell, cost) in cells() {
                let fails = factor > 1.3 && server == SERVERS[servers - 1].0;
                if fails && (cell.contains("c16384") || cell.contains("c256") || cell.contains("c1024 s1024"))
                {
                    let (section, cell, server) = (section.into(), cell, server.into());
                    let reason = "accept: too many open files".into();
                    run.missing.push(Missing { section, cell, server, round, reason });
                    continue;
                }
                let jitter = if section == "bulk" || cell.starts_with("bulk") { 0.6 } else { 0.06 };
                let cost = match shape {
                    Shape::Usual => cost * factor * chance.about(0.03) * chance.about(jitter),
                    Shape::Equal => cost,
                    Shape::Zero => 0.0,
                    Shape::Wide => 1e-3 * 1e-9_f64.powf(chance.share()),
                };
                run.samples.push(sample(section, &cell, server, round, cost));
            }
        }
    }
    // As a run says that one takes no part, and that there was no time for a cell.
    for (section, cell, server) in [("all", "all", "absent"), ("hold", "hold c32768", "all")] {
        let (section, cell, server) = (section.into(), cell.into(), server.into());
        run.missing.push(Missing { section, cell, server, round: 0, reason: "as it happens".into() });
    }
    run.samples.retain(|sample| {
        sample.section != "timers" || ["twistor", "tokio", "mio"].contains(&&*sample.server)
    });
    run
}

/// Section, cell and the seconds of CPU that one count costs.
fn cells() -> Vec<(&'static str, String, f64)> {
    let ten = [
        ("pp c1 s64", 36e-6),
        ("pp c64 s64", 3.7e-6),
        ("pp c1024 s64", 4.3e-6),
        ("pp c8192 s64", 7.5e-6),
        ("pp c64 s1024", 3.9e-6),
        ("pp c64 s16384", 5.9e-6),
        ("pp c64 s64 d16", 0.24e-6),
        ("pp c1024 s1024 d16", 0.54e-6),
        ("bulk c1", 11.7e-6),
        ("churn p64", 22.6e-6),
    ];
    let mut cells: Vec<(&str, String, f64)> =
        ten.into_iter().map(|(cell, cost)| ("ten", cell.to_owned(), cost)).collect();
    for connections in [1, 16, 64, 256, 1024, 4096, 8192, 16384_u32] {
        let share = f64::from(connections);
        let cost = 3.5e-6 + 32e-6 / share + 0.5e-6 * share.sqrt() / 10.0;
        cells.push(("connections", format!("pp c{connections} s64"), cost));
        cells.push(("connections", format!("pp c{connections} s64 d16"), cost / 14.0));
        cells.push(("hold", format!("hold c{connections}"), cost * 2.0));
    }
    for size in [64, 256, 1024, 4096, 16384, 65536_u32] {
        let cost = 3.5e-6 + f64::from(size) * 0.15e-9;
        cells.push(("sizes", format!("pp c64 s{size}"), cost));
        cells.push(("sizes", format!("pp c64 s{size} d16"), cost / 10.0));
    }
    for connections in [1, 64] {
        cells.push(("bulk", format!("bulk c{connections}"), 11.7e-6));
    }
    for parallel in [64, 1, 16] {
        cells.push(("churn", format!("churn p{parallel}"), 22.6e-6));
    }
    for (operation, cost) in [("set", 38e-9), ("cancel", 24e-9), ("fire", 95e-9)] {
        cells.push(("timers", format!("timers 1000000 {operation}"), cost));
    }
    cells
}

fn sample(section: &str, cell: &str, server: &str, round: usize, cost: f64) -> Sample {
    let number = |letter| cell.split(' ').find_map(|word| word.strip_prefix(letter)?.parse::<u64>().ok());
    let connections = number('c').or(number('p')).unwrap_or(1);
    let count = if section == "hold" { connections } else { 100_000 };
    let wait = cost * 1.15 * connections as f64;
    let echoes = cell.starts_with("pp") || cell.starts_with("churn");
    let latency = Latency { p50: wait, p90: wait * 1.2, p99: wait * 1.7, p999: wait * 3.0, max: wait * 9.0 };
    // A page at a time, as memory comes: pages of a megabyte before the first connection.
    let pages = |bytes: f64| (1 << 20) + (bytes * connections as f64 / 4096.0).round() as u64 * 4096;
    let memory = Memory {
        before: 1 << 20,
        idle: pages(cost * 3e7),
        used: pages(cost * 6e7),
        after: pages(cost * 1e6),
    };
    Sample {
        section: section.into(),
        cell: cell.into(),
        server: server.into(),
        round,
        count,
        elapsed: cost * 1.15 * count as f64,
        cpu: cost * count as f64,
        latency: echoes.then_some(latency),
        memory: (section == "hold").then_some(memory),
    }
}

/// The same figures every time.
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A factor near 1.
    fn about(&mut self, spread: f64) -> f64 {
        ((self.share() - 0.5) * 2.0 * spread).exp()
    }
}
