//! What the two ends of a native link send each other.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::link(bytes));
