//! Receivers made of the libraries `standardwebhooks` and `cloudevents` of npm and PyPI verify and
//! read the events. `tests/hooks/run.sh` installs them and runs this.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _, stderr},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use suite_tests::webhooks::{HookFile, SECRET};

/// The secret of another receiver.
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A receiver, ended when it is dropped.
struct Receiver {
    process: Child,
    port: u16,
}

impl Receiver {
    fn start(mut command: Command) -> Self {
        let mut process = command.arg(SECRET).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdout, mut line) =
            (BufReader::new(process.stdout.take().unwrap()), String::new());
        stdout.read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A variable that `tests/hooks/run.sh` sets.
fn installed(name: &str) -> Option<OsString> {
    let found = env::var_os(name);
    if found.is_none() {
        let text = format!("not run here: {name} is not set; bash tests/hooks/run.sh sets it\n");
        stderr().write_all(text.as_bytes()).unwrap();
    }
    found
}

fn script(name: &str) -> String {
    format!("{}/hooks/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Events of a client reach the receiver, which verifies them with its secret, also while that
/// replaces another one; with the other one alone, it refuses them.
async fn events_are_verified_and_read(receiver: &Receiver) {
    let url = format!("http://127.0.0.1:{}/hook", receiver.port);
    let file = HookFile::new(&[]);
    let write = |secret: &str| {
        let entry = format!("[[webhook]]\nurl = \"{url}\"\nsecret = {secret}\nenvelope = true\n");
        std::fs::write(file.path(), entry).unwrap();
    };
    write(&format!("[\"{OTHER}\", \"{SECRET}\"]"));
    let mut suite = file.suite().gateways(1).workers(1).start().await;
    let mut browser = suite.browser(0).await;
    browser.send("grüße").await;
    let seen: Value = serde_json::from_str(&browser.receive_text().await).unwrap();
    let client = seen["subject"].as_str().unwrap();
    assert_eq!(seen["type"], "gw.message");
    assert_eq!(seen["source"], format!("/gateways/{}", suite.gateways[0].inner));
    let id = seen["id"].as_str().unwrap();
    assert_eq!(id, format!("{client}-{}", seen["gwseq"].as_str().unwrap()));
    assert!(seen["time"].as_str().unwrap().starts_with("20"), "{seen}");
    assert_eq!(seen["gwuid"], "ann");
    let data = json!({"client": client, "uid": "ann", "session": {}, "text": "grüße"});
    assert_eq!(seen["data"], data);

    write(&format!("\"{OTHER}\""));
    suite.workers[0].kill();
    suite.add_worker().await;
    let mut browser = suite.browser(0).await;
    assert_eq!(browser.closed().await, Some(4403), "the signature is not verified");
}

#[tokio::test]
async fn libraries_of_npm_verify_and_read_events() {
    if let Some(folder) = installed("SUITE_HOOKS_NODE") {
        let mut command = Command::new("node");
        command.arg(script("receiver.mjs")).current_dir(folder);
        events_are_verified_and_read(&Receiver::start(command)).await;
    }
}

#[tokio::test]
async fn libraries_of_pypi_verify_and_read_events() {
    if let Some(python) = installed("SUITE_HOOKS_PYTHON") {
        let mut command = Command::new(python);
        command.arg(script("receiver.py"));
        events_are_verified_and_read(&Receiver::start(command)).await;
    }
}
