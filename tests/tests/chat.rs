//! The chat, message by message, as the well-known page speaks it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{Browser, Suite, on_one_and_three_threads};

on_one_and_three_threads!(
    a_newcomer_gets_the_list_and_the_room_hears_of_it,
    what_is_said_to_all_is_heard_by_the_room_and_by_its_speaker,
    a_private_message_is_heard_by_two,
    who_leaves_is_announced,
    another_room_hears_nothing,
    a_second_login_moves,
    text_is_escaped,
    what_is_not_understood_is_ignored,
    what_is_too_long_is_refused_to_its_sender_alone,
    nobody_speaks_before_login,
    names_in_chinese_are_names,
    a_page_is_pinged_and_may_answer,
);

/// Someone in the chat.
struct Chatter {
    browser: Browser,
    id: String,
}

impl Chatter {
    /// Logs in, and takes the answer.
    async fn enter(suite: &Suite, gateway: usize, name: &str, room: Value) -> (Self, Value) {
        let mut chatter = Self { browser: suite.browser(gateway).await, id: String::new() };
        chatter.says(json!({"type": "login", "client_name": name, "room_id": room})).await;
        let login = chatter.hears("login").await;
        login["client_id"].as_str().unwrap().clone_into(&mut chatter.id);
        (chatter, login)
    }

    async fn says(&mut self, message: Value) {
        self.browser.send(message.to_string()).await;
    }

    async fn says_to_all(&mut self, content: &str) {
        let message = json!({
            "type": "say", "to_client_id": "all", "to_client_name": "all", "content": content
        });
        self.says(message).await;
    }

    /// The next message, which is of this type.
    async fn hears(&mut self, kind: &str) -> Value {
        let message = self.hears_any().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    async fn hears_any(&mut self) -> Value {
        let text = self.browser.hears_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Asserts that nothing was heard: what is said now is the next that is heard.
    async fn heard_nothing(&mut self) {
        self.says_to_all("mark").await;
        assert_eq!(self.hears("say").await["content"], "mark");
    }
}

async fn start(threads: usize) -> Suite {
    Suite::builder().workers(2).threads(threads).app("chat").start().await
}

async fn a_newcomer_gets_the_list_and_the_room_hears_of_it(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, login) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    assert_eq!(login["client_name"], "Ann");
    assert_eq!(login["client_list"], json!({ann.id.clone(): "Ann"}));
    assert!(is_time(&login["time"]), "{login}");
    assert_eq!(ann.id.len(), 20, "as GatewayWorker's");

    let (bob, login) = Chatter::enter(&suite, 1, "Bob", json!("r")).await;
    assert_eq!(login["client_list"], json!({ann.id.clone(): "Ann", bob.id.clone(): "Bob"}));
    let heard = ann.hears("login").await;
    assert_eq!(heard["client_id"], bob.id);
    assert_eq!(heard["client_name"], "Bob");
    assert!(is_time(&heard["time"]), "{heard}");
    assert_eq!(heard.get("client_list"), None, "the list is for the newcomer");
}

async fn what_is_said_to_all_is_heard_by_the_room_and_by_its_speaker(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    bob.says_to_all("hello").await;
    for chatter in [&mut ann, &mut bob] {
        let said = chatter.hears("say").await;
        assert_eq!(said["from_client_name"], "Bob");
        assert_eq!(said["to_client_id"], "all");
        assert_eq!(said["content"], "hello");
        assert!(is_time(&said["time"]), "{said}");
    }
    let id = bob.id.clone();
    ann.says_to_all("and hello").await;
    assert_ne!(bob.hears("say").await["from_client_id"], id);
}

async fn a_private_message_is_heard_by_two(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    let (mut eve, _) = Chatter::enter(&suite, 0, "Eve", json!("r")).await;
    ann.hears("login").await;
    bob.hears("login").await;
    let to = bob.id.clone();
    ann.says(json!({
        "type": "say", "to_client_id": to, "to_client_name": "Bob", "content": "psst"
    }))
    .await;
    let heard = bob.hears("say").await;
    assert_eq!(heard["content"], "<b>对你说: </b>psst");
    assert_eq!(heard["from_client_id"], ann.id);
    assert_eq!(heard["from_client_name"], "Ann");
    assert_eq!(heard["to_client_id"], bob.id);
    let echoed = ann.hears("say").await;
    assert_eq!(echoed["content"], "<b>你对Bob说: </b>psst");
    eve.heard_nothing().await;
}

async fn who_leaves_is_announced(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, bob) = two(&suite).await;
    let id = bob.id.clone();
    drop(bob.browser);
    let left = ann.hears("logout").await;
    assert_eq!(left["from_client_id"], id);
    assert_eq!(left["from_client_name"], "Bob");
    assert!(is_time(&left["time"]), "{left}");
    // Who never logged in leaves without a word.
    suite.browser(0).await.close().await;
    ann.heard_nothing().await;
}

async fn another_room_hears_nothing(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!(1)).await;
    let (mut bob, login) = Chatter::enter(&suite, 1, "Bob", json!(2)).await;
    assert_eq!(login["client_list"], json!({bob.id.clone(): "Bob"}));
    bob.says_to_all("hello").await;
    bob.hears("say").await;
    ann.heard_nothing().await;
    // A room is the same whether its name came as a number or as a string.
    let (_eve, login) = Chatter::enter(&suite, 1, "Eve", json!("1")).await;
    assert_eq!(login["client_list"][ann.id.as_str()], "Ann");
    ann.hears("login").await;
}

async fn a_second_login_moves(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    bob.says(json!({"type": "login", "client_name": "Bobby", "room_id": "elsewhere"})).await;
    let login = bob.hears("login").await;
    assert_eq!(login["client_list"], json!({bob.id.clone(): "Bobby"}));
    let left = ann.hears("logout").await;
    assert_eq!(left["from_client_id"], bob.id);
    ann.heard_nothing().await;
    bob.heard_nothing().await;
}

async fn text_is_escaped(threads: usize) {
    let suite = start(threads).await;
    let hostile = r#"<script>alert("x" + 'y' & z)</script>"#;
    let escaped = "&lt;script&gt;alert(&quot;x&quot; + &#039;y&#039; &amp; z)&lt;/script&gt;";
    let (mut ann, _) = Chatter::enter(&suite, 0, "<b>A</b>", json!("<r>")).await;
    ann.says_to_all(&format!("{hostile}\nnext")).await;
    let said = ann.hears("say").await;
    assert_eq!(said["from_client_name"], "&lt;b&gt;A&lt;/b&gt;");
    let lines = said["content"].as_str().unwrap().replace("<br />\n", "<br />");
    assert_eq!(lines.replace("&#39;", "&#039;"), format!("{escaped}<br />next"));
}

async fn what_is_not_understood_is_ignored(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    for nonsense in ["", "hello", "[]", "5", "null", "{}", r#"{"type":5}"#, r#"{"type":"fly"}"#] {
        ann.browser.send(nonsense).await;
    }
    ann.browser.send_binary(vec![0xff, 0xfe]).await;
    ann.says(json!({"type": "say", "to_client_id": "all", "content": 5})).await;
    ann.says(json!({"type": "pong"})).await;
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    ann.browser.send(deep).await;
    ann.says_to_all("still here").await;
    // A message to the sender is fine; an end, or silence, is not.
    loop {
        let heard = ann.hears_any().await;
        if heard["content"] == "still here" {
            break;
        }
    }
}

async fn what_is_too_long_is_refused_to_its_sender_alone(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, mut bob) = two(&suite).await;
    ann.says_to_all(&"字".repeat(4_000)).await;
    assert_eq!(ann.hears("say").await["content"], "字".repeat(4_000));
    assert_eq!(bob.hears("say").await["content"], "字".repeat(4_000));
    ann.says_to_all(&"字".repeat(4_001)).await;
    let refusal = ann.hears_any().await;
    assert_ne!(refusal["type"], "say", "{refusal}");
    bob.heard_nothing().await;
    // The mark of the line above.
    ann.hears("say").await;
    let long = "x".repeat(33);
    ann.says(json!({"type": "login", "client_name": long, "room_id": "r"})).await;
    let refusal = ann.hears_any().await;
    assert_ne!(refusal["type"], "login", "{refusal}");
    bob.heard_nothing().await;
}

async fn nobody_speaks_before_login(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "Ann", json!("r")).await;
    let mut stranger = Chatter { browser: suite.browser(1).await, id: String::new() };
    stranger.says_to_all("hello").await;
    let message = json!({"type": "login", "client_name": "Bob", "room_id": "r"});
    stranger.says(message).await;
    stranger.hears("login").await;
    assert_eq!(ann.hears_any().await["type"], "login", "and nothing before it");
}

async fn names_in_chinese_are_names(threads: usize) {
    let suite = start(threads).await;
    let (mut ann, _) = Chatter::enter(&suite, 0, "小安", json!("房间")).await;
    let (bob, login) = Chatter::enter(&suite, 1, "老王", json!("房间")).await;
    assert_eq!(login["client_list"], json!({ann.id.clone(): "小安", bob.id.clone(): "老王"}));
    assert_eq!(ann.hears("login").await["client_name"], "老王");
}

async fn a_page_is_pinged_and_may_answer(threads: usize) {
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
    ann.hears("ping").await;
    ann.says(json!({"type": "pong"})).await;
    // No answer to that, and pings go on.
    ann.hears("ping").await;
}

async fn two(suite: &Suite) -> (Chatter, Chatter) {
    let (mut ann, _) = Chatter::enter(suite, 0, "Ann", json!("r")).await;
    let (bob, _) = Chatter::enter(suite, 1, "Bob", json!("r")).await;
    ann.hears("login").await;
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
