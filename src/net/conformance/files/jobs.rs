//! Jobs on files: threads, order, ends; and locks, which belong to open files.

use std::sync::{Arc, Mutex};

use super::{APPEND, READ, errno, on_disk, path, read, write};
use crate::net::conformance::bench::Bench;
use crate::net::conformance::programs;
use crate::net::files::{Disk, FileJob, Step};
use rustix::io::Errno;

programs![
    a_job_runs_its_steps_to_the_end,
    a_job_does_not_run_inside_the_call,
    jobs_of_a_busy_pool_run_later,
    a_job_that_lets_others_go_first_goes_on,
    a_lock_excludes_another_open_file,
    a_lock_is_kept_by_its_holder,
    a_lock_is_released_by_the_close,
    a_lock_excludes_another_process,
    a_lock_ends_with_its_process,
    a_lock_needs_no_write_access,
    accepted_jobs_are_done_when_the_process_ends,
    another_process_sees_the_files,
    the_files_of_processes_have_numbers_of_their_own,
];

/// A job of some steps, which counts them.
struct Steps {
    left: u32,
    step: Step,
    count: Arc<Mutex<u32>>,
}

impl FileJob for Steps {
    fn step(&mut self, _: &mut dyn Disk) -> Step {
        *self.count.lock().unwrap() += 1;
        self.left -= 1;
        if self.left == 0 { Step::Done } else { self.step }
    }
}

fn steps(left: u32, step: Step, count: &Arc<Mutex<u32>>) -> Box<dyn FileJob> {
    Box::new(Steps { left, step, count: Arc::clone(count) })
}

fn a_job_runs_its_steps_to_the_end(bench: &mut Bench) {
    let count = Arc::default();
    bench.net().run_file_job(steps(10, Step::Again, &count)).unwrap();
    assert!(bench.wait_until(|_| *count.lock().unwrap() == 10));
    bench.settle();
    assert_eq!(*count.lock().unwrap(), 10);
}

fn a_job_does_not_run_inside_the_call(bench: &mut Bench) {
    let held = Arc::new(Mutex::new(0));
    let inside = held.lock().unwrap();
    // It would wait for the lock forever.
    bench.net().run_file_job(steps(1, Step::Again, &held)).unwrap();
    assert_eq!(*inside, 0);
    drop(inside);
    assert!(bench.wait_until(|_| *held.lock().unwrap() == 1));
}

fn jobs_of_a_busy_pool_run_later(bench: &mut Bench) {
    let count = Arc::default();
    for _ in 0..100 {
        bench.net().run_file_job(steps(3, Step::Again, &count)).unwrap();
    }
    assert!(bench.wait_until(|_| *count.lock().unwrap() == 300));
}

fn a_job_that_lets_others_go_first_goes_on(bench: &mut Bench) {
    let (polite, others) = (Arc::default(), Arc::default());
    for _ in 0..4 {
        bench.net().run_file_job(steps(50, Step::Later, &polite)).unwrap();
        bench.net().run_file_job(steps(3, Step::Again, &others)).unwrap();
    }
    assert!(bench.wait_until(|_| *polite.lock().unwrap() == 200 && *others.lock().unwrap() == 12));
}

fn a_lock_excludes_another_open_file(bench: &mut Bench) {
    let at = path(bench, "lock");
    let (first, second) = on_disk(bench, move |disk| {
        let [first, second] = [(); 2].map(|()| disk.open(&at, APPEND).unwrap());
        (errno(disk.lock(first)), errno(disk.lock(second)))
    });
    assert_eq!((first, second), (0, Errno::WOULDBLOCK.raw_os_error()));
}

fn a_lock_is_kept_by_its_holder(bench: &mut Bench) {
    let at = path(bench, "lock");
    let again = on_disk(bench, move |disk| {
        let file = disk.open(&at, APPEND).unwrap();
        disk.lock(file).unwrap();
        errno(disk.lock(file))
    });
    assert_eq!(again, 0);
}

fn a_lock_is_released_by_the_close(bench: &mut Bench) {
    let at = path(bench, "lock");
    let second = on_disk(bench, move |disk| {
        let [first, second] = [(); 2].map(|()| disk.open(&at, APPEND).unwrap());
        disk.lock(first).unwrap();
        disk.close(first);
        errno(disk.lock(second))
    });
    assert_eq!(second, 0);
}

fn a_lock_excludes_another_process(bench: &mut Bench) {
    let at = path(bench, "lock");
    let first = at.clone();
    on_disk(bench, move |disk| {
        let file = disk.open(&first, APPEND).unwrap();
        disk.lock(file).unwrap();
    });
    bench.enter(1);
    let second = on_disk(bench, move |disk| {
        let file = disk.open(&at, APPEND).unwrap();
        errno(disk.lock(file))
    });
    assert_eq!(second, Errno::WOULDBLOCK.raw_os_error());
}

fn a_lock_ends_with_its_process(bench: &mut Bench) {
    let at = path(bench, "lock");
    let first = at.clone();
    on_disk(bench, move |disk| {
        let file = disk.open(&first, APPEND).unwrap();
        disk.lock(file).unwrap();
    });
    bench.end(0);
    let second = on_disk(bench, move |disk| {
        let file = disk.open(&at, APPEND).unwrap();
        errno(disk.lock(file))
    });
    assert_eq!(second, 0);
}

fn a_lock_needs_no_write_access(bench: &mut Bench) {
    let at = path(bench, "lock");
    let (first, second) = on_disk(bench, move |disk| {
        write(disk, &at, b"");
        let [first, second] = [(); 2].map(|()| disk.open(&at, READ).unwrap());
        (errno(disk.lock(first)), errno(disk.lock(second)))
    });
    assert_eq!((first, second), (0, Errno::WOULDBLOCK.raw_os_error()));
}

fn accepted_jobs_are_done_when_the_process_ends(bench: &mut Bench) {
    let count = Arc::default();
    for _ in 0..100 {
        bench.net().run_file_job(steps(3, Step::Later, &count)).unwrap();
    }
    bench.end(0);
    assert_eq!(*count.lock().unwrap(), 300);
}

fn another_process_sees_the_files(bench: &mut Bench) {
    let at = path(bench, "file");
    let first = at.clone();
    on_disk(bench, move |disk| {
        write(disk, &first, b"data");
    });
    bench.enter(1);
    let data = on_disk(bench, move |disk| {
        let file = disk.open(&at, READ).unwrap();
        read(disk, file)
    });
    assert_eq!(data, b"data");
}

fn the_files_of_processes_have_numbers_of_their_own(bench: &mut Bench) {
    let at = path(bench, "file");
    let file = on_disk(bench, move |disk| write(disk, &at, b"data"));
    bench.enter(1);
    let other = on_disk(bench, move |disk| errno(disk.metadata(file)));
    assert_eq!(other, Errno::BADF.raw_os_error());
}
