//! Messages of clients of the Pusher protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::pusher(bytes));
