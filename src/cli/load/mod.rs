//! `twistor load`: load on an echo server, on as many threads and processes as it is given, and the report on stdout.

mod crew;
mod limits;
mod live;
mod news;
mod sources;
mod team;

use self::crew::Crew;
use self::news::News;
use super::{Failure, Outcome, complain, number, span};
use super::{output, writer};
use crate::endpoint::{ClientEndpoint, Registry};
use crate::escape::EscapedJson;
use crate::load::{LoadConfig, LoadTest as Running, PlanError, Report, Workload, json, svg};
use crate::{ConnectTcp, Reactor};
use clap::Args;
use std::any::Any;
use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Put load on an echo server, compare every byte that comes back, and measure how long it took.
///
/// Without more, each of --connections keeps --depth messages of --size bytes under way: a message
/// follows an answer. With --rate messages are due at even times, whatever becomes of those before,
/// and a latency counts from when its message was due: a server that stands still is seen by every
/// message that it kept waiting (free of coordinated omission). The report says how late this
/// program itself was.
///
/// With --churn a connection is made, sends one message, is closed when it is back, and is followed
/// by the next; --connections are open at most, --rate is in connections a second, and a latency is
/// that of a whole exchange. With --hold connections are made and are idle; a loss is told at once,
/// with its reason, and at the end each has to answer a message.
///
/// A process can hold as many connections as it may have descriptors: with --processes there are more. They begin to
/// run together, when the connections of all are made, and end with the one that started them. One that dies is told
/// on stderr, its connections count as lost, and the others go on. When fewer connections could be held than were to
/// be, the report names the limits that stopped it, their present values, and how to raise them.
///
/// SIGINT or SIGTERM ends it early, with a report of what was measured.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor load tcp:127.0.0.1:7007 --connections 64 --size 1024 --for 5s
  twistor load 10.0.0.5:7 -c 200 --rate 20000 --warm-up 2s --svg latency.svg
  twistor load 10.0.0.5:7 -c 50 --churn --json | jq .latency_ms.p99
  twistor load 10.0.0.5:7 -c 10000 --hold --ramp 10s --for 1h --every 30s
  twistor load 127.0.0.1:7007 -c 500000 --hold --processes 28 --for 10s
  twistor load 10.0.0.5:7 -c 50000 --hold --processes 3 --from 10.0.0.8,10.0.0.9

--json prints one object: endpoint, right, work, plan, connections, messages,
latency_ms, since_sent_ms and lateness_ms (with a rate), steps, errors,
troubles, stopped_by (limit, connections, now, raise). A latency has count, min, mean, p50, p75, p90, p95, p99, p99_9,
p99_99, max. latency_ms counts all that was due; what was not answered counts with the time that it waited.

Exit codes: 0 every byte came back as it was sent, 1 something went wrong
(bytes, losses, missing answers, nothing connected; an error of this machine,
such as a picture that cannot be written; the report is printed all the same),
2 bad usage.")]
pub(super) struct Load {
    /// Where the server is: tcp:HOST:PORT, HOST:PORT, udp:HOST:PORT, unix:PATH or another endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,

    /// Connections; with --churn how many are open at a time
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = number::whole::<u64>(1..=100_000_000))]
    connections: u64,

    /// Bytes of a message: at most 1073741824 (1 GiB), of a datagram 8 to 65507
    #[arg(long, short, value_name = "S", default_value_t = 64, value_parser = number::whole::<u64>(1..=LoadConfig::MAX_SIZE as u64))]
    size: u64,

    /// Messages under way on each connection; with --rate at most so many
    #[arg(long, short, value_name = "D", default_value_t = 1, value_parser = number::whole::<u64>(1..=1_000_000))]
    depth: u64,

    /// How long to measure
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = span::positive)]
    duration: Duration,

    /// Messages a second in all, due at even times [default: a message follows an answer]
    #[arg(long, short, value_name = "R", value_parser = number::decimal(0.001..=1e9))]
    rate: Option<f64>,

    /// Make connections, use each for one message, close them
    #[arg(long, conflicts_with_all = ["hold", "depth"])]
    churn: bool,

    /// Hold connections that are idle
    #[arg(long, conflicts_with_all = ["rate", "depth", "warm_up"])]
    hold: bool,

    /// With --hold: let each connection send a message in every TIME, too
    #[arg(long, value_name = "TIME", requires = "hold", value_parser = span::positive)]
    every: Option<Duration>,

    /// Open the connections evenly over TIME [default: as fast as they are made, 128 at a time]
    #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = span::parse, conflicts_with = "churn")]
    ramp: Duration,

    /// Let messages flow for TIME before they count
    #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = span::parse)]
    warm_up: Duration,

    /// How long the last answers are waited for
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::parse)]
    patience: Duration,

    /// With udp: a datagram that is not back within TIME is lost (counted, and no error) [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = span::positive)]
    lost_after: Option<Duration>,

    /// With --rate: never sleep. Messages leave within microseconds of their time instead of a
    /// millisecond, and a processor for each thread is busy all the while
    #[arg(long, requires = "rate")]
    spin: bool,

    /// With --churn: reset connections (RST) instead of closing them, so that none keeps its port
    #[arg(long, requires = "churn")]
    reset: bool,

    /// Threads of each process, each with a reactor and a share of the connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u64>(1..=1024))]
    threads: u64,

    /// Processes, each with a share of the connections and descriptors of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u64>(1..=1024))]
    processes: u64,

    /// Addresses of this machine that connections of tcp come from, in turn: each has ports of its own
    /// [default: the system's choice; to the loopback (127.0.0.1) as many of 127.0.x.y as have ports enough]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = source)]
    from: Vec<IpAddr>,

    /// This is one of the processes, with this number from 0
    #[arg(long, hide = true)]
    part: Option<usize>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Draw the latency distribution by percentile to FILE
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Load {
    pub(super) fn run(&self) -> Outcome {
        // Parsed here to be refused at once; each thread has one of its own.
        let mut plan = self.plan();
        let goal = Goal::read(&self.endpoint, &plan)?;
        self.refuse_idle_options(&goal)?;
        if plan.sources.is_empty() {
            plan.sources = goal.sources(&plan);
        }
        let processes = usize::try_from(self.processes.min(self.connections)).unwrap_or(1);
        if let Some(part) = self.part {
            self.run_part(&plan.part(part, processes));
            return Ok(ExitCode::SUCCESS);
        }
        let picture = self.svg.as_deref().map(Picture::open).transpose()?;
        let mut report = match processes {
            1 => Crew::run(&self.endpoint, &plan, self.threads(&plan), Place::Alone)?,
            _ => team::run(&self.endpoint, &plan, processes)?,
        };
        limits::explain(&mut report, processes);
        let nothing = report.tally.connected == 0;
        let printed = match (self.json, nothing) {
            (true, _) => print(&format_args!("{}\n", EscapedJson(json::value(&report)))),
            (false, true) => Ok(()),
            (false, false) => print(&report),
        };
        // The report is out before anything else can go wrong.
        let drawn = picture.map_or(Ok(()), |picture| picture.draw(&report));
        if nothing {
            if let Err(failure) = &drawn {
                complain(failure);
            }
            let why = report.tally.errors.keys().next().map_or("it was ended before", |(_, reason)| reason);
            return Err(Failure::Run(format!("nothing connected to {}: {why}", report.endpoint)));
        }
        let code = if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let outcome = output::outcome(printed.err(), code);
        match (drawn, &outcome) {
            (Ok(()), _) => outcome,
            (Err(failure), Ok(_)) => Err(failure),
            (Err(failure), Err(_)) => {
                complain(&failure);
                outcome
            }
        }
    }

    /// An option that changes nothing is a mistake, and is said.
    fn refuse_idle_options(&self, goal: &Goal) -> Result<(), Failure> {
        let why = match goal {
            Goal::Endpoint(_) if self.lost_after.is_some() => {
                "--lost-after has no effect: it is for datagrams (udp:HOST:PORT); see --patience"
            }
            Goal::Datagrams(_) if !self.ramp.is_zero() => {
                "--ramp has no effect: sockets of datagrams are opened at once"
            }
            _ => return Ok(()),
        };
        Err(Failure::Usage(format!("{why} (see --help)")))
    }

    /// The share of one of several processes, told to the one that started it.
    fn run_part(&self, plan: &LoadConfig) {
        let news = match Crew::run(&self.endpoint, plan, self.threads(plan), Place::OneOfSeveral) {
            Ok(report) => News::Ended(report.endpoint, Box::new(report.tally)),
            Err(failure) => News::Failed(failure.to_string()),
        };
        news.say();
    }

    fn threads(&self, plan: &LoadConfig) -> usize {
        usize::try_from(self.threads).unwrap_or(usize::MAX).min(plan.connections)
    }

    fn plan(&self) -> LoadConfig {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        LoadConfig {
            work: match (self.churn, self.hold) {
                (true, _) => Workload::Churn,
                (false, true) => Workload::Hold { every: self.every },
                (false, false) => Workload::Echo,
            },
            connections: size(self.connections),
            size: size(self.size),
            depth: size(self.depth),
            rate: self.rate,
            ramp: self.ramp,
            warm_up: self.warm_up,
            duration: self.duration,
            drain_timeout: self.patience,
            lost_after: self.lost_after.unwrap_or(LoadConfig::default().lost_after),
            spin: self.spin,
            reset: self.reset,
            sources: self.from.clone(),
            ..LoadConfig::default()
        }
    }
}

/// Which process this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The one that people have started.
    Alone,
    /// Another one has started it, and tells people.
    OneOfSeveral,
}

/// Where a load goes, as the command line says it.
enum Goal {
    Endpoint(Box<dyn ClientEndpoint>),
    Datagrams(ConnectTcp),
}

impl Goal {
    /// Reads it, and sees whether the plan can be followed there.
    fn read(text: &str, plan: &LoadConfig) -> Result<Goal, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        match text.strip_prefix("udp:") {
            Some(address) => {
                let address = address.strip_prefix("//").unwrap_or(address);
                let address = address.parse().map_err(|error: crate::Error| usage(&error))?;
                plan.check_datagrams().map_err(|error| usage(&error))?;
                Ok(Goal::Datagrams(address))
            }
            None => {
                let endpoint = registry().client_from_argument(text);
                let endpoint = endpoint.map_err(|error| usage(&error))?;
                plan.check().map_err(|error| usage(&error))?;
                if !plan.sources.is_empty() && !(&*endpoint as &dyn Any).is::<ConnectTcp>() {
                    return Err(usage(&PlanError::Sources));
                }
                Ok(Goal::Endpoint(endpoint))
            }
        }
    }

    /// The addresses that connections have to come from so that there are ports enough.
    fn sources(&self, plan: &LoadConfig) -> Vec<IpAddr> {
        let Goal::Endpoint(endpoint) = self else { return Vec::new() };
        let target: Option<&ConnectTcp> = (&**endpoint as &dyn Any).downcast_ref();
        target.map_or_else(Vec::new, |target| sources::spread(target, plan))
    }

    fn start(self, reactor: &mut Reactor, plan: LoadConfig) -> Result<Running, PlanError> {
        match self {
            Goal::Endpoint(endpoint) => Running::start(reactor, endpoint, plan),
            Goal::Datagrams(ConnectTcp { host, port, .. }) => {
                Running::start_datagrams(reactor, &host, port, plan)
            }
        }
    }
}

/// An address to connect from. One with a zone has no place in the plan.
fn source(text: &str) -> Result<IpAddr, String> {
    match text.parse() {
        Ok(IpAddr::V6(six)) if six.is_unicast_link_local() => {
            Err("a link-local address needs a zone, and a source address has none".into())
        }
        Ok(address) => Ok(address),
        Err(_) => Err("it is no IP address".into()),
    }
}

/// The kinds of endpoints that a load goes to: `udp` is read before the others, and listed with them.
fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_client("udp", |arguments, _| Err(arguments.missing("host", "write udp:HOST:PORT")));
    registry
}

fn print(report: &impl std::fmt::Display) -> io::Result<()> {
    let mut out = writer::stdout();
    write!(out, "{report}")?;
    out.flush()
}

/// The file for the picture. It is opened before the load, so that a path that cannot be written is known at once, and keeps what it
/// has until there is something to write.
struct Picture<'a> {
    file: File,
    path: &'a Path,
}

impl Picture<'_> {
    fn open(path: &Path) -> Result<Picture<'_>, Failure> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| cannot_write(path, &error))?;
        Ok(Picture { file, path })
    }

    fn draw(mut self, report: &Report) -> Result<(), Failure> {
        // What is no regular file (a terminal, a pipe) has no length to change.
        let regular = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if regular { self.file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(svg::draw(report).as_bytes()));
        written.map_err(|error| cannot_write(self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Run(format!("cannot write {}: {error}", path.display()))
}

/// Everything was measured: a server that does not close its side is not waited for.
const CLOSING: Duration = Duration::from_secs(1);
