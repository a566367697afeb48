//! Every setting that is a number, at its ends: it is refused by name, or the process works with it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    process::{Command, Output},
    time::Duration,
};

use futures_util::future::join_all;
use suite_tests::{Conditions, Raw, Suite, binaries, ports, process::Process};
use tempfile::TempDir;
use toml::{Table, Value};

/// What someone might type who wants none, the least, or no limit.
const ENDS: [&str; 6] =
    ["0", "1", "65535", "4294967295", "9223372036854775807", "18446744073709551615"];

/// A port, which somebody else may have.
const LEFT_OUT: &str = "lan_port";

/// How long a process is watched: a few ticks of all that it does by the clock.
const WATCHED: Duration = Duration::from_millis(600);

fn check(binary: &str, args: &[&str]) -> Output {
    let mut command = Command::new(binaries::path(binary));
    command.args(args).arg("--check").env_clear().output().unwrap()
}

/// The flags of all settings that are numbers, by what `--check` shows.
fn numbers(binary: &str) -> Vec<String> {
    let shown = String::from_utf8(check(binary, &[]).stdout).unwrap();
    let shown: Table = shown.parse().unwrap();
    let numbers = shown.into_iter().filter(|(_, value)| matches!(value, Value::Integer(_)));
    let keys = numbers.map(|(key, _)| key).filter(|key| key != LEFT_OUT);
    keys.map(|key| format!("--{}", key.replace('_', "-"))).collect()
}

/// Flags with values that are taken. The others are refused by name.
fn taken(binary: &str) -> Vec<[String; 2]> {
    let mut taken = Vec::new();
    for flag in numbers(binary) {
        for value in ENDS {
            let output = check(binary, &[&flag, value]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => {
                    let shown = String::from_utf8(output.stdout).unwrap();
                    let line = format!("{} = {value}  # {flag}", flag[2..].replace('-', "_"));
                    assert!(shown.contains(&line), "{line} is not in {shown}");
                    taken.push([flag.clone(), value.to_owned()]);
                }
                Some(2) => assert!(said.contains(&flag), "{binary} {flag} {value}: {said}"),
                other => panic!("{binary} {flag} {value}: {other:?}: {said}"),
            }
        }
    }
    // At least one for each, or it is no setting.
    assert!(numbers(binary).iter().all(|flag| taken.iter().any(|taken| taken[0] == *flag)));
    taken
}

/// Most of the time of each is spent waiting.
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

async fn ends_well(mut process: Process, flag: &[String]) {
    tokio::time::sleep(WATCHED).await;
    assert_eq!(process.stop().await.code(), Some(0), "{flag:?}: {}", process.log());
    assert_eq!(process.blemish("s3cret-of-nobody"), None, "{flag:?}");
}

#[tokio::test]
async fn register_with_any_number_at_its_ends_refuses_it_or_works() {
    let suite = Suite::builder().gateways(0).start().await;
    some_at_a_time(taken("register"), async |flag| {
        let args = [&["--listen".to_owned(), ports::free().to_string()], &flag[..]].concat();
        let (register, _logs) = start(&suite, "register", &args).await;
        ends_well(register, &flag).await;
    })
    .await;
}

#[tokio::test]
async fn gateway_with_any_number_at_its_ends_refuses_it_or_works() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    some_at_a_time(taken("gateway"), async |flag| {
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
        ends_well(gateway, &flag).await;
    })
    .await;
}

#[tokio::test]
async fn worker_with_any_number_at_its_ends_refuses_it_or_works() {
    let suite = Suite::builder().gateways(1).start().await;
    some_at_a_time(taken("business-worker"), async |flag| {
        let register = ["--register-address".to_owned(), suite.register_addrs[0].to_string()];
        let app = ["--app".to_owned(), "echo".to_owned()];
        let args = [&register[..], &app, &flag[..]].concat();
        let (worker, _logs) = start(&suite, "business-worker", &args).await;
        let mut client = suite.browser(0).await;
        client.send("echo").await;
        assert_eq!(client.hears_text().await, "echo", "{flag:?}");
        ends_well(worker, &flag).await;
    })
    .await;
}
