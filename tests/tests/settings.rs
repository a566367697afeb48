//! Invalid settings are reported by name before any port is bound, and a port in use is named.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Output, Stdio},
};

use suite_tests::{Ca, binaries, eventually, ports};

const BINARIES: [&str; 3] = ["register", "gateway", "business-worker"];

/// Runs a binary that is expected to exit by itself.
async fn run(binary: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binaries::path(binary));
    command.args(args).env_clear().envs(env.iter().copied());
    // Avoids waiting for a name server where there is none.
    command.env("RES_OPTIONS", "timeout:1 attempts:1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{binary}: {error}"));
    let mut guard = Guard(Some(child));
    let what = format!("{binary} {args:?} to exit");
    eventually(what, async || guard.0.as_mut()?.try_wait().expect("a child")).await;
    let child = guard.0.take().expect("it is taken once");
    child.wait_with_output().unwrap_or_else(|error| panic!("{binary}: {error}"))
}

/// Kills a process that failed to exit.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn printed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn unknown_flag_is_reported_by_name() {
    for binary in BINARIES {
        let output = run(binary, &["--no-such-flag", "1"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(printed(&output).contains("--no-such-flag"), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn invalid_value_is_reported_with_its_flag_or_variable() {
    for binary in BINARIES {
        let output = run(binary, &["--grace", "soon"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(printed(&output).contains("--grace"), "{binary}: {}", printed(&output));

        let output = run(binary, &[], &[("GW_GRACE", "soon")]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(printed(&output).contains("GW_GRACE"), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn contradictory_values_are_refused() {
    for (binary, args, named) in [
        ("gateway", &["--listen", "http://127.0.0.1:1"][..], "--listen"),
        ("gateway", &["--lan-ip", "not-an-ip"], "--lan-ip"),
        ("gateway", &["--router", "fastest"], "--router"),
        ("gateway", &["--slow-client", "wait"], "--slow-client"),
        ("gateway", &["--max-message-size=-1"], "--max-message-size"),
        ("gateway", &["--listen", "wss://127.0.0.1:1"], "--tls-cert"),
        ("gateway", &["--listen", "wss://127.0.0.1:1", "--tls-cert", "c.pem"], "--tls-key"),
        ("gateway", &["--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"], "/no/cert.pem"),
        ("business-worker", &["--app", "game"], "--app"),
        ("register", &["--listen", "nowhere"], "--listen"),
        // A reachable inner port without a secret admits everyone.
        ("register", &["--listen", "0.0.0.0:0"], "--secret-key"),
        ("gateway", &["--lan-ip", "10.0.0.1", "--lan-listen", "0.0.0.0:0"], "--secret-key"),
        ("gateway", &["--lan-listen", "[::]:0"], "--secret-key"),
        ("business-worker", &["--register-address", "register:1236"], "--secret-key"),
        // So do the admin pages of a cluster without a secret.
        ("register", &["--admin-listen", "0.0.0.0:0"], "--secret-key"),
        ("gateway", &["--admin-listen", "0.0.0.0:0"], "--secret-key"),
        ("business-worker", &["--admin-listen", "[::]:0"], "--secret-key"),
    ] {
        let output = run(binary, args, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary} {args:?}: {}", printed(&output));
        assert!(printed(&output).contains(named), "{binary} {args:?}: {}", printed(&output));
    }
}

#[tokio::test]
async fn unusable_values_are_refused_by_name_by_check_and_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo").display().to_string();
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    for (binary, args, named) in [
        ("register", &["--admin-listen", "127.0.0.1:1236"][..], "--admin-listen"),
        ("register", &["--config", &fifo], "--config"),
        ("register", &["--config", "/dev/zero"], "--config"),
        ("gateway", &["--ping-interval", "18446744073709551615"], "--ping-interval"),
        ("gateway", &["--ping-data", "ping"], "--ping-data"),
        ("gateway", &["--ping-not-response-limit", "2"], "--ping-not-response-limit"),
        ("gateway", &["--handshake-timeout", "18446744073709551615"], "--handshake-timeout"),
        ("gateway", &["--lan-listen", "127.0.0.1:0"], "--lan-listen"),
        ("gateway", &["--listen", "127.0.0.1:2900"], "--lan-port"),
        ("gateway", &["--listen", "127.0.0.1:1", "--listen", "tcp://0.0.0.0:1"], "--listen"),
        ("gateway", &["--register-address", "127.0.0.1:2900"], "--register-address"),
        (
            "gateway",
            &["--listen", "frame://127.0.0.1:1?length=u7"],
            "'frame://127.0.0.1:1?length=u7' for '--listen <URL>': \"length=u7\": length: \"u7\"",
        ),
        (
            "gateway",
            &["--listen", "frame://127.0.0.1:1?length=u8&size=2"],
            "'frame://127.0.0.1:1?length=u8&size=2' for '--listen <URL>': \
             \"length=u8&size=2\": \"size\" is not a parameter",
        ),
        (
            "gateway",
            &["--listen", "frame://127.0.0.1:1?length=u8&length=u8"],
            "length: is given twice",
        ),
        ("gateway", &["--listen", "tcp://127.0.0.1:1?length=u8"], "tcp:// has no parameters"),
        ("gateway", &["--allowed-origin", "https://example.com/"], "--allowed-origin"),
        (
            "gateway",
            &["--tls-cert", &fifo, "--tls-key", &fifo, "--listen", "wss://127.0.0.1:1"],
            &fifo,
        ),
        ("business-worker", &["--register-address", "127.0.0.1:0"], "--register-address"),
        ("business-worker", &["--gateway-grace", "18446744073709551615"], "--gateway-grace"),
        (
            "business-worker",
            &["--inner-tls-cert", &fifo, "--inner-tls-key", "k", "--inner-tls-ca", &fifo],
            &fifo,
        ),
    ] {
        for check in [&[][..], &["--check"]] {
            let args = [args, check].concat();
            let output = run(binary, &args, &[]).await;
            assert_eq!(output.status.code(), Some(2), "{binary} {args:?}: {}", printed(&output));
            assert!(printed(&output).contains(named), "{binary} {args:?}: {}", printed(&output));
        }
    }
}

#[tokio::test]
async fn invalid_log_filter_is_refused_by_check() {
    for binary in BINARIES {
        let output = run(binary, &["--check"], &[("RUST_LOG", "gateway=a=b")]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}: {}", printed(&output));
        assert!(printed(&output).contains("RUST_LOG"), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn unresolvable_name_is_reported_with_its_flag() {
    for (binary, flag, value) in [
        ("register", "--listen", "no-such-host.invalid:1236"),
        ("gateway", "--lan-ip", "no-such-host.invalid"),
        ("gateway", "--listen", "ws://no-such-host.invalid:7272"),
        ("business-worker", "--admin-listen", "no-such-host.invalid:9111"),
    ] {
        let output = run(binary, &[flag, value], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}: {}", printed(&output));
        let expected = format!("{flag}: no-such-host.invalid cannot be resolved");
        assert!(printed(&output).contains(&expected), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn output_of_check_is_a_config_file_with_the_same_effect() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    let path = file.to_str().expect("a plain path");
    for (binary, args, in_effect) in [
        ("register", &[][..], "startup_grace = 3"),
        ("register", &["--compat", "strict"], "startup_grace = 0"),
        ("gateway", &[], "memory_budget = "),
        ("gateway", &["--threads", "3"], "memory_budget = 805306368  # default"),
        (
            "gateway",
            &["--listen", "frame://127.0.0.1:1?length=u16le&offset=2"],
            "frame://127.0.0.1:1?length=u16le&offset=2&counts=payload&adjust=0&header=keep\
             &kind=binary",
        ),
        ("gateway", &["--lan-port", "2901"], "lan_listen = \"127.0.0.1:2901\""),
        ("gateway", &["--compat", "strict", "--header", "A: b"], "handshake_timeout = 0"),
        ("business-worker", &["--app", "echo"], "# id = "),
        ("business-worker", &["--name", "Chat"], "threads = "),
    ] {
        let shown = run(binary, &[args, &["--check"]].concat(), &[]).await;
        assert_eq!(shown.status.code(), Some(0), "{binary}: {}", printed(&shown));
        let shown = String::from_utf8(shown.stdout).expect("text");
        assert!(shown.contains(in_effect), "{binary} {args:?}: {shown}");
        fs::write(&file, &shown).expect("to write a file");
        let again = run(binary, &["--config", path, "--check"], &[]).await;
        assert_eq!(again.status.code(), Some(0), "{binary}: {}", printed(&again));
        let again = String::from_utf8(again.stdout).expect("text");
        let values = |text: &str| text.parse::<toml::Table>().expect("TOML");
        assert_eq!(values(&shown), values(&again), "{binary} {args:?}");
    }
}

#[tokio::test]
async fn loopback_address_announced_to_a_remote_register_is_warned_about() {
    let args = ["--register-address", "192.0.2.1:1236", "--secret-key", "s", "--check"];
    let output = run("gateway", &args, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let (shown, stderr) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    assert!(stderr.expect("text").starts_with("warning: --lan-ip: 127.0.0.1 is announced"));
    assert!(shown.expect("text").parse::<toml::Table>().is_ok(), "it is still a valid config file");
    // At start it is logged; this process exits, since its port is in use.
    let busy = BusyPort::new();
    let listen = format!("ws://{}", busy.addr);
    let output = run("gateway", &[&args[..4], &["--listen", &listen]].concat(), &[]).await;
    let text = printed(&output);
    assert!(text.contains("WARN") && text.contains("flag=\"--lan-ip\""), "{text}");
}

#[tokio::test]
async fn certificate_files_are_checked_before_any_port_is_bound() {
    let (ca, other, busy) = (Ca::new(), Ca::new(), BusyPort::new());
    ["good", "strange"].iter().for_each(|name| drop(ca.sign(name)));
    other.sign("other");
    let ours = |file: &str| ca.path(file).display().to_string();
    let theirs = |file: &str| other.path(file).display().to_string();
    let (good, key, root) = (ours("good.pem"), ours("good.key"), ours("ca.pem"));
    for binary in BINARIES {
        let listen = match binary {
            "register" => vec!["--listen".to_owned(), busy.addr.to_string()],
            "gateway" => vec!["--listen".to_owned(), format!("ws://{}", busy.addr)],
            _ => Vec::new(),
        };
        for (cert, key, root, named) in [
            (&good, "", &root, "--inner-tls-key"),
            (&good, &key[..], &String::new(), "--inner-tls-ca"),
            (&ours("none.pem"), &key, &root, "none.pem"),
            (&key, &key, &root, "no certificate"),
            (&good, &ours("strange.key"), &root, "is not the key of"),
            (&good, &key, &theirs("ca.pem"), "peers would reject it"),
            (&theirs("other.pem"), &theirs("other.key"), &root, "peers would reject it"),
        ] {
            let env = [("CERT", &cert[..]), ("KEY", key), ("CA", root)];
            let env = env.map(|(end, file)| (format!("GW_INNER_TLS_{end}"), file));
            let env: Vec<_> = env.iter().map(|(name, file)| (&name[..], *file)).collect();
            let args: Vec<_> = listen.iter().map(String::as_str).collect();
            let output = run(binary, &args, &env).await;
            assert_eq!(output.status.code(), Some(2), "{binary}: {}", printed(&output));
            assert!(printed(&output).contains(named), "{binary} {named}: {}", printed(&output));
        }
        let files = ["--inner-tls-cert", &good, "--inner-tls-key", &key, "--inner-tls-ca", &root];
        let output = run(binary, &[&files[..], &["--check"]].concat(), &[]).await;
        assert_eq!(output.status.code(), Some(0), "{binary}: {}", printed(&output));
        let shown = format!("inner_tls_cert = {good:?}");
        assert!(printed(&output).contains(&shown), "{binary}: {}", printed(&output));
    }
    for binary in ["register", "gateway"] {
        for (plain, named) in [("refuse", "--inner-tls-cert"), ("perhaps", "--inner-tls-plain")] {
            let output = run(binary, &["--inner-tls-plain", plain], &[]).await;
            assert_eq!(output.status.code(), Some(2), "{binary}: {}", printed(&output));
            assert!(printed(&output).contains(named), "{binary}: {}", printed(&output));
        }
    }
    // A certificate that no listener would use.
    let unused = ["--tls-cert", &good, "--tls-key", &key];
    let output = run("gateway", &unused, &[]).await;
    assert!(printed(&output).contains("no --listen is wss://"), "{}", printed(&output));
}

#[tokio::test]
async fn invalid_settings_are_reported_before_any_port_is_bound() {
    // The port is in use, which would be reported if it were bound.
    let busy = BusyPort::new();
    let (addr, listen) = (busy.addr.to_string(), format!("ws://{}", busy.addr));
    for (binary, listen) in [("register", &addr), ("gateway", &listen)] {
        let output = run(binary, &["--listen", listen, "--grace", "soon"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(!printed(&output).contains("in use"), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn unknown_key_in_the_config_file_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    fs::write(&file, "grace = 3\nno_such_key = 1\nsecret_key = \"s3cret-in-a-file\"\n")
        .expect("to write a file");
    let path = file.to_str().expect("a plain path");
    for binary in BINARIES {
        let output = run(binary, &["--config", path], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{binary}");
        assert!(printed(&output).contains("no_such_key"), "{binary}: {}", printed(&output));
        assert!(!printed(&output).contains("s3cret"), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn check_prints_the_effective_settings_without_the_secret() {
    for binary in BINARIES {
        let env = [("GW_SECRET_KEY", "s3cret-of-the-check"), ("GW_GRACE", "7")];
        let output = run(binary, &["--check"], &env).await;
        assert_eq!(output.status.code(), Some(0), "{binary}: {}", printed(&output));
        assert!(printed(&output).contains("grace = 7"), "{binary}: {}", printed(&output));
        assert!(!printed(&output).contains("s3cret"), "{binary}: {}", printed(&output));
    }
}

#[tokio::test]
async fn port_in_use_is_named() {
    let busy = BusyPort::new();
    let addr = busy.addr.to_string();
    let (own, port) = (format!("ws://{}", ports::free()), busy.addr.port().to_string());
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
        assert_eq!(output.status.code(), Some(1), "{binary} {args:?}: {}", printed(&output));
        let text = printed(&output);
        assert!(text.contains(&addr) && text.contains("in use"), "{binary} {args:?}: {text}");
    }
}

#[tokio::test]
async fn help_and_version_are_printed() {
    for binary in BINARIES {
        for flag in ["--help", "--version"] {
            let output = run(binary, &[flag], &[]).await;
            assert_eq!(output.status.code(), Some(0), "{binary} {flag}");
            assert!(!output.stdout.is_empty(), "{binary} {flag}");
        }
    }
}

/// A port in use.
struct BusyPort {
    addr: SocketAddr,
    _listener: TcpListener,
}

impl BusyPort {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { addr: listener.local_addr().expect("an address"), _listener: listener }
    }
}
