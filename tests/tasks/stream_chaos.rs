//! Whatever happens in the network, what is read is what was written, in order, and every task of streams ends.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use twistor::Reactor;
use twistor::sim::{Chaos, FaultKind, Host, Random, Simulation};
use twistor::stream::{StreamError, StreamReader, StreamWriter, open_connection, start_server};
use twistor::task::{join, sleep, timeout};

/// The limit of every wait.
const TIME_LIMIT: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The byte at a place of a stream that has this number.
fn byte(stream: u8, place: usize) -> u8 {
    (place * 31 + place / 251 + stream as usize) as u8
}

fn compare(stream: u8, from: usize, bytes: &[u8]) {
    for (at, other) in bytes.iter().enumerate() {
        assert_eq!(*other, byte(stream, from + at), "byte {} of stream {stream}", from + at);
    }
}

/// How many there were, how many had all of it come back, and how many have ended.
#[derive(Default)]
struct Tally {
    begun: Cell<usize>,
    whole: Cell<usize>,
    ended: Cell<usize>,
}

fn add(cell: &Cell<usize>, count: usize) {
    cell.set(cell.get() + count);
}

/// Counts its end, however it comes.
struct Counted(Rc<Tally>);

impl Drop for Counted {
    fn drop(&mut self) {
        add(&self.0.ended, 1);
    }
}

/// The first byte is the number of the stream; all that follows comes back.
async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), StreamError> {
    let mut number = [0];
    reader.read_exact(&mut number).await?;
    let mut seen = 0;
    while let chunk @ [_, ..] = reader.read_chunk(10_000).await? {
        compare(number[0], seen, chunk);
        seen += chunk.len();
        writer.write(chunk);
        writer.drain().await?;
    }
    writer.close();
    Ok(())
}

async fn ask(number: u8, mut random: Random, tally: Rc<Tally>) -> Outcome {
    let (mut reader, writer) = timeout(TIME_LIMIT, open_connection("server:7")).await??;
    let total = 1 + random.index(200_000);
    let mut write_random = random.clone();
    let write = async {
        writer.write(&[number]);
        let mut sent = 0;
        while sent < total {
            let size = (1 + write_random.index(30_000)).min(total - sent);
            let piece: Vec<u8> = (sent..sent + size).map(|place| byte(number, place)).collect();
            writer.write(&piece);
            sent += size;
            timeout(TIME_LIMIT, writer.drain()).await??;
            if write_random.chance(0.2) {
                sleep(write_random.exponential(Duration::from_millis(50))).await;
            }
        }
        writer.write_eof();
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let read = async {
        let mut seen = 0;
        let mut room = vec![0; 1 + random.index(20_000)];
        loop {
            // Given up now and then, for another way of reading.
            if random.chance(0.1) {
                let some = random.index(1000);
                match timeout(Duration::from_millis(1), reader.read_to_end(some)).await {
                    Ok(Err(StreamError::TooLong { .. })) => {
                        let mut exact = vec![0; some];
                        reader.read_exact(&mut exact).await?;
                        compare(number, seen, &exact);
                        seen += some;
                    }
                    Ok(Ok(rest)) => {
                        compare(number, seen, &rest);
                        seen += rest.len();
                    }
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            match timeout(TIME_LIMIT, reader.read(&mut room)).await?? {
                0 => break,
                count => {
                    compare(number, seen, &room[..count]);
                    seen += count;
                }
            }
        }
        Ok::<_, Box<dyn std::error::Error>>(seen)
    };
    let (written, seen) = join(write, read).await;
    written?;
    if seen? == total {
        add(&tally.whole, 1);
    }
    Ok(())
}

fn serve(reactor: &mut Reactor) {
    let serving = async {
        loop {
            match start_server("tcp:7", echo) {
                Ok(_server) => pending::<()>().await,
                // No descriptors, perhaps.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    };
    reactor.spawn(serving).detach();
}

fn run(seed: u64, chaos: impl FnOnce(&mut Random, &[Host]) -> Chaos) -> Rc<Tally> {
    let mut simulation = Simulation::new(seed);
    let hosts = [simulation.host("server"), simulation.host("client")];
    let mut random = simulation.random("streams");
    let chaos = chaos(&mut random, &hosts);
    let tally = Rc::<Tally>::default();
    let boot = |reactor: &mut Reactor| {
        serve(reactor);
        Ok(())
    };
    simulation.boot(hosts[0], boot).unwrap();
    simulation.start_chaos(chaos);
    for number in 0..20 {
        let (random, tally) = (simulation.random(&format!("stream {number}")), Rc::clone(&tally));
        if simulation.reactor_ref(hosts[1]).is_none() {
            simulation.restart(hosts[1]).unwrap();
        }
        add(&tally.begun, 1);
        // Counted even if its host is gone before it begins.
        let counted = Counted(Rc::clone(&tally));
        let asking = async move {
            let _ = ask(number, random, tally).await;
            drop(counted);
        };
        simulation.reactor(hosts[1]).spawn(asking).detach();
        simulation.run_for(Duration::from_millis(500)).unwrap();
    }
    simulation.stop_chaos();
    simulation.run_for(Duration::from_secs(300)).unwrap();
    for host in hosts {
        if let Some(reactor) = simulation.reactor_ref(host) {
            let panics = reactor.statistics().panics;
            assert_eq!(panics, 0, "seed {seed}");
        }
    }
    assert_eq!(tally.ended.get(), tally.begun.get(), "seed {seed}");
    if let Some(reactor) = simulation.reactor_ref(hosts[1]) {
        assert_eq!(
            (reactor.resource_count(), reactor.delayed_call_count()),
            (0, 0),
            "seed {seed}: {:?}",
            reactor.tasks()
        );
    }
    tally
}

/// How many seeds: `TWISTOR_SEEDS`, or a few.
fn seeds() -> u64 {
    std::env::var("TWISTOR_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(15)
}

#[test]
fn without_chaos_all_of_it_comes() {
    for seed in 0..5 {
        let tally = run(seed, |_, _| Chaos::default());
        assert_eq!(tally.whole.get(), 20, "seed {seed}");
    }
}

#[test]
fn what_the_system_does_in_between_changes_nothing() {
    for seed in 0..10 {
        let tally = run(seed, |random, _| Chaos {
            strikes: Vec::new(),
            failures: 0.0,
            loss: 0.02,
            ..Chaos::draw(random)
        });
        assert_eq!(tally.whole.get(), 20, "seed {seed}");
    }
}

#[test]
fn resets_and_partitions_end_streams_and_what_came_was_in_order() {
    let mut whole = 0;
    for seed in 0..seeds() {
        let tally = run(seed, |random, _| Chaos {
            strikes: vec![
                FaultKind::Reset,
                FaultKind::Partition,
                FaultKind::OneWayPartition,
                FaultKind::SlowReader,
                FaultKind::Refusal,
            ],
            mean_interval: Duration::from_millis(700),
            ..Chaos::draw(random)
        });
        whole += tally.whole.get();
    }
    assert!(whole > 0);
}

#[test]
fn any_weather_at_all() {
    for seed in 0..seeds() {
        run(1000 + seed, |random, _| Chaos::draw(random));
    }
}
