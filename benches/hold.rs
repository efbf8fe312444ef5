//! How many connections this machine holds at once, with the shipped command: several processes of `twistor echo` over one
//! port, several of `twistor load --hold`, each connection answered once at the end.
//!
//! Kernel memory is the growth of the slab (`/proc/meminfo`) and the pages that TCP counts as its own, for both ends; user memory is the
//! growth of the processes' resident bytes from before the first connection. Everything else on the machine that
//! allocates meanwhile is in the slab's figure. A run ends early when less than 4 GiB of memory are available.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use serde_json::Value;
use support::Result;
use support::server::resident_of;
use support::table::{Table, thousands};

struct Options {
    connections: u64,
    processes: Option<u64>,
    smoke: bool,
    check: bool,
}

const HELP: &str = "\
  --connections N    how many to hold (default 500,000)
  --processes N      of the server, and of the load (default: as many as have descriptors enough)
  --smoke            some hundreds: does the bench work?
  --check            exit with 1 when fewer are held, or not each is answered";

fn main() -> ExitCode {
    match options().and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Without `--bench`, which `cargo bench` passes and `cargo test --benches` does not, the run is a smoke run.
fn options() -> Result<Options> {
    let mut options = Options { connections: 500_000, processes: None, smoke: true, check: false };
    let mut smoke = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{HELP}"));
        match argument.as_str() {
            "--bench" => options.smoke = false,
            "--smoke" => smoke = true,
            "--check" => options.check = true,
            "--connections" => options.connections = value()?.replace([',', '_'], "").parse()?,
            "--processes" => options.processes = Some(value()?.parse()?),
            "--help" | "-h" => {
                println!("{HELP}");
                std::process::exit(0);
            }
            _ => return Err(format!("unknown argument `{argument}`\n{HELP}").into()),
        }
    }
    options.smoke |= smoke;
    if options.smoke {
        options.connections = options.connections.min(400);
        options.processes = Some(options.processes.unwrap_or(2));
    }
    Ok(options)
}

fn bench(options: &Options) -> Result<()> {
    let processes = options.processes.unwrap_or_else(|| processes_for(options.connections));
    let count = processes.to_string();
    let mut server = Program::start(&["echo", "--listen", "tcp:127.0.0.1:0", "--processes", &count])?;
    let line = server.line()?;
    let address = line.strip_prefix("listening on ").ok_or("the server listens nowhere")?.to_owned();
    let before = Memory::now(&server)?;

    let connections = options.connections.to_string();
    let hold = ["load", &address, "--hold", "--connections", &connections, "--processes", &count];
    let mut load =
        Program::start(&[&hold[..], &["--for", "1h", "--drain-timeout", "300s", "--json"]].concat())?;
    let stopped = load.wait_until_they_stand()?;
    let after = Memory::now(&server)?;
    let shares =
        server.children()?.iter().map(|process| descriptors(*process)).collect::<Result<Vec<_>>>()?;
    let load_memory = load.resident()?;
    let own = load.children()?.len() as u64 * before.server / processes.max(1);

    load.signal(Signal::INT)?;
    let report: Value = serde_json::from_str(&load.rest()?)?;
    load.end()?;
    server.signal(Signal::TERM)?;
    server.rest()?;
    let ended = server.end()?;
    if ended != Some(0) {
        return Err(format!("the server ended with {ended:?}").into());
    }

    let run =
        Run { options, processes, before, after, shares, load: load_memory.saturating_sub(own), report };
    run.print_figures();
    run.print_stops(stopped.as_deref());
    if options.check && !(run.held() == options.connections && run.answered() == run.held()) {
        let (held, answered) = (run.held(), run.answered());
        return Err(format!("{held} held and {answered} answered of {}", options.connections).into());
    }
    Ok(())
}

/// What came of it.
struct Run<'a> {
    options: &'a Options,
    processes: u64,
    before: Memory,
    /// While all are held.
    after: Memory,
    /// Connections of each process of the server.
    shares: Vec<usize>,
    /// Bytes by which the load has grown.
    load: u64,
    /// What the load says of itself.
    report: Value,
}

impl Run<'_> {
    fn held(&self) -> u64 {
        self.report["connections"]["open"].as_u64().unwrap_or_default()
    }

    fn answered(&self) -> u64 {
        self.report["messages"]["answered"].as_u64().unwrap_or_default()
    }

    fn print_figures(&self) {
        let Run { options, processes, before, after, shares, load, report } = self;
        let each = |bytes: u64| thousands(bytes as f64 / self.held().max(1) as f64);
        let mut table = Table::new(["what", "figure"]);
        let mut row = |what: &str, figure: String| table.row([what.to_owned(), figure]);
        row("asked for", thousands(options.connections as f64));
        row("held at once", thousands(self.held() as f64));
        row("answered", thousands(self.answered() as f64));
        row("processes of the server, of the load", format!("{processes}, {processes}"));
        row(
            "connections of a process of the server",
            format!("{} to {}", shares.iter().min().unwrap_or(&0), shares.iter().max().unwrap_or(&0)),
        );
        row(
            "opened in, s",
            format!("{:.1}", report["connections"]["opening_s"].as_f64().unwrap_or_default()),
        );
        row("answers, p50 / p99 / max, ms", {
            let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap_or_default();
            format!("{:.1} / {:.1} / {:.1}", latency("p50"), latency("p99"), latency("max"))
        });
        row("kernel, slab, B/connection, both ends", each(after.slab.saturating_sub(before.slab)));
        row(
            "kernel, sockets that TCP counts (sockstat)",
            thousands(after.sockets as f64 - before.sockets as f64),
        );
        row("kernel, pages of TCP, B/connection, both ends", each(after.tcp.saturating_sub(before.tcp)));
        row("user, server, B/connection", each(after.server.saturating_sub(before.server)));
        row("user, load, B/connection", each(*load));
        row("memory available before and then, GiB", {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            format!("{:.1}, {:.1}", gib(before.available), gib(after.available))
        });
        table.print("Connections held at once over the loopback, with the shipped command");
    }

    /// What stopped it: the bench itself, `early`, or what the load names.
    fn print_stops(&self, early: Option<&str>) {
        println!("\nwhat stopped it");
        if let Some(why) = early {
            println!("  {why}");
        }
        let stops = self.report["bottlenecks"].as_array().cloned().unwrap_or_default();
        for stop in &stops {
            let text = |name: &str| stop[name].as_str().unwrap_or("-").to_owned();
            println!(
                "  {}: {} connections; now: {}; for more: {}",
                text("limit"),
                stop["connections"],
                text("now"),
                text("raise")
            );
        }
        if stops.is_empty() && early.is_none() {
            println!("  nothing: all that were asked for were held");
        }
        if let Some(errors) = self.report["errors"].as_array().filter(|errors| !errors.is_empty()) {
            println!("\nerrors\n  {}", Value::Array(errors.clone()));
        }
    }
}

/// With a tenth more than are needed: the kernel spreads connections by chance.
fn processes_for(connections: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    (connections + connections / 10).div_ceil(limit.saturating_sub(64).max(1)).max(2)
}

/// The shipped command, in several processes.
struct Program {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    told: Receiver<String>,
}

impl Program {
    fn start(arguments: &[&str]) -> Result<Program> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twistor"))
            .args(arguments)
            .env("RUST_LOG", "twistor=info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no output")?);
        let err = BufReader::new(child.stderr.take().ok_or("no errors")?);
        let (tell, told) = channel();
        thread::spawn(move || {
            err.lines().map_while(std::result::Result::ok).try_for_each(|line| tell.send(line))
        });
        Ok(Program { child, out, told })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn rest(&mut self) -> Result<String> {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        Ok(rest)
    }

    /// Until all connections are made that can be; or why it does not wait longer.
    fn wait_until_they_stand(&self) -> Result<Option<String>> {
        loop {
            match self.told.recv_timeout(Duration::from_millis(200)) {
                Ok(line) if line.contains("connections stand") => return Ok(None),
                // The report has it.
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the load ended before its time".into()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let available = meminfo("MemAvailable")?;
            if available < LEAST_MEMORY {
                return Ok(Some(format!(
                    "memory: {} MiB are available, and 4 GiB are left",
                    available >> 20
                )));
            }
        }
    }

    fn children(&self) -> Result<Vec<u32>> {
        let id = self.child.id();
        let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Ok(text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
    }

    /// Bytes of its processes that are resident.
    fn resident(&self) -> Result<u64> {
        self.children()?.iter().map(|process| resident_of(&process.to_string())).sum()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    fn end(mut self) -> Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended, as a rule; its processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In bytes, but for the sockets.
struct Memory {
    server: u64,
    slab: u64,
    tcp: u64,
    sockets: u64,
    available: u64,
}

impl Memory {
    fn now(server: &Program) -> Result<Memory> {
        Ok(Memory {
            server: server.resident()?,
            slab: meminfo("Slab")?,
            tcp: sockstat("mem")? * rustix::param::page_size() as u64,
            sockets: sockstat("inuse")?,
            available: meminfo("MemAvailable")?,
        })
    }
}

fn meminfo(name: &str) -> Result<u64> {
    let all = fs::read_to_string("/proc/meminfo")?;
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.ok_or_else(|| format!("no {name} in /proc/meminfo"))?.trim().trim_end_matches(" kB");
    Ok(kib.parse::<u64>()? * 1024)
}

/// A figure of TCP.
fn sockstat(name: &str) -> Result<u64> {
    let all = fs::read_to_string("/proc/net/sockstat")?;
    let line =
        all.lines().find_map(|line| line.strip_prefix("TCP:")).ok_or("no TCP in /proc/net/sockstat")?;
    let mut words = line.split_whitespace().skip_while(|word| *word != name).skip(1);
    Ok(words.next().ok_or_else(|| format!("no {name} in /proc/net/sockstat"))?.parse()?)
}

fn descriptors(process: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

const LEAST_MEMORY: u64 = 4 << 30;
