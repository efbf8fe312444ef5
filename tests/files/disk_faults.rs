//! Disks that are full, broken or read-only: each operation says so, and nothing is acknowledged
//! that is not there.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use twistor::files::{self, FileFault};
use twistor::sim::{CallKind, Chaos, Errno, Fault, FaultKind, Host, Simulation, Verdict};
use twistor::task;

const SECOND: Duration = Duration::from_secs(1);

fn simulation() -> (Simulation, Host) {
    let mut simulation = Simulation::new(1);
    let host = simulation.host("host");
    simulation.disk(host).create_dir("/spool");
    simulation.reactor(host);
    (simulation, host)
}

/// Runs a task of the host to its end.
fn run<T: 'static>(simulation: &mut Simulation, host: Host, task: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&result);
    simulation.reactor(host).spawn(async move { *slot.borrow_mut() = Some(task.await) }).detach();
    simulation.run_for(10 * SECOND).unwrap();
    assert_eq!(simulation.reactor(host).resource_count(), 0, "{:?}", simulation.reactor(host).resources());
    result.take().expect("it has ended")
}

#[test]
fn a_full_disk_fails_whole_appends_until_there_is_space() {
    let (mut simulation, host) = simulation();
    let disk = simulation.disk(host);
    disk.set_capacity(Some(25));
    let space = disk.clone();
    run(&mut simulation, host, async move {
        let log = files::append_to("/spool/log").await.unwrap();
        assert_eq!(log.append("0123456789").await.unwrap(), 0);
        assert_eq!(log.append("0123456789").await.unwrap(), 10);
        for _ in 0..3 {
            let full = log.append("0123456789").await.unwrap_err();
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
            assert_eq!(space.read("/spool/log").unwrap().len(), 20, "the part is cut off");
        }
        assert_eq!(log.append("12345").await.unwrap(), 20, "what fits is written");
        log.sync().await.unwrap();
        assert!(!log.is_poisoned());
        space.set_capacity(None);
        assert_eq!(log.append("more").await.unwrap(), 25);
        log.sync().await.unwrap();
    });
    assert_eq!(disk.read_durable("/spool/log").unwrap(), b"0123456789012345678912345more");
    assert!(simulation.coverage().fault(FaultKind::FullDisk) >= 3);
}

#[test]
fn of_appends_written_together_those_that_fit_are_kept() {
    let (mut simulation, host) = simulation();
    let disk = simulation.disk(host);
    disk.set_capacity(Some(25));
    let offsets = run(&mut simulation, host, async {
        let log = files::append_to("/spool/log").await.unwrap();
        let all = (0..4).map(|_| task::spawn(log.append("0123456789").into_future()));
        let mut offsets = Vec::new();
        for append in all.collect::<Vec<_>>() {
            offsets.push(append.await.unwrap().map_err(|error| error.kind()));
        }
        offsets
    });
    let full = Err(ErrorKind::StorageFull);
    assert_eq!(offsets, [Ok(0), Ok(10), full, full]);
    assert_eq!(disk.read("/spool/log").unwrap(), b"01234567890123456789");
}

#[test]
fn a_failed_sync_is_never_made_good_by_a_later_one() {
    let (mut simulation, host) = simulation();
    simulation.add_rule(Fault::fail(CallKind::FileSync, Errno::EIO).nth(2));
    let disk = simulation.disk(host);
    run(&mut simulation, host, async {
        let log = files::append_to("/spool/log").await.unwrap();
        log.append("synced ").await.unwrap();
        log.sync().await.unwrap();
        log.append("doubtful").await.unwrap();
        let failed = log.sync().await.unwrap_err();
        assert!(matches!(failed.fault, FileFault::System { call: "fdatasync", .. }), "{failed}");
        assert!(log.is_poisoned());
        for refused in [log.sync().await, log.append("x").await.map(drop), log.truncate(0).await] {
            let error = refused.unwrap_err();
            assert!(matches!(error.fault, FileFault::Poisoned), "{error}");
        }
        // Another segment works.
        let next = files::append_to("/spool/log.2").await.unwrap();
        next.append("next").await.unwrap();
        next.sync().await.unwrap();
    });
    assert_eq!(disk.read("/spool/log").unwrap(), b"synced doubtful");
    simulation.crash(host);
    assert_eq!(disk.read("/spool/log").unwrap(), b"synced ", "the doubtful data is lost");
    assert_eq!(disk.read("/spool/log.2").unwrap(), b"next");
}

#[test]
fn a_failed_write_poisons_the_file() {
    for errno in [Errno::EIO, Errno::EROFS] {
        let (mut simulation, host) = simulation();
        simulation.add_rule(Fault::fail(CallKind::FileWrite, errno).nth(2));
        run(&mut simulation, host, async move {
            let log = files::append_to("/spool/log").await.unwrap();
            log.append("one").await.unwrap();
            let failed = log.append("two").await.unwrap_err();
            assert!(matches!(failed.fault, FileFault::System { call: "write", .. }), "{failed}");
            let refused = log.append("three").await.unwrap_err();
            assert!(matches!(refused.fault, FileFault::Poisoned), "{refused}");
        });
        assert_eq!(simulation.disk(host).read("/spool/log").unwrap(), b"one");
    }
}

#[test]
fn a_part_that_cannot_be_cut_off_poisons_the_file() {
    let (mut simulation, host) = simulation();
    simulation.disk(host).set_capacity(Some(5));
    simulation.add_rule(Fault::fail(CallKind::Truncate, Errno::EIO));
    run(&mut simulation, host, async {
        let log = files::append_to("/spool/log").await.unwrap();
        let full = log.append("0123456789").await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        assert!(log.is_poisoned());
    });
    assert_eq!(simulation.disk(host).read("/spool/log").unwrap(), b"01234");
}

#[test]
fn data_of_another_writer_is_not_cut_off() {
    let (mut simulation, host) = simulation();
    let disk = simulation.disk(host);
    disk.set_capacity(Some(15));
    run(&mut simulation, host, async {
        let log = files::append_to("/spool/log").await.unwrap();
        let other = files::append_to("/spool/log").await.unwrap();
        other.append("other ").await.unwrap();
        let full = log.append("0123456789").await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        assert!(log.is_poisoned(), "its position in the file is unknown");
    });
    assert_eq!(disk.read("/spool/log").unwrap(), b"other 012345678");
}

#[test]
fn short_reads_and_writes_are_completed() {
    for limit in [1, 2, 7, 500] {
        let (mut simulation, host) = simulation();
        for kind in [CallKind::FileWrite, CallKind::FileRead] {
            simulation.add_rule(Fault::call(kind, Verdict::Short(limit)));
        }
        run(&mut simulation, host, async {
            let data: Vec<u8> = (0..1000_u32).map(|number| number as u8).collect();
            files::write("/spool/file", &data[..]).await.unwrap();
            assert_eq!(files::read("/spool/file").await.unwrap(), data);
            let log = files::append_to("/spool/log").await.unwrap();
            assert_eq!(log.append(&data[..]).await.unwrap(), 0);
            assert_eq!(log.append(&data[..]).await.unwrap(), 1000);
            assert_eq!(
                files::read("/spool/log").range(900, 200).await.unwrap(),
                [&data[900..], &data[..100]].concat()
            );
        });
        assert!(simulation.coverage().fault(FaultKind::ShortWrite) > 0);
        assert!(simulation.coverage().fault(FaultKind::ShortRead) > 0);
    }
}

#[test]
fn a_read_only_disk_is_read_and_not_changed() {
    let (mut simulation, host) = simulation();
    let disk = simulation.disk(host);
    disk.write("/spool/file", "data");
    let own = disk.clone();
    run(&mut simulation, host, async move {
        let open = files::append_to("/spool/file").await.unwrap();
        own.set_read_only(true);
        assert_eq!(files::read("/spool/file").await.unwrap(), b"data");
        let refused = [
            files::append_to("/spool/file").await.map(drop),
            open.append("x").await.map(drop),
            files::write("/spool/file", "x").await,
            files::rename("/spool/file", "/spool/other").await,
            files::remove("/spool/file").await,
            files::create_dir("/spool/dir").await,
            files::lock("/spool/lock").await.map(drop),
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem, "{error}");
        }
    });
    assert_eq!(disk.paths().len(), 1);
    assert!(simulation.coverage().fault(FaultKind::ReadOnlyDisk) >= 7);
}

#[test]
fn without_a_thread_an_operation_is_refused() {
    let (mut simulation, host) = simulation();
    simulation.disk(host).write("/spool/file", "data");
    simulation.add_rule(Fault::fail(CallKind::Offload, Errno::EAGAIN).nth(2));
    run(&mut simulation, host, async {
        let log = files::append_to("/spool/log").await.unwrap();
        let refused = files::read("/spool/file").await.unwrap_err();
        assert!(matches!(refused.fault, FileFault::System { call: "pthread_create", .. }), "{refused}");
        assert!(files::read("/spool/file").await.is_ok());
        assert!(log.append("data").await.is_ok());
    });
    let (mut simulation, host) = self::simulation();
    simulation.add_rule(Fault::fail(CallKind::Offload, Errno::EAGAIN).nth(2));
    run(&mut simulation, host, async {
        let log = files::append_to("/spool/log").await.unwrap();
        let refused = log.append("data").await.unwrap_err();
        assert!(matches!(refused.fault, FileFault::System { call: "pthread_create", .. }), "{refused}");
        assert_eq!(log.append("data").await.unwrap(), 0);
    });
}

#[test]
fn a_process_without_descriptors_opens_no_file() {
    let (mut simulation, host) = simulation();
    simulation.disk(host).write("/spool/file", "data");
    simulation.set_descriptor_limit(host, 2);
    run(&mut simulation, host, async {
        let first = files::open("/spool/file").await.unwrap();
        let second = files::open("/spool/file").await.unwrap();
        let refused = files::open("/spool/file").await.unwrap_err();
        assert!(
            matches!(&refused.fault, FileFault::System { call: "open", source } if source.raw_os_error() == Some(24))
        );
        drop((first, second));
        task::sleep(SECOND).await;
        assert!(files::open("/spool/file").await.is_ok(), "closed files leave room");
    });
}

/// Calls of files, each of which may fail with each of its errors.
const CALLS: &[CallKind] = &[
    CallKind::FileOpen,
    CallKind::FileRead,
    CallKind::FileWrite,
    CallKind::FileSync,
    CallKind::FileStatus,
    CallKind::Truncate,
    CallKind::Lock,
    CallKind::Rename,
    CallKind::Unlink,
    CallKind::CreateDir,
    CallKind::ListDir,
    CallKind::SyncDir,
];

/// Makes each call several times. Returns the number of operations that failed, and that of those
/// that failed with this error.
async fn use_all(number: i32) -> (u32, u32) {
    let (mut failed, mut expected) = (0, 0);
    let mut note = |error: Option<files::FileError>| {
        if let Some(error) = error {
            failed += 1;
            let own = matches!(&error.fault, FileFault::System { source, .. } if source.raw_os_error() == Some(number));
            expected += u32::from(own);
        }
    };
    for round in 0..3 {
        note(files::create_dir(format!("/spool/dir{round}")).await.err());
        note(files::write("/spool/file", format!("round {round}")).await.err());
        match files::append_to("/spool/log").await {
            Ok(log) => {
                note(log.append("one").await.err());
                note(log.sync().await.err());
                note(log.truncate(1).await.err());
            }
            Err(error) => note(Some(error)),
        }
        note(files::read("/spool/file").await.err());
        note(files::metadata("/spool/log").await.err());
        note(files::list_dir("/spool").await.err());
        note(files::lock("/spool/lock").await.err());
        note(files::rename("/spool/log", format!("/spool/log.{round}")).await.err());
        note(files::remove(format!("/spool/log.{round}")).await.err());
    }
    (failed, expected)
}

#[test]
fn each_failed_call_is_reported_with_its_error() {
    let mut cases = 0;
    for kind in CALLS {
        for errno in kind.errors() {
            for nth in 1..=3 {
                let (mut simulation, host) = simulation();
                simulation.add_rule(Fault::fail(*kind, *errno).nth(nth));
                let number = errno.raw();
                let (failed, expected) = run(&mut simulation, host, use_all(number));
                let case = format!("{kind} {errno} {nth}: {failed} failed, {expected} with it");
                // Operations on the same file or its name may fail in consequence.
                assert!((1..=6).contains(&failed) && expected >= 1, "{case}");
                let text = simulation.disk(host).read("/spool/file");
                let text = text.map(|text| String::from_utf8(text).unwrap());
                assert!(text.as_deref().is_none_or(|text| text.len() == 7), "{case}: {text:?}");
                assert_eq!(simulation.coverage().fault(FaultKind::Failure), 1, "{case}");
                cases += 1;
            }
        }
    }
    assert!(cases > 90, "{cases}");
}

#[test]
fn a_failed_write_leaves_the_earlier_contents_and_no_draft() {
    for kind in [CallKind::FileOpen, CallKind::FileWrite, CallKind::FileSync, CallKind::Rename] {
        for errno in kind.errors() {
            let (mut simulation, host) = simulation();
            let disk = simulation.disk(host);
            disk.write("/spool/file", "old");
            simulation.add_rule(Fault::fail(kind, *errno));
            let written = run(&mut simulation, host, files::write("/spool/file", "new").into_future());
            assert!(written.is_err(), "{kind} {errno}");
            assert_eq!((disk.read("/spool/file").unwrap(), disk.paths().len()), (b"old".to_vec(), 1));
        }
    }
}

#[test]
fn a_strike_of_a_disk_is_felt_and_over_when_it_is_mended() {
    for kind in Chaos::DISK_FAULTS {
        let (mut simulation, host) = simulation();
        simulation.inject_fault(*kind, host, host);
        let append = |simulation: &mut Simulation| {
            run(simulation, host, async {
                let log = files::append_to("/spool/log").await?;
                let data = vec![b'x'; 1000];
                for _ in 0..3 {
                    log.append(&data[..]).await?;
                }
                log.sync().await
            })
        };
        let during = append(&mut simulation);
        assert_eq!(during.is_ok(), *kind == FaultKind::SlowDisk, "{kind}: {during:?}");
        assert!(simulation.coverage().fault(*kind) > 0, "{kind}");
        simulation.clear_fault(*kind, host, host);
        assert!(append(&mut simulation).is_ok(), "{kind}");
    }
}
