//! Signals that do not terminate processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

use suite_tests::{
    Suite,
    process::{Process, Signal},
};

fn processes(suite: &mut Suite) -> impl Iterator<Item = &mut Process> {
    let gateways = suite.gateways.iter_mut().map(|gateway| &mut **gateway);
    suite.registers.iter_mut().chain(gateways).chain(&mut suite.workers)
}

#[tokio::test]
async fn workerman_signals_are_ignored_with_a_hint() {
    let mut suite = Suite::builder().gateways(1).workers(1).start().await;
    let mut client = suite.browser(0).await;
    for process in processes(&mut suite) {
        for (signal, name, instead) in [
            (Signal::Usr1, "SIGUSR1", "SIGHUP reloads files"),
            (Signal::Usr2, "SIGUSR2", "reserved for upgrades"),
            (Signal::Quit, "SIGQUIT", "SIGTERM drains"),
        ] {
            (0..20).for_each(|_| process.signal(signal));
            process.wait_for_log(&["WARN", name, instead]).await;
            let lines = process.log().matches(&format!("\"{name}\"")).count();
            assert!(lines < 10, "{}: {lines} lines of {name}", process.name);
        }
        assert!(process.is_running());
    }
    client.send("e").await;
    assert_eq!(client.receive_text().await, "e");
    for process in processes(&mut suite) {
        assert_eq!(process.stop().await.code(), Some(0), "{}", process.name);
    }
}

#[tokio::test]
async fn certificate_fifo_does_not_block_signals() {
    let mut suite =
        Suite::builder().gateways(1).workers(1).wss().inner_tls("loopback").start().await;
    for file in ["inner.pem", "wss.key"] {
        let path = suite.ca().path(file);
        fs::remove_file(&path).unwrap();
        make_fifo(&path);
    }
    for process in processes(&mut suite) {
        process.signal(Signal::Hup);
        let words = ["ERROR", "reload failed", "inner.pem: not a regular file"];
        process.wait_for_log(&words).await;
    }
    suite.gateways[0].wait_for_log(&["reload failed", "wss.key: not a regular file"]).await;
    let mut client = suite.browser(0).await;
    client.send("e").await;
    assert_eq!(client.receive_text().await, "e");
    for process in processes(&mut suite) {
        assert_eq!(process.stop().await.code(), Some(0), "{}", process.name);
    }
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
