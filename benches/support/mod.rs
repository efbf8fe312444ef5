//! What the benches share, in reading order: the workloads, the servers, the load, the table.
//!
//! A bench measures a server in a child process: the bench's own binary, started again with `--serve NAME`, or the
//! compiled `epoll.c`. The load comes from the bench process, on one thread, and every byte that returns is compared.
#![allow(dead_code)] // every bench is a crate of its own and uses its part

pub mod baselines;
pub mod cell;
pub mod churn;
pub mod delayed;
pub mod hold;
pub mod latencies;
pub mod load;
pub mod mio_echo;
pub mod options;
pub mod python;
pub mod server;
pub mod source;
pub mod streams_echo;
pub mod table;
pub mod timing;
pub mod tokio_echo;
pub mod tool;
pub mod twistor_echo;

/// Failures end a bench with a line on stderr; none is worth a type of its own.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Bytes of this process that are resident.
pub fn resident() -> Result<u64> {
    server::resident_of("self")
}

/// The body of a bench's `main`: serves when asked to, else runs the bench; an error is one line and exit code 1.
pub fn main(bench: impl FnOnce(options::Options) -> Result<()>) -> std::process::ExitCode {
    ended(server::requested().unwrap_or_else(|| bench(options::Options::from_arguments()?)))
}

/// The exit code of an outcome, and its line on stderr.
pub fn ended(outcome: Result<()>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
