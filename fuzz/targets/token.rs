//! Handshakes with tokens, tokens, keys and lists of revocations.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::token(bytes));
