//! Answers of Redis.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::redis_answer(bytes));
