//! What is left of data after kills and losses of power, for many seeds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::log::{decode, encode, recover};
use twistor::files::{self, FileError, FileFault};
use twistor::sim::{CallKind, Errno, Fault, FaultKind, Host, Simulation};
use twistor::{Handle, Reactor, task};

const LOG: &str = "/var/log/records";
const SECOND: Duration = Duration::from_secs(1);

fn simulation(seed: u64) -> (Simulation, Host) {
    let mut simulation = Simulation::new(seed);
    let host = simulation.host("host");
    simulation.disk(host).create_dir("/var/log");
    simulation.reactor(host);
    (simulation, host)
}

/// Runs a task of the host to its end.
fn run<T: 'static>(simulation: &mut Simulation, host: Host, task: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&result);
    simulation.reactor(host).spawn(async move { *slot.borrow_mut() = Some(task.await) }).detach();
    simulation.run_for(10 * SECOND).unwrap();
    result.take().expect("it has ended")
}

/// The payload of a record: its number, and a length that depends on it.
fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend((0..number % 37).map(|byte| byte as u8));
    payload
}

#[test]
fn a_log_that_is_cut_at_any_byte_is_recovered() {
    let records: Vec<Vec<u8>> = (0..10).map(|number| encode(&payload(number))).collect();
    let (first, last) = (records[..7].concat(), records.concat());
    for length in first.len()..=last.len() {
        let (mut simulation, host) = simulation(1);
        simulation.disk(host).write(LOG, &last[..length]);
        recovers(&mut simulation, host, &last[..length]);
    }
    assert!(last.len() - first.len() >= 50);
}

#[test]
fn a_log_with_any_byte_changed_is_cut_there() {
    let records: Vec<Vec<u8>> = (0..10).map(|number| encode(&payload(number))).collect();
    let (first, last) = (records[..7].concat(), records.concat());
    for place in first.len()..last.len() {
        let (mut simulation, host) = simulation(1);
        let mut data = last.clone();
        data[place] ^= 0x10;
        simulation.disk(host).write(LOG, &data);
        let kept = recovers(&mut simulation, host, &data);
        assert!((7..10).contains(&kept), "{place}: {kept}");
    }
}

/// Recovers a log, and appends a record. Returns the number of records that were found.
fn recovers(simulation: &mut Simulation, host: Host, data: &[u8]) -> usize {
    let (expected, valid) = decode(data);
    let found = run(simulation, host, async {
        let (file, found) = recover(Path::new(LOG)).await.unwrap();
        let offset = file.append(encode(b"next")).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(offset, files::metadata(LOG).await.unwrap().length - 12);
        found
    });
    assert_eq!(found, expected);
    simulation.crash(host);
    let left = simulation.disk(host).read(LOG).unwrap();
    assert_eq!(left, [&data[..valid], &encode(b"next")].concat());
    found.len()
}

/// What a program has promised to others.
#[derive(Default)]
struct Promised {
    /// Records that were started, appended and synced.
    started: Cell<u32>,
    appended: Cell<u32>,
    synced: Cell<u32>,
    recoveries: Cell<u32>,
}

/// Appends records in groups, and syncs after each group.
fn boot(
    promised: &Rc<Promised>,
    survives: fn(&Promised) -> u32,
) -> impl Fn(&mut Reactor) -> twistor::Result<()> + use<> {
    let promised = Rc::clone(promised);
    move |reactor| {
        let promised = Rc::clone(&promised);
        reactor.spawn(async move { keep_a_log(&promised, survives).await }).detach();
        Ok(())
    }
}

async fn keep_a_log(promised: &Rc<Promised>, survives: fn(&Promised) -> u32) {
    let Some((file, records)) = unless_stopped(recover(Path::new(LOG)).await) else { return };
    for (number, record) in records.iter().enumerate() {
        assert_eq!(*record, payload(number as u32), "record {number}");
    }
    let count = records.len() as u32;
    let expected = survives(promised)..=promised.started.get();
    assert!(expected.contains(&count), "{count} of {expected:?}");
    promised.recoveries.set(promised.recoveries.get() + 1);
    for number in [&promised.started, &promised.appended, &promised.synced] {
        number.set(count);
    }
    loop {
        let group: Vec<_> = (0..1 + promised.started.get() % 5)
            .map(|_| {
                let (file, own) = (file.clone(), Rc::clone(promised));
                task::spawn(async move {
                    // The seed decides which task is polled first, and so has the next number.
                    let number = own.started.replace(own.started.get() + 1);
                    let appended = file.append(encode(&payload(number))).await;
                    if unless_stopped(appended).is_some() {
                        // Earlier ones are written, although their tasks may be polled later.
                        own.appended.set(own.appended.get().max(number + 1));
                    }
                })
            })
            .collect();
        for append in group {
            append.await.expect("it does not panic");
        }
        let appended = promised.appended.get();
        if unless_stopped(file.sync().await).is_none() {
            return;
        }
        promised.synced.set(appended);
    }
}

/// The end of the test stops the reactor.
fn unless_stopped<T>(result: Result<T, FileError>) -> Option<T> {
    match result {
        Err(FileError { fault: FileFault::Stopped, .. }) => None,
        result => Some(result.expect("a disk without faults")),
    }
}

#[test]
fn synced_records_survive_any_loss_of_power() {
    let (mut seen, mut recoveries) = (twistor::sim::Coverage::default(), 0);
    for seed in 0..60 {
        let (mut simulation, host) = simulation(seed);
        let promised = Rc::new(Promised::default());
        simulation.boot(host, boot(&promised, |promised| promised.synced.get())).unwrap();
        let mut random = simulation.random("times");
        for _ in 0..6 {
            simulation.run_for(random.between(Duration::ZERO, Duration::from_millis(20))).unwrap();
            simulation.crash(host);
            simulation.restart(host).unwrap();
        }
        simulation.run_for(Duration::from_millis(20)).unwrap();
        recoveries += promised.recoveries.get();
        seen.merge(&simulation.coverage());
    }
    assert!(recoveries > 200, "{recoveries}");
    for kind in [FaultKind::LostWrite, FaultKind::TornWrite] {
        assert!(seen.fault(kind) > 10, "{kind}\n{seen}");
    }
}

#[test]
fn appended_records_survive_a_kill() {
    let (mut torn, mut recoveries) = (0, 0);
    for seed in 0..60 {
        let (mut simulation, host) = simulation(seed);
        let promised = Rc::new(Promised::default());
        simulation.boot(host, boot(&promised, |promised| promised.appended.get())).unwrap();
        let mut random = simulation.random("times");
        for _ in 0..6 {
            simulation.run_for(random.between(Duration::ZERO, Duration::from_millis(20))).unwrap();
            simulation.kill(host);
            simulation.restart(host).unwrap();
        }
        simulation.run_for(Duration::from_millis(20)).unwrap();
        recoveries += promised.recoveries.get();
        torn += simulation.coverage().fault(FaultKind::TornWrite);
    }
    assert!(recoveries > 200 && torn > 10, "{recoveries} recoveries, {torn} torn");
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one_after_a_crash() {
    let (mut between, mut drafts) = (0, 0);
    for seed in 0..100 {
        let (mut simulation, host) = simulation(seed);
        let disk = simulation.disk(host);
        disk.write("/etc/config", "version 0 ".repeat(50));
        let (started, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let versions = (Rc::clone(&started), Rc::clone(&done));
        let writing = async move {
            for version in 1.. {
                versions.0.set(version);
                let write = files::write("/etc/config", format!("version {version} ").repeat(50));
                let Some(()) = unless_stopped(write.await) else { return };
                versions.1.set(version);
            }
        };
        simulation.reactor(host).spawn(writing).detach();
        let mut random = simulation.random("times");
        simulation.run_for(random.between(Duration::ZERO, Duration::from_millis(10))).unwrap();
        simulation.crash(host);
        let text = String::from_utf8(disk.read("/etc/config").unwrap()).unwrap();
        let version: u32 = text.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(text, format!("version {version} ").repeat(50), "seed {seed}");
        assert!((done.get()..=started.get()).contains(&version), "seed {seed}: {version}");
        between += u32::from(done.get() != started.get() && version == started.get());
        drafts += disk.paths().iter().filter(|path| path.extension().is_some_and(|end| end == "tmp")).count();
    }
    assert!(between > 0 && drafts > 0, "{between} were new without a report, {drafts} drafts");
}

#[test]
fn a_rename_without_a_synced_directory_may_be_undone() {
    let mut left = BTreeSet::new();
    for seed in 0..40 {
        let (mut simulation, host) = simulation(seed);
        let disk = simulation.disk(host);
        disk.write("/var/log/old", "data");
        let rule = simulation.add_rule(Fault::fail(CallKind::SyncDir, Errno::EIO));
        let renamed = run(&mut simulation, host, files::rename("/var/log/old", "/var/log/new").into_future());
        let error = renamed.unwrap_err();
        assert!(matches!(error.fault, FileFault::System { call: "fsync", .. }), "{error}");
        assert_eq!(disk.paths(), [Path::new("/var/log/new")], "it is renamed until the crash");
        simulation.remove_rule(rule);
        simulation.crash(host);
        left.insert(disk.paths());
    }
    let names = ["/var/log/new", "/var/log/old"].map(|name| vec![Path::new(name).to_owned()]);
    assert_eq!(left, BTreeSet::from(names));
}

#[test]
fn reported_changes_of_names_survive_a_crash() {
    for seed in 0..40 {
        let (mut simulation, host) = simulation(seed);
        let disk = simulation.disk(host);
        disk.write("/spool/gone", "");
        disk.write("/spool/old", "data");
        run(&mut simulation, host, async {
            files::create_dir("/spool/new").await.unwrap();
            files::rename("/spool/old", "/spool/new/moved").await.unwrap();
            files::remove("/spool/gone").await.unwrap();
            let file = files::append_to("/spool/log").await.unwrap();
            file.append("synced").await.unwrap();
            file.sync().await.unwrap();
        });
        simulation.crash(host);
        assert_eq!(disk.paths(), ["/spool/log", "/spool/new/moved"].map(Path::new), "seed {seed}");
        assert_eq!(disk.read("/spool/log").unwrap(), b"synced");
    }
}

#[test]
fn a_lock_ends_with_a_killed_process() {
    let (mut simulation, host) = simulation(1);
    let lock = async {
        // Kept for the life of the process.
        std::mem::forget(files::lock("/spool.lock").await.unwrap());
        Handle::current().unwrap()
    };
    run(&mut simulation, host, lock);
    let refused = run(&mut simulation, host, files::lock("/spool.lock").into_future());
    assert!(matches!(refused.unwrap_err().fault, FileFault::Locked));
    simulation.kill(host);
    simulation.restart(host).unwrap();
    assert!(run(&mut simulation, host, files::lock("/spool.lock").into_future()).is_ok());
}

#[test]
fn the_same_seed_leaves_the_same_files_and_trace() {
    let leave = |seed| {
        let (mut simulation, host) = simulation(seed);
        let promised = Rc::new(Promised::default());
        simulation.boot(host, boot(&promised, |promised| promised.synced.get())).unwrap();
        simulation.run_for(Duration::from_millis(15)).unwrap();
        simulation.crash(host);
        (simulation.trace_hash(), simulation.trace_length(), simulation.disk(host).read(LOG))
    };
    let all: Vec<_> = (0..10).map(leave).collect();
    assert_eq!(all, (0..10).map(leave).collect::<Vec<_>>());
    assert!(all[1..].iter().all(|other| other.0 != all[0].0), "another seed, another trace");
}
