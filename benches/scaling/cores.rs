//! Which core the servers have and which the load, so that neither takes time from the other, and no sample differs from the
//! next because the scheduler chose another core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::figures::{Machine, Pinning};
use super::support::Result;
use super::support::server::{Kind, Server};

pub struct Cores {
    pub pinning: Option<Pinning>,
}

impl Cores {
    /// The load, this process, gets the first of the cores that it may use, servers get the last. On most machines with several
    /// threads a core these two are no siblings.
    pub fn choose() -> Cores {
        let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let pinning = cores.next().zip(cores.next_back()).map(|(load, servers)| Pinning { servers, load });
        let cores = Cores { pinning };
        match cores.pinning.map_or(Ok(()), |Pinning { load, .. }| stay_on(load)) {
            Ok(()) => cores,
            Err(error) => {
                eprintln!("{error}");
                Cores { pinning: None }
            }
        }
    }

    /// A child runs where its parent was when it started.
    pub fn start(&self, kind: Kind) -> Result<Server> {
        let Some(Pinning { servers, load }) = self.pinning else {
            return Server::start(kind);
        };
        stay_on(servers)?;
        let server = Server::start(kind);
        stay_on(load)?;
        server
    }
}

fn stay_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("staying on core {core}: {error}").into())
}

/// One line on stderr: where it runs, and what may spoil it.
pub fn tell(machine: &Machine) {
    match machine.pinning {
        Some(Pinning { servers, load }) => eprintln!("servers on core {servers}, the load on core {load}"),
        None => eprintln!(
            "servers and load are not held on cores of their own: there is one core, or it cannot be chosen"
        ),
    }
    if machine.load_before > 0.05 {
        eprintln!(
            "others use {:.0} % of a core: rates and latencies are theirs too",
            machine.load_before * 100.0
        );
    }
}
