//! Serialized PHP values, alone and as session updates.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::value(bytes);
    fuzz::session(bytes);
});
