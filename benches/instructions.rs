//! User instructions and system calls per echoed message and per short connection, counted and not timed.
//!
//! The counts repeat on any machine, however busy, so they can guard a limit where a clock cannot:
//! `cargo bench --bench instructions -- --check` exits with 1 when twistor needs more than the `limits` allow.
//! Instructions need valgrind, system calls strace; what is absent is said, and left out or, with `--check`, fails.
//! The tools' last reports stay in `target/tmp`; `callgrind_annotate` shows the instructions by function.

mod support;

use std::process::ExitCode;

use support::cell::Cell;
use support::options::Options;
use support::server::Kind;
use support::table::Table;
use support::tool::{self, SystemCalls};

/// What twistor may need. Two system calls are the floor of an echoed message, one read and one write, and seven that
/// of a connection (accept, option, registration, read, write, read of the end, close); the rest is the share in
/// waiting for events. Nothing may be registered anew or read in vain for a message.
///
/// Of 304 instructions, measured, 154 are the loop's with reading, calling and writing, 40 the poll's, 33 each the system
/// calls', 38 the echo's own with its copy. A twentieth is left for another compiler's choices. More than that was always one of
/// the hot functions that was not inlined any more, for which `#[inline(always)]` is there, or a seldom one that was.
mod limits {
    pub const INSTRUCTIONS: f64 = 320.0;
    pub const CALLS_PER_MESSAGE: f64 = 2.05;
    pub const CALLS_PER_CONNECTION: f64 = 7.1;
    pub const NEEDLESS_CALLS: f64 = 0.01;
}

const MESSAGES: Cell = Cell::PingPong { connections: 64, size: 64, depth: 1 };
const CONNECTIONS: Cell = Cell::Churn { parallel: 64 };
const READS: [&str; 5] = ["read", "readv", "recv", "recvfrom", "recvmsg"];

fn main() -> ExitCode {
    support::main(bench)
}

fn bench(options: Options) -> support::Result<()> {
    let kinds = Kind::with_baseline(&options.servers);
    let counts = if options.smoke { [200, 600] } else { [2_000, 12_000] };
    let mut missing = Vec::new();
    let mut exceeded = Vec::new();
    if tool::present("valgrind") {
        exceeded.extend(count_instructions(&kinds, counts)?);
    } else {
        missing.push("no valgrind here: instructions are not counted");
    }
    if tool::present("strace") {
        exceeded.extend(count_system_calls(&kinds, counts)?);
    } else {
        missing.push("no strace here: system calls are not counted");
    }
    for what in &missing {
        println!("\n{what}");
    }
    if options.check {
        exceeded.extend(missing.into_iter().map(String::from));
        if !exceeded.is_empty() {
            return Err(exceeded.join("\n").into());
        }
        println!("\ntwistor is within its limits");
    }
    Ok(())
}

fn count_instructions(kinds: &[Kind], counts: [u64; 2]) -> support::Result<Vec<String>> {
    let mut table = Table::new(["server", "per message", "per connection"]);
    let mut exceeded = Vec::new();
    for &kind in kinds {
        let per_message = tool::instructions(kind, MESSAGES, counts)?;
        let per_connection = tool::instructions(kind, CONNECTIONS, counts)?;
        table.row([kind.name().to_string(), format!("{per_message:.0}"), format!("{per_connection:.0}")]);
        compare(&mut exceeded, kind, "user instructions per message", per_message, limits::INSTRUCTIONS);
    }
    table.print(&format!("User instructions of the server ({MESSAGES}; {CONNECTIONS})"));
    Ok(exceeded)
}

fn count_system_calls(kinds: &[Kind], counts: [u64; 2]) -> support::Result<Vec<String>> {
    let heads = ["server", "cell", "calls", "epoll_ctl", "failing", "failing reads", "each"];
    let mut table = Table::new(heads);
    let mut exceeded = Vec::new();
    for &kind in kinds {
        for cell in [MESSAGES, CONNECTIONS] {
            let calls = tool::system_calls(kind, cell, counts)?;
            table.row(system_call_row(kind, cell, &calls));
            if cell == CONNECTIONS {
                compare(
                    &mut exceeded,
                    kind,
                    "system calls per connection",
                    calls.total,
                    limits::CALLS_PER_CONNECTION,
                );
                continue;
            }
            let (registrations, failing_reads) = (calls.of(&["epoll_ctl"]).0, calls.of(&READS).1);
            compare(&mut exceeded, kind, "system calls per message", calls.total, limits::CALLS_PER_MESSAGE);
            compare(&mut exceeded, kind, "epoll_ctl per message", registrations, limits::NEEDLESS_CALLS);
            compare(&mut exceeded, kind, "failing reads per message", failing_reads, limits::NEEDLESS_CALLS);
        }
    }
    table.print("System calls of the server, per message or per connection");
    Ok(exceeded)
}

fn system_call_row(kind: Kind, cell: Cell, calls: &SystemCalls) -> Vec<String> {
    let figures = [calls.total, calls.of(&["epoll_ctl"]).0, calls.failing(), calls.of(&READS).1];
    let mut row = vec![kind.name().to_string(), cell.to_string()];
    row.extend(figures.map(|figure| format!("{figure:.2}")));
    row.push(calls.frequent());
    row
}

/// Only twistor has limits.
fn compare(exceeded: &mut Vec<String>, kind: Kind, what: &str, figure: f64, limit: f64) {
    if kind.name() == "twistor" && figure > limit {
        exceeded.push(format!("{what}: {figure:.2}, the limit is {limit:.2}"));
    }
}
