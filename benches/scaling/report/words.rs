//! What cells and servers are called in sentences, and what a variant of a picture is called as a file.

use super::metric::Coordinate;
use super::palette;

/// How figures come from so many rounds, and what shows their spread.
pub fn rounds(count: usize, marks: &str) -> String {
    match count {
        1 => "One round.".into(),
        _ => format!("Medians of {count} rounds, {marks} from lowest to highest."),
    }
}

/// Follows other sentences.
pub fn no_figures(servers: &[&str]) -> String {
    let names: Vec<&str> = servers.iter().map(|server| palette::name(server)).collect();
    format!(" No figures: {}.", names.join(", "))
}

pub fn the_baseline(server: &str) -> &'static str {
    match server {
        "c" => "the epoll loop in C",
        _ => "the mio loop",
    }
}

/// For titles.
pub fn baseline(server: &str) -> &'static str {
    if server == "c" { "C" } else { "mio" }
}

/// What one count of the cell is.
pub fn unit(cell: &str) -> &'static str {
    match cell.split(' ').next() {
        Some("bulk") => "16 KiB",
        Some("churn" | "hold") => "connection",
        Some("timers") => "operation",
        _ => "message",
    }
}

/// The name below an axis.
pub fn along(coordinate: Coordinate) -> &'static str {
    match coordinate {
        Coordinate::Connections => "connections",
        Coordinate::Size => "size of a message",
        Coordinate::Depth => "messages under way on each connection",
    }
}

/// A sentence on what the cells that differ in a coordinate have in common.
pub fn workload(kind: &str, along: Coordinate) -> String {
    if kind.starts_with("hold") {
        return "Connections are held; then each is sent a message.".into();
    }
    let mut parts = Vec::new();
    if let Some(size) = Coordinate::Size.of(kind) {
        parts.push(format!("messages of {}", Coordinate::Size.unit().tick(size)));
    }
    if along != Coordinate::Connections
        && let Some(connections) = Coordinate::Connections.of(kind)
    {
        parts.push(format!("{connections} connections"));
    }
    match Coordinate::Depth.of(kind) {
        Some(depth) if depth > 1.0 => parts.push(format!("{depth} under way on each connection")),
        _ => parts.push("one under way on each connection".into()),
    }
    format!("Echo: {}.", parts.join(", "))
}

/// What sets the cells apart from the usual ones of 64 connections, 64 bytes and depth 1. `None` of the usual ones.
pub fn variant(kind: &str) -> Option<String> {
    let variants = unusual(kind).map(|(coordinate, number)| match coordinate {
        Coordinate::Connections => format!("{number} connections"),
        Coordinate::Size => Coordinate::Size.unit().tick(number),
        Coordinate::Depth => format!("depth {number}"),
    });
    let variants: Vec<String> = variants.collect();
    (!variants.is_empty()).then(|| variants.join(", "))
}

/// The same for the name of a file: `-d16`.
pub fn suffix(kind: &str) -> String {
    unusual(kind).map(|(coordinate, number)| format!("-{}{number}", coordinate.letter())).collect()
}

/// The name of a group of bars.
pub fn cell(cell: &str) -> String {
    let words: Vec<&str> = cell.split(' ').collect();
    let count = |number: &str| {
        number.parse::<f64>().map_or(number.to_owned(), super::super::support::table::thousands)
    };
    let of = |word: &str, one: &str, many: &str| match word.get(1..).unwrap_or_default() {
        "1" => one.to_owned(),
        number => format!("{} {many}", count(number)),
    };
    match words.as_slice() {
        ["bulk", connections] => of(connections, "one connection", "connections"),
        ["churn", parallel] => of(parallel, "one connection at a time", "connections at a time"),
        ["timers", number, operation @ ..] => format!("{} timers: {}", count(number), operation.join(" ")),
        _ => cell.to_owned(),
    }
}

/// The number in `bulk c16`, `churn p64`; 0 of the others.
pub fn extent(cell: &str) -> u32 {
    cell.split(' ').find_map(|word| word.strip_prefix(['c', 'p'])?.parse().ok()).unwrap_or(0)
}

fn unusual(kind: &str) -> impl Iterator<Item = (Coordinate, f64)> {
    Coordinate::ALL.into_iter().filter_map(|coordinate| {
        let usual = match coordinate {
            Coordinate::Connections | Coordinate::Size => 64.0,
            Coordinate::Depth => 1.0,
        };
        coordinate.of(kind).filter(|number| *number != usual).map(|number| (coordinate, number))
    })
}
