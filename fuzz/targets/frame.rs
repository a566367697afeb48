//! Frames of PHP peers on the inner port, and their effects.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::frames(bytes));
