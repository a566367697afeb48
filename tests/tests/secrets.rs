//! The secret is in nothing that a process prints or serves, and peers without it are disconnected.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use bytes::{Bytes, BytesMut};
use protocol::{
    Secret,
    codec::gateway_worker::{BODY_IS_SCALAR, Frame, Opcode},
    link::Refusal,
};
use suite_tests::{
    Peer, Raw, Suite, TestWorker, binaries, on_one_and_three_threads, peer::back_end,
};

/// A wrong secret. It must not be printed either: it may be the right one with a typo, or that of
/// another cluster.
const WRONG: &str = "wr0ng-guess-of-a-secret";

on_one_and_three_threads!(
    secret_is_in_no_log_and_no_page_at_any_log_level,
    php_peer_without_the_secret_is_disconnected,
);

async fn secret_is_in_no_log_and_no_page_at_any_log_level(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).app("echo").threads(threads);
    let suite = builder.logs("trace").start().await;
    let (inner, register) = (suite.gateways[0].inner, suite.register_addrs[0]);
    let right = String::from_utf8(suite.secret().expose().to_vec()).unwrap();

    // Native links: a back end, and a worker in this process.
    suite.peer(0).await.acknowledged().await;
    let worker = TestWorker::start(&suite, "1").await;
    let refused = Peer::open(inner, &Secret::from(WRONG), back_end()).await;
    assert_eq!(refused.unwrap_err(), Refusal::Secret);
    // PHP peers, and malformed input of the kind.
    for secret in [&right[..], WRONG] {
        for body in [
            format!(r#"{{"secret_key":"{secret}"}}"#),
            format!(r#"{{"worker_key":"W:1","secret_key":"{secret}"}}"#),
            format!(r#"{{"secret_key":"{secret}""#),
            format!(r#"{{"secret_key":["{secret}"]}}"#),
            format!("a:1:{{s:10:\"secret_key\";s:{}:\"{secret}\";}}", secret.len()),
        ] {
            for opcode in [Opcode::GatewayClientConnect, Opcode::WorkerConnect, Opcode::Ping] {
                for flag in [0, BODY_IS_SCALAR] {
                    offer(inner, &frame(opcode, flag, &body)).await;
                }
            }
        }
        // Peers of a register, and malformed input of the kind.
        for line in [
            format!(r#"{{"event":"worker_connect","secret_key":"{secret}"}}"#),
            format!(
                r#"{{"event":"gateway_connect","address":"127.0.0.1:1","secret_key":"{secret}"}}"#
            ),
            format!(r#"{{"event":"gateway_connect","address":5,"secret_key":"{secret}"}}"#),
            format!(r#"{{"event":"what_is_this","secret_key":"{secret}"}}"#),
            format!(r#"{{"event":"worker_connect","secret_key":"{secret}""#),
            secret.to_owned(),
        ] {
            offer(register, format!("{line}\n").as_bytes()).await;
        }
    }
    // A client, and requests for known and unknown admin pages.
    let mut ann = suite.browser(0).await;
    ann.send("hello").await;
    let processes = [&suite.registers[0], &suite.gateways[0], &suite.workers[0]];
    for process in processes {
        for page in ["/livez", "/readyz", "/metrics", "/", "/config"] {
            let answer = Raw::get(process.admin, page).await.unwrap();
            assert_clean(&format!("{} {page}", process.name), &answer.body, &right);
        }
    }
    worker.stop().await;
    // Refused peers are logged, but not what they sent.
    suite.registers[0].wait_for_log(&["wrong secret key"]).await;
    suite.gateways[0].wait_for_log(&["invalid secret"]).await;
    for process in processes {
        assert_clean(&process.name, &process.log(), &right);
    }
}

async fn php_peer_without_the_secret_is_disconnected(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let inner = suite.gateways[0].inner;
    let secret = String::from_utf8(suite.secret().expose().to_vec()).unwrap();
    let hello = frame(Opcode::GatewayClientConnect, 1, &format!(r#"{{"secret_key":"{secret}"}}"#));
    let mut known = Raw::connect(inner).await;
    known.send(&hello).await;
    // After a few bytes, or after almost the whole handshake.
    for length in [4, hello.len() - 1] {
        let mut raw = Raw::connect(inner).await;
        raw.send(&hello[..length]).await;
        assert!(raw.read_to_end().await.is_empty());
    }
    // An authenticated peer may be idle and still gets replies.
    known.send(&frame(Opcode::GetGroupIdList, 1, "")).await;
    assert_eq!(known.bytes(4 + 6).await, b"\0\0\0\x06a:0:{}");
}

#[tokio::test]
async fn printed_settings_do_not_contain_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.toml"), folder.path().join("bad.toml"));
    std::fs::write(&good, "secret_key = \"s3cret-of-file\"\n").unwrap();
    std::fs::write(&bad, "secret_key = \"s3cret-of-file\" oops\n").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for binary in ["register", "gateway", "business-worker"] {
        for (args, env) in [
            (&["--check", "--secret-key", "s3cret-of-flag"][..], ""),
            (&["--check", "--config", good], ""),
            (&["--check"], "s3cret-of-environment"),
            (&["--help"], "s3cret-of-environment"),
            (&["--config", bad], ""),
            (&["--secret-key", "s3cret-of-flag", "--grace", "soon"], ""),
            (&["--secret-key", "s3cret-of-flag", "s3cret-too"], ""),
            (&["--secret-key=s3cret-of-flag", "--secret-key=s3cret-again"], ""),
        ] {
            let mut command = Command::new(binaries::path(binary));
            let output = command.args(args).env_clear().env("GW_SECRET_KEY", env).output().unwrap();
            let text = [&output.stdout[..], &output.stderr[..]].concat();
            let text = String::from_utf8_lossy(&text);
            // A misplaced argument is printed, so that the user finds it.
            let text = text.replace("s3cret-too", "");
            assert!(!text.is_empty() && !text.contains("s3cret"), "{binary} {args:?}: {text}");
        }
    }
}

fn frame(opcode: Opcode, flag: u8, body: &str) -> BytesMut {
    let (cmd, body) = (opcode.into(), Bytes::copy_from_slice(body.as_bytes()));
    let mut bytes = BytesMut::new();
    Frame { cmd, flag, body, ..Frame::default() }.encode(&mut bytes).unwrap();
    bytes
}

/// Sends bytes on a new connection and waits until it closes.
async fn offer(addr: std::net::SocketAddr, bytes: &[u8]) {
    let mut raw = Raw::connect(addr).await;
    let _ = raw.try_send(bytes).await;
    if raw.try_shutdown_write().await.is_ok() {
        raw.read_to_end().await;
    }
}

#[track_caller]
fn assert_clean(what: &str, text: &str, secret: &str) {
    let mut lines = text.lines();
    let line = lines.find(|line| line.contains(secret) || line.contains(WRONG));
    assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
}
