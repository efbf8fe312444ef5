//! The layers above the reactor use its public interface, but for calls that are listed with the
//! reason in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all `pub(crate)` functions below a folder.
fn private_calls(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            private_calls(&path, found);
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let line = line.trim_start().replace("const fn", "fn");
            if let Some(rest) = line.strip_prefix("pub(crate) fn ") {
                found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
}

#[test]
fn every_private_call_of_the_reactor_is_listed_with_its_reason() {
    let reactor = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reactor");
    let mut found = BTreeSet::new();
    private_calls(&reactor, &mut found);
    let text = fs::read_to_string(reactor.join("mod.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let names = rows.clone().flat_map(|row| row.split(" | ").next().unwrap().split(", "));
    let listed: BTreeSet<String> = names.map(|name| name.trim_matches('`').to_owned()).collect();
    assert_eq!(found, listed);
    assert!(rows.clone().all(|row| row.split(" | ").count() == 3), "function, callers and reason");
    assert!(!listed.is_empty());
}
