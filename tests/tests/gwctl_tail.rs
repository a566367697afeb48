//! `gwctl tail`: messages of clients while they pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use suite_tests::{Gwctl, Running, Scene, eventually, on_one_and_three_threads};

on_one_and_three_threads!(
    messages_of_a_client_are_shown_without_payloads,
    payloads_are_shown_on_request_up_to_a_size,
    messages_of_a_uid_are_shown_on_all_gateways,
    tail_ends_when_its_client_is_gone,
);

/// Starts a tail, and waits until messages to a client appear in it: so many marks were sent.
async fn start(scene: &Scene, args: &[&str], client: usize) -> (Running, usize) {
    let tail = Gwctl::of(&scene.suite).start(args);
    let mut marks = 0;
    eventually("a tail", async || {
        scene.cluster.send_to_client(scene.ids[client], "mark").await.unwrap();
        marks += 1;
        tail.out().iter().any(|line| line.contains("out")).then_some(())
    })
    .await;
    (tail, marks)
}

async fn messages_of_a_client_are_shown_without_payloads(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let id = scene.ids[2].to_string();
    let (tail, _) = start(&scene, &["tail", "--client", &id, "--limit", "10000"], 2).await;
    scene.browsers[0].send("of another").await;
    scene.browsers[2].send("confidential").await;
    let line = tail.line("  in ").await;
    assert!(line.contains(&format!("  {id}  in   text ")) && line.ends_with("  12 B"), "{line}");
    assert_eq!(tail.err(), ["payloads are not shown; --show shows them"]);
    scene
        .cluster
        .send_to_client(scene.ids[2], push_suite_cluster::Message::binary(vec![1; 3000]))
        .await
        .unwrap();
    let line = tail.line("binary").await;
    assert!(line.ends_with("  2.9 KiB"), "{line}");
    let out = tail.out().concat();
    assert!(!out.contains("confidential") && !out.contains("mark"), "{out}");
    assert!(!out.contains(&scene.ids[0].to_string()), "{out}");
}

async fn payloads_are_shown_on_request_up_to_a_size(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    let id = scene.ids[0].to_string();
    let args = ["tail", "--client", &id, "--show", "12", "--seconds", "600", "--limit", "10000"];
    let (tail, _) = start(&scene, &args, 0).await;
    scene.browsers[0].send("a\u{1b}[31mb").await;
    scene.browsers[0].send("0123456789abcdef").await;
    let line = tail.line("a\\u{1b}[31mb").await;
    assert!(line.ends_with("  a\\u{1b}[31mb"), "without effect on the terminal: {line}");
    let line = tail.line("0123").await;
    assert!(line.ends_with("  16 B  0123456789ab…"), "{line}");
    assert!(tail.err().is_empty(), "{:?}", tail.err());

    let (mut tail, marks) =
        start(&scene, &["tail", "--client", &id, "--show", "-o", "json"], 0).await;
    scene.browsers[0].send("from it").await;
    scene.browsers[0].send_binary(vec![0xff, 0]).await;
    let line = tail.line("base64").await;
    let last: Value = serde_json::from_str(&line).unwrap();
    let payload = json!({ "base64": "/wA=" });
    assert_eq!(
        (&last["payload"], &last["cut"], &last["kind"]),
        (&payload, &json!(false), &json!("binary"))
    );
    let found: Value = serde_json::from_str(&tail.line("from it").await).unwrap();
    for (name, value) in [
        ("client", json!(id)),
        ("gateway", json!(scene.ids[0].gateway)),
        ("direction", json!("in")),
        ("kind", json!("text")),
        ("size", json!(7)),
        ("payload", json!("from it")),
    ] {
        assert_eq!(found[name], value, "{name}: {found}");
    }
    assert!(1_700_000_000_000_000 < found["at_micros"].as_u64().unwrap());
    // The end by --limit, which is 100 by default.
    for _ in marks..200 {
        scene.cluster.send_to_client(scene.ids[0], "mark").await.unwrap();
    }
    assert_eq!(tail.ended().await, 0);
    let end: Value = serde_json::from_str(&tail.line("ended").await).unwrap();
    assert_eq!(end, json!({ "ended": "limit", "messages": 100, "dropped": 0 }));
    assert_eq!(tail.out().len(), 101);
}

async fn messages_of_a_uid_are_shown_on_all_gateways(threads: usize) {
    let (mut scene, _workers) = Scene::with_workers(threads).await;
    for client in [0, 1] {
        scene.cluster.bind_uid(scene.ids[client], "ann").report().await.unwrap();
        scene.cluster.join_group(scene.ids[client], "room").report().await.unwrap();
    }
    for of in [["--uid", "ann"], ["--group", "room"]] {
        let (tail, _) = start(&scene, &[&["tail", "--limit", "10000"][..], &of].concat(), 0).await;
        for browser in &mut scene.browsers {
            browser.send("hello").await;
        }
        for client in [0, 1] {
            tail.line(&format!("{}  in ", scene.ids[client])).await;
        }
        let out = tail.out().concat();
        assert!(!out.contains(&scene.ids[2].to_string()), "{out}");
    }
}

async fn tail_ends_when_its_client_is_gone(threads: usize) {
    let (scene, _workers) = Scene::with_workers(threads).await;
    let (id, gwctl) = (scene.ids[1].to_string(), Gwctl::of(&scene.suite));
    let (mut tail, _) = start(&scene, &["tail", "--client", &id, "--limit", "10000"], 1).await;
    gwctl.ok(&["kick", "--client", &id, "--message", "the last words", "--yes"]).await;
    assert_eq!(tail.ended().await, 0);
    let end = tail.line("ended").await;
    assert!(
        end.starts_with(&format!("ended, since client {id} is not connected any more: ")),
        "{end}"
    );
    let out = tail.out();
    assert!(out[out.len() - 2].ends_with("  14 B"), "the last message is shown: {out:?}");
    let absent = gwctl.run(&["tail", "--client", &id]).await;
    assert_eq!(absent.code, 1);
    assert_eq!(absent.out, format!("client {id} is not connected: 0 messages\n"));

    let other = scene.ids[0].to_string();
    let over = gwctl.run(&["tail", "--client", &other, "--seconds", "1"]).await;
    assert_eq!((over.code, over.out.as_str()), (0, "ended after --seconds 1: 0 messages\n"));
    assert_eq!(gwctl.run(&["tail"]).await.code, 2, "of nothing");
}

#[tokio::test]
async fn messages_that_are_not_read_in_time_are_counted_as_missing() {
    let (mut scene, _workers) = Scene::with_workers(1).await;
    let id = scene.ids[0].to_string();
    let args = ["tail", "--client", &id, "--show", "65536", "--limit", "1000000", "-o", "json"];
    let (mut tail, _) = start(&scene, &args, 0).await;
    tail.suspend(true);
    let large = "x".repeat(64 * 1024);
    // Far more than the sockets and queues on the way take.
    for _ in 0..400 {
        scene.cluster.send_to_client(scene.ids[0], large.as_str()).await.unwrap();
        while scene.browsers[0].receive_text().await == "mark" {}
    }
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    tail.suspend(false);
    let behind: Value = serde_json::from_str(&tail.line("behind_micros").await).unwrap();
    assert!(1_000_000 <= behind["behind_micros"].as_u64().unwrap(), "{behind}");
    let missing = eventually("missing messages", async || {
        scene.cluster.send_to_client(scene.ids[0], "more").await.unwrap();
        scene.browsers[0].receive_text().await;
        tail.out().into_iter().find(|line| line.contains("dropped"))
    })
    .await;
    let missing: Value = serde_json::from_str(&missing).unwrap();
    assert!(0 < missing["dropped"].as_u64().unwrap());
    assert_eq!(missing["gateway"], json!(scene.ids[0].gateway));
    drop(scene);
    assert_eq!(tail.ended().await, 1, "no gateway is linked");
    assert!(tail.line("unlinked").await.contains("\"dropped\":"));
}
