//! `--app webhook`: events that no client waits for, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
    time::Duration,
};

use serde_json::{Value, json};
use suite_tests::{eventually, webhooks::HookFile};
use test_support::receiver::{Received, Receiver, Reply};

/// Accepts everything, and gives each client the uid of its query.
fn with_uid(request: &Received) -> Reply {
    match request.header("ce-type") {
        "gw.connect" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let uid = &body["query"]["name"][0];
            Reply::json(json!({ "uid": uid }).to_string())
        }
        _ => Reply::status(204),
    }
}

/// The kinds of the events of a uid, in order and without repetitions, checked by their numbers.
fn of_uid(received: &[Received], uid: &str) -> Vec<String> {
    let events = received
        .iter()
        .filter(|it| it.header("ce-source") == "/uids" && it.header("ce-subject") == uid);
    let mut last = 0;
    let mut kinds = Vec::new();
    for event in events {
        let number = event.header("ce-gwseq").parse::<u64>().unwrap();
        assert!(last <= number, "in order");
        if last < number {
            kinds.push(event.header("ce-type").trim_start_matches("gw.uid.").to_owned());
        }
        last = number;
    }
    kinds
}

#[tokio::test]
async fn uid_is_online_with_its_first_client_on_any_gateway_and_offline_with_its_last() {
    let receiver = Receiver::start(with_uid).await;
    let keys = "events = [\"connect\", \"online\", \"offline\"]";
    let file = HookFile::new(&[(receiver.url("/"), keys)]);
    let suite = file.suite().worker_flag("--presence-grace", "0").workers(2).start().await;
    let cluster = suite.cluster().await;
    let open = async |gateway: usize, uid: &str| suite.named_browser(uid, gateway).await;
    let until = async |uid: &str, kinds: &[&str]| {
        eventually(format!("{uid}: {kinds:?}"), async || {
            (of_uid(&receiver.received(), uid) == kinds).then_some(())
        })
        .await;
    };
    let first = open(0, "ann").await;
    until("ann", &["online"]).await;
    let second = open(1, "ann").await;
    eventually("both are bound", async || {
        (cluster.uid_client_count("ann").await.unwrap() == 2).then_some(())
    })
    .await;
    first.close().await;
    eventually("one is left", async || {
        (cluster.uid_client_count("ann").await.unwrap() == 1).then_some(())
    })
    .await;
    // Another uid takes its client.
    let client = cluster.clients_of_uid("ann").await.unwrap()[0];
    cluster.bind_uid(client, "bob").await.unwrap();
    until("bob", &["online"]).await;
    until("ann", &["online", "offline"]).await;
    cluster.unbind_uid(client).await.unwrap();
    until("bob", &["online", "offline"]).await;
    cluster.bind_uid(client, "ann").await.unwrap();
    until("ann", &["online", "offline", "online"]).await;
    // A group of the name that stands for a uid is not one.
    cluster.join_group(client, "\0uid\0eve").await.unwrap();
    cluster.bind_uid(client, "ida").await.unwrap();
    until("ida", &["online"]).await;
    until("ann", &["online", "offline", "online", "offline"]).await;
    second.close().await;
    until("ida", &["online", "offline"]).await;
    assert!(of_uid(&receiver.received(), "eve").is_empty());
}

#[tokio::test]
async fn uid_whose_gateway_is_killed_goes_offline() {
    let receiver = Receiver::start(with_uid).await;
    let keys = "events = [\"connect\", \"online\", \"offline\"]";
    let file = HookFile::new(&[(receiver.url("/"), keys)]);
    let builder = file.suite().worker_flag("--presence-grace", "0").workers(2);
    let mut suite = builder.worker_flag("--gateway-grace", "1").start().await;
    let _ann = suite.named_browser("ann", 0).await;
    let mut both = Vec::new();
    for gateway in [0, 1] {
        both.push(suite.named_browser("bob", gateway).await);
    }
    let until = async |uid: &str, kinds: &[&str]| {
        eventually(format!("{uid}: {kinds:?}"), async || {
            (of_uid(&receiver.received(), uid) == kinds).then_some(())
        })
        .await;
    };
    until("ann", &["online"]).await;
    until("bob", &["online"]).await;
    suite.gateways[0].kill();
    until("ann", &["online", "offline"]).await;
    assert_eq!(of_uid(&receiver.received(), "bob"), ["online"], "it has a client elsewhere");
}

#[tokio::test]
async fn notice_that_waits_when_its_worker_is_killed_is_sent_by_the_next_one() {
    for batch in ["1", "50"] {
        let refused = |request: &Received| match String::from_utf8_lossy(&request.body) {
            body if body.contains("online") || body.contains("offline") => Reply::status(503),
            _ if request.header("ce-type").starts_with("gw.uid.") => Reply::status(503),
            _ => with_uid(request),
        };
        let receiver = Receiver::start(refused).await;
        let keys = format!("events = [\"connect\", \"online\", \"offline\"]\nbatch = {batch}");
        let file = HookFile::new(&[(receiver.url("/"), &keys)]);
        let builder = file.suite().worker_flag("--presence-grace", "0");
        let mut suite = builder.gateways(1).workers(1).start().await;
        let (ann, mut number) = (suite.named_browser("ann", 0).await, 0);
        let mut ann = Some(ann);
        for kind in ["online", "offline"] {
            let sent = || {
                let of_kind = |it: &&Received| {
                    it.header("ce-type").ends_with(kind)
                        || String::from_utf8_lossy(&it.body).contains(&format!("gw.uid.{kind}"))
                };
                receiver.received().iter().filter(of_kind).count()
            };
            if kind == "offline" {
                ann.take().unwrap().close().await;
            }
            eventually(format!("{kind} is refused"), async || (0 < sent()).then_some(())).await;
            suite.workers[number].kill();
            number += 1;
            receiver.answer(with_uid);
            let before = sent();
            suite.add_worker().await;
            eventually(format!("{kind} is sent"), async || (before < sent()).then_some(())).await;
            receiver.answer(refused);
        }
    }
}

/// The events of batches, in the order received.
fn batched(received: &[Received]) -> Vec<Value> {
    let batches = received.iter().filter(|request| {
        request.header("content-type").starts_with("application/cloudevents-batch+json")
    });
    batches
        .flat_map(|request| {
            assert_eq!(request.header("ce-type"), "", "a batch has no attributes of one event");
            assert!(request.header("webhook-signature").starts_with("v1,"));
            serde_json::from_slice::<Vec<Value>>(&request.body).unwrap()
        })
        .collect()
}

#[tokio::test]
async fn events_without_a_waiting_client_are_sent_in_batches_and_none_is_lost_by_a_failure() {
    const CLIENTS: usize = 12;
    let receiver = Receiver::start(with_uid).await;
    let keys = "events = [\"connect\", \"close\", \"online\", \"offline\"]\nbatch = 50";
    let file = HookFile::new(&[(receiver.url("/"), keys)]);
    let suite = file.suite().worker_flag("--presence-grace", "0").workers(1).start().await;
    let mut browsers = Vec::new();
    for number in 0..CLIENTS {
        browsers.push(suite.named_browser(&format!("u{number}"), number % 2).await);
    }
    let of = |kind: &str| -> Vec<Value> {
        let events = batched(&receiver.received());
        events.into_iter().filter(|event| event["type"] == kind).collect()
    };
    eventually("all are online", async || (CLIENTS <= of("gw.uid.online").len()).then_some(()))
        .await;
    // The first attempts fail late, so that the closes wait together.
    receiver.answer(|request| match request.header("ce-gwattempt") {
        "1" => Reply::After(Duration::from_millis(300), Box::new(Reply::status(503))),
        _ => with_uid(request),
    });
    for browser in browsers {
        browser.close_with(4001, "done").await;
    }
    let accepted = || suite.workers[0].metric("pushsuite_webhook_batched_events_total");
    eventually("all are reported", async || {
        (3.0 * CLIENTS as f64 <= accepted().await.unwrap_or_default()).then_some(())
    })
    .await;
    let mut closes: BTreeMap<String, Value> = BTreeMap::new();
    for event in of("gw.close") {
        let data = &event["data"];
        assert_eq!((&data["code"], &data["text"]), (&4001.into(), &"done".into()));
        assert_eq!((&event["specversion"], &event["subject"]), (&"1.0".into(), &data["client"]));
        if let Some(before) = closes.insert(event["id"].to_string(), data.clone()) {
            assert_eq!(before, *data, "sent again as it was");
        }
    }
    assert_eq!((closes.len(), accepted().await), (CLIENTS, Some(3.0 * CLIENTS as f64)));
    let largest = receiver.received().iter().map(|it| batched(slice::from_ref(it)).len()).max();
    assert!(1 < largest.unwrap(), "{largest:?}");
    let offline: BTreeSet<_> =
        of("gw.uid.offline").iter().map(|event| event["subject"].to_string()).collect();
    assert_eq!(offline.len(), CLIENTS);
}
