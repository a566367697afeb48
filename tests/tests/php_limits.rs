//! What PHP peers may store and ask for at the edge of what is bounded: nothing ends a process, and no
//! answer looks right that is not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{ClientId, codec::gateway_worker::Opcode};
use serde_json::{Value, json};
use suite_tests::{Browser, Php, Suite, eventually};

const MIB: usize = 1024 * 1024;

/// A session of 120 KB that has one text in 2,000 places: 200 MB without references.
fn session_with_references() -> String {
    let refs: String = (1..2000).map(|at| format!("i:{at};R:2;")).collect();
    format!("a:2000:{{i:0;s:102400:\"{}\";{refs}}}", "x".repeat(102_400))
}

#[tokio::test]
async fn worker_whose_client_has_a_php_session_full_of_references_goes_on() {
    let suite = Suite::builder().gateways(1).workers(1).app("chat").start().await;
    let mut ann = suite.browser(0).await;
    let login =
        says(&mut ann, json!({ "type": "login", "client_name": "ann", "room_id": 1 })).await;
    let id: ClientId = login["client_id"].as_str().unwrap().parse().unwrap();
    let before = suite.workers[0].resident();

    let mut php = Php::client(suite.gateways[0].inner, &suite.secret()).await;
    php.say(Opcode::SetSession, id.connection.0, session_with_references(), "").await;
    php.ask(Opcode::GetGroupIdList, 0, "").await;
    // The session cannot be read, so that it says nothing of her.
    for _ in 0..20 {
        let refused = says(&mut ann, json!({ "type": "who" })).await;
        assert_eq!(refused["type"], "error", "{refused}");
    }

    let grown = suite.workers[0].resident().saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB", grown / MIB);
    let mut bob = suite.browser(0).await;
    let login =
        says(&mut bob, json!({ "type": "login", "client_name": "bob", "room_id": 1 })).await;
    assert_eq!(login["type"], "login", "others are served by the same process");
}

#[tokio::test]
async fn reply_over_the_limit_closes_the_connection_and_says_why() {
    const CLIENTS: u32 = 20;
    let suite = Suite::builder().gateways(1).logs("info").start().await;
    let gateway = suite.gateways[0].inner;
    let mut worker = Php::worker(gateway, &suite.secret(), "worker:1").await;
    let mut php = Php::client(gateway, &suite.secret()).await;
    let session = format!(r#"a:1:{{i:0;s:{}:"{}";}}"#, 7 * MIB, "x".repeat(7 * MIB));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(suite.browser(0).await);
        let client = worker.welcomes().await;
        php.say(Opcode::SetSession, client, session.clone(), "").await;
    }
    assert_eq!(php.ask(Opcode::GetClientCountByGroup, 0, "").await, format!("i:{CLIENTS};"));

    php.say(Opcode::GetAllClientSessions, 0, "", "").await;
    assert_eq!(php.ends().await, 0, "nothing that could be taken for an answer");
    suite.gateways[0].logs(&["a PHP peer's query has no reply", "sessions"]).await;
    assert_eq!(suite.gateways[0].metric("gateway_php_queries_failed_total").await, Some(1.0));
    // Within the limit there is an answer, and others are served.
    clients.truncate(17);
    let mut php = Php::client(gateway, &suite.secret()).await;
    eventually("three to have left", async || {
        (php.ask(Opcode::GetClientCountByGroup, 0, "").await == "i:17;").then_some(())
    })
    .await;
    assert!(php.ask(Opcode::GetAllClientSessions, 0, "").await.starts_with("a:17:{"));
}

/// The answer to what a client of the chat says.
async fn says(browser: &mut Browser, message: Value) -> Value {
    browser.send(message.to_string()).await;
    serde_json::from_str(&browser.hears_text().await).unwrap()
}
