//! Signals, sent to a real process: this test, run again as a child that never finishes draining.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

const CHILD: &str = "SERVICE_TEST_CHILD";

/// Does nothing, unless it is the child.
#[test]
fn child_that_never_finishes_draining() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shutdown = push_suite_service::shutdown::on_signal(Duration::from_secs(600)).unwrap();
        println!("serving");
        shutdown.cancelled().await;
        println!("draining");
        // Not a sleep of the runtime: a blocked one must not keep a second signal from working.
        loop {
            std::thread::park();
        }
    });
}

struct Draining(Child, BufReader<ChildStdout>);

impl Draining {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_never_finishes_draining", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut draining = Self(child, said);
        draining.wait_for("serving");
        draining.signal("-TERM");
        draining.wait_for("draining");
        draining
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(self.1.read_line(&mut line).unwrap() != 0, "ended before {word}");
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_signal_ends_a_blocked_process_at_once() {
    for (name, code) in [("-TERM", 128 + 15), ("-INT", 128 + 2)] {
        let mut process = Draining::start();
        process.signal(name);
        assert_eq!(process.0.wait().unwrap().code(), Some(code));
    }
}
