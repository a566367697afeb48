//! Events that are published by HTTP while workers are replaced or killed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use suite_tests::{
    Browser, eventually,
    pusher_http::{PusherApi, PusherSuite},
    with_timeout,
};

/// Publishes numbers until it is stopped, to one worker as long as that accepts them.
#[derive(Default)]
struct Publisher {
    accepted: AtomicUsize,
    stop: AtomicBool,
}

impl Publisher {
    /// Returns the accepted numbers.
    async fn run(self: Arc<Self>, workers: Vec<SocketAddr>) -> Vec<u64> {
        let (mut accepted, mut worker, mut connection) = (Vec::new(), 0, None);
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let open = match connection.take() {
                Some(api) => Ok(api),
                None => PusherApi::connect(workers[worker]).await,
            };
            let body = json!({"name": "e", "data": number.to_string(), "channel": "a"});
            let sent = async {
                let mut api: PusherApi = open?;
                let sent = api.try_send("POST", "events", body.to_string().as_bytes()).await?;
                std::io::Result::Ok((sent.0, api))
            };
            match with_timeout("an answer", sent).await {
                Ok((200, api)) => {
                    accepted.push(number);
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    connection = Some(api);
                }
                Ok(_) | Err(_) => {
                    worker = (worker + 1) % workers.len();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        accepted
    }

    async fn some_more(&self) {
        let before = self.accepted.load(Ordering::Relaxed);
        let are_more = async || {
            let now = self.accepted.load(Ordering::Relaxed);
            (before + 20 <= now).then_some(())
        };
        eventually("more events to be accepted", are_more).await;
    }
}

/// How often a client has received each number, until the event `last`.
async fn received(browser: &mut Browser) -> HashMap<u64, usize> {
    let mut received = HashMap::new();
    loop {
        let message: Value = serde_json::from_str(&browser.receive_text().await).unwrap();
        match message["event"].as_str().unwrap() {
            "e" => {
                let number = message["data"].as_str().unwrap().parse().unwrap();
                *received.entry(number).or_default() += 1;
            }
            "last" => return received,
            other => panic!("unexpected {other}"),
        }
    }
}

#[tokio::test]
async fn accepted_event_is_delivered_once_while_workers_are_replaced_and_killed() {
    let mut scene = PusherSuite::start(1, 2, "").await;
    let (mut one, _) = scene.subscriber(0, &["a"]).await;
    let (mut two, _) = scene.subscriber(1, &["a"]).await;
    let publisher = Arc::new(Publisher::default());
    let publishing = tokio::spawn(Arc::clone(&publisher).run(scene.http.clone()));
    // Clients are read meanwhile, so that none is too slow.
    let reading = tokio::spawn(async move { (received(&mut one).await, received(&mut two).await) });
    for round in 0..2 {
        for worker in &mut scene.workers {
            publisher.some_more().await;
            match round {
                0 => worker.restart().await,
                _ => {
                    worker.kill();
                    worker.respawn();
                    worker.ready().await;
                }
            }
        }
    }
    publisher.some_more().await;
    publisher.stop.store(true, Ordering::Relaxed);
    let accepted = with_timeout("the publisher", publishing).await.unwrap();
    let last = json!({"name": "last", "data": "", "channel": "a"});
    assert_eq!(scene.api(0).await.post("events", &last).await.0, 200);
    let (one, two) = with_timeout("the last event", reading).await.unwrap();
    for received in [one, two] {
        let lost: Vec<_> = accepted.iter().filter(|it| !received.contains_key(it)).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), accepted.len());
        let twice: Vec<_> = received.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "delivered twice: {twice:?}");
    }
}

#[tokio::test]
async fn request_with_an_idempotency_key_is_executed_once() {
    let scene = PusherSuite::start(1, 1, "").await;
    let (mut subscriber, _) = scene.subscriber(0, &["a"]).await;
    let mut api = scene.api(0).await;
    let body = |data: &str| json!({"name": "e", "data": data, "channel": "a"}).to_string();
    let mut send = async |key: &str, body: String| {
        let request = api.request("POST", "events", body.as_bytes());
        let request = String::from_utf8(request).unwrap();
        let keyed = request.replacen("Host:", &format!("Idempotency-Key: {key}\r\nHost:"), 1);
        api.write(keyed.as_bytes()).await;
        with_timeout("an answer", api.answer()).await.unwrap()
    };
    let (status, head, _) = send("k", body("1")).await;
    assert!(status == 200 && head.contains("idempotency-scope: node"), "{head}");
    let (status, head, answer) = send("k", body("1")).await;
    assert!(head.contains("idempotent-replayed: true"), "{head}");
    assert_eq!((status, &answer[..]), (200, "{}"));
    assert_eq!(send("k", body("2")).await.0, 422);
    assert_eq!(send(&"k".repeat(256), body("2")).await.0, 400);
    // A refused request may be sent again.
    assert_eq!(send("l", body(&"x".repeat(10_241))).await.0, 413);
    assert_eq!(send("l", body("3")).await.0, 200);
    for data in ["1", "3"] {
        let message: Value = serde_json::from_str(&subscriber.receive_text().await).unwrap();
        assert_eq!(message["data"], data);
    }
}

/// The name and the CPU time, in nanoseconds, of each thread of a process.
fn threads(pid: u32) -> Vec<(String, u64)> {
    let folders = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let thread = |folder: fs::DirEntry| {
        let read = |file| fs::read_to_string(folder.path().join(file)).ok();
        let cpu = read("schedstat")?.split(' ').next()?.parse().ok()?;
        Some((read("comm")?.trim_end().to_owned(), cpu))
    };
    folders.filter_map(thread).collect()
}

#[tokio::test]
async fn requests_are_executed_by_the_thread_of_the_listener() {
    let scene = PusherSuite::start(1, 1, "").await;
    let pid = scene.workers[0].pid();
    let cpu = |is_of: fn(&str) -> bool| -> u64 {
        threads(pid).iter().filter(|(name, _)| is_of(name)).map(|(_, cpu)| cpu).sum()
    };
    let of_both = || (cpu(|name| name == "http"), cpu(|name| name != "http"));
    let before = of_both();
    let mut api = scene.api(0).await;
    for number in 0..300 {
        let event = json!({"name": "e", "data": number.to_string(), "channel": "a"});
        assert_eq!(api.post("events", &event).await.0, 200);
    }
    let after = of_both();
    let (http, others) = (after.0 - before.0, after.1 - before.1);
    assert!(0 < http && others < http, "{http} ns there, {others} ns elsewhere");
}
