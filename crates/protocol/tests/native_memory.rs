//! Hostile lengths reserve no memory. The only test in its process, so that the peak is its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use bytes::{BufMut, BytesMut};
use push_suite_protocol::{
    codec::native::{MAX_FRAME, PREFIX, VERSION, decode},
    link::{ToGateway, ToPeer},
};

/// Memory that decoding may take beyond the frame itself, in KiB: far below the lengths announced
/// here.
const ALLOWED: u64 = 16 * 1024;

#[test]
fn length_beyond_the_frame_reserves_almost_no_memory() {
    let starts: Vec<Vec<u8>> = (0..20_u8)
        .flat_map(|message| (0..14_u8).map(move |variant| (message, variant)))
        .flat_map(|(message, variant)| {
            // A length may be the first field of a variant, or follow a few small ones.
            (0..4)
                .map(move |small| [&[message, 1, variant][..], &[1_u8, 1, 1, 1][..small]].concat())
        })
        .collect();
    let lengths: [&[u8]; 4] = [
        &[252, 0xff, 0xff, 0xff, 0x7f],
        &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0],
        &[253, 0, 0, 0, 0, 0, 0, 0, 0x40],
        &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    attempt(&[0]);
    let before = peak();
    for start in &starts {
        for length in lengths {
            attempt(&[start, length, &[1; 40]].concat());
        }
    }
    // An incomplete frame: the reader waits without reserving memory.
    let mut buffer = BytesMut::from(&(MAX_FRAME as u32).to_be_bytes()[..]);
    assert!(decode::<ToGateway>(&mut buffer, MAX_FRAME).unwrap().is_none());
    let grown = peak() - before;
    assert!(grown < ALLOWED, "{grown} KiB were reserved");
}

fn attempt(header: &[u8]) {
    let mut frame = BytesMut::new();
    frame.put_u32((PREFIX - 4 + header.len()) as u32);
    frame.put_u8(VERSION);
    frame.put_u8(0);
    frame.put_u32(header.len() as u32);
    frame.put_slice(header);
    let _ = decode::<ToGateway>(&mut frame.clone(), MAX_FRAME);
    let _ = decode::<ToPeer>(&mut frame, MAX_FRAME);
}

/// Peak virtual memory of this process, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
