//! The machine of a run, its load, and the date.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::run::Machine;
use super::support::Result;

/// Unknown fields are `unknown`, or 0. The caller sets load and pinning.
pub fn describe() -> Machine {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim));
        line.map(str::to_string)
    };
    let unknown = || "unknown".to_string();
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory = memory.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024;
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| format!("Linux {}", text.trim()));
    let rustc = Command::new("rustc").arg("--version").output().ok().filter(|output| output.status.success());
    Machine {
        processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        cores: thread::available_parallelism().map_or(0, usize::from),
        memory,
        kernel: kernel.unwrap_or_else(|_| unknown()),
        rustc: rustc
            .map_or_else(unknown, |output| String::from_utf8_lossy(&output.stdout).trim().to_string()),
        load_before: 0.0,
        pinning: None,
    }
}

/// ISO 8601, UTC.
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The share of a core that other programs use while this process waits.
pub fn background_load(smoke: bool) -> Result<f64> {
    let start = Instant::now();
    let before = busy_ticks()?;
    thread::sleep(if smoke { Duration::from_millis(100) } else { Duration::from_secs(1) });
    Ok((busy_ticks()? - before) as f64 / TICKS / start.elapsed().as_secs_f64())
}

/// Of all cores: user, nice, system, interrupts and stolen time, without idle and I/O wait.
fn busy_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or("/proc/stat has no `cpu`")?;
    let ticks = line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
    Ok([0, 1, 2, 5, 6, 7].iter().filter_map(|&index| ticks.get(index)).sum())
}

/// Ticks per second in `/proc/stat`.
const TICKS: f64 = 100.0;
