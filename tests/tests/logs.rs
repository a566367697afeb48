//! Processes with a lost or blocked log serve and drain normally.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs::{self, File},
    process::Stdio,
    time::{Duration, Instant},
};

use suite_tests::{
    Browser, Conditions, Stderr, Suite, TIMEOUT, binaries, eventually,
    process::{Process, Signal},
    suite::Gateway,
};

/// Grace period in seconds; longer than any drain in these tests takes.
const GRACE: u64 = 8;

/// The log filter with the most lines.
const ALL: &str = "trace";

#[tokio::test]
async fn process_with_standard_error_closed_serves_and_drains() {
    serves_and_drains(Stderr::Closed).await;
}

#[tokio::test]
async fn process_with_closed_log_reader_serves_and_drains() {
    serves_and_drains(Stderr::ReaderClosed).await;
}

#[tokio::test]
async fn process_with_stalled_log_reader_serves_and_drains() {
    serves_and_drains(Stderr::FullPipe).await;
}

#[tokio::test]
async fn process_with_log_on_full_disk_serves_and_drains() {
    serves_and_drains(Stderr::FullDisk).await;
}

async fn suite(stderr: Stderr) -> Suite {
    let grace = GRACE.to_string();
    let builder = Suite::builder().gateways(1).workers(2).threads(2).logs(ALL).stderr(stderr);
    builder.gateway_flag("--grace", &grace).worker_flag("--grace", &grace).start().await
}

/// Makes every process log everything: clients that connect and close, a worker that dies and
/// restarts, a gateway that is announced, refusals, and the shutdown.
async fn serves_and_drains(stderr: Stderr) {
    let mut suite = suite(stderr).await;
    let mut clients = Vec::new();
    for number in 0..40 {
        clients.push(suite.browser(0).await);
        if number % 4 == 0 {
            clients.pop().unwrap().close().await;
        }
    }
    echo_each(&mut clients).await;
    // Their clients are reassigned, which the gateway logs before it does it.
    suite.workers[0].kill();
    echo_each(&mut clients).await;
    suite.workers[0].restart().await;
    echo_each(&mut clients).await;
    suite.add_gateway().await;
    eventually("the workers to link to it", async || {
        suite.workers[1].unready_reasons().await?.is_empty().then_some(())
    })
    .await;
    let mut newcomer = suite.browser(1).await;
    newcomer.exchange("echo", "echo").await;
    for gateway in &mut suite.gateways {
        drains(gateway).await;
    }
    for process in suite.workers.iter_mut().chain(&mut suite.registers) {
        drains(process).await;
    }
}

async fn echo_each(clients: &mut [Browser]) {
    for client in clients {
        client.exchange("echo", "echo").await;
    }
}

async fn drains(process: &mut Process) {
    let since = Instant::now();
    assert_eq!(process.stop().await.code(), Some(0), "{}", process.name);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(GRACE), "{} took {took:?}", process.name);
}

#[tokio::test]
async fn dropped_log_lines_are_counted_and_reported_when_the_reader_resumes() {
    let mut suite = suite(Stderr::FullPipe).await;
    let mut watching = suite.browser(0).await;
    let mut clients = Vec::new();
    while dropped(&suite.gateways[0]).await == 0.0 {
        for _ in 0..50 {
            clients.push(suite.browser(0).await);
        }
        clients.clear();
        watching.exchange("echo", "echo").await;
    }
    let dropped_before = dropped(&suite.gateways[0]).await;
    suite.gateways[0].read_log();
    let line = eventually("a line that reports dropped lines", async || {
        let log = suite.gateways[0].log();
        log.lines().find(|line| line.contains("log lines dropped")).map(str::to_owned)
    })
    .await;
    let lines: f64 = line.split_once("lines=").unwrap().1.trim().parse().unwrap();
    assert!(dropped_before <= lines, "{dropped_before}: {line}");
    assert!(line.contains(" WARN "), "{line}");
    // The last line is written before the process exits.
    suite.gateways[0].stop().await;
    suite.gateways[0].wait_for_log(&["draining"]).await;
}

async fn dropped(gateway: &Gateway) -> f64 {
    gateway.metric("pushsuite_log_lines_dropped_total").await.unwrap()
}

#[tokio::test]
async fn second_signal_ends_a_process_with_stalled_log_reader() {
    let mut suite = suite(Stderr::FullPipe).await;
    let mut worker = suite.worker_link(0, "w:1").await;
    suite.workers.iter_mut().for_each(Process::kill);
    // An unacknowledged event keeps the gateway draining.
    let _client = suite.browser(0).await;
    worker.event().await;
    suite.gateways[0].signal(Signal::Term);
    tokio::time::sleep(Duration::from_millis(200)).await;
    suite.gateways[0].signal(Signal::Term);
    let since = Instant::now();
    assert_eq!(suite.gateways[0].wait_exit().await.code(), Some(128 + 15));
    assert!(since.elapsed() < Duration::from_secs(GRACE) / 2, "{:?}", since.elapsed());
}

#[tokio::test]
async fn unwritable_output_does_not_change_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for binary in ["register", "gateway", "business-worker"] {
        for (args, expected) in [
            (&["--check"][..], 0),
            (&["--help"], 0),
            (&["--version"], 0),
            (&["--no-such-flag"], 2),
            (&["--grace", "soon"], 2),
            (&["--config", "/no/such/file"], 2),
            (&["--secret-key", "", "--admin-listen", "0.0.0.0:1"], 2),
        ] {
            for stderr in [Stderr::Closed, Stderr::ReaderClosed, Stderr::FullDisk] {
                let log = File::create(folder.path().join("log")).unwrap();
                let (mut command, _) =
                    Conditions { stderr, descriptors: None }.command(&binaries::path(binary), log);
                let stdout = match stderr {
                    Stderr::ReaderClosed => Stdio::from(std::io::pipe().unwrap().1),
                    _ => fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
                };
                let mut child =
                    command.args(args).env_clear().env("PATH", "/bin").stdout(stdout).spawn();
                let child = child.as_mut().unwrap();
                let what = format!("{binary} {args:?} to exit");
                let status = eventually(what, async || child.try_wait().unwrap()).await;
                assert_eq!(status.code(), Some(expected), "{binary} {args:?} {stderr:?}");
            }
        }
    }
}

/// `TIMEOUT` bounds the other waits, so a drain must take less.
const _: () = assert!(GRACE < TIMEOUT.as_secs());
