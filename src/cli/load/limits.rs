//! The present values of the limits that stopped a load, and how to raise them.

use super::sources;
use crate::load::{Limit, Report};
use crate::net::system;

/// Adds to each limit that stopped the load its present value, and how to raise it.
pub(super) fn explain(report: &mut Report, processes: usize) {
    let connections = report.config.connections;
    let addresses = report.config.sources.len().max(1);
    for stop in &mut report.bottlenecks {
        (stop.now, stop.raise) = match stop.limit {
            Limit::Descriptors => of_descriptors(connections, processes),
            Limit::SystemDescriptors => {
                (sysctl("fs/file-max", "fs.file-max"), "sysctl fs.file-max=NUMBER".into())
            }
            Limit::Ports => of_ports(addresses),
            Limit::Memory => (
                with(available(), sysctl("net/ipv4/tcp_mem", "pages, net.ipv4.tcp_mem")),
                "sysctl net.ipv4.tcp_mem='LOW PRESSURE HIGH', more memory".into(),
            ),
            Limit::Refused => (String::new(), "a server that listens there all the time".into()),
            Limit::NoAnswer => (
                with(
                    sysctl("net/core/somaxconn", "at most wait to be accepted, net.core.somaxconn"),
                    sysctl("net/netfilter/nf_conntrack_max", "net.netfilter.nf_conntrack_max"),
                ),
                "--ramp TIME, or a server that accepts faster or waits with a longer backlog".into(),
            ),
            Limit::Closed => (
                String::new(),
                "the server's own limit; that of twistor echo is the descriptors of its processes (ulimit -n): \
                 give it more --processes"
                    .into(),
            ),
            Limit::Silent => (
                String::new(),
                "--drain-timeout TIME, or a server that accepts more: what it did not accept waits in its backlog".into(),
            ),
            Limit::Workers => (available(), "more memory, if the kernel killed them (dmesg says so)".into()),
        };
    }
}

fn of_descriptors(connections: usize, processes: usize) -> (String, String) {
    let limit = system::raise_descriptor_limit();
    let enough = connections.div_ceil(limit.saturating_sub(OTHERS).max(1)).max(processes + 1);
    (
        format!("{limit} for each process (ulimit -n)"),
        format!("--processes {enough}, or a higher hard limit (ulimit -Hn, LimitNOFILE=)"),
    )
}

fn of_ports(addresses: usize) -> (String, String) {
    let now = system::ephemeral_ports().map_or_else(String::new, |(low, high)| {
        let count = sources::count(low, high);
        format!(
            "{count} for each of {addresses} source addresses (net.ipv4.ip_local_port_range={low} {high})"
        )
    });
    (now, "--from ADDRESS,ADDRESS.. or sysctl net.ipv4.ip_local_port_range='1024 65535'".into())
}

/// Returns the value of a kernel setting with its name, or an empty text without it.
fn sysctl(path: &str, name: &str) -> String {
    system::kernel_setting(path).map_or_else(String::new, |value| format!("{value} ({name})"))
}

/// Returns the available memory.
fn available() -> String {
    system::available_memory()
        .map_or_else(String::new, |kib| format!("{} MiB of memory available", kib / 1024))
}

fn with(one: String, other: String) -> String {
    [one, other].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Descriptors of a process that are not connections, and a reserve.
const OTHERS: usize = 16;
