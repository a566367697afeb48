//! Lines between a register and its peers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::lines(bytes));
