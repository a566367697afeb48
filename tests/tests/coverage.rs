//! Lists the test stages that `cargo test` does not run.

use std::io::{Write as _, stderr};

/// The stages of `tests/run.sh` that need more than cargo, with a description.
const LEFT_OUT: &[(&str, &str)] = &[
    ("simulation", "the processes in one deterministic process, with faults"),
    ("fuzz", "every decoder, with random input"),
    ("chaos", "real processes under load that are killed, paused and partitioned"),
    ("attacks", "real processes under random hostile input"),
    ("browser", "the page in a real Chromium"),
    ("conformance", "the Autobahn WebSocket cases"),
    ("pusher", "real clients and server libraries of the Pusher protocol"),
    ("deploy", "systemd units, nginx and HAProxy with TLS in front, the demo"),
    ("compat", "peers in PHP"),
    ("hooks", "receivers of webhooks made of npm and PyPI packages, and in PHP"),
    ("monitoring", "alerts, board and runbooks with a real Prometheus"),
    ("http", "requests generated from the OpenAPI document of the push API"),
    ("site", "the documentation as a site: links, translations, the quick start"),
    ("package", "the packages, each used as its reader would"),
];

/// The stages that it runs, or that prepare others.
const HERE: &[&str] = &["setup", "lint", "style", "test", "build"];

#[test]
fn stages_of_the_full_run_are_listed() {
    let mut text = String::from("not run here; `bash tests/run.sh` runs:\n");
    for (stage, what) in LEFT_OUT {
        assert!(include_str!("../run.sh").contains(&format!("stage_{stage}()")), "{stage}");
        text.push_str(&format!("  {stage}: {what}\n"));
    }
    for line in include_str!("../run.sh").lines() {
        if let Some((stage, _)) = line.strip_prefix("stage_").and_then(|it| it.split_once("()")) {
            let is_listed = LEFT_OUT.iter().any(|(left_out, _)| *left_out == stage);
            assert!(is_listed || HERE.contains(&stage), "{stage} is in neither list");
        }
    }
    // Not with a print macro: its output is captured and not shown for a passing test.
    stderr().write_all(text.as_bytes()).expect("standard error is writable");
}
