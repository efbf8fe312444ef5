//! The cores of servers and load. Pinned, neither takes time from the other, and samples do not
//! differ because the scheduler chose another core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::run::{Machine, Pinning};
use super::support::Result;
use super::support::server::{Kind, Server};

pub struct Cores {
    pub pinning: Option<Pinning>,
}

impl Cores {
    /// The load, which is this process, gets the first of the cores that it may use, servers the
    /// last. On most machines with several threads per core these two are no siblings.
    pub fn choose() -> Cores {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let pinning = cores.next().zip(cores.next_back()).map(|(load, servers)| Pinning { servers, load });
        let cores = Cores { pinning };
        match cores.pinning.map_or(Ok(()), |Pinning { load, .. }| pin_to(load)) {
            Ok(()) => cores,
            Err(error) => {
                eprintln!("{error}");
                Cores { pinning: None }
            }
        }
    }

    /// A child inherits the affinity of its parent.
    pub fn start(&self, kind: Kind) -> Result<Server> {
        let Some(Pinning { servers, load }) = self.pinning else {
            return Server::start(kind);
        };
        pin_to(servers)?;
        let server = Server::start(kind);
        pin_to(load)?;
        server
    }
}

fn pin_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("pinning to core {core}: {error}").into())
}

/// Prints the cores to stderr, and a warning if other programs use the machine.
pub fn print_pinning(machine: &Machine) {
    match machine.pinning {
        Some(Pinning { servers, load }) => eprintln!("servers on core {servers}, the load on core {load}"),
        None => eprintln!(
            "servers and load are not pinned to cores of their own: there is one core, or the affinity cannot be set"
        ),
    }
    if machine.load_before > 0.05 {
        eprintln!(
            "other programs use {:.0} % of a core, which affects rates and latencies",
            machine.load_before * 100.0
        );
    }
}
