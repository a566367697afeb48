//! Messages of clients without WebSocket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::other_framings(bytes));
