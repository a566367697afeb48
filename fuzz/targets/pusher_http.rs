//! Requests to the HTTP API of the Pusher protocol: paths, queries, and bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::pusher_http(bytes));
