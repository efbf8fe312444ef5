//! The limits and settings of this system and process.

#[cfg(feature = "cli")]
use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, getrlimit, test_kill_process};
#[cfg(feature = "cli")]
use rustix::process::{Rlimit, setrlimit};

/// Returns the soft limit of open descriptors of this process.
pub(crate) fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Returns the name of this host; empty if it has none.
#[cfg(feature = "dns")]
pub(crate) fn host_name() -> String {
    dns_lookup::get_hostname().unwrap_or_default()
}

/// Raises the soft limit of open descriptors to the hard limit, and returns it. A failure is
/// ignored, because connections will report it.
#[cfg(feature = "cli")]
pub(crate) fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    descriptor_limit()
}

/// Returns whether a process with this id exists. One that this process may not signal exists.
pub(crate) fn is_running(process: u32) -> bool {
    let raw = i32::try_from(process).ok().filter(|raw| *raw > 0);
    raw.and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Returns the value of a kernel setting, by its path below `/proc/sys`. `None` if there is no such
/// setting, or if it is empty.
#[cfg(feature = "cli")]
pub(crate) fn kernel_setting(path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
    let value = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(value).filter(|value| !value.is_empty())
}

/// Returns the range of ephemeral ports, first and last. `None` if unknown.
#[cfg(feature = "cli")]
pub(crate) fn ephemeral_ports() -> Option<(u16, u16)> {
    let text = kernel_setting("net/ipv4/ip_local_port_range")?;
    let mut ports = text.split(' ').map(|port| port.parse().ok());
    Some((ports.next()??, ports.next()??))
}

/// Returns the available memory in KiB. `None` if unknown.
#[cfg(feature = "cli")]
pub(crate) fn available_memory() -> Option<u64> {
    let all = fs::read_to_string("/proc/meminfo").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
