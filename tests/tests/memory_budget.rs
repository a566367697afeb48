//! The memory budget: it bounds what clients can make a gateway hold, and others are still served.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use suite_tests::{
    Browser, Php, Raw, Suite, eventually, on_one_and_three_threads,
    raw::{handshake, masked},
    suite::Builder,
    with_timeout,
};
use tokio::{task::JoinSet, time::timeout};

on_one_and_three_threads!(
    thousand_unread_clients_stay_within_the_budget,
    large_messages_to_unread_clients_stay_within_the_budget,
    unfinished_messages_stay_within_the_budget,
    message_flood_for_a_stalled_worker_stays_within_the_budget,
    connection_flood_for_a_stalled_worker_stays_within_the_budget,
    connection_storm_stays_within_the_budget,
    unfinished_request_heads_stay_within_the_budget,
    page_requests_do_not_extend_a_pending_handshake,
    full_gateway_accepts_again_when_a_slot_is_free,
);

/// Memory budget of the gateway in bytes.
const BUDGET: usize = 48 << 20;

/// Further bytes per connection, in an unoptimized build.
const CONNECTION: usize = 24 << 10;

/// Further overhead: buffers of links, commands in flight to shards, and freed memory that the
/// allocator retains.
const BESIDES: usize = 32 << 20;

async fn thousand_unread_clients_stay_within_the_budget(threads: usize) {
    let suite = guarded(threads).start().await;
    let mut bystander = Bystander::new(&suite).await;
    let mut stuck = Vec::new();
    for _ in 0..1000 {
        let mut client = Raw::with_small_buffers(suite.gateways[0].clients).await;
        client.send(&masked(0x82, b"jroom")).await;
        assert_eq!(client.frame().await.unwrap().payload, b"jroom");
        stuck.push(client);
    }
    let before = suite.gateways[0].resident();
    // Ten times the budget, if it were all queued.
    let message = "g".repeat(1500);
    let mut speaker = suite.browser(0).await;
    for _ in 0..16 {
        for _ in 0..20 {
            speaker.send(message.clone()).await;
        }
        bystander.echoes(20).await;
        within_budget(&suite, before, 0);
    }
    eventually("the largest holders to be closed", async || {
        let gateway = &suite.gateways[0];
        within_budget(&suite, before, 0);
        (0.0 < gateway.metric("pushsuite_gateway_clients_over_budget_total").await?).then_some(())
    })
    .await;
    bystander.echoes(20).await;
    bystander.report("unread clients");
    drop(stuck);
    assert_recovers(&suite).await;
}

async fn large_messages_to_unread_clients_stay_within_the_budget(threads: usize) {
    let suite = guarded(threads).start().await;
    let mut bystander = Bystander::new(&suite).await;
    let before = suite.gateways[0].resident();
    // Each has its own uid, so that no two queues share a message.
    let mut stuck = Vec::new();
    for at in 0..200 {
        let mut client = Raw::with_small_buffers(suite.gateways[0].clients).await;
        let uid = format!("u{at}");
        client.send(&masked(0x82, uid.as_bytes())).await;
        assert_eq!(client.frame().await.unwrap().payload, uid.as_bytes());
        stuck.push(client);
    }
    let worker = suite.cluster().await;
    for at in 0..200 {
        for _ in 0..5 {
            worker.send_to_uid(format!("{at}"), "x".repeat(150_000)).await.unwrap();
        }
        bystander.echoes(1).await;
        within_budget(&suite, before, 200);
    }
    assert!(
        0.0 < suite.gateways[0]
            .metric("pushsuite_gateway_clients_over_budget_total")
            .await
            .unwrap()
    );
    bystander.report("large messages to unread clients");
    drop(stuck);
    assert_recovers(&suite).await;
}

async fn unfinished_messages_stay_within_the_budget(threads: usize) {
    let suite = guarded(threads).start().await;
    let mut bystander = Bystander::new(&suite).await;
    let before = suite.gateways[0].resident();
    let addr = suite.gateways[0].clients;
    let message: Arc<[u8]> = masked(0x82, &[0; 1_000_000]).into();
    let mut unfinished = JoinSet::new();
    for _ in 0..300 {
        let message = Arc::clone(&message);
        unfinished.spawn(async move {
            let mut client = Raw::websocket(addr).await;
            // The gateway may pause it, and close it later.
            let _ = client.try_send(&message[..900_000]).await;
            client.close_frame().await
        });
        within_budget(&suite, before, 300);
    }
    eventually("the gateway to report memory pressure", async || {
        within_budget(&suite, before, 300);
        let reasons = suite.gateways[0].unready_reasons().await?;
        reasons.iter().any(|reason| reason.starts_with("memory: ")).then_some(())
    })
    .await;
    bystander.echoes(100).await;
    let closed = eventually("the largest holders to be closed", async || {
        within_budget(&suite, before, 300);
        let closed =
            suite.gateways[0].metric("pushsuite_gateway_clients_over_budget_total").await?;
        (0.0 < closed).then_some(closed)
    })
    .await;
    assert!(closed <= 300.0);
    let (code, reason) = unfinished.join_next().await.unwrap().unwrap();
    assert!(code == 1013 && reason.starts_with("retry-after="), "{code} {reason}");
    bystander.echoes(100).await;
    bystander.report("unfinished messages");
    unfinished.shutdown().await;
    assert_recovers(&suite).await;
}

async fn message_flood_for_a_stalled_worker_stays_within_the_budget(threads: usize) {
    const CLIENTS: usize = 60;
    let mut suite = guarded(threads).start().await;
    let mut flooders = Vec::new();
    for _ in 0..CLIENTS {
        flooders.push(suite.browser(0).await);
    }
    // The new worker has no clients yet, so it is assigned the next.
    suite.add_worker().await;
    let mut bystander = Bystander::new(&suite).await;
    let before = suite.gateways[0].resident();
    suite.workers[0].pause().await;
    let mut flood = JoinSet::new();
    for mut client in flooders {
        flood.spawn(async move {
            for _ in 0..4 {
                // The app ignores it: its first byte is no command.
                let message = "x".repeat(1_000_000);
                client.send_without_timeout(message).await;
            }
            client
        });
    }
    for _ in 0..40 {
        bystander.echoes(5).await;
        within_budget(&suite, before, CLIENTS);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    bystander.report("a stalled worker");
    suite.workers[0].resume();
    // No client was closed although its worker was stalled, and every message arrives.
    while let Some(client) = with_timeout("a client to send everything", flood.join_next()).await {
        let mut client = client.unwrap();
        client.send("e").await;
        assert_eq!(client.receive_text().await, "e");
    }
    assert_recovers(&suite).await;
}

async fn connection_flood_for_a_stalled_worker_stays_within_the_budget(threads: usize) {
    let mut suite = guarded(threads).start().await;
    let before = suite.gateways[0].resident();
    suite.workers[0].pause().await;
    flood_with_connections(&suite, before).await;
    suite.workers[0].resume();
    assert_all_events_handled(&suite).await;
}

#[tokio::test]
async fn connection_flood_for_a_stalled_php_worker_stays_within_the_budget() {
    let suite = guarded(1).workers(0).start().await;
    let gateway = &suite.gateways[0];
    let before = gateway.resident();
    let php = Php::worker(gateway.inner, &suite.secret(), "w:1").await;
    flood_with_connections(&suite, before).await;
    drop(php);
    let mut suite = suite;
    suite.add_worker().await;
    assert_all_events_handled(&suite).await;
}

/// Clients that connect with large headers, wait for the response and close, until the gateway
/// accepts no more.
async fn flood_with_connections(suite: &Suite, before: usize) {
    let addr = suite.gateways[0].clients;
    let request: Arc<str> = handshake(&format!("X: {}\r\n", "x".repeat(15_000))).into();
    let mut flood = JoinSet::new();
    for _ in 0..100 {
        let request = Arc::clone(&request);
        flood.spawn(async move {
            let mut waited = 0;
            while waited < 10 {
                // Later connections wait in the kernel until the events of earlier ones are
                // acknowledged.
                let accepted = timeout(Duration::from_millis(100), async {
                    let mut client = Raw::connect(addr).await;
                    let _ = client.try_send(request.as_bytes()).await;
                    let _ = client.head().await;
                })
                .await;
                waited = if accepted.is_ok() { 0 } else { waited + 1 };
            }
        });
    }
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
        within_budget(suite, before, 1000);
    }
}

/// Waits until a worker has handled every close, and new clients are accepted.
async fn assert_all_events_handled(suite: &Suite) {
    eventually("a worker to handle the events of every client", async || {
        let gateway = &suite.gateways[0];
        let clients = gateway.metric("pushsuite_gateway_clients").await?;
        let held = gateway.metric("pushsuite_gateway_events_in_flight_bytes").await?;
        (clients == 0.0 && held == 0.0).then_some(())
    })
    .await;
    assert_recovers(suite).await;
}

async fn connection_storm_stays_within_the_budget(threads: usize) {
    const CLIENTS: usize = 2000;
    let suite = guarded(threads).start().await;
    let mut bystander = Bystander::new(&suite).await;
    let before = suite.gateways[0].resident();
    let addr = suite.gateways[0].clients;
    let mut storm = JoinSet::new();
    for _ in 0..CLIENTS {
        storm.spawn(async move {
            let mut client = Browser::open(addr, "/").await;
            client.send("e").await;
            assert_eq!(client.receive_text().await, "e");
            client
        });
    }
    bystander.echoes(50).await;
    let mut clients = Vec::new();
    while let Some(client) = with_timeout("a client to connect", storm.join_next()).await {
        clients.push(client.unwrap());
    }
    bystander.echoes(50).await;
    within_budget(&suite, before, CLIENTS);
    bystander.report("a connection storm");
    let open = suite.gateways[0].metric("pushsuite_gateway_connections_open").await;
    assert_eq!(open, Some(CLIENTS as f64 + 1.0));
}

async fn unfinished_request_heads_stay_within_the_budget(threads: usize) {
    const MOST: usize = 500;
    let builder = guarded(threads).gateway_flag("--max-handshakes", "500");
    let suite = builder.gateway_flag("--handshake-timeout", "2").start().await;
    let mut bystander = Bystander::new(&suite).await;
    let before = suite.gateways[0].resident();
    let addr = suite.gateways[0].clients;
    let mut flood = JoinSet::new();
    for _ in 0..2000 {
        flood.spawn(async move {
            let mut client = Raw::connect(addr).await;
            let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(15_000));
            let _ = client.try_send(head.as_bytes()).await;
            client.read_to_end().await;
        });
    }
    for _ in 0..20 {
        bystander.echoes(10).await;
        within_budget(&suite, before, MOST);
        let requests =
            suite.gateways[0].metric("pushsuite_gateway_connections_requests").await.unwrap();
        assert!(requests <= MOST as f64, "{requests}");
    }
    bystander.report("unfinished request heads");
    // Once they time out, others are accepted.
    while with_timeout("a handshake to time out", flood.join_next()).await.is_some() {}
    let mut newcomer = suite.browser(0).await;
    newcomer.send("e").await;
    assert_eq!(newcomer.receive_text().await, "e");
}

async fn page_requests_do_not_extend_a_pending_handshake(threads: usize) {
    let builder = guarded(threads).gateway_flag("--max-handshakes", "5");
    let suite = builder.gateway_flag("--handshake-timeout", "2").start().await;
    let addr = suite.gateways[0].clients;
    let mut visitors = JoinSet::new();
    for _ in 0..5 {
        let mut visitor = Raw::connect(addr).await;
        visitors.spawn(async move {
            // Each request arrives well within the handshake timeout.
            while visitor.try_send(b"HEAD / HTTP/1.1\r\n\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
    }
    let mut newcomer = suite.browser(0).await;
    newcomer.echo("in").await;
    visitors.join_all().await;
}

async fn full_gateway_accepts_again_when_a_slot_is_free(threads: usize) {
    let suite = guarded(threads).gateway_flag("--max-connections", "5").start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(suite.browser(0).await);
    }
    let addr = suite.gateways[0].clients;
    let mut waiting = tokio::spawn(Browser::open(addr, "/"));
    let early = timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "five are the limit");
    clients.pop();
    let mut sixth = with_timeout("a slot to be free", waiting).await.unwrap();
    sixth.send("e").await;
    assert_eq!(sixth.receive_text().await, "e");
}

fn guarded(threads: usize) -> Builder {
    let budget = BUDGET.to_string();
    Suite::builder()
        .gateways(1)
        .workers(1)
        .threads(threads)
        .gateway_flag("--memory-budget", &budget)
}

fn within_budget(suite: &Suite, before: usize, connections: usize) {
    let grown = suite.gateways[0].resident().saturating_sub(before);
    let most = BUDGET + connections * CONNECTION + BESIDES;
    assert!(grown <= most, "grown by {} MiB", grown >> 20);
}

/// Waits until the gateway has recovered and accepts clients again.
async fn assert_recovers(suite: &Suite) {
    eventually("the gateway to be ready again", async || {
        suite.gateways[0].unready_reasons().await?.is_empty().then_some(())
    })
    .await;
    let mut newcomer = suite.browser(0).await;
    newcomer.send("e").await;
    assert_eq!(newcomer.receive_text().await, "e");
}

/// A well-behaved client that measures the latency of its echoes.
struct Bystander {
    client: Browser,
    quiet: Duration,
    times: Vec<Duration>,
}

impl Bystander {
    async fn new(suite: &Suite) -> Self {
        let client = suite.browser(0).await;
        let mut bystander = Self { client, quiet: Duration::ZERO, times: Vec::new() };
        bystander.echoes(100).await;
        bystander.quiet = p99(&mut bystander.times);
        bystander.times.clear();
        bystander
    }

    async fn echoes(&mut self, count: usize) {
        for _ in 0..count {
            let since = Instant::now();
            self.client.send("echo").await;
            assert_eq!(self.client.receive_text().await, "echo");
            self.times.push(since.elapsed());
        }
    }

    #[expect(clippy::print_stdout, reason = "a figure for humans, with no pass or fail limit")]
    fn report(&mut self, what: &str) {
        let ratio = p99(&mut self.times).as_secs_f64() / self.quiet.as_secs_f64();
        println!("{what}: the p99 of others is {ratio:.1} times its quiet value");
    }
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
