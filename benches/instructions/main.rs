//! The guard: user instructions and system calls of what twistor does most, counted and not timed, beside what they were.
//!
//! The counts repeat on any machine, however busy, so they can guard a limit where a clock cannot:
//! `cargo bench --bench instructions -- --check` exits with 1 when something needs more than `benches/baselines.txt` allows, and
//! `-- --update` writes what was counted there. Without either the other servers are counted, too.
//! Instructions need valgrind, system calls strace; what is absent is said, and left out or, with `--check`, fails.
//! The tools' last reports stay in `target/tmp`; `callgrind_annotate` shows the instructions by function.

mod counted;
mod secure;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use counted::Counted;
use support::baselines::Guard;
use support::cell::Cell;
use support::options::Options;
use support::server::Kind;
use support::table::Table;
use support::tool::{self, SystemCalls};

const MESSAGES: Cell = Cell::PingPong { connections: 64, size: 64, depth: 1 };
const LONE_MESSAGES: Cell = Cell::PingPong { connections: 1, size: 64, depth: 1 };
const CONNECTIONS: Cell = Cell::Churn { parallel: 64 };
const LONE_CONNECTIONS: Cell = Cell::Churn { parallel: 1 };
const READS: [&str; 5] = ["read", "readv", "recv", "recvfrom", "recvmsg"];
const ACCEPTS: [&str; 2] = ["accept", "accept4"];

/// The servers' counts that are guarded.
const GUARDED: [(Kind, Cell, &str); 4] = [
    (Kind::Twistor, MESSAGES, "an echoed message"),
    (Kind::Twistor, LONE_MESSAGES, "an echoed message that has its turn for itself"),
    (Kind::Twistor, CONNECTIONS, "a connection accepted, used and closed"),
    (Kind::Streams, MESSAGES, "an echoed message on streams"),
];

fn main() -> ExitCode {
    match counted::requested() {
        Some(performed) => support::ended(performed),
        None => support::main(bench),
    }
}

fn bench(options: Options) -> support::Result<()> {
    let guards = options.check || options.update;
    let kinds = if guards { vec![Kind::Twistor] } else { Kind::with_baseline(&options.servers) };
    let counts = if options.smoke { [200, 600] } else { [2_000, 12_000] };
    let mut guard = Guard::new()?;
    if tool::present("valgrind") {
        count_instructions(&mut guard, &options, counts)?;
        if !guards {
            compare_servers(&kinds, counts)?;
        }
    } else {
        guard.missing("no valgrind here: instructions are not counted");
    }
    if tool::present("strace") {
        count_system_calls(&mut guard, &kinds, counts)?;
    } else {
        guard.missing("no strace here: system calls are not counted");
    }
    guard.finish(&options)
}

fn count_instructions(guard: &mut Guard, options: &Options, counts: [u64; 2]) -> support::Result<()> {
    for (kind, cell, name) in GUARDED {
        guard.count(name, tool::instructions(kind, cell, counts)?)?;
    }
    for counted in Counted::ALL {
        guard.count(counted.name(), counted.instructions(options.smoke)?)?;
    }
    Ok(())
}

fn compare_servers(kinds: &[Kind], counts: [u64; 2]) -> support::Result<()> {
    let cells = [MESSAGES, LONE_MESSAGES, CONNECTIONS];
    let heads = ["server", "per message", "per lone message", "per connection"];
    let mut table = Table::new(heads);
    for &kind in kinds {
        let mut row = vec![kind.name().to_string()];
        for cell in cells {
            row.push(format!("{:.0}", tool::instructions(kind, cell, counts)?));
        }
        table.row(row);
    }
    let [messages, lone, connections] = cells;
    table.print(&format!("User instructions of the server ({messages}; {lone}; {connections})"));
    Ok(())
}

fn count_system_calls(guard: &mut Guard, kinds: &[Kind], counts: [u64; 2]) -> support::Result<()> {
    let heads = ["server", "cell", "calls", "epoll_ctl", "failing", "failing reads", "each"];
    let mut table = Table::new(heads);
    for &kind in kinds {
        for cell in [MESSAGES, CONNECTIONS, LONE_CONNECTIONS] {
            let calls = tool::system_calls(kind, cell, counts)?;
            table.row(system_call_row(kind, cell, &calls));
            if kind == Kind::Twistor {
                guard_system_calls(guard, cell, &calls)?;
            }
        }
    }
    table.print("System calls of the server, per message or per connection");
    Ok(())
}

fn guard_system_calls(guard: &mut Guard, cell: Cell, calls: &SystemCalls) -> support::Result<()> {
    match cell {
        CONNECTIONS => guard.limit("system calls per connection", calls.total),
        LONE_CONNECTIONS => {
            guard.limit("failing accepts per connection that comes alone", calls.of(&ACCEPTS).1)
        }
        _ => {
            guard.limit("system calls per message", calls.total)?;
            guard.limit("registrations per message", calls.of(&["epoll_ctl"]).0)?;
            guard.limit("failing reads per message", calls.of(&READS).1)
        }
    }
}

fn system_call_row(kind: Kind, cell: Cell, calls: &SystemCalls) -> Vec<String> {
    let figures = [calls.total, calls.of(&["epoll_ctl"]).0, calls.failing(), calls.of(&READS).1];
    let mut row = vec![kind.name().to_string(), cell.to_string()];
    row.extend(figures.map(|figure| format!("{figure:.2}")));
    row.push(calls.frequent());
    row
}
