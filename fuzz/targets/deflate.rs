//! Compressed messages, in both directions, and their negotiation.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::deflate(bytes));
