//! The chat app, message by message, in the protocol of the well-known page.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{Browser, Suite, on_one_and_three_threads};

on_one_and_three_threads!(
    login_returns_the_list_and_is_announced_to_the_room,
    public_message_reaches_the_room_and_its_sender,
    private_message_reaches_sender_and_recipient_only,
    logout_is_announced_to_the_room,
    kicked_client_is_closed_with_a_final_code,
    messages_stay_within_their_room,
    second_login_moves_the_client_to_another_room,
    text_is_escaped,
    malformed_messages_are_ignored,
    oversized_text_is_refused_to_its_sender_only,
    messages_before_login_are_ignored,
    chinese_names_are_accepted,
    page_is_pinged_and_may_reply,
);

/// A client of the chat.
struct Chatter {
    browser: Browser,
    id: String,
}

impl Chatter {
    /// Logs in and receives the reply.
    async fn enter(suite: &Suite, gateway: usize, name: &str, room: Value) -> (Self, Value) {
        let mut chatter = Self { browser: suite.browser(gateway).await, id: String::new() };
        chatter.send(json!({"type": "login", "client_name": name, "room_id": room})).await;
        let login = chatter.receive("login").await;
        login["client_id"].as_str().unwrap().clone_into(&mut chatter.id);
        (chatter, login)
    }

    async fn send(&mut self, message: Value) {
        self.browser.send(message.to_string()).await;
    }

    async fn send_to_all(&mut self, content: &str) {
        let message = json!({
            "type": "say", "to_client_id": "all", "to_client_name": "all", "content": content
        });
        self.send(message).await;
    }

    /// The next message, which must have this type.
    async fn receive(&mut self, kind: &str) -> Value {
        let message = self.receive_any().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    async fn receive_any(&mut self) -> Value {
        let text = self.browser.receive_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Asserts that nothing was received: a message sent now is the next to arrive.
    async fn assert_nothing_received(&mut self) {
        self.send_to_all("mark").await;
        assert_eq!(self.receive("say").await["content"], "mark");
    }
}

async fn start(threads: usize) -> Suite {
    Suite::builder().workers(2).threads(threads).app("chat").start().await
}

async fn login_returns_the_list_and_is_announced_to_the_room(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, login) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    assert_eq!(login["client_name"], "Ann");
    assert_eq!(login["client_list"], json!({ann.id.clone(): "Ann"}));
    assert!(is_time(&login["time"]), "{login}");
    assert_eq!(ann.id.len(), 20, "like GatewayWorker's");

    let (bob, login) = Chatter::enter(&suite, 1, "Bob", json!("r")).await;
    assert_eq!(login["client_list"], json!({ann.id.clone(): "Ann", bob.id.clone(): "Bob"}));
    let received = ann.receive("login").await;
    assert_eq!(received["client_id"], bob.id);
    assert_eq!(received["client_name"], "Bob");
    assert!(is_time(&received["time"]), "{received}");
    assert_eq!(received.get("client_list"), None, "only the new client gets the list");
}

async fn public_message_reaches_the_room_and_its_sender(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    bob.send_to_all("hello").await;
    for chatter in [&mut ann, &mut bob] {
        let received = chatter.receive("say").await;
        assert_eq!(received["from_client_name"], "Bob");
        assert_eq!(received["to_client_id"], "all");
        assert_eq!(received["content"], "hello");
        assert!(is_time(&received["time"]), "{received}");
    }
    let id = bob.id.clone();
    ann.send_to_all("and hello").await;
    assert_ne!(bob.receive("say").await["from_client_id"], id);
}

async fn private_message_reaches_sender_and_recipient_only(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    let (mut eve, _) = Chatter::enter(&suite, 0, "Eve", json!("r")).await;
    ann.receive("login").await;
    bob.receive("login").await;
    let to = bob.id.clone();
    ann.send(json!({
        "type": "say", "to_client_id": to, "to_client_name": "Bob", "content": "psst"
    }))
    .await;
    let received = bob.receive("say").await;
    assert_eq!(received["content"], "<b>对你说: </b>psst");
    assert_eq!(received["from_client_id"], ann.id);
    assert_eq!(received["from_client_name"], "Ann");
    assert_eq!(received["to_client_id"], bob.id);
    let echoed = ann.receive("say").await;
    assert_eq!(echoed["content"], "<b>你对Bob说: </b>psst");
    eve.assert_nothing_received().await;
}

async fn logout_is_announced_to_the_room(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, bob) = two(&suite).await;
    let id = bob.id.clone();
    drop(bob.browser);
    let left = ann.receive("logout").await;
    assert_eq!(left["from_client_id"], id);
    assert_eq!(left["from_client_name"], "Bob");
    assert!(is_time(&left["time"]), "{left}");
    // A client that never logged in disconnects without an announcement.
    suite.browser(0).await.close().await;
    ann.assert_nothing_received().await;
}

async fn kicked_client_is_closed_with_a_final_code(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    let (ann_id, bob_id) = (ann.id.clone(), bob.id.clone());
    bob.send(json!({"type": "kick", "client_id": ann_id})).await;
    assert_eq!(bob.receive("error").await["code"], "not_allowed", "she was there first");
    ann.send(json!({"type": "kick", "client_id": bob_id})).await;
    assert_eq!(bob.browser.receive_close().await, Some((4403, "kicked".to_owned())));
    assert_eq!(ann.receive("logout").await["from_client_id"], bob_id);
}

async fn messages_stay_within_their_room(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!(1)).await;
    let (mut bob, login) = Chatter::enter(&suite, 1, "Bob", json!(2)).await;
    assert_eq!(login["client_list"], json!({bob.id.clone(): "Bob"}));
    bob.send_to_all("hello").await;
    bob.receive("say").await;
    ann.assert_nothing_received().await;
    // A room name may be a number or a string.
    let (_eve, login) = Chatter::enter(&suite, 1, "Eve", json!("1")).await;
    assert_eq!(login["client_list"][ann.id.as_str()], "Ann");
    ann.receive("login").await;
}

async fn second_login_moves_the_client_to_another_room(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    bob.send(json!({"type": "login", "client_name": "Bobby", "room_id": "elsewhere"})).await;
    let login = bob.receive("login").await;
    assert_eq!(login["client_list"], json!({bob.id.clone(): "Bobby"}));
    let left = ann.receive("logout").await;
    assert_eq!(left["from_client_id"], bob.id);
    ann.assert_nothing_received().await;
    bob.assert_nothing_received().await;
}

async fn text_is_escaped(threads: usize) {
    let suite = start(threads).await;
    let hostile = r#"<script>alert("x" + 'y' & z)</script>"#;
    let escaped = "&lt;script&gt;alert(&quot;x&quot; + &#039;y&#039; &amp; z)&lt;/script&gt;";
    let (mut ann, _) = Chatter::enter(&suite, 0, "<b>A</b>", json!("<r>")).await;
    ann.send_to_all(&format!("{hostile}\nnext")).await;
    let received = ann.receive("say").await;
    assert_eq!(received["from_client_name"], "&lt;b&gt;A&lt;/b&gt;");
    let lines = received["content"].as_str().unwrap().replace("<br />\n", "<br />");
    assert_eq!(lines.replace("&#39;", "&#039;"), format!("{escaped}<br />next"));
}

async fn malformed_messages_are_ignored(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    for nonsense in ["", "hello", "[]", "5", "null", "{}", r#"{"type":5}"#, r#"{"type":"fly"}"#] {
        ann.browser.send(nonsense).await;
    }
    ann.browser.send_binary(vec![0xff, 0xfe]).await;
    ann.send(json!({"type": "say", "to_client_id": "all", "content": 5})).await;
    ann.send(json!({"type": "pong"})).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    ann.browser.send(deep).await;
    ann.send_to_all("still here").await;
    // Replies to the sender are fine; a close, or silence, is not.
    loop {
        let received = ann.receive_any().await;
        if received["content"] == "still here" {
            break;
        }
    }
}

async fn oversized_text_is_refused_to_its_sender_only(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    ann.send_to_all(&"字".repeat(4_000)).await;
    assert_eq!(ann.receive("say").await["content"], "字".repeat(4_000));
    assert_eq!(bob.receive("say").await["content"], "字".repeat(4_000));
    ann.send_to_all(&"字".repeat(4_001)).await;
    let refusal = ann.receive_any().await;
    assert_ne!(refusal["type"], "say", "{refusal}");
    bob.assert_nothing_received().await;
    // The mark that `assert_nothing_received` sent.
    ann.receive("say").await;
    let long = "x".repeat(33);
    ann.send(json!({"type": "login", "client_name": long, "room_id": "r"})).await;
    let refusal = ann.receive_any().await;
    assert_ne!(refusal["type"], "login", "{refusal}");
    bob.assert_nothing_received().await;
}

async fn messages_before_login_are_ignored(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    let mut guest = Chatter { browser: suite.browser(1).await, id: String::new() };
    guest.send_to_all("hello").await;
    let message = json!({"type": "login", "client_name": "Bob", "room_id": "r"});
    guest.send(message).await;
    guest.receive("login").await;
    assert_eq!(ann.receive_any().await["type"], "login", "nothing arrives before it");
}

async fn chinese_names_are_accepted(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "小安", json!("房间")).await;
    let (bob, login) = Chatter::enter(&suite, 1, "老王", json!("房间")).await;
    assert_eq!(login["client_list"], json!({ann.id.clone(): "小安", bob.id.clone(): "老王"}));
    assert_eq!(ann.receive("login").await["client_name"], "老王");
}

async fn page_is_pinged_and_may_reply(threads: usize) {
    let suite = Suite::builder()
        .gateways(1)
        .workers(1)
        .threads(threads)
        .app("chat")
        .gateway_flag("--ping-interval", "1")
        .gateway_flag("--ping-data", r#"{"type":"ping"}"#)
        .start()
        .await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    ann.receive("ping").await;
    ann.send(json!({"type": "pong"})).await;
    // The pong has no reply, and pings continue.
    ann.receive("ping").await;
}

async fn two(suite: &Suite) -> (Chatter, Chatter) {
    let (mut ann, _) = Chatter::enter(suite, 0, "Ann", json!("r")).await;
    let (bob, _) = Chatter::enter(suite, 1, "Bob", json!("r")).await;
    ann.receive("login").await;
    (ann, bob)
}

/// `YYYY-MM-DD HH:MM:SS`
fn is_time(value: &Value) -> bool {
    let shape: String = value
        .as_str()
        .unwrap_or_default()
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    shape == "0000-00-00 00:00:00"
}
