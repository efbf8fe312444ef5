//! Capture of warnings and errors that are logged during a promise.

use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

/// The thread of the running promise.
static OWNER: Mutex<Option<ThreadId>> = Mutex::new(None);

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts capturing, and drops earlier records.
pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    *OWNER.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current().id());
    take();
}

/// Returns whether this thread belongs to another test, which runs concurrently. Reactors' threads
/// are named `twistor-..`, a promise's own threads have no name, and test threads have the tests'
/// names.
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
        // On a loaded machine any callback may be slow.
        if !text.ends_with("the slowest so far") {
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    fn flush(&self) {}
}
