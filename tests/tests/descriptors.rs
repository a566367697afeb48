//! How many files and connections processes may have open.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use suite_tests::{binaries, eventually, ports};

/// A soft limit as it is by default in many places, and smaller.
const SOFT: u64 = 128;

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The soft and the hard limit of a process.
fn limits(pid: u32) -> Option<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[tokio::test]
async fn process_with_a_low_soft_limit_of_descriptors_raises_it_to_the_hard_one() {
    let folder = tempfile::tempdir().unwrap();
    for (binary, flags) in [
        ("register", vec!["--listen".to_owned(), ports::free().to_string()]),
        (
            "gateway",
            vec![
                format!("--listen=ws://{}", ports::free()),
                format!("--lan-port={}", ports::free().port()),
            ],
        ),
        ("business-worker", Vec::new()),
    ] {
        let log = folder.path().join(binary);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -Sn {SOFT} && exec \"$0\" \"$@\"")]);
        command.arg(binaries::path(binary)).args(flags).env_clear().env("PATH", "/bin:/usr/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let process = Started(command.spawn().unwrap());
        let said = eventually(format!("{binary} to say that it has raised it"), async || {
            let log = fs::read_to_string(&log).unwrap();
            log.lines().find(|line| line.contains("limit of open files raised")).map(str::to_owned)
        })
        .await;
        let (soft, hard) = limits(process.0.id()).unwrap();
        assert_eq!(soft, hard, "{binary}");
        assert!(SOFT < hard, "a test that can fail needs a hard limit above {SOFT}");
        assert!(said.ends_with(&format!("from={SOFT} to={hard}")), "{binary}: {said}");
    }
}
