//! What processes do at signals other than those that end them.
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
async fn signals_of_workerman_end_nothing_and_are_answered_with_what_to_use() {
    let mut suite = Suite::builder().gateways(1).workers(1).start().await;
    let mut client = suite.browser(0).await;
    for process in processes(&mut suite) {
        for (signal, name, instead) in [
            (Signal::Usr1, "SIGUSR1", "SIGHUP reads certificates again"),
            (Signal::Usr2, "SIGUSR2", "reserved for upgrades"),
            (Signal::Quit, "SIGQUIT", "SIGTERM drains"),
        ] {
            (0..20).for_each(|_| process.signal(signal));
            process.logs(&["WARN", name, instead]).await;
            let lines = process.log().matches(&format!("\"{name}\"")).count();
            assert!(lines < 10, "{}: {lines} lines of {name}", process.name);
        }
        assert!(process.is_running());
    }
    client.send("e").await;
    assert_eq!(client.hears_text().await, "e");
    for process in processes(&mut suite) {
        assert_eq!(process.stop().await.code(), Some(0), "{}", process.name);
    }
}

#[tokio::test]
async fn certificate_that_is_a_fifo_blocks_no_signal() {
    let mut suite =
        Suite::builder().gateways(1).workers(1).wss().inner_tls("loopback").start().await;
    for file in ["inner.pem", "wss.key"] {
        let path = suite.ca().path(file);
        fs::remove_file(&path).unwrap();
        make_fifo(&path);
    }
    for process in processes(&mut suite) {
        process.signal(Signal::Hup);
        let words = ["ERROR", "cannot be read again", "inner.pem: not a regular file"];
        process.logs(&words).await;
    }
    suite.gateways[0].logs(&["cannot be read again", "wss.key: not a regular file"]).await;
    let mut client = suite.browser(0).await;
    client.send("e").await;
    assert_eq!(client.hears_text().await, "e");
    for process in processes(&mut suite) {
        assert_eq!(process.stop().await.code(), Some(0), "{}", process.name);
    }
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
