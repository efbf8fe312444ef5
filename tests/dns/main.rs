//! The DNS resolver and the system's files that it reads.
#![cfg(feature = "dns")]

#[path = "../support/modules.rs"]
mod modules;
#[path = "../../fuzz/checks/system_files.rs"]
mod system_files;

mod any_system_file;
