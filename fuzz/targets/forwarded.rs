//! Headers in which proxies state the addresses of clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::forwarded(bytes));
