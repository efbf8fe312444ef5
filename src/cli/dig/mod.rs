//! `twistor dig`: asks DNS servers for the records of a name.

mod bench;
mod json;
mod question;
mod text;

use self::bench::Bench;
use self::question::Question;
use self::text::Text;
use super::{Failure, Outcome, number, output, print_error, span, writer};
use crate::Reactor;
use crate::dns::system::{ConfigFile, ResolvConf};
use crate::dns::{DnsError, Name, NameServer, RecordType, Resolver, ResolverConfig, Response};
use crate::net::files::blocking::read_config;
use crate::net::os::interface_index;
use clap::Args;
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Ask DNS servers for the records of a name.
///
/// NAME is a domain name, and complete: no search domain is added. An IP address as NAME, or with
/// -x, is looked up in reverse. TYPE is A, AAAA, CNAME, MX, NS, TXT, SRV, PTR, SOA, CAA, SVCB,
/// HTTPS, ANY, another mnemonic, or TYPE and a number. The default is A, and PTR for an address.
///
/// Without @SERVER, the servers of /etc/resolv.conf are asked. A SERVER is an IP address or a host
/// name; the default of PORT is 53. A query is repeated after 2 s and 5 s, and given up after
/// 10 s. A response that is too long for UDP is asked for again over TCP.
///
/// With --bench, the question is repeated for TIME, with --depth queries in flight. Each has its
/// own socket, and nothing is cached here.
#[derive(Debug, Args)]
#[command(
    override_usage = "twistor dig [OPTIONS] NAME [TYPE] [@SERVER[:PORT]]",
    after_help = "\
Examples:
  twistor dig example.org
  twistor dig example.org MX @192.0.2.53
  twistor dig 192.0.2.7
  twistor dig --short example.org TXT
  twistor dig example.org @127.0.0.1:5353 --bench 5s

--short prints the data of the records of TYPE, one on a line, and not those of aliases.

--json prints one object: name, type, code, records (number of answers of the type), server,
transport, took_ms, size, flags, answers, authorities, additionals. A record has name, ttl (in seconds),
type, data (as in a zone file), and for several types the parts of the data as fields. Without a
response, code is null and error has the reason. With --bench: name, type, server, transport,
elapsed_s, answers, per_second, failures, codes, reasons, latency_ms.

Exit codes: 0 the name has such records (--bench: every query was answered), 1 it has none, or the
server answered with an error (--bench: a query was not answered), 2 bad usage, 9 no server answered."
)]
pub(super) struct Dig {
    /// Domain name or IP address, type of records, and server after an @
    #[arg(value_name = "NAME")]
    words: Vec<String>,

    /// Look up an address in reverse
    #[arg(short = 'x', value_name = "ADDRESS")]
    reverse: Option<String>,

    /// Ask over TCP
    #[arg(long)]
    tcp: bool,

    /// Print only the data of the records
    #[arg(long, conflicts_with_all = ["json", "bench"])]
    short: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Repeat the question for TIME, and report answers a second and latencies
    #[arg(long, value_name = "TIME", value_parser = span::positive)]
    bench: Option<Duration>,

    /// With --bench: number of queries in flight
    #[arg(long, value_name = "N", default_value_t = 32, requires = "bench", value_parser = number::whole::<u16>(1..=10_000))]
    depth: u16,
}

/// A question and its response.
struct Answered {
    name: Name,
    record_type: RecordType,
    response: Response,
}

/// The end of a question. The error is the reason why there is no response.
type Ending = Result<Response, String>;

impl Dig {
    pub(super) fn run(&self) -> Outcome {
        let question = Question::parse(&self.words, self.reverse.as_deref(), PORT)?;
        let mut config = system_config(question.server.is_some());
        config.tcp_only |= self.tcp;
        let reactor = Reactor::new()?;
        output::end_with_stdout(&reactor, false);
        match self.bench {
            Some(duration) => self.run_bench(reactor, question, config, duration),
            None => self.run_query(reactor, question, config),
        }
    }

    fn run_query(&self, mut reactor: Reactor, question: Question, config: ResolverConfig) -> Outcome {
        let ending = Rc::<RefCell<Option<Ending>>>::default();
        let ended = Rc::clone(&ending);
        let Question { name, record_type, .. } = question.clone();
        find_servers(&mut reactor, &question, config, move |reactor, found| {
            let found = found.and_then(|config| {
                let told = Rc::clone(&ended);
                let done = move |reactor: &mut Reactor, outcome: Result<Response, DnsError>| {
                    // A query that a signal ends has no outcome.
                    if !reactor.handle().is_stopping() {
                        reactor.stop();
                        *told.borrow_mut() = Some(outcome.map_err(|error| error.to_string()));
                    }
                };
                let asked = Resolver::new(config).query(reactor, &name, record_type, done);
                asked.map_err(|error| error.to_string())
            });
            if let Err(why) = found {
                *ended.borrow_mut() = Some(Err(why));
                reactor.stop();
            }
        })?;
        reactor.run()?;
        let ending = ending.borrow_mut().take();
        let Question { name, record_type, .. } = question;
        match ending.ok_or_else(interrupted)? {
            Ok(response) => self.print(&Answered { name, record_type, response }),
            Err(why) => {
                if self.json {
                    print(&json::failure(&name, record_type, &why))?;
                }
                print_error(&format_args!("{name} {record_type}: {why}"));
                Ok(ExitCode::from(NO_ANSWER))
            }
        }
    }

    fn run_bench(
        &self,
        mut reactor: Reactor,
        question: Question,
        config: ResolverConfig,
        duration: Duration,
    ) -> Outcome {
        let started = Rc::<RefCell<Option<Result<Rc<Bench>, String>>>>::default();
        let starting = Rc::clone(&started);
        let (depth, asked) = (usize::from(self.depth), question.clone());
        find_servers(&mut reactor, &question, config, move |reactor, found| {
            let bench = found.map(|config| Bench::start(reactor, asked, &config, duration, depth));
            if bench.is_err() {
                reactor.stop();
            }
            *starting.borrow_mut() = Some(bench);
        })?;
        reactor.run()?;
        let bench = match started.borrow_mut().take().ok_or_else(interrupted)? {
            Ok(bench) => bench,
            Err(why) => {
                print_error(&why);
                return Ok(ExitCode::from(NO_ANSWER));
            }
        };
        let report = bench.report(reactor.now());
        let code = match (report.answers(), report.failures()) {
            (0, 0) => return Err(interrupted()),
            (0, _) => ExitCode::from(NO_ANSWER),
            (_, 0) => ExitCode::SUCCESS,
            (_, _) => ExitCode::FAILURE,
        };
        print(&if self.json { report.to_json() } else { report.to_string() })?;
        Ok(code)
    }

    fn print(&self, answered: &Answered) -> Outcome {
        let records = answered.records();
        if self.json {
            print(&json::document(answered))?;
        } else if self.short {
            let data: String = answered.matching().map(|record| format!("{}\n", record.data())).collect();
            print(&data)?;
            if records == 0 {
                let Answered { name, record_type, response } = answered;
                print_error(&format_args!("{name} {record_type}: {}", text::outcome(response, 0)));
            }
        } else {
            let columns =
                output::is_screen(&io::stdout()).then(|| usize::from(output::columns(io::stdout())));
            print(&Text { answered, palette: output::palette(), columns }.to_string())?;
        }
        Ok(if records > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Answered {
    /// The answers of the type that was asked for.
    fn matching(&self) -> impl Iterator<Item = crate::dns::Record<'_>> {
        let wanted = self.record_type;
        self.response
            .answers()
            .filter(move |record| wanted == RecordType::ANY || record.record_type() == wanted)
    }

    /// Number of answers of the type that was asked for. An error has none.
    fn records(&self) -> usize {
        match self.response.code() {
            crate::dns::ResponseCode::NOERROR => self.matching().count(),
            _ => 0,
        }
    }
}

/// The configuration of `/etc/resolv.conf`, or the default for a server that was named.
fn system_config(is_named: bool) -> ResolverConfig {
    if is_named {
        return ResolverConfig::default();
    }
    let file = ConfigFile::ResolvConf;
    // A file that cannot be read is a missing file, as for glibc.
    let bytes = read_config(Path::new(file.path()), file.max_size() as u64).unwrap_or_default();
    let mut conf = ResolvConf::parse(&bytes, |name| interface_index(name).ok());
    let variable = |name| std::env::var(name).ok();
    conf.apply_environment(variable("LOCALDOMAIN").as_deref(), variable("RES_OPTIONS").as_deref());
    ResolverConfig::from(&conf)
}

/// Looks up the address of a server that was named by its host, with the system's resolver, and
/// continues with the servers in the configuration.
fn find_servers(
    reactor: &mut Reactor,
    question: &Question,
    config: ResolverConfig,
    then: impl FnOnce(&mut Reactor, Result<ResolverConfig, String>) + 'static,
) -> Result<(), Failure> {
    let Some(server) = &question.server else {
        reactor.call_when_running(|reactor| then(reactor, Ok(config)));
        return Ok(());
    };
    let host = server.host.clone();
    reactor.resolve(&server.host, server.port, move |reactor, outcome| match outcome {
        Ok(addresses) => {
            let servers = addresses.into_iter().map(NameServer::from).collect();
            then(reactor, Ok(ResolverConfig { servers, ..config }));
        }
        Err(reason) => then(reactor, Err(format!("the server {host} cannot be asked: {reason}"))),
    })?;
    Ok(())
}

fn interrupted() -> Failure {
    Failure::Run("the command was ended before an answer arrived".to_owned())
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = writer::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    output::outcome(written.err(), ExitCode::SUCCESS).map(|_| ())
}

/// The port of DNS.
const PORT: u16 = 53;

/// The exit code when no server answered. (`dig` has the same.)
const NO_ANSWER: u8 = 9;
