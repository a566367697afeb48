//! PHP peers at the limits of sessions and replies: no process crashes, and no reply is wrong or
//! truncated.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{ClientId, codec::gateway_worker::Opcode};
use serde_json::{Value, json};
use suite_tests::{Browser, Php, Suite, eventually};

const MIB: usize = 1024 * 1024;

/// A session of 120 KB with 2,000 references to one text: 200 MB if expanded.
fn session_with_references() -> String {
    let refs: String = (1..2000).map(|at| format!("i:{at};R:2;")).collect();
    format!("a:2000:{{i:0;s:102400:\"{}\";{refs}}}", "x".repeat(102_400))
}

#[tokio::test]
async fn worker_survives_a_php_session_full_of_references() {
    let suite = Suite::builder().gateways(1).workers(1).app("chat").start().await;
    let mut ann = suite.browser(0).await;
    let login =
        request(&mut ann, json!({ "type": "login", "client_name": "ann", "room_id": 1 })).await;
    let id: ClientId = login["client_id"].as_str().unwrap().parse().unwrap();
    let before = suite.workers[0].resident();

    let mut php = Php::back_end(suite.gateways[0].inner, &suite.secret()).await;
    php.send(Opcode::SetSession, id.connection.0, session_with_references(), "").await;
    php.query(Opcode::GetGroupIdList, 0, "").await;
    // The session cannot be decoded, so the app treats her as not logged in.
    for _ in 0..20 {
        let refused = request(&mut ann, json!({ "type": "who" })).await;
        assert_eq!(refused["type"], "error", "{refused}");
    }

    let grown = suite.workers[0].resident().saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB", grown / MIB);
    let mut bob = suite.browser(0).await;
    let login =
        request(&mut bob, json!({ "type": "login", "client_name": "bob", "room_id": 1 })).await;
    assert_eq!(login["type"], "login", "the same process serves others");
}

#[tokio::test]
async fn reply_over_the_limit_closes_the_connection_and_logs_the_reason() {
    const CLIENTS: u32 = 20;
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let gateway = suite.gateways[0].inner;
    let mut worker = Php::worker(gateway, &suite.secret(), "worker:1").await;
    let mut php = Php::back_end(gateway, &suite.secret()).await;
    let session = format!(r#"a:1:{{i:0;s:{}:"{}";}}"#, 7 * MIB, "x".repeat(7 * MIB));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(suite.browser(0).await);
        let client = worker.accept_client().await;
        php.send(Opcode::SetSession, client, session.clone(), "").await;
    }
    assert_eq!(php.query(Opcode::GetClientCountByGroup, 0, "").await, format!("i:{CLIENTS};"));

    php.send(Opcode::GetAllClientSessions, 0, "", "").await;
    assert_eq!(php.closed().await, 0, "nothing that could be mistaken for a reply");
    suite.gateways[0].wait_for_log(&["a PHP peer's query has no reply", "sessions"]).await;
    assert_eq!(
        suite.gateways[0].metric("pushsuite_gateway_php_queries_failed_total").await,
        Some(1.0)
    );
    // A reply within the limit is sent, and others are served.
    clients.truncate(17);
    let mut php = Php::back_end(gateway, &suite.secret()).await;
    eventually("three clients to be closed", async || {
        (php.query(Opcode::GetClientCountByGroup, 0, "").await == "i:17;").then_some(())
    })
    .await;
    assert!(php.query(Opcode::GetAllClientSessions, 0, "").await.starts_with("a:17:{"));
}

/// Sends a message of the chat and returns the reply.
async fn request(browser: &mut Browser, message: Value) -> Value {
    browser.send(message.to_string()).await;
    serde_json::from_str(&browser.receive_text().await).unwrap()
}
