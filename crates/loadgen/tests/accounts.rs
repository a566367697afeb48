//! Every mode, for a moment, against the direct server: the accounts must balance.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

struct Direct {
    process: Child,
    url: String,
}

impl Direct {
    fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(BENCH)
            .args(["direct", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on ").unwrap();
        Self { process, url: format!("ws://{addr}/") }
    }

    /// Runs a mode for a moment, and returns its report.
    fn load(&self, mode: &str, flags: &[&str]) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let (json, html) = (folder.path().join("a.json"), folder.path().join("a.html"));
        let output = Command::new(BENCH)
            .args([mode, &self.url, "--quiet"])
            .args(unless(flags, ["--grace", "20"]))
            .args(unless(flags, ["--duration", "0.3"]))
            .args(["--process", &self.process.id().to_string()])
            .args(["--json".as_ref(), json.as_os_str(), "--html".as_ref(), html.as_os_str()])
            .args(flags)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let trouble = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode}: {text}{trouble}");
        assert!(fs::read_to_string(html).unwrap().ends_with("</html>\n"));
        serde_json::from_slice(&fs::read(json).unwrap()).unwrap()
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A flag that holds where another value is not given.
fn unless<'a>(flags: &[&str], default: [&'a str; 2]) -> Vec<&'a str> {
    if flags.contains(&default[0]) { Vec::new() } else { default.to_vec() }
}

/// Asserts that every message sent arrived once and in order, and was measured. Returns their
/// number.
fn balances(report: &Value) -> u64 {
    let messages = &report["messages"];
    let count = |name: &str| messages[name].as_u64().unwrap();
    assert_eq!(count("delivered"), count("expected"), "{messages}");
    assert_eq!(report["latency_us"]["count"], messages["delivered"], "{messages}");
    for fault in ["lost", "duplicated", "out_of_order", "damaged", "foreign", "broken"] {
        assert_eq!(count(fault), 0, "{fault}: {messages}");
    }
    count("sent")
}

#[test]
fn echoes_arrive_with_any_window() {
    let direct = Direct::start(&["--app", "echo"]);
    for flags in [
        ["--connections", "5", "--window", "1", "--threads", "1", "--size", "64"],
        ["--connections", "5", "--window", "40", "--threads", "2", "--size", "200"],
        ["--connections", "3", "--window", "2", "--threads", "1", "--size", "65536"],
    ] {
        let report = direct.load("echo", &flags);
        assert!(0 < balances(&report));
        assert_eq!(report["messages"]["not_sent"], 0);
    }
    balances(&direct.load("echo", &["--binary", "--strict"]));
}

#[test]
fn open_loop_sends_as_many_as_are_due() {
    let direct = Direct::start(&[]);
    let report = direct.load("paced", &["--connections", "7", "--rate", "1000"]);
    // A busy machine may delay sending, which the report shows.
    let due = |report: &Value| balances(report) + report["messages"]["not_sent"].as_u64().unwrap();
    assert_eq!(due(&report), 300, "1000 a second for 0.3 s");
    assert_eq!(report["send_lag_us"]["count"], report["messages"]["sent"]);
    let two = ["--connections", "7", "--rate", "1000", "--threads", "2"];
    assert_eq!(due(&direct.load("paced", &two)), 300, "regardless of the sender");
}

#[test]
fn fan_out_to_all_reaches_every_client() {
    let direct = Direct::start(&["--write-buffer-size", "4096"]);
    let twenty = ["--connections", "20"];
    for more in [
        ["--to", "all", "--window", "1"],
        ["--to", "all", "--window", "16"],
        ["--to", "group", "--window", "4"],
        ["--to", "all", "--rate", "100"],
    ] {
        let flags = [twenty.as_slice(), &more, &["--senders", "2", "--threads", "2"]].concat();
        let report = direct.load("fanout", &flags);
        let sent = balances(&report);
        assert!(0 < sent);
        assert_eq!(report["messages"]["expected"], sent * 20);
    }
}

#[test]
fn fan_out_to_a_group_or_uid_reaches_its_members_only() {
    let direct = Direct::start(&[]);
    for (more, receivers) in [
        (["--to", "group", "--groups", "7"].as_slice(), 3),
        (&["--to", "uid"], 20),
        (&["--to", "uid", "--devices", "4", "--window", "3"], 4),
        (&["--to", "uid", "--devices", "2", "--rate", "300", "--binary"], 2),
    ] {
        let flags = [&["--connections", "20", "--senders", "5", "--threads", "2"], more].concat();
        let report = direct.load("fanout", &flags);
        let sent = balances(&report);
        assert!(0 < sent);
        assert_eq!(report["messages"]["expected"], sent * receivers, "{more:?}");
    }
}

#[test]
fn joins_and_leaves_are_answered() {
    let direct = Direct::start(&[]);
    assert!(0 < balances(&direct.load("member", &["--connections", "3", "--window", "2"])));
    assert!(0 < balances(&direct.load("churn", &["--connections", "3", "--prepare"])));
}

#[test]
fn several_processes_account_as_one() {
    let direct = Direct::start(&["--write-buffer-size", "4096"]);
    let three = ["--generators", "3", "--connections", "20"];
    for (mode, more) in [
        ("echo", ["--threads", "2"].as_slice()),
        ("churn", &["--duration", "0.1"]),
        ("fanout", &["--window", "3", "--senders", "4"]),
        ("fanout", &["--to", "uid", "--devices", "2", "--senders", "10"]),
        ("fanout", &["--to", "group", "--groups", "9", "--rate", "300"]),
    ] {
        let report = direct.load(mode, &[&three, more].concat());
        let sent = balances(&report);
        assert!(0 < sent, "{mode} {more:?}");
        assert_eq!(report["generator"]["processes"], 3);
    }
    let paced = direct.load("paced", &[&three, ["--rate", "1000"].as_slice()].concat());
    let not_sent = paced["messages"]["not_sent"].as_u64().unwrap();
    assert_eq!(
        balances(&paced) + not_sent,
        300,
        "1000 a second for 0.3 s, regardless of the sender"
    );
    let storm = direct.load("storm", &three);
    assert_eq!(balances(&storm), 20);
    let slow = ["--slow", "2", "--rate", "50", "--prepare"];
    let slow = direct.load("slow", &[three.as_slice(), &slow].concat());
    assert_eq!(slow["messages"]["connected"], 22);
}

#[test]
fn unreachable_server_with_several_processes_is_an_error() {
    let refused = ["echo", "ws://127.0.0.1:9/", "-q", "--generators", "2"];
    let output = Command::new(BENCH).args(refused).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"));
}

#[test]
fn clients_connect_to_several_servers_in_turn() {
    let (one, two) = (Direct::start(&[]), Direct::start(&[]));
    let flags = ["--connections", "8", "--senders", "2", "--grace", "0.1"];
    let report = one.load("fanout", &[[two.url.as_str()].as_slice(), &flags].concat());
    let messages = &report["messages"];
    assert!(0 < messages["sent"].as_u64().unwrap());
    assert_eq!(messages["foreign"], 0);
    assert_eq!(messages["connected"], 8);
    assert_ne!(messages["delivered"], messages["expected"], "each server reaches its own clients");
}

#[test]
fn slow_clients_do_not_delay_the_account() {
    let direct = Direct::start(&[]);
    let report = direct.load("slow", &["--connections", "10", "--slow", "3", "--rate", "200"]);
    assert_eq!(report["messages"]["connected"], 13);
    assert_eq!(balances(&report) * 10, report["messages"]["delivered"].as_u64().unwrap());
}

#[test]
fn cycles_of_connecting_clients_are_counted() {
    let direct = Direct::start(&[]);
    for flags in [["--connections", "4"].as_slice(), &["--connections", "4", "--rate", "50"]] {
        let sent = balances(&direct.load("churn", flags));
        assert!(0 < sent);
    }
    let storm = direct.load("storm", &["--connections", "50", "--at-once", "10"]);
    assert_eq!(balances(&storm), 50);
    assert_eq!(storm["messages"]["connected"], 50);
}

/// A cycle that was connecting when the time was over is finished, not cut off with its message
/// on the way.
#[test]
fn cycle_begun_before_the_end_is_finished_after_it() {
    let direct = Direct::start(&[]);
    for _ in 0..10 {
        balances(&direct.load("churn", &["--connections", "20", "--duration", "0.02"]));
    }
    let storm =
        direct.load("storm", &["--connections", "400", "--at-once", "1", "--duration", "0.01"]);
    assert_eq!(balances(&storm), 400, "all connected, if late");
    let late = direct.load("churn", &["--connections", "2", "--rate", "1000000"]);
    let messages = &late["messages"];
    let count = |name: &str| messages[name].as_u64().unwrap();
    assert_eq!(
        count("sent") + count("not_sent"),
        300_000,
        "messages due and not sent are reported"
    );
}

#[test]
fn idle_clients_stay_connected_and_uids_are_answered() {
    let direct = Direct::start(&[]);
    let flags = ["--connections", "50", "--prepare", "--warm-size", "60000"];
    let idle = direct.load("idle", &flags);
    assert_eq!(balances(&idle), 0);
    assert_eq!(idle["messages"]["connected"], 50);
    assert!(0.0 < idle["servers"]["bytes_each"].as_f64().unwrap());
    assert!(0 < balances(&direct.load("uid", &["--connections", "5"])));
}

#[test]
fn unreachable_server_is_an_error() {
    let output = Command::new(BENCH).args(["echo", "ws://127.0.0.1:9/", "-q"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"));
}

#[test]
fn floods_last_for_their_duration() {
    let direct = Direct::start(&[]);
    for kind in ["connects", "handshakes", "heads", "messages", "unread"] {
        let output = Command::new(BENCH)
            .args(["flood", kind, &direct.url, "--connections", "5", "--duration", "0.3"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let connected = text.split(' ').next().unwrap().parse::<u64>().unwrap();
        assert!(output.status.success() && 5 <= connected, "{kind}: {text}");
    }
    // Other clients are served as before.
    assert!(0 < balances(&direct.load("echo", &["--connections", "2"])));
}
