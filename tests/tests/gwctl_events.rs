//! `gwctl` against a real cluster: lifecycle events, the fate of a client, drains, logs and settings
//! of a gateway.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};
use suite_tests::{
    Browser, Gwctl, Received, Suite, eventually, on_one_and_three_threads, with_timeout,
};
use tokio::task::spawn_blocking;

on_one_and_three_threads!(
    events_tell_the_fate_of_a_client,
    gateway_is_drained_and_the_others_serve,
);

/// A client of the first gateway that is bound to a uid, and its id.
async fn client(suite: &Suite, gwctl: &Gwctl) -> (Browser, String) {
    let mut browser = suite.browser(0).await;
    browser.exchange("uann", "uann").await;
    let (shown, _) = gwctl.json(&["uid", "ann"]).await;
    let id = shown["clients"][0]["client"].as_str().unwrap().to_owned();
    (browser, id)
}

fn names(shown: &Value) -> Vec<&str> {
    let events = shown["events"].as_array().unwrap();
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

async fn events_tell_the_fate_of_a_client(threads: usize) {
    let suite = Suite::builder().threads(threads).workers(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let (mut browser, id) = client(&suite, &gwctl).await;
    let shown = gwctl.ok(&["explain", &id]).await;
    assert!(shown.starts_with(&format!("client {id} is connected\n")), "{shown}");
    let kick = ["kick", "--client", &id, "--reason", "spam", "--yes"];
    assert_eq!(gwctl.ok(&kick).await, "closed 1 client\n");
    assert_eq!(browser.receive().await, Received::Closed(Some(4403)));

    let args = ["events", "--client", &id];
    let events = eventually("its close", async || {
        let (shown, code) = gwctl.json(&args).await;
        (code == 0 && names(&shown).last() == Some(&"closed")).then_some(shown)
    })
    .await;
    let names = names(&events);
    assert_eq!(names[0], "connected", "{names:?}");
    assert!(names.contains(&"bound"), "{names:?}");
    assert!(names.contains(&"assigned") || names.contains(&"reassigned"), "{names:?}");
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["client"], &last["code"]), (&json!(id), &json!(4403)));
    assert_eq!(last["cause"], json!("closed by a worker"));

    let fate = gwctl.ok(&["explain", &id]).await;
    assert!(fate.starts_with(&format!("client {id} is not connected\n")), "{fate}");
    let meaning =
        "\nclosed by a worker: The application has closed the client with a code of its own.";
    assert_eq!(fate.matches("\nclosed by a worker: ").count(), 1, "{fate}");
    assert!(fate.contains(meaning), "{fate}");
    let (other, _) = gwctl.json(&["events", "--uid", "bob"]).await;
    assert_eq!(other["events"], json!([]));
    let absent = format!("{}ffffffff", &id[..12]);
    let unknown = gwctl.run(&["explain", &absent]).await;
    assert!(unknown.code == 1 && unknown.err.contains("next: "), "{unknown:?}");
}

async fn gateway_is_drained_and_the_others_serve(threads: usize) {
    let mut suite = Suite::builder().threads(threads).workers(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let (mut browser, _) = client(&suite, &gwctl).await;
    let inner = suite.gateways[0].inner.to_string();
    let would = gwctl.ok(&["drain", &inner, "--dry-run"]).await;
    assert_eq!(would, format!("would close 1 client of gateway {inner}\n"));
    let refused = gwctl.run(&["drain", &inner]).await;
    assert!(refused.code == 1 && refused.err.contains("next: add --yes"), "{refused:?}");
    browser.exchange("e1", "e1").await;

    let drained = gwctl.ok(&["drain", &inner, "--yes", "--wait"]).await;
    assert_eq!(drained, format!("gateway {inner} has ended\n"));
    assert_eq!(browser.receive().await, Received::Closed(Some(1001)));
    assert!(suite.gateways[0].wait_exit().await.success());
    suite.browser(1).await.exchange("e2", "e2").await;
    let unknown = gwctl.run(&["drain", "127.0.0.1:1", "--yes"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("`gwctl gateways` lists"), "{unknown:?}");
}

#[tokio::test]
async fn new_events_are_followed() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let mut command = gwctl.command(&["events", "--follow", "-o", "json"]);
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = spawn_blocking(move || {
        let events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        events.into_iter().find(|event| event["event"] == json!("bound"))
    });
    let _browser = client(&suite, &gwctl).await;
    let event = with_timeout("the event", found).await.unwrap().unwrap();
    assert_eq!(event["uid"], json!("ann"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn log_filter_and_settings_of_a_gateway_are_shown_and_changed() {
    let suite = Suite::builder().gateways(1).workers(1).start().await;
    let gwctl = Gwctl::of(&suite);
    let inner = suite.gateways[0].inner.to_string();
    assert_eq!(gwctl.ok(&["log-level", &inner]).await, "debug\n");
    let changed = gwctl.ok(&["log-level", &inner, "warn"]).await;
    assert_eq!(changed, "warn\n  before: debug\n");
    assert_eq!(gwctl.ok(&["log-level", &inner]).await, "warn\n");
    let invalid = gwctl.run(&["log-level", &inner, "no=such=level"]).await;
    assert_eq!((invalid.code, invalid.out.as_str()), (1, ""), "{invalid:?}");

    let settings = gwctl.ok(&["config", "--gateway", &inner]).await;
    let port = format!("lan_port = {}", suite.gateways[0].inner.port());
    assert!(settings.contains(&port), "{settings}");
    assert!(!settings.contains(std::str::from_utf8(suite.secret().expose()).unwrap()));
}
