//! Answers of webhooks.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::hook_answer(bytes));
