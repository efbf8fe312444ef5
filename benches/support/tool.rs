//! Exact counts from outside: user instructions by valgrind's callgrind, system calls by strace.
//!
//! A server runs under the tool twice, for a small and for a larger number of messages; the difference of the two
//! reports is what the additional messages cost, free of everything that happens once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Result;
use super::cell::Cell;
use super::load::{self, Until};
use super::server::{Kind, Server};

/// The system calls that one message takes.
#[derive(Default)]
pub struct SystemCalls {
    pub total: f64,
    /// Calls and, of these, failing ones.
    pub by_name: BTreeMap<String, (f64, f64)>,
}

/// Whether a program starts here.
pub fn present(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// User instructions of the server per message, or per connection in a churn cell.
pub fn instructions(kind: Kind, cell: Cell, counts: [u64; 2]) -> Result<f64> {
    let path = report_path("callgrind", kind, cell);
    let mut line: Vec<OsString> = ["valgrind", "--quiet", "--tool=callgrind"].map(OsString::from).to_vec();
    line.push(option("--callgrind-out-file=", &path));
    let mut measured = Vec::new();
    for count in counts {
        let messages = run_under(&line, kind, cell, count)?;
        measured.push((messages, total(&path)?));
    }
    let (messages, total) = (measured[1].0 - measured[0].0, measured[1].1 - measured[0].1);
    Ok(total / messages)
}

/// User instructions of this bench's own program, started again with a variable that says what it is to do.
pub fn instructions_of_self(name: &str, variable: &str, value: &str) -> Result<f64> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{name}"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]).arg(option("--callgrind-out-file=", &path));
    let status =
        valgrind.arg(std::env::current_exe()?).env(variable, value).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("under valgrind, {variable}={value}: {status}").into());
    }
    total(&path)
}

/// User instructions of this bench's own program, started again with arguments that say what it is to do, and how often
/// it says that it did it.
pub fn instructions_with(name: &str, arguments: &[String]) -> Result<(f64, f64)> {
    let name = name.replace(|letter: char| !letter.is_alphanumeric(), "-");
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{name}"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]).arg(option("--callgrind-out-file=", &path));
    let output = valgrind.arg(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("under valgrind, {}: {}", arguments.join(" "), output.status).into());
    }
    let times = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok((times, total(&path)?))
}

/// System calls of all the server's threads per message, or per connection in a churn cell.
pub fn system_calls(kind: Kind, cell: Cell, counts: [u64; 2]) -> Result<SystemCalls> {
    let path = report_path("strace", kind, cell);
    let mut line: Vec<OsString> = ["strace", "-f", "-c", "-o"].map(OsString::from).to_vec();
    line.push(path.clone().into());
    let mut calls = SystemCalls::default();
    let mut messages = 0.0;
    for (count, sign) in counts.into_iter().zip([-1.0, 1.0]) {
        messages += sign * run_under(&line, kind, cell, count)?;
        for (name, (count, failing)) in summary(&fs::read_to_string(&path)?) {
            let entry = calls.by_name.entry(name).or_default();
            entry.0 += sign * count;
            entry.1 += sign * failing;
        }
    }
    for (count, failing) in calls.by_name.values_mut() {
        *count /= messages;
        *failing /= messages;
        calls.total += *count;
    }
    Ok(calls)
}

impl SystemCalls {
    /// Calls of the given names together: all, and the failing ones.
    pub fn of(&self, names: &[&str]) -> (f64, f64) {
        let found = names.iter().filter_map(|&name| self.by_name.get(name));
        found.fold((0.0, 0.0), |sum, calls| (sum.0 + calls.0, sum.1 + calls.1))
    }

    pub fn failing(&self) -> f64 {
        self.by_name.values().map(|&(_, failing)| failing).sum()
    }

    /// `read 1.00, write 1.00, epoll_wait 0.02`: the frequent ones first, the rare ones left out.
    pub fn frequent(&self) -> String {
        let mut calls: Vec<_> = self.by_name.iter().filter(|(_, (count, _))| *count >= 0.005).collect();
        calls.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
        calls.iter().map(|(name, (count, _))| format!("{name} {count:.2}")).collect::<Vec<_>>().join(", ")
    }
}

/// Returns how many messages there were, which may be a few more than asked for.
fn run_under(line: &[OsString], kind: Kind, cell: Cell, count: u64) -> Result<f64> {
    let server = Server::start_under(line, kind)?;
    let outcome = load::run(&server, cell, Until::Count(count))?;
    server.stop()?;
    Ok(outcome.count as f64)
}

/// All instructions of a report of callgrind's.
fn total(path: &std::path::Path) -> Result<f64> {
    let report = fs::read_to_string(path)?;
    let total =
        report.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    Ok(total.ok_or("callgrind wrote no total")?.trim().parse::<u64>()? as f64)
}

/// The rows of `strace -c`: share, seconds, microseconds per call, calls, failing calls if there are any, name.
fn summary(report: &str) -> Vec<(String, (f64, f64))> {
    let mut rows = Vec::new();
    for line in report.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (calls, failing, name) = match columns[..] {
            [_, _, _, calls, failing, name] => (calls, failing, name),
            [_, _, _, calls, name] => (calls, "0", name),
            _ => continue,
        };
        if let (Ok(calls), Ok(failing), false) = (calls.parse(), failing.parse(), name == "total") {
            rows.push((name.to_string(), (calls, failing)));
        }
    }
    rows
}

/// The path of a tool's last report, which has more than the total.
fn report_path(tool: &str, kind: Kind, cell: Cell) -> PathBuf {
    let name = format!("{tool}.{}.{}", kind.name(), cell.to_string().replace(' ', "-"));
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn option(name: &str, path: &std::path::Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}
