#![no_main]

#[path = "../checks/dns_messages.rs"]
mod dns_messages;

libfuzzer_sys::fuzz_target!(|data: &[u8]| dns_messages::message(data));
