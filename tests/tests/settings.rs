//! Bad settings are told by name, before any port is bound; and a port in use says which.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Output, Stdio},
};

use suite_tests::{binaries, eventually, ports};

const BINARIES: [&str; 3] = ["register", "gateway", "business-worker"];

/// Runs a binary that should end by itself.
async fn run(binary: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binaries::path(binary));
    command.args(args).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{binary}: {error}"));
    let mut guard = Guard(Some(child));
    let what = format!("{binary} {args:?} to end by itself");
    eventually(what, async || guard.0.as_mut()?.try_wait().expect("a child")).await;
    let child = guard.0.take().expect("nobody else takes it");
    child.wait_with_output().unwrap_or_else(|error| panic!("{binary}: {error}"))
}

/// Does not leave a process behind that should have ended.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn an_unknown_flag_is_told_by_name() {
    for binary in BINARIES {
        let output = run(binary, &["--no-such-flag", "1"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(told(&output).contains("--no-such-flag"), "{binary}: {}", told(&output));
    }
}

#[tokio::test]
async fn a_bad_value_is_told_by_the_name_of_its_flag_or_variable() {
    for binary in BINARIES {
        let output = run(binary, &["--grace", "soon"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(told(&output).contains("--grace"), "{binary}: {}", told(&output));

        let output = run(binary, &[], &[("GW_GRACE", "soon")]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(told(&output).contains("GW_GRACE"), "{binary}: {}", told(&output));
    }
}

#[tokio::test]
async fn values_that_make_no_sense_together_are_refused() {
    for (binary, args, named) in [
        ("gateway", &["--listen", "http://127.0.0.1:1"][..], "--listen"),
        ("gateway", &["--lan-ip", "not-an-ip"], "--lan-ip"),
        ("gateway", &["--router", "fastest"], "--router"),
        ("gateway", &["--slow-client", "wait"], "--slow-client"),
        ("gateway", &["--max-message-size=-1"], "--max-message-size"),
        ("gateway", &["--listen", "wss://127.0.0.1:1"], "wss"),
        ("business-worker", &["--app", "game"], "--app"),
        ("register", &["--listen", "nowhere"], "--listen"),
        // An open inner port without a secret is an open door.
        ("register", &["--listen", "0.0.0.0:0"], "--secret-key"),
        ("gateway", &["--lan-ip", "10.0.0.1", "--lan-listen", "0.0.0.0:0"], "--secret-key"),
        ("gateway", &["--lan-listen", "[::]:0"], "--secret-key"),
        ("business-worker", &["--register-address", "register:1236"], "--secret-key"),
        // So are the admin pages, in a cluster that has none.
        ("register", &["--admin-listen", "0.0.0.0:0"], "--secret-key"),
        ("gateway", &["--admin-listen", "0.0.0.0:0"], "--secret-key"),
        ("business-worker", &["--admin-listen", "[::]:0"], "--secret-key"),
    ] {
        let output = run(binary, args, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary} {args:?}: {}", told(&output));
        assert!(told(&output).contains(named), "{binary} {args:?}: {}", told(&output));
    }
}

#[tokio::test]
async fn bad_settings_are_told_before_any_port_is_bound() {
    // The port is taken, which would be told too if it came to that.
    let taken = Taken::new();
    let (addr, listen) = (taken.addr.to_string(), format!("ws://{}", taken.addr));
    for (binary, listen) in [("register", &addr), ("gateway", &listen)] {
        let output = run(binary, &["--listen", listen, "--grace", "soon"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(!told(&output).contains("in use"), "{binary}: {}", told(&output));
    }
}

#[tokio::test]
async fn an_unknown_key_in_the_file_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    fs::write(&file, "grace = 3\nno_such_key = 1\nsecret_key = \"s3cret-in-a-file\"\n")
        .expect("to write a file");
    let path = file.to_str().expect("a plain path");
    for binary in BINARIES {
        let output = run(binary, &["--config", path], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(told(&output).contains("no_such_key"), "{binary}: {}", told(&output));
        assert!(!told(&output).contains("s3cret"), "{binary}: {}", told(&output));
    }
}

#[tokio::test]
async fn check_shows_the_settings_in_effect_without_the_secret() {
    for binary in BINARIES {
        let env = [("GW_SECRET_KEY", "s3cret-of-the-check"), ("GW_GRACE", "7")];
        let output = run(binary, &["--check"], &env).await;
        assert_eq!(output.status.code(), Some(0), "{binary}: {}", told(&output));
        assert!(told(&output).contains("grace = 7"), "{binary}: {}", told(&output));
        assert!(!told(&output).contains("s3cret"), "{binary}: {}", told(&output));
    }
}

#[tokio::test]
async fn a_port_in_use_says_which() {
    let taken = Taken::new();
    let addr = taken.addr.to_string();
    let (own, port) = (format!("ws://{}", ports::free()), taken.addr.port().to_string());
    let inner = ports::free().port().to_string();
    let listen = format!("ws://{addr}");
    let free = ports::free().to_string();
    let gateway = ["--lan-ip", "127.0.0.1", "--lan-port"];
    for (binary, args) in [
        ("register", vec!["--listen", &addr]),
        ("register", vec!["--listen", &free, "--admin-listen", &addr]),
        ("gateway", [&gateway[..], &[&inner, "--listen", &listen]].concat()),
        ("gateway", [&gateway[..], &[&port, "--listen", &own]].concat()),
        ("business-worker", vec!["--admin-listen", &addr]),
    ] {
        let output = run(binary, &args, &[]).await;
        assert_eq!(output.status.code(), Some(1), "{binary} {args:?}: {}", told(&output));
        let told = told(&output);
        assert!(told.contains(&addr) && told.contains("in use"), "{binary} {args:?}: {told}");
    }
}

#[tokio::test]
async fn help_and_version_are_there() {
    for binary in BINARIES {
        for flag in ["--help", "--version"] {
            let output = run(binary, &[flag], &[]).await;
            assert_eq!(output.status.code(), Some(0), "{binary} {flag}");
            assert!(!output.stdout.is_empty(), "{binary} {flag}");
        }
    }
}

/// A port that somebody has.
struct Taken {
    addr: SocketAddr,
    _listener: TcpListener,
}

impl Taken {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { addr: listener.local_addr().expect("an address"), _listener: listener }
    }
}
