//! Extreme values of every numeric setting: refused by name, or the process works with them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    process::{Command, Output},
    time::Duration,
};

use futures_util::future::join_all;
use suite_tests::{Conditions, Raw, Suite, binaries, ports, process::Process};
use tempfile::TempDir;
use toml::{Table, Value};

/// Values a user might try for "none", "minimum" or "unlimited".
const ENDS: [&str; 6] =
    ["0", "1", "65535", "4294967295", "9223372036854775807", "18446744073709551615"];

/// A port, which may be in use by another process.
const LEFT_OUT: &str = "lan_port";

/// How long a process is observed: a few ticks of all its timers.
const WATCHED: Duration = Duration::from_millis(600);

fn check(binary: &str, args: &[&str]) -> Output {
    let mut command = Command::new(binaries::path(binary));
    command.args(args).arg("--check").env_clear().output().unwrap()
}

/// The flags of all numeric settings, from the output of `--check`.
fn numbers(binary: &str) -> Vec<String> {
    let shown = String::from_utf8(check(binary, &[]).stdout).unwrap();
    let shown: Table = shown.parse().unwrap();
    let numbers = shown.into_iter().filter(|(_, value)| matches!(value, Value::Integer(_)));
    let keys = numbers.map(|(key, _)| key).filter(|key| key != LEFT_OUT);
    keys.map(|key| format!("--{}", key.replace('_', "-"))).collect()
}

/// Flags with accepted values. Asserts that the others are refused by name.
fn accepted(binary: &str) -> Vec<[String; 2]> {
    let mut accepted = Vec::new();
    for flag in numbers(binary) {
        for value in ENDS {
            let output = check(binary, &[&flag, value]);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => {
                    let shown = String::from_utf8(output.stdout).unwrap();
                    let line = format!("{} = {value}  # {flag}", flag[2..].replace('-', "_"));
                    assert!(shown.contains(&line), "{line} is not in {shown}");
                    accepted.push([flag.clone(), value.to_owned()]);
                }
                Some(2) => assert!(stderr.contains(&flag), "{binary} {flag} {value}: {stderr}"),
                other => panic!("{binary} {flag} {value}: {other:?}: {stderr}"),
            }
        }
    }
    // Each setting accepts at least one value.
    assert!(
        numbers(binary).iter().all(|flag| accepted.iter().any(|accepted| accepted[0] == *flag))
    );
    accepted
}

/// Runs several at a time, since each mostly waits.
async fn some_at_a_time(flags: Vec<[String; 2]>, watch: impl AsyncFn([String; 2])) {
    for some in flags.chunks(8) {
        join_all(some.iter().map(|flag| watch(flag.clone()))).await;
    }
}

async fn start(suite: &Suite, binary: &'static str, args: &[String]) -> (Process, TempDir) {
    let logs = tempfile::tempdir().unwrap();
    let env = suite.env();
    let args = args.to_vec();
    let mut process =
        Process::start("extreme", binary, args, env, logs.path(), Conditions::default());
    process.ready().await;
    (process, logs)
}

async fn ends_well(suite: &Suite, mut process: Process, flag: &[String]) {
    tokio::time::sleep(WATCHED).await;
    assert_eq!(process.stop().await.code(), Some(0), "{flag:?}: {}", process.log());
    let secret = String::from_utf8_lossy(suite.secret().expose()).into_owned();
    assert_eq!(process.log_violation(&secret), None, "{flag:?}");
}

#[tokio::test]
async fn register_refuses_or_works_with_extreme_values() {
    let suite = Suite::builder().gateways(0).start().await;
    some_at_a_time(accepted("register"), async |flag| {
        let args = [&["--listen".to_owned(), ports::free().to_string()], &flag[..]].concat();
        let (register, _logs) = start(&suite, "register", &args).await;
        ends_well(&suite, register, &flag).await;
    })
    .await;
}

#[tokio::test]
async fn gateway_refuses_or_works_with_extreme_values() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    some_at_a_time(accepted("gateway"), async |flag| {
        let (clients, inner) = (ports::free(), ports::free().port().to_string());
        let usual = [
            ["--listen".to_owned(), format!("text://{clients}")],
            ["--lan-port".to_owned(), inner],
            ["--register-address".to_owned(), suite.register_addrs[0].to_string()],
        ];
        let args = [&usual.concat()[..], &flag[..]].concat();
        let (gateway, _logs) = start(&suite, "gateway", &args).await;
        let mut client = Raw::connect(clients).await;
        client.send(b"e\n").await;
        ends_well(&suite, gateway, &flag).await;
    })
    .await;
}

#[tokio::test]
async fn worker_refuses_or_works_with_extreme_values() {
    let suite = Suite::builder().gateways(1).start().await;
    some_at_a_time(accepted("business-worker"), async |flag| {
        let register = ["--register-address".to_owned(), suite.register_addrs[0].to_string()];
        let app = ["--app".to_owned(), "echo".to_owned()];
        let args = [&register[..], &app, &flag[..]].concat();
        let (worker, _logs) = start(&suite, "business-worker", &args).await;
        let mut client = suite.browser(0).await;
        client.send("echo").await;
        assert_eq!(client.receive_text().await, "echo", "{flag:?}");
        ends_well(&suite, worker, &flag).await;
    })
    .await;
}
