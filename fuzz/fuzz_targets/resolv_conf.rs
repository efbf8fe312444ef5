#![no_main]

#[path = "../checks/system_files.rs"]
mod system_files;

libfuzzer_sys::fuzz_target!(|data: &[u8]| system_files::resolv_conf(data));
