//! The secret: nothing that a process prints or serves has it, whatever it is told; and whoever
//! does not show it does not stay.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use bytes::{Bytes, BytesMut};
use protocol::{
    Secret,
    codec::gateway_worker::{BODY_IS_SCALAR, Frame, Opcode},
    link::Refusal,
};
use suite_tests::{
    Peer, Raw, Suite, TestWorker, binaries, eventually, on_one_and_three_threads, peer::back_end,
};

/// What a peer of another cluster may offer. Nor is that to be printed: it may be a good one with
/// one letter wrong.
const WRONG: &str = "wr0ng-guess-of-a-secret";

on_one_and_three_threads!(
    no_log_and_no_page_has_the_secret_however_much_is_logged,
    a_php_peer_that_does_not_show_the_secret_does_not_stay,
);

async fn no_log_and_no_page_has_the_secret_however_much_is_logged(threads: usize) {
    let builder = Suite::builder().gateways(1).workers(1).app("echo").threads(threads);
    let suite = builder.logs("trace").start().await;
    let (inner, register) = (suite.gateways[0].inner, suite.register_addrs[0]);
    let right = String::from_utf8(suite.secret().expose().to_vec()).unwrap();

    // Native links: a back end, and a worker in this process.
    suite.peer(0).await.taken().await;
    let worker = TestWorker::start(&suite, "1").await;
    let refused = Peer::open(inner, &Secret::from(WRONG), back_end()).await;
    assert_eq!(refused.unwrap_err(), Refusal::Secret);
    // PHP peers, and what looks like them.
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
        // A register's peers, and what looks like them. One of these lines comes back as it was.
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
    // A client, and somebody who takes a page for another.
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
    // Those who were refused are mentioned, but not what they said.
    for process in [&suite.registers[0], &suite.gateways[0]] {
        eventually(format!("traces of the refused at {}", process.name), async || {
            process.log().contains("DEBUG").then_some(())
        })
        .await;
    }
    for process in processes {
        assert_clean(&process.name, &process.log(), &right);
    }
    suite.gateways[0].logs(&["does not know the secret"]).await;
}

async fn a_php_peer_that_does_not_show_the_secret_does_not_stay(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let inner = suite.gateways[0].inner;
    let secret = String::from_utf8(suite.secret().expose().to_vec()).unwrap();
    let hello = frame(Opcode::GatewayClientConnect, 1, &format!(r#"{{"secret_key":"{secret}"}}"#));
    let mut known = Raw::connect(inner).await;
    known.send(&hello).await;
    // Whether it says next to nothing, or most of what it has to.
    for length in [4, hello.len() - 1] {
        let mut stranger = Raw::connect(inner).await;
        stranger.send(&hello[..length]).await;
        assert!(stranger.until_the_end().await.is_empty());
    }
    // One who is known may be silent for as long as it likes, and has its answers.
    known.send(&frame(Opcode::GetGroupIdList, 1, "")).await;
    assert_eq!(known.bytes(4 + 6).await, b"\0\0\0\x06a:0:{}");
}

#[tokio::test]
async fn what_is_printed_about_settings_has_no_secret() {
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
            // What stands where no secret belongs is shown, to be found.
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

/// Sends bytes on a connection of their own, and waits for its end.
async fn offer(addr: std::net::SocketAddr, bytes: &[u8]) {
    let mut stranger = Raw::connect(addr).await;
    let _ = stranger.try_send(bytes).await;
    if stranger.try_finish().await.is_ok() {
        stranger.until_the_end().await;
    }
}

#[track_caller]
fn assert_clean(what: &str, text: &str, secret: &str) {
    let mut lines = text.lines();
    let line = lines.find(|line| line.contains(secret) || line.contains(WRONG));
    assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
}
