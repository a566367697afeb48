//! Says what `cargo test` alone leaves out.

use std::io::{Write as _, stderr};

/// The stages of `tests/run.sh` that need more than cargo, and what they are.
const LEFT_OUT: &[(&str, &str)] = &[
    ("simulation", "the processes in one deterministic process, with faults"),
    ("fuzz", "every decoder, with random input"),
    ("chaos", "real processes under load that are killed, paused and cut off"),
    ("attacks", "real processes under random hostile input"),
    ("browser", "the page in a real Chromium"),
    ("conformance", "the Autobahn WebSocket cases"),
    ("deploy", "systemd units, nginx with TLS in front, the demo"),
    ("compat", "peers in PHP"),
];

#[test]
fn what_only_the_full_run_covers() {
    let mut text = String::from("left out here, run by `bash tests/run.sh`:\n");
    for (stage, what) in LEFT_OUT {
        text.push_str(&format!("  {stage}: {what}\n"));
    }
    // Not by a print macro: the output of a test that passes is only shown if it was not captured.
    stderr().write_all(text.as_bytes()).expect("somebody reads this");
}
