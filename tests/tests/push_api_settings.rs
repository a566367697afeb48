//! The settings of the push API: refused before a port is bound, printed without secrets, reloaded.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, process::Command};

use serde_json::json;
use suite_tests::{
    HttpRequest, PushApi, Suite, binaries, eventually, ports,
    process::Signal,
    push_api::{ADMIN, KEYS, PUSH},
};

/// Runs the binary with a settings file until it ends: exit code, and its output.
fn run(settings: &str, flags: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, settings).unwrap();
    let mut command = Command::new(binaries::path("business-worker"));
    let output = command.arg("--config").arg(&file).args(flags).env_clear().output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn wrong_settings_are_named_before_a_port_is_bound() {
    let addr = ports::free();
    let listen = format!("--http-listen={addr}");
    let open = "--http-listen=0.0.0.0:7373";
    let cases: [(&str, &[&str], &str); 8] = [
        ("", &["--app=none"], "--app none: requires --http-listen"),
        ("", &[&listen], "has no [[api.key]]; add one, or set --http-insecure"),
        ("", &["--http-insecure"], "--http-insecure: requires --http-listen"),
        ("", &[open, "--http-insecure"], "0.0.0.0:7373 is not a loopback address"),
        (KEYS, &[open, "--http-insecure"], "0.0.0.0:7373 is not a loopback address"),
        (&KEYS.replace("scopes = [\"push\"]", ""), &[&listen], "[[api.key]] number 2: missing"),
        (&KEYS.replace("\"push\"]", "\"root\"]"), &[&listen], "[[api.key]] number 2: `scopes"),
        ("[api.key]\nname = \"a\"", &[&listen], "begin each with [[api.key]]"),
    ];
    for (settings, flags, expected) in cases {
        let (code, output) = run(settings, flags);
        assert!(code == Some(2) && output.contains(expected), "{expected}: {code:?} {output}");
        let (code, output) = run(settings, &[flags, &["--check"]].concat());
        assert!(code == Some(2) && output.contains(expected), "{expected}: {code:?} {output}");
    }
    assert!(std::net::TcpStream::connect(addr).is_err());
}

#[test]
fn check_prints_the_keys_without_their_hashes() {
    let addr = ports::free();
    let (code, output) = run(KEYS, &["--app=none", &format!("--http-listen={addr}"), "--check"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&format!("http_listen = \"{addr}\"  # --http-listen\n")), "{output}");
    assert_eq!(output.matches("[[api.key]]\n").count(), 5, "{output}");
    assert!(output.contains("group_prefix = \"room:\"\n"), "{output}");
    assert!(output.contains("# sha256 is set, not shown\n"), "{output}");
    for hash in KEYS.lines().filter_map(|line| line.strip_prefix("sha256 = ")) {
        assert!(!output.contains(hash), "{hash}");
    }
    let (code, output) = run(KEYS, &["--http-listen=0.0.0.0:1", "--secret-key=s", "--check"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("warning: --http-listen: keys cross the network in the clear"));
}

#[tokio::test]
async fn keys_are_replaced_by_sighup_as_a_whole_or_not_at_all() {
    let suite = Suite::builder().start().await;
    let mut api = PushApi::start(&suite).await;
    let status = async |api: &PushApi, key: &str| api.call(key, "GET", "/v1/counts").await.status;
    assert_eq!((status(&api, ADMIN).await, status(&api, PUSH).await), (200, 403));

    // The first entry is new, the second is wrong.
    let halves =
        KEYS.replace("name = \"admin\"", "name = \"other\"").replace("\"push\"]", "\"x\"]");
    api.reload(&halves);
    api.process.wait_for_log(&["ERROR", "reload failed", "[[api.key]] number 2"]).await;
    assert_eq!((status(&api, ADMIN).await, status(&api, PUSH).await), (200, 403));

    api.reload(&KEYS.replace("scopes = [\"push\"]", "scopes = [\"push\", \"read\"]"));
    eventually("the key to get a scope", async || (status(&api, PUSH).await == 200).then_some(()))
        .await;
    // A file without keys locks everybody out rather than letting everybody in.
    api.reload("");
    eventually("the keys to be removed", async || (status(&api, ADMIN).await == 401).then_some(()))
        .await;
    api.check_log();
}

#[tokio::test]
async fn api_that_starts_with_keys_never_serves_without() {
    let suite = Suite::builder().start().await;
    let mut api = PushApi::with_flags(&suite, "api", "none", &["--http-insecure"]).await;
    let open = async |api: &PushApi| api.send(HttpRequest::new("GET", "/v1/counts")).await.status;
    assert_eq!((api.call(ADMIN, "GET", "/v1/counts").await.status, open(&api).await), (200, 401));
    api.reload("");
    api.process.wait_for_log(&["tables of the settings file", "reloaded"]).await;
    assert_eq!((api.call(ADMIN, "GET", "/v1/counts").await.status, open(&api).await), (401, 401));
}

#[tokio::test]
async fn api_without_keys_serves_loopback_if_told_so() {
    let suite = Suite::builder().start().await;
    let addr = ports::free();
    let flags = ["--app", "echo", "--http-listen", &addr.to_string(), "--http-insecure"];
    let mut process = suite.start_process("api", "business-worker", &flags);
    process.ready().await;
    let mut client = suite.browser(0).await;
    client.exchange("hello", "hello").await;
    let body = json!({"to": {"all": true}, "data": {"n": 1}});
    let answer = HttpRequest::new("POST", "/v1/send").json(&body).send(addr).await;
    assert_eq!(answer.body["delivered"], 1);
    assert_eq!(client.receive_text().await, "{\"n\":1}");
    assert!(process.stop().await.success());
}

#[tokio::test]
async fn open_api_that_has_required_a_key_serves_none_without() {
    let suite = Suite::builder().start().await;
    let (addr, folder) = (ports::free(), tempfile::tempdir().unwrap());
    let file = folder.path().join("settings.toml");
    fs::write(&file, "").unwrap();
    let (listen, path) = (addr.to_string(), file.display().to_string());
    let flags = ["--app", "none", "--http-listen", &listen, "--http-insecure", "--config", &path];
    let mut process = suite.start_process("api", "business-worker", &flags);
    process.ready().await;
    let open = async || HttpRequest::new("GET", "/v1/counts").send(addr).await.status;
    assert_eq!(open().await, 200);
    for (reloads, settings) in [(1, KEYS), (2, "")] {
        fs::write(&file, settings).unwrap();
        process.signal(Signal::Hup);
        eventually("the reload", async || {
            let lines = process.log_lines("tables of the settings file");
            (reloads <= lines.iter().filter(|line| line.contains("reloaded")).count()).then_some(())
        })
        .await;
        assert_eq!(open().await, 401, "{settings}");
    }
}

#[tokio::test]
async fn port_in_use_is_named_with_its_flag() {
    let suite = Suite::builder().start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let flags = ["--app", "none", "--http-listen", &addr, "--http-insecure"];
    let mut process = suite.start_process("api", "business-worker", &flags);
    assert_eq!(process.wait_exit().await.code(), Some(1));
    let expected = format!("cannot listen on {addr} (--http-listen): address in use");
    assert!(process.log().contains(&expected), "{}", process.log());
}
