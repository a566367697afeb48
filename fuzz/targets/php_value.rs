//! PHP's serialized values, alone and as updates of sessions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::value(bytes);
    fuzz::session(bytes);
});
