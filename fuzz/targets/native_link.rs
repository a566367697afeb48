//! Messages of a native link, in both directions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::link(bytes));
