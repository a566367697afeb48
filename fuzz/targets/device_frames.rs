//! Frames of clients, in a layout that the input declares.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::device_frames(bytes));
