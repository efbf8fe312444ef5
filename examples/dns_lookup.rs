//! Asks the system's DNS servers for records, and looks up the addresses of a host name as a
//! connect does.
//!
//! ```text
//! cargo run --example dns_lookup -- example.org MX TXT
//! ```

use twistor::dns::{DnsError, Name, RecordType, Resolver, Response};
use twistor::task::JoinSet;
use twistor::{Query, println_or_exit, task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "localhost".to_owned());
    let name: Name = host.parse()?;
    let types = arguments.map(|text| text.parse()).collect::<Result<Vec<RecordType>, _>>()?;
    let mut reactor = twistor::Reactor::new()?;
    // Reads /etc/resolv.conf, /etc/hosts and /etc/nsswitch.conf.
    let resolver = Resolver::from_system();
    reactor.set_resolver(resolver.clone());
    reactor.block_on(async move {
        // Both families are asked for together, with the search list.
        match task::resolve(Query::new(host, 0)).await {
            Ok(found) => {
                let addresses = found.addresses.iter();
                addresses.for_each(|address| println_or_exit!("{}", address.ip()));
            }
            Err(error) => println_or_exit!("; {error}"),
        }
        // All questions are asked at the same time.
        let mut questions = JoinSet::new();
        for record_type in types {
            let (resolver, name) = (resolver.clone(), name.clone());
            questions.spawn(async move { (record_type, resolver.query_async(&name, record_type).await) });
        }
        while let Some(answered) = questions.join_next().await {
            let (record_type, outcome) = answered?;
            print(record_type, outcome);
        }
        let statistics = resolver.statistics();
        println_or_exit!("; {} queries, {} cached", statistics.queries, statistics.cache_entries);
        Ok(())
    })?
}

fn print(record_type: RecordType, outcome: Result<Response, DnsError>) {
    match outcome {
        Ok(response) => {
            let (code, server, took) = (response.code(), response.server(), response.took());
            println_or_exit!("; {record_type}: {code} from {server} in {took:?}");
            response.answers().for_each(|record| println_or_exit!("{record}"));
        }
        Err(error) => println_or_exit!("; {record_type}: {error}"),
    }
}
