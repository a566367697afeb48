//! Panics in real processes: this test, run again as a child that panics in one place or another.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io, panic,
    process::{Command, Output, Stdio},
    time::Duration,
};

use clap::Parser;
use push_suite_service::settings::Common;
use runtime::{supervise, thread};
use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};
use tokio_util::task::TaskTracker;

const WHERE: &str = "SERVICE_TEST_PANIC";

/// The arguments of the child, which is a test.
#[derive(Debug, Parser, Serialize)]
struct Args {
    #[arg(long)]
    #[serde(skip)]
    exact: bool,
    #[arg(long)]
    #[serde(skip)]
    nocapture: bool,
    #[serde(skip)]
    test: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
}

impl AsRef<Common> for Args {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

struct Config;

impl push_suite_service::settings::Effective for Config {}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(_: Args) -> anyhow::Result<Self> {
        if std::env::var(WHERE).unwrap() == "settings" {
            on_purpose();
        }
        Ok(Self)
    }
}

fn on_purpose() {
    panic!("on purpose");
}

/// Does nothing, unless it is the child: then it ends the process.
#[test]
fn child_that_panics() {
    let Ok(place) = std::env::var(WHERE) else { return };
    // Where a process of ours has its own main thread, a test has a thread of the harness.
    let code = push_suite_service::main::<Args, Config>(async |_, starting| {
        let started = starting.started("serving").unwrap();
        let mut tasks = JoinSet::new();
        let (tracker, local) = (TaskTracker::new(), LocalSet::new());
        match place.as_str() {
            "main" => on_purpose(),
            "task" => drop(supervise::spawn(async { on_purpose() })),
            "set" => supervise::spawn_in(&mut tasks, async { on_purpose() }),
            "tracked" => drop(supervise::spawn_tracked(&tracker, async { on_purpose() })),
            "blocking" => drop(supervise::spawn_blocking(on_purpose)),
            "local" => {
                local
                    .run_until(async { drop(supervise::spawn_local(async { on_purpose() })) })
                    .await;
            }
            "thread" => drop(thread::spawn("shard-7".to_owned(), async || on_purpose()).unwrap()),
            "caught" => drop(supervise::spawn(async {
                (0..100).for_each(|_| drop(panic::catch_unwind(on_purpose)));
            })),
            "foreign" => drop(tokio::spawn(async { on_purpose() })),
            other => panic!("{other}"),
        }
        if matches!(place.as_str(), "caught" | "foreign") {
            tokio::time::sleep(Duration::from_millis(200)).await;
            return Ok(());
        }
        local.run_until(started.shutdown.cancelled()).await;
        Ok(())
    });
    // The harness would say that the test went well.
    let code = format!("{code:?}");
    let number: String = code.chars().filter(char::is_ascii_digit).collect();
    std::process::exit(number.parse().unwrap());
}

fn child(place: &str, stderr: Stdio) -> io::Result<Output> {
    Command::new(std::env::current_exe()?)
        .args(["--exact", "child_that_panics", "--nocapture"])
        .env(WHERE, place)
        .env_remove("RUST_BACKTRACE")
        .stderr(stderr)
        .output()
}

#[test]
fn a_panic_in_anything_supervised_ends_the_process_with_its_code_and_a_last_line() {
    for place in ["main", "task", "set", "tracked", "blocking", "local", "thread"] {
        let output = child(place, Stdio::piped()).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(supervise::PANICKED.into()), "{place}: {said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains("ERROR") && last.contains("exit_code=70"), "{place}: {said}");
        assert!(last.contains("panics.rs") && last.contains("on purpose"), "{place}: {said}");
    }
}

#[test]
fn a_panic_before_logging_ends_the_process_with_the_same_code() {
    let output = child("settings", Stdio::piped()).unwrap();
    assert_eq!(output.status.code(), Some(supervise::PANICKED.into()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("on purpose"));
}

#[test]
fn a_panic_ends_the_process_whatever_its_log_is() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed) = io::pipe().unwrap();
    drop(reader);
    // The other end accepts bytes until it is full, and none are read.
    let (_reader, stuck) = io::pipe().unwrap();
    let mut filler = stuck.try_clone().unwrap();
    let _ = std::thread::spawn(move || {
        let _ = io::Write::write_all(&mut filler, &[0; 1 << 20]);
    });
    for stderr in [Stdio::from(full), closed.into(), stuck.into(), Stdio::null()] {
        let output = child("task", stderr).unwrap();
        assert_eq!(output.status.code(), Some(supervise::PANICKED.into()));
    }
}

#[test]
fn a_panic_that_is_caught_ends_nothing_and_fills_no_log() {
    let output = child("caught", Stdio::piped()).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("panicked").count(), 1, "{said}");
}

#[test]
fn a_panic_in_a_task_that_an_application_spawned_is_its_own() {
    let output = child("foreign", Stdio::piped()).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("panicked"), "{said}");
}
