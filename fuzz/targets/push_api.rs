//! Commands of the push API, and the texts in its paths and queries.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::push_api(bytes));
