//! Promises about system calls. strace traces a child that runs the same test, and injects errors.
//!
//! Without a working strace, a message on stderr says that the test was skipped.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Turn, World, child, on_the_real_network};

/// Runs `body` in a child under strace, with these calls traced and tampered with, and returns the
/// trace. `None` in the child, and without a working strace.
pub fn under_strace(test: &str, tampering: &str, body: impl FnOnce(&World)) -> Option<String> {
    // A fork beside another test would hold its descriptors for a moment.
    let _turn = Turn::take();
    let works =
        || Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !child::inside() && !works().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs strace, which is absent here or must not trace");
        return None;
    }
    let trace = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    let first = format!("exec strace -f -qq -o {} {tampering} \"$0\" \"$@\";", trace.display());
    let child = child::begin(test, &first);
    match child {
        None => {
            on_the_real_network("strace lets calls of the system fail", body);
            None
        }
        Some(child) => {
            child.succeeds();
            let traced = fs::read_to_string(&trace).unwrap();
            fs::remove_file(trace).unwrap();
            Some(traced)
        }
    }
}
