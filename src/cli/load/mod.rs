//! `twistor load`: a load test of an echo server on any number of threads and processes, with a
//! report on stdout.

mod ipc;
mod limits;
mod live;
mod processes;
mod sources;
mod threads;

use self::ipc::Message;
use self::threads::ThreadGroup;
use super::{Failure, Outcome, number, print_error, span};
use super::{output, writer};
use crate::endpoint::{ClientEndpoint, Registry};
use crate::escape::EscapedJson;
use crate::load::{LoadConfig, LoadConfigError, LoadTest as Running, Report, Workload};
use crate::net::files::blocking::OutputFile;
use crate::{ConnectTcp, Reactor};
use clap::Args;
use std::any::Any;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Put load on an echo server, compare every byte that comes back, and measure latencies.
///
/// By default, each of --connections keeps --depth messages of --size bytes in flight: a message
/// follows an answer. With --rate messages are due at even times, independent of the answers, and a
/// latency counts from when its message was due. So a stalled server shows in the latency of every
/// message that was due meanwhile (no coordinated omission). The report also says how late this
/// program itself was.
///
/// With --churn a connection is made, sends one message, is closed after the answer, and is
/// followed by the next. --connections is the maximum number open at a time, --rate is in
/// connections a second, and a latency covers a whole exchange. With --hold connections are made
/// and are idle. A loss is printed at once, with its reason, and at the end each connection has to
/// answer a message.
///
/// A process can hold as many connections as it has descriptors; --processes allows more. The
/// processes start to run together, when all connections are made, and end with the command that
/// started them. If a process dies, this is reported on stderr, its connections count as lost, and
/// the others continue. If not all connections could be held, the report names the limits that
/// stopped them, their present values, and how to raise them.
///
/// SIGINT or SIGTERM ends it early, with a report of what was measured.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twistor load tcp:127.0.0.1:7007 --connections 64 --size 1024 --for 5s
  twistor load 10.0.0.5:7 -c 200 --rate 20000 --warm-up 2s --svg latency.svg
  twistor load 10.0.0.5:7 -c 50 --churn --json | jq .latency_ms.p99
  twistor load 10.0.0.5:7 -c 10000 --hold --ramp 10s --for 1h --interval 30s
  twistor load 127.0.0.1:7007 -c 500000 --hold --processes 28 --for 10s
  twistor load 10.0.0.5:7 -c 50000 --hold --processes 3 --from 10.0.0.8,10.0.0.9

--json prints one object: endpoint, success, work, config, connections, messages,
latency_ms, since_sent_ms and lateness_ms (with a rate), steps, errors,
first_errors, bottlenecks (limit, connections, now, raise). A latency has count, min, mean, p50, p75, p90, p95, p99, p99_9,
p99_99, max. latency_ms covers all due messages; unanswered ones count with their wait so far.

Exit codes: 0 every byte came back as it was sent, 1 something went wrong
(bytes, losses, missing answers, nothing connected; an error of this machine,
such as a picture that cannot be written; the report is printed all the same),
2 bad usage.")]
pub(super) struct Load {
    /// Where the server is: tcp:HOST:PORT, HOST:PORT, udp:HOST:PORT, unix:PATH or another endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,

    /// Number of connections; with --churn the maximum number open at a time
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = number::whole::<u64>(1..=100_000_000))]
    connections: u64,

    /// Bytes of a message: at most 1073741824 (1 GiB), of a datagram 8 to 65507
    #[arg(long, short, value_name = "S", default_value_t = 64, value_parser = number::whole::<u64>(1..=LoadConfig::MAX_SIZE as u64))]
    size: u64,

    /// Messages in flight on each connection; with --rate the maximum number
    #[arg(long, short, value_name = "D", default_value_t = 1, value_parser = number::whole::<u64>(1..=1_000_000))]
    depth: u64,

    /// How long to measure
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = span::positive)]
    duration: Duration,

    /// Messages a second in total, due at even times [default: a message follows an answer]
    #[arg(long, short, value_name = "R", value_parser = number::decimal(0.001..=1e9))]
    rate: Option<f64>,

    /// Make connections, use each for one message, close them
    #[arg(long, conflicts_with_all = ["hold", "depth"])]
    churn: bool,

    /// Hold idle connections
    #[arg(long, conflicts_with_all = ["rate", "depth", "warm_up"])]
    hold: bool,

    /// With --hold: let each connection also send a message in every TIME
    #[arg(long, value_name = "TIME", requires = "hold", value_parser = span::positive)]
    interval: Option<Duration>,

    /// Open the connections evenly over TIME [default: as fast as they are made, 128 at a time]
    #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = span::parse, conflicts_with = "churn")]
    ramp: Duration,

    /// Send messages for TIME before they count
    #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = span::parse)]
    warm_up: Duration,

    /// Maximum wait for the last answers
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::parse)]
    drain_timeout: Duration,

    /// With udp: time without an answer after which a datagram counts as lost (which is no error)
    /// [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = span::positive)]
    lost_after: Option<Duration>,

    /// With --rate: never sleep. Messages leave within microseconds of their time instead of a
    /// millisecond, but a core for each thread is always busy
    #[arg(long, requires = "rate")]
    spin: bool,

    /// With --churn: reset connections (RST) instead of closing them, so that none keeps its port
    #[arg(long, requires = "churn")]
    reset: bool,

    /// Threads of each process, each with a reactor and a share of the connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u64>(1..=1024))]
    threads: u64,

    /// Processes, each with a share of the connections and its own descriptors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::whole::<u64>(1..=1024))]
    processes: u64,

    /// Local addresses to which tcp connections are bound in turn: each has its own ports [default:
    /// the system's choice; to the loopback (127.0.0.1) as many of 127.0.x.y as have ports enough]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = source)]
    from: Vec<IpAddr>,

    /// Number of this process, from 0, if it is one of several
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
        // Parse the endpoint here to refuse it early. Each thread parses its own copy.
        let mut config = self.config();
        let destination = Destination::read(&self.endpoint, &config)?;
        self.refuse_idle_options(&destination)?;
        if config.sources.is_empty() {
            config.sources = destination.sources(&config);
        }
        let processes = usize::try_from(self.processes.min(self.connections)).unwrap_or(1);
        if let Some(part) = self.part {
            self.run_part(&config.part(part, processes));
            return Ok(ExitCode::SUCCESS);
        }
        let picture = self.svg.as_deref().map(Picture::open).transpose()?;
        let mut report = match processes {
            1 => ThreadGroup::run(&self.endpoint, &config, self.threads(&config), Role::Standalone)?,
            _ => processes::run(&self.endpoint, &config, processes)?,
        };
        limits::explain(&mut report, processes);
        let nothing = report.totals.connected == 0;
        let printed = match (self.json, nothing) {
            (true, _) => print(&format_args!("{}\n", EscapedJson(report.to_json()))),
            (false, true) => Ok(()),
            (false, false) => print(&report),
        };
        // Print the report first, so that no later error loses it.
        let drawn = picture.map_or(Ok(()), |picture| picture.draw(&report));
        if nothing {
            if let Err(failure) = &drawn {
                print_error(failure);
            }
            let why = report.totals.errors.keys().next().map_or("it was ended before", |(_, reason)| reason);
            return Err(Failure::Run(format!("nothing connected to {}: {why}", report.endpoint)));
        }
        let code = if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let outcome = output::outcome(printed.err(), code);
        match (drawn, &outcome) {
            (Ok(()), _) => outcome,
            (Err(failure), Ok(_)) => Err(failure),
            (Err(failure), Err(_)) => {
                print_error(&failure);
                outcome
            }
        }
    }

    /// Refuses options without effect.
    fn refuse_idle_options(&self, destination: &Destination) -> Result<(), Failure> {
        let why = match destination {
            Destination::Endpoint(_) if self.lost_after.is_some() => {
                "--lost-after has no effect: it is for datagrams (udp:HOST:PORT); see --drain-timeout"
            }
            Destination::Datagrams(_) if !self.ramp.is_zero() => {
                "--ramp has no effect: sockets of datagrams are opened at once"
            }
            _ => return Ok(()),
        };
        Err(Failure::Usage(format!("{why} (see --help)")))
    }

    /// Runs the share of one of several processes, and reports to the parent.
    fn run_part(&self, config: &LoadConfig) {
        let message = match ThreadGroup::run(&self.endpoint, config, self.threads(config), Role::Child) {
            Ok(report) => Message::Ended(report.endpoint, Box::new(report.totals)),
            Err(failure) => Message::Failed(failure.to_string()),
        };
        message.send();
    }

    fn threads(&self, config: &LoadConfig) -> usize {
        usize::try_from(self.threads).unwrap_or(usize::MAX).min(config.connections)
    }

    fn config(&self) -> LoadConfig {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        LoadConfig {
            work: match (self.churn, self.hold) {
                (true, _) => Workload::Churn,
                (false, true) => Workload::Hold { interval: self.interval },
                (false, false) => Workload::Echo,
            },
            connections: size(self.connections),
            size: size(self.size),
            depth: size(self.depth),
            rate: self.rate,
            ramp: self.ramp,
            warm_up: self.warm_up,
            duration: self.duration,
            drain_timeout: self.drain_timeout,
            lost_after: self.lost_after.unwrap_or(LoadConfig::default().lost_after),
            spin: self.spin,
            reset: self.reset,
            sources: self.from.clone(),
            ..LoadConfig::default()
        }
    }
}

/// The role of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The only process of the load.
    Standalone,
    /// A child process, whose parent prints the results.
    Child,
}

/// The target of a load.
enum Destination {
    Endpoint(Box<dyn ClientEndpoint>),
    Datagrams(ConnectTcp),
}

impl Destination {
    /// Parses a target, and checks that the config is valid for it.
    fn read(text: &str, config: &LoadConfig) -> Result<Destination, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        match text.strip_prefix("udp:") {
            Some(address) => {
                let address = address.strip_prefix("//").unwrap_or(address);
                let address = address.parse().map_err(|error: crate::Error| usage(&error))?;
                config.check_datagrams().map_err(|error| usage(&error))?;
                Ok(Destination::Datagrams(address))
            }
            None => {
                let endpoint = registry().client_from_argument(text);
                let endpoint = endpoint.map_err(|error| usage(&error))?;
                config.check().map_err(|error| usage(&error))?;
                if !config.sources.is_empty() && !(&*endpoint as &dyn Any).is::<ConnectTcp>() {
                    return Err(usage(&LoadConfigError::Sources));
                }
                Ok(Destination::Endpoint(endpoint))
            }
        }
    }

    /// Returns the source addresses that are needed for enough ports.
    fn sources(&self, config: &LoadConfig) -> Vec<IpAddr> {
        let Destination::Endpoint(endpoint) = self else { return Vec::new() };
        let target: Option<&ConnectTcp> = (&**endpoint as &dyn Any).downcast_ref();
        target.map_or_else(Vec::new, |target| sources::spread(target, config))
    }

    fn start(self, reactor: &mut Reactor, config: LoadConfig) -> Result<Running, LoadConfigError> {
        match self {
            Destination::Endpoint(endpoint) => Running::start(reactor, endpoint, config),
            Destination::Datagrams(ConnectTcp { host, port, .. }) => {
                Running::start_datagrams(reactor, &host, port, config)
            }
        }
    }
}

/// Parses a source address. The config cannot hold a zone.
fn source(text: &str) -> Result<IpAddr, String> {
    match text.parse() {
        Ok(IpAddr::V6(six)) if six.is_unicast_link_local() => {
            Err("a link-local address needs a zone, and a source address has none".into())
        }
        Ok(address) => Ok(address),
        Err(_) => Err("it is not an IP address".into()),
    }
}

/// Returns the kinds of endpoints that a load can use. `udp` is handled before the others but
/// listed with them.
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

/// The file for the picture. It is opened before the load, so that an unwritable path is reported
/// early. Its old contents are kept until there is a picture to write.
struct Picture<'a> {
    file: OutputFile,
    path: &'a Path,
}

impl Picture<'_> {
    fn open(path: &Path) -> Result<Picture<'_>, Failure> {
        let file = OutputFile::open(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Picture { file, path })
    }

    fn draw(mut self, report: &Report) -> Result<(), Failure> {
        // Only a regular file has a length to change.
        let emptied = if self.file.is_regular() { self.file.empty() } else { Ok(()) };
        let written = emptied.and_then(|()| self.file.write_all(report.to_svg().as_bytes()));
        written.map_err(|error| cannot_write(self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Run(format!("cannot write {}: {error}", path.display()))
}

/// Timeout for closing: the measurement is complete, so a server that does not close its side is
/// not awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
