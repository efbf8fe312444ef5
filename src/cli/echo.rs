//! `twistor echo`: a server that sends back what it gets, on as many threads as it is given.

use super::{Failure, Outcome};
use crate::{ListenTcp, Listener, Phase, Protocol, Reactor, Remote, SystemEvent, Transport};
use clap::Args;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

/// Send back whatever comes in.
///
/// Prints "listening on tcp:HOST:PORT" for each port when all are ready, with the real port when 0
/// was asked for, and is quiet afterwards. SIGINT or SIGTERM ends it with exit code 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor echo --listen tcp:127.0.0.1:7007
  twistor echo --listen tcp:0.0.0.0:7007 --listen tcp:[::1]:7007 --workers 4

Exit codes: 0 ended by a signal, 1 a port cannot be listened on, 2 bad usage.")]
pub(super) struct Echo {
    /// Where to listen: tcp:HOST:PORT, with an IP address or localhost for HOST and 0 for any free port
    #[arg(long, value_name = "tcp:HOST:PORT", required = true)]
    listen: Vec<String>,

    /// Threads, each with a reactor of its own; they share the ports (SO_REUSEPORT)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

/// The protocol of a connection.
pub(super) struct Bytes;

impl Protocol for Bytes {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &[u8]) {
        transport.write(data);
    }

    // A peer that sends much and reads little keeps the rest until it has read.
    fn pause_writing(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
    }
}

impl Echo {
    pub(super) fn run(&self) -> Outcome {
        let ports = self.listen.iter().map(|text| port(text)).collect::<Result<Vec<_>, _>>()?;
        let ports: Vec<_> =
            ports.into_iter().map(|port| ListenTcp { reuse_port: self.workers > 1, ..port }).collect();
        let mut reactor = Reactor::new()?;
        // The first reactor binds; where the system chose a port, the others take the same.
        let listeners = listen(&mut reactor, &ports)?;
        let real: Vec<ListenTcp> = listeners
            .iter()
            .zip(&ports)
            .map(|(listener, port)| ListenTcp {
                address: listener.address().socket_address().unwrap_or(port.address),
                ..port.clone()
            })
            .collect();
        let mut workers = Vec::new();
        let result = (1..self.workers).try_for_each(|_| {
            workers.push(Worker::start(real.clone())?);
            Ok(())
        });
        let remotes: Vec<Remote> = workers.iter().map(|worker| worker.remote.clone()).collect();
        let stop = move || {
            for remote in &remotes {
                // One that is gone has stopped.
                let _ = remote.stop();
            }
        };
        let outcome = match result {
            Ok(()) => {
                let mut out = std::io::stdout().lock();
                for listener in &listeners {
                    // Whoever closed stdout does not want to know.
                    let _ = writeln!(out, "listening on tcp:{}", listener.address());
                }
                let _ = out.flush();
                drop(out);
                reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move |_, _| stop());
                reactor.run().map_err(Failure::from).map(|()| ExitCode::SUCCESS)
            }
            Err(failure) => {
                stop();
                Err(failure)
            }
        };
        for worker in workers {
            // What it panicked with is on stderr already.
            let _ = worker.thread.join();
        }
        outcome
    }
}

/// A thread with a reactor that listens.
struct Worker {
    thread: thread::JoinHandle<()>,
    remote: Remote,
}

impl Worker {
    /// Returns when it listens.
    fn start(ports: Vec<ListenTcp>) -> Result<Worker, Failure> {
        let (ready, started) = mpsc::channel();
        let run = move || {
            let set_up = || -> Result<Reactor, Failure> {
                let mut reactor = Reactor::new()?;
                listen(&mut reactor, &ports)?;
                Ok(reactor)
            };
            match set_up() {
                Ok(mut reactor) => {
                    // The other end waits for exactly one message.
                    let _ = ready.send(Ok(reactor.remote()));
                    if let Err(error) = reactor.run() {
                        log::error!("a worker ended: {error}");
                    }
                }
                Err(failure) => {
                    let _ = ready.send(Err(failure));
                }
            }
        };
        let thread = thread::Builder::new().name("echo".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::Run(format!("cannot start a thread: {error}")))?;
        let gone = || Failure::Run("a worker ended before it was ready".into());
        let remote = started.recv().map_err(|_| gone())??;
        Ok(Worker { thread, remote })
    }
}

fn listen(reactor: &mut Reactor, ports: &[ListenTcp]) -> Result<Vec<Listener>, Failure> {
    let listeners = ports.iter().map(|port| reactor.listen_tcp(port.clone(), || Bytes));
    listeners.collect::<Result<_, _>>().map_err(Failure::from)
}

fn port(text: &str) -> Result<ListenTcp, Failure> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("bad address \"{}\": {why}", text.escape_debug()))
    };
    let rest = text.strip_prefix("tcp:").ok_or_else(|| bad(&"write it as tcp:HOST:PORT"))?;
    rest.parse().map_err(|error| match error {
        crate::Error::BadAddress(wrong) => bad(&wrong.why),
        error => bad(&error),
    })
}
