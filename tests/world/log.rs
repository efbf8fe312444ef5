//! What was logged as a warning or an error while a promise ran.

use std::sync::{Mutex, Once, PoisonError};

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to listen to the log, and forgets what came before.
pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
    });
    take();
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
        let text = record.args().to_string();
        // A loaded machine may make any callback slow.
        if !text.ends_with("the slowest so far") {
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    fn flush(&self) {}
}
