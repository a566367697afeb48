//! The register as a process: settings, exit codes, signals, admin pages, service manager.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn register(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_register"));
    // The tests must not depend on the environment that they run in.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("GW_") || name == "RUST_LOG" || name == "NOTIFY_SOCKET" {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(args: &[&str]) -> (Option<i32>, String, String) {
    outcome(register(args).output().unwrap())
}

fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A register process that runs until it is stopped or dropped.
struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    log_text: String,
    addr: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        Self::spawn(&mut register(args))
    }

    fn spawn(command: &mut Command) -> Self {
        command.args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=json"]);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, log, log_text: String::new(), addr: unset, admin: unset };
        process.admin = process.address_in("admin pages");
        process.addr = process.address_in("listening");
        process
    }

    /// Reads the log up to this message, and returns its address.
    fn address_in(&mut self, message: &str) -> SocketAddr {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() != 0, "ended: {}", self.log_text);
            self.log_text.push_str(&line);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == message {
                return line["addr"].as_str().unwrap().parse().unwrap();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the process to exit; returns the exit code and the whole log.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = std::mem::take(&mut self.log_text);
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn invalid_setting_is_named_with_exit_code_2() {
    for (args, name) in [
        (&["--listen=nowhere"][..], "--listen"),
        (&["--lisen=127.0.0.1:1"], "--lisen"),
        (&["--startup-grace=1000"], "--startup-grace"),
        (&["--listen=0.0.0.0:0"], "--secret-key"),
        (&["--config=/no/such/file"], "--config /no/such/file"),
        (&["--log-format=xml"], "--log-format"),
        (&["stray"], "stray"),
    ] {
        let (code, out, err) = ended(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(name), "{args:?}: {err}");
    }
    let (code, _, err) = outcome(register(&[]).env("GW_STARTUP_GRACE", "x").output().unwrap());
    assert_eq!(code, Some(2));
    assert!(err.starts_with("error: GW_STARTUP_GRACE: invalid value 'x'"), "{err}");
    let (code, _, err) = outcome(register(&[]).env("RUST_LOG", "a=b=c").output().unwrap());
    assert_eq!(code, Some(2));
    assert!(err.contains("RUST_LOG"), "{err}");
}

#[test]
fn unknown_key_in_file_is_named_with_exit_code_2() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"startup-grace = 1\n").unwrap();
    let (code, _, err) = ended(&["--config", file.path().to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("unknown key `startup-grace`; did you mean `startup_grace`?"), "{err}");
}

#[test]
fn check_prints_effective_settings_without_secret() {
    let mut command = register(&["--check", "--startup-grace=1"]);
    command.env("GW_SECRET_KEY", "hunter2").env("GW_LISTEN", "0.0.0.0:1236");
    let (code, out, err) = outcome(command.output().unwrap());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("listen = \"0.0.0.0:1236\"  # GW_LISTEN\n"), "{out}");
    assert!(out.contains("startup_grace = 1  # --startup-grace\n"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
    let (code, out, err) = ended(&["--check", "--listen=0.0.0.0:1236"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "a failed check prints nothing");
    assert!(err.contains("--secret-key"), "{err}");
}

#[test]
fn help_and_version_exit_with_code_0() {
    for (flag, part) in [("--help", "--startup-grace"), ("--version", "register ")] {
        let (code, out, _) = ended(&[flag]);
        assert_eq!(code, Some(0));
        assert!(out.contains(part), "{out}");
    }
}

#[test]
fn port_in_use_is_named_with_its_flag_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin-listen"] {
        let mut args = vec![format!("{flag}={addr}")];
        if flag != "--listen" {
            args.push("--listen=127.0.0.1:0".to_owned());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, _, err) = ended(&args);
        assert_eq!(code, Some(1));
        let expected = format!("cannot listen on {addr} ({flag}): address in use");
        assert!(err.contains(&expected), "{err}");
    }
}

#[test]
fn signal_closes_all_connections_with_exit_code_0() {
    for name in ["-TERM", "-INT"] {
        let process = Process::start(&["--startup-grace=0"]);
        let mut worker = BufReader::new(process.connect());
        worker.get_mut().write_all(b"{\"event\":\"worker_connect\"}\n").unwrap();
        let mut line = String::new();
        worker.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"event\":\"broadcast_addresses\",\"addresses\":[]}\n");
        process.signal(name);
        assert_eq!(worker.read_line(&mut line).unwrap(), 0, "closed");
        let (code, log) = process.end();
        assert_eq!(code, Some(0), "{log}");
    }
}

#[test]
fn admin_pages_report_health_and_metrics() {
    let process = Process::start(&["--startup-grace=60"]);
    assert!(process.page("/livez").starts_with("HTTP/1.1 200"));
    assert!(
        process.page("/readyz").starts_with("HTTP/1.1 200"),
        "ready during the grace period as well"
    );
    let mut peer = process.connect();
    peer.write_all(b"hello\n").unwrap();
    peer.read_to_string(&mut String::new()).unwrap();
    let metrics = process.page("/metrics");
    for line in [
        "pushsuite_register_gateways 0\n",
        "pushsuite_register_workers 0\n",
        "pushsuite_register_connections_total 1\n",
        "pushsuite_register_refused_total{reason=\"bad_request\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn log_contains_no_secret() {
    let mut command = register(&["--startup-grace=0"]);
    command.env("GW_SECRET_KEY", "hunter2").env("RUST_LOG", "trace");
    let process = Process::spawn(&mut command);
    for line in [
        "{\"event\":\"worker_connect\",\"secret_key\":\"swordfish\"}\n",
        "{\"event\":\"gateway_connect\",\"address\":\"a:1\",\"secret_key\":\"sword\"fish\"}\n",
        "{\"event\":\"other\",\"secret_key\":\"swordfish\"}\n",
    ] {
        let mut peer = process.connect();
        peer.write_all(line.as_bytes()).unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
    }
    let mut gateway = process.connect();
    gateway
        .write_all(
            b"{\"event\":\"gateway_connect\",\"address\":\"a:1\",\"secret_key\":\"hunter2\"}\n",
        )
        .unwrap();
    while !process.page("/metrics").contains("pushsuite_register_gateways 1\n") {}
    process.signal("-TERM");
    let (code, log) = process.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("wrong secret key") && log.contains("gateway announced"), "{log}");
    for secret in ["hunter2", "swordfish", "sword"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn service_manager_is_notified() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut receive = {
        let mut bytes = [0; 1000];
        move || {
            let len = manager.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        }
    };
    let mut command = register(&[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").env_remove("WATCHDOG_PID");
    let process = Process::spawn(&mut command);
    let ready = receive();
    assert!(ready.contains("READY=1\n"), "{ready}");
    assert!(ready.contains(&format!("STATUS=listening on {}\n", process.addr)), "{ready}");
    for _ in 0..3 {
        assert_eq!(receive(), "WATCHDOG=1\n");
    }
    process.signal("-TERM");
    while !receive().contains("STOPPING=1\n") {}
    assert_eq!(process.end().0, Some(0));
}
