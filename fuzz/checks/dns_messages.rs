//! Properties of the resolver for any response, and of its cache for any order of events. Fuzz
//! targets and tests share them.
#![allow(dead_code, reason = "each fuzz target uses its part")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor::dns::{DnsError, NameServer, RecordType, Resolver, ResolverConfig, Response};
use twistor::sim::{Host, Link, Simulation};
use twistor::{Address, DatagramProtocol, DatagramTransport, Reactor};

/// A client, and a server that answers each query with the next bytes behind its question.
struct World {
    simulation: Simulation,
    client: Host,
    resolver: Resolver,
    answer: Rc<RefCell<Vec<u8>>>,
}

struct Server(Rc<RefCell<Vec<u8>>>);

impl DatagramProtocol for Server {
    fn datagram_received(&mut self, transport: &mut DatagramTransport<'_>, data: &[u8], from: &Address) {
        let answer = self.0.borrow();
        // Flags, codes and counts are of the answer, and so is all that follows the question.
        let Some((head, records)) = answer.split_first_chunk::<8>() else { return };
        let question_end = data.len() - 11;
        let mut message = data[..question_end].to_vec();
        message[2..4].copy_from_slice(&head[..2]);
        message[6..12].copy_from_slice(&head[2..]);
        message.extend_from_slice(records);
        message.truncate(4096);
        transport.write_to(message, from).unwrap();
    }
}

impl World {
    fn new(config: ResolverConfig) -> World {
        let mut simulation = Simulation::new(1);
        simulation.keep_trace(1);
        simulation.set_links(Link::instant());
        let [client, server] = ["client", "server"].map(|name| simulation.host(name));
        let answer = Rc::new(RefCell::new(Vec::new()));
        simulation.reactor(server).listen_udp("0.0.0.0:53", Server(Rc::clone(&answer))).unwrap();
        let address = SocketAddr::new(simulation.address(server), 53);
        let servers = vec![NameServer::from(address)];
        let timeouts = vec![Duration::from_millis(1)];
        let resolver = Resolver::new(ResolverConfig { servers, timeouts, ..config });
        World { simulation, client, resolver, answer }
    }

    fn ask(&mut self, name: &str, record_type: RecordType) -> Result<Response, DnsError> {
        let place = Rc::new(RefCell::new(None));
        let told = Rc::clone(&place);
        let done = move |_: &mut Reactor, outcome| *told.borrow_mut() = Some(outcome);
        let reactor = self.simulation.reactor(self.client);
        self.resolver.query(reactor, &name.parse().unwrap(), record_type, done).unwrap();
        let ended = Rc::clone(&place);
        self.simulation.run_until(move |_| ended.borrow().is_some()).unwrap();
        assert_eq!(self.resolver.statistics().pending, 0);
        place.take().unwrap()
    }
}

thread_local! {
    static OF_MESSAGES: RefCell<World> = RefCell::new(World::new(ResolverConfig {
        max_cache_entries: 0,
        ..ResolverConfig::default()
    }));
}

/// Answers one query with these bytes, and shows all that was understood.
pub fn message(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let types = [1, 28, 5, 15, 16, 33, 6, 257, 65, 255];
    let record_type = RecordType(types[usize::from(*first) % types.len()]);
    OF_MESSAGES.with_borrow_mut(|world| {
        let mut answer = rest.to_vec();
        if let Some(flags) = answer.first_mut() {
            // Others are dropped, and are not truncated: there is no TCP.
            *flags = 0x80 | *flags & 5;
        }
        *world.answer.borrow_mut() = answer;
        let Ok(response) = world.ask("www.example", record_type) else { return };
        assert!(response.addresses().len() <= 256 && response.ttl() <= Duration::from_secs(86_400));
        let all = response.answers().chain(response.authorities()).chain(response.additionals());
        for record in all {
            let text = record.to_string();
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
            let name = record.name();
            assert!(name.as_wire().len() <= 255 && name.to_string().parse() == Ok(name));
        }
    });
}

/// Asks for names in any order, while time passes and the server changes its answers.
pub fn cache(data: &[u8]) {
    let limits = data.first().copied().unwrap_or_default();
    let entries = usize::from(limits & 7);
    let bytes = 400 * usize::from(limits >> 3);
    let mut world = World::new(ResolverConfig {
        max_cache_entries: entries,
        max_cache_bytes: bytes,
        ..ResolverConfig::default()
    });
    for event in data.chunks_exact(3).take(200) {
        let (number, kind, ttl) = (event[0] % 12, event[1], event[2]);
        *world.answer.borrow_mut() = match kind % 5 {
            // An address, whose last byte is the event's.
            0 => [&[0x81, 0x80, 0, 1, 0, 0, 0, 0][..], &record(1, ttl, &[192, 0, 2, kind])].concat(),
            1 => vec![0x81, 0x80, 0, 0, 0, 0, 0, 0],
            2 => [&[0x81, 0x83, 0, 0, 0, 1, 0, 0][..], &record(6, ttl, &soa(ttl))].concat(),
            3 => vec![0x81, 0x82, 0, 0, 0, 0, 0, 0],
            _ => Vec::new(),
        };
        let record_type = if kind & 0x80 == 0 { RecordType::A } else { RecordType::MX };
        let before = world.resolver.statistics().queries;
        let outcome = world.ask(&format!("n{number}.example"), record_type);
        let asked = world.resolver.statistics().queries > before;
        if let Ok(response) = &outcome {
            assert_eq!(response.cached(), !asked);
            // A failure is cached for its time, without a time of its own.
            let lasts = response.ttl() > Duration::ZERO || response.code().0 == 2;
            assert!(asked || lasts, "an expired answer was used");
            assert!(response.age() <= Duration::from_secs(300));
        }
        let statistics = world.resolver.statistics();
        assert!(statistics.cache_entries <= entries && statistics.cache_bytes <= bytes);
        assert_eq!(statistics.cache_entries == 0, statistics.cache_bytes == 0);
        world.simulation.run_for(Duration::from_millis(100 * u64::from(event[1] >> 4))).unwrap();
    }
}

/// A record of the name in the question, or of its zone.
fn record(record_type: u8, ttl: u8, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12, 0, record_type, 0, 1, 0, 0, 0, ttl, 0, data.len() as u8];
    record.extend_from_slice(data);
    record
}

fn soa(minimum: u8) -> Vec<u8> {
    let mut data = vec![0xc0, 12, 0xc0, 12];
    data.extend_from_slice(&[0; 19]);
    data.push(minimum);
    data
}
