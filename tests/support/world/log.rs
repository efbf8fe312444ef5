//! What was logged as a warning or an error while a promise ran.

use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

/// The thread of the promise that runs.
static OWNER: Mutex<Option<ThreadId>> = Mutex::new(None);

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to listen to the log, and forgets what came before.
pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
    take();
}

/// Whether this thread belongs to another test, which runs beside the promise. Threads of reactors are named
/// `twistor-..`, those that a promise starts have no name, and those of tests have the tests' names.
fn is_of_another_test() -> bool {
    let thread = thread::current();
    let named = thread.name().is_some_and(|name| !name.starts_with("twistor-"));
    named && *OWNER.lock().unwrap_or_else(PoisonError::into_inner) != Some(thread.id())
}

pub fn take() -> Vec<String> {
    std::mem::take(&mut LOGGED.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if is_of_another_test() {
            return;
        }
        let text = record.args().to_string();
        // A loaded machine may make any callback slow.
        if !text.ends_with("the slowest so far") {
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    fn flush(&self) {}
}
