//! Messages of clients in framings other than WebSocket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::other_framings(bytes));
