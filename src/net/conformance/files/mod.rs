//! Files: names, contents, open files, locks, and the jobs that use them.

mod contents;
mod jobs;
mod names;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::net::conformance::bench::Bench;
use crate::net::conformance::sum;
use crate::net::files::{Access, Create, Disk, FileJob, FileNumber, OpenFile, Step};

/// The number of cases.
pub(super) const CASES: usize = sum(&[contents::PROGRAMS, jobs::PROGRAMS, names::PROGRAMS]);

const READ: OpenFile = OpenFile { access: Access::Read, create: Create::Never, follow: true };
const APPEND: OpenFile = OpenFile { access: Access::Append, create: Create::IfMissing(0o644), follow: true };
const NEW: OpenFile = OpenFile { access: Access::Append, create: Create::New(0o600), follow: true };

/// A job of one call after the other, and its result.
struct Once<F, T> {
    act: Option<F>,
    result: Arc<Mutex<Option<T>>>,
}

impl<T: Send, F: FnOnce(&mut dyn Disk) -> T + Send> FileJob for Once<F, T> {
    fn step(&mut self, disk: &mut dyn Disk) -> Step {
        if let Some(act) = self.act.take() {
            let result = act(disk);
            *self.result.lock().unwrap() = Some(result);
        }
        Step::Done
    }
}

/// Runs calls in a job, and returns their result.
fn on_disk<T: Send + 'static>(bench: &mut Bench, act: impl FnOnce(&mut dyn Disk) -> T + Send + 'static) -> T {
    let result = Arc::new(Mutex::new(None));
    let job = Once { act: Some(act), result: Arc::clone(&result) };
    bench.net().run_file_job(Box::new(job)).expect("a thread");
    assert!(bench.wait_until(|_| result.lock().unwrap().is_some()), "the job is done");
    let taken = result.lock().unwrap().take();
    taken.expect("the result that has come")
}

/// A path in the folder of the case.
fn path(bench: &Bench, name: &str) -> PathBuf {
    bench.folder().join(name)
}

fn write(disk: &mut dyn Disk, path: &std::path::Path, data: &[u8]) -> FileNumber {
    let file = disk.open(path, APPEND).expect("it can be created");
    assert_eq!(disk.append(file, data).expect("it can be written"), data.len());
    file
}

fn read(disk: &mut dyn Disk, file: FileNumber) -> Vec<u8> {
    let mut data = vec![0; 1000];
    let count = disk.read_at(file, 0, &mut data).expect("it can be read");
    data.truncate(count);
    data
}

fn errno<T>(result: io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().expect("an error of the system"),
    }
}
