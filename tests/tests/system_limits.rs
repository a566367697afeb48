//! System limits of processes: open files and file size.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs::{self, File},
    process::{Child, Command, ExitStatus, Stdio},
};

use suite_tests::{Raw, binaries, eventually, ports};

/// A soft limit below the usual default.
const SOFT: u64 = 128;

/// A process started under a `ulimit` of the shell.
struct Started(Child);

impl Started {
    fn new(binary: &str, limit: &str, flags: &[String], log: File) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
        command.arg(binaries::path(binary)).args(flags).env_clear().env("PATH", "/bin:/usr/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }

    async fn stop(&mut self) -> ExitStatus {
        let kill = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(kill.unwrap().success());
        eventually("a process to exit", async || self.0.try_wait().unwrap()).await
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each program with flags that avoid port conflicts.
fn programs() -> [(&'static str, Vec<String>); 3] {
    let port = || ports::free().port();
    [
        ("register", vec![format!("--listen=127.0.0.1:{}", port())]),
        (
            "gateway",
            vec![format!("--listen=ws://127.0.0.1:{}", port()), format!("--lan-port={}", port())],
        ),
        ("business-worker", Vec::new()),
    ]
}

/// Soft and hard limit of open files of a process.
fn limits(pid: u32) -> Option<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[tokio::test]
async fn process_raises_its_soft_descriptor_limit_to_the_hard_limit() {
    let folder = tempfile::tempdir().unwrap();
    for (binary, flags) in programs() {
        let log = folder.path().join(binary);
        let limit = format!("-Sn {SOFT}");
        let process = Started::new(binary, &limit, &flags, File::create(&log).unwrap());
        let line = eventually(format!("{binary} to log that it raised the limit"), async || {
            let log = fs::read_to_string(&log).unwrap();
            log.lines().find(|line| line.contains("limit of open files raised")).map(str::to_owned)
        })
        .await;
        let (soft, hard) = limits(process.0.id()).unwrap();
        assert_eq!(soft, hard, "{binary}");
        assert!(SOFT < hard, "a test that can fail needs a hard limit above {SOFT}");
        assert!(line.ends_with(&format!("from={SOFT} to={hard}")), "{binary}: {line}");
    }
}

#[tokio::test]
async fn process_with_log_file_at_its_size_limit_serves_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    for (binary, mut flags) in programs() {
        let path = folder.path().join(binary);
        // More than the limit, which is in units of 512 bytes.
        fs::write(&path, [b'\n'; 2000]).unwrap();
        let log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let admin = ports::free();
        flags.push(format!("--admin-listen={admin}"));
        let mut process = Started::new(binary, "-f 1", &flags, log);
        eventually(format!("{binary} to serve"), async || {
            let exited = process.0.try_wait().unwrap();
            assert_eq!(exited, None, "{binary} has exited");
            let answer = Raw::get(admin, "/metrics").await?;
            // By then it has logged that it serves these pages.
            answer.body.contains("pushsuite_log_lines_dropped_total").then_some(())
        })
        .await;
        assert_eq!(process.stop().await.code(), Some(0), "{binary}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 2000, "nothing was written");
    }
}
