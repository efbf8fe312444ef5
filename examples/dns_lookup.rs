//! Asks the system's DNS servers for records, and looks up the addresses of a host name as a
//! connect does.
//!
//! ```text
//! cargo run --example dns_lookup -- example.org MX TXT
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use twistor::dns::{DnsError, Name, RecordType, Resolver, Response};
use twistor::task::JoinSet;
use twistor::{Query, error_chain, task};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "localhost".to_owned());
    let types: Vec<String> = arguments.collect();
    match run(&name, &types) {
        Ok(()) => ExitCode::SUCCESS,
        // As when the output is piped into `head`.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dns_lookup: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, types: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let wire: Name = name.parse()?;
    let types = types.iter().map(|text| text.parse()).collect::<Result<Vec<RecordType>, _>>()?;
    let mut reactor = twistor::Reactor::new()?;
    // Reads /etc/resolv.conf, /etc/hosts and /etc/nsswitch.conf.
    let resolver = Resolver::from_system();
    reactor.set_resolver(resolver.clone());
    let (host, mut out) = (name.to_owned(), io::stdout());
    reactor.block_on(async move {
        // Both families are asked for together, with the search list.
        match task::resolve(Query::new(host, 0)).await {
            Ok(found) => {
                for address in found.addresses {
                    writeln!(out, "{}", address.ip())?;
                }
            }
            Err(error) => writeln!(out, "; {error}")?,
        }
        // All questions are asked at the same time.
        let mut questions = JoinSet::new();
        for record_type in types {
            let (resolver, wire) = (resolver.clone(), wire.clone());
            questions.spawn(async move { (record_type, resolver.query_async(&wire, record_type).await) });
        }
        while let Some(answered) = questions.join_next().await {
            let (record_type, outcome) = answered.map_err(io::Error::other)?;
            print(&mut out, record_type, outcome)?;
        }
        let statistics = resolver.statistics();
        writeln!(out, "; {} queries, {} cached", statistics.queries, statistics.cache_entries)
    })??;
    Ok(())
}

fn print(
    out: &mut impl Write,
    record_type: RecordType,
    outcome: Result<Response, DnsError>,
) -> io::Result<()> {
    match outcome {
        Ok(response) => {
            let (code, server, took) = (response.code(), response.server(), response.took());
            writeln!(out, "; {record_type}: {code} from {server} in {took:?}")?;
            response.answers().try_for_each(|record| writeln!(out, "{record}"))
        }
        Err(error) => writeln!(out, "; {record_type}: {error}"),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
