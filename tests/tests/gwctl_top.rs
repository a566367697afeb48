//! `gwctl top` on a terminal: its keys.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{Gwctl, Running, Suite, eventually};

/// The last screen that was shown completely in an order: what follows the last clearing before it.
async fn screen(top: &Running, sort: &str) -> Vec<String> {
    let end = format!("sorted by {sort}");
    eventually(format!("a screen {end}"), async || {
        let lines = top.out();
        let last = lines.iter().rposition(|line| line.contains(&end))?;
        let first = lines[..last].iter().rposition(|line| line.contains("\u{1b}[2J"))?;
        Some(lines[first..last].to_vec())
    })
    .await
}

fn first_client(screen: &[String]) -> &str {
    let at = screen.iter().position(|line| line.contains("CLIENT  ")).unwrap();
    &screen[at + 1]
}

#[tokio::test]
async fn keys_change_the_order_and_end_it() {
    let suite = Suite::builder().workers(1).start().await;
    let (mut ann, mut bob) = (suite.browser(0).await, suite.browser(1).await);
    ann.exchange("uann", "uann").await;
    bob.exchange("ubob", "ubob").await;
    for group in ["jone", "jtwo", "jthree"] {
        ann.exchange(group, group).await;
    }
    for _ in 0..50 {
        bob.exchange("e hello", "e hello").await;
    }
    let gwctl = Gwctl::of(&suite);
    // The next result by itself is an hour away: what changes, changes by a key.
    let mut top = gwctl.in_terminal(&["top", "--interval", "3600", "--color", "never"]);
    let by_messages = screen(&top, "messages").await;
    assert!(first_client(&by_messages).contains("  bob  "), "{by_messages:?}");
    let gateways = by_messages.iter().position(|line| line.contains("BYTES/S")).unwrap();
    let busiest = suite.gateways[1].inner.to_string();
    assert!(by_messages[gateways + 1].starts_with(&busiest), "{by_messages:?}");
    top.write("6");
    let by_groups = screen(&top, "groups").await;
    assert!(first_client(&by_groups).contains("  ann  "), "{by_groups:?}");
    top.write("x");
    for (key, sort) in
        [("2", "bytes"), ("3", "queue"), ("4", "lag"), ("5", "session"), ("1", "messages")]
    {
        top.write(key);
        screen(&top, sort).await;
    }
    let keys = "1 messages  2 bytes  3 queue  4 lag  5 session  6 groups  q quit; sorted by bytes";
    assert!(top.out().iter().any(|line| line.trim_end().ends_with(keys)), "{:?}", top.out());
    top.write("q");
    assert_eq!(top.ended().await, 0);

    for end in ["\u{3}", "\u{4}"] {
        let mut top = gwctl.in_terminal(&["top", "--interval", "3600", "--sort", "lag"]);
        screen(&top, "lag").await;
        top.write(end);
        assert_eq!(top.ended().await, 0, "{end:?}");
    }
}

#[tokio::test]
async fn terminal_is_as_before_once_it_has_ended() {
    let suite = Suite::builder().gateways(1).start().await;
    let gwctl = Gwctl::of(&suite);
    // `stty` shows the settings of the terminal before and after.
    let mut top =
        gwctl.in_terminal(&["--version;", "stty", "-a;", "\"$GWCTL\"", "top;", "stty", "-a"]);
    screen(&top, "messages").await;
    top.write("q");
    assert_eq!(top.ended().await, 0);
    let out = top.out();
    let modes: Vec<&String> = out.iter().filter(|line| line.contains("icanon")).collect();
    assert!(modes.len() == 2 && modes[0] == modes[1], "{out:?}");
    assert!(!modes[0].contains("-icanon"), "{out:?}");
}

#[tokio::test]
async fn without_a_terminal_there_are_no_keys() {
    let suite = Suite::builder().gateways(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let piped = gwctl.ok(&["top", "-n", "1"]).await;
    assert!(!piped.contains("q quit") && !piped.contains('\u{1b}'), "{piped}");
    let json = gwctl.ok(&["top", "-n", "1", "--sort", "events", "-o", "json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["sort"], &json["compared"]), (&json!("messages"), &json!(0)));
    assert!(json["gateways"][0]["bytes_per_second"].is_f64(), "{json}");
}
