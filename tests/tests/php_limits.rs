//! What PHP peers may store and ask for at the edge of what is bounded: nothing ends a process, and no
//! answer looks right that is not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{ClientId, codec::gateway_worker::Opcode};
use serde_json::{Value, json};
use suite_tests::{Browser, Php, Suite};

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

/// The answer to what a client of the chat says.
async fn says(browser: &mut Browser, message: Value) -> Value {
    browser.send(message.to_string()).await;
    serde_json::from_str(&browser.hears_text().await).unwrap()
}
