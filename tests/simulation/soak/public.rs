//! The list of public calls, read from the source. A new call has to be exercised by the soak.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Returns `Type::function` for each public method of the reactor's folder and of addresses, and
/// `function` for free functions.
pub fn calls() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![source.join("net/address.rs"), source.join("reactor")];
    let mut calls = BTreeSet::new();
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        let mut owner = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("impl") {
                // A trait's methods are called by the reactor, not by users.
                let of_a_trait = rest.contains(" for ");
                // The generics of `impl<T: Bound> Type<T>`.
                let rest = rest.strip_prefix('<').map_or(rest, |rest| rest.split_once("> ").unwrap().1);
                let name = rest.trim();
                let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
                owner = (!of_a_trait).then_some(name);
            } else if let Some(rest) = line.strip_prefix("    pub fn ")
                && let Some(owner) = &owner
            {
                calls.insert(format!("{owner}::{}", name_of(rest)));
            } else if let Some(rest) = line.strip_prefix("pub fn ") {
                calls.insert(name_of(rest));
            }
        }
    }
    calls
}

fn name_of(rest: &str) -> String {
    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
