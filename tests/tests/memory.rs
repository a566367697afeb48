//! What clients can make a gateway hold, and that others do not suffer from it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use suite_tests::{
    Browser, Php, Raw, Suite, eventually, on_one_and_three_threads,
    raw::{handshake, masked},
    soon,
    suite::Builder,
};
use tokio::{task::JoinSet, time::timeout};

on_one_and_three_threads!(
    a_thousand_clients_that_never_read,
    large_messages_for_many_clients_that_never_read,
    hundreds_of_messages_that_are_never_finished,
    a_flood_of_large_messages_for_a_worker_that_stands_still,
    flood_of_connections_for_a_worker_that_stands_still_stays_within_the_budget,
    a_storm_of_connections,
    a_flood_of_heads_that_are_never_finished,
    requests_for_pages_do_not_keep_a_place_for_ever,
    a_gateway_that_is_full_lets_others_in_when_there_is_a_place,
);

/// What a gateway may hold for clients.
const BUDGET: usize = 48 << 20;

/// What a connection may cost besides, in a build that is not optimized.
const CONNECTION: usize = 24 << 10;

/// What may be needed besides: buffers of links, commands on their way to shards, and what the
/// allocator keeps of what was freed.
const BESIDES: usize = 32 << 20;

async fn a_thousand_clients_that_never_read(threads: usize) {
    let suite = guarded(threads).start().await;
    let mut patient = Patient::new(&suite).await;
    let mut stuck = Vec::new();
    for _ in 0..1000 {
        let mut client = Raw::narrow(suite.gateways[0].clients).await;
        client.send(&masked(0x82, b"jroom")).await;
        assert_eq!(client.frame().await.unwrap().payload, b"jroom");
        stuck.push(client);
    }
    let before = suite.gateways[0].resident();
    // Ten times the budget, if they were allowed to.
    let message = "g".repeat(1500);
    let mut speaker = suite.browser(0).await;
    for _ in 0..16 {
        for _ in 0..20 {
            speaker.send(message.clone()).await;
        }
        patient.echoes(20).await;
        within_budget(&suite, before, 0);
    }
    eventually("the largest holders to be closed", async || {
        let gateway = &suite.gateways[0];
        within_budget(&suite, before, 0);
        (0.0 < gateway.metric("gateway_clients_over_budget_total").await?).then_some(())
    })
    .await;
    patient.echoes(20).await;
    patient.report("clients that never read");
    drop(stuck);
    is_well_again(&suite).await;
}

async fn large_messages_for_many_clients_that_never_read(threads: usize) {
    let suite = guarded(threads).start().await;
    let mut patient = Patient::new(&suite).await;
    let before = suite.gateways[0].resident();
    // Each has a uid of its own, so that no two wait for the same message.
    let mut stuck = Vec::new();
    for at in 0..200 {
        let mut client = Raw::narrow(suite.gateways[0].clients).await;
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
        patient.echoes(1).await;
        within_budget(&suite, before, 200);
    }
    assert!(0.0 < suite.gateways[0].metric("gateway_clients_over_budget_total").await.unwrap());
    patient.report("large messages for clients that never read");
    drop(stuck);
    is_well_again(&suite).await;
}

async fn hundreds_of_messages_that_are_never_finished(threads: usize) {
    let suite = guarded(threads).start().await;
    let mut patient = Patient::new(&suite).await;
    let before = suite.gateways[0].resident();
    let addr = suite.gateways[0].clients;
    let message: Arc<[u8]> = masked(0x82, &[0; 1_000_000]).into();
    let mut unfinished = JoinSet::new();
    for _ in 0..300 {
        let message = Arc::clone(&message);
        unfinished.spawn(async move {
            let mut client = Raw::websocket(addr).await;
            // It may be left unread, and then be closed.
            let _ = client.try_send(&message[..900_000]).await;
            client.goodbye().await
        });
        within_budget(&suite, before, 300);
    }
    eventually("the gateway to say that it is too much", async || {
        within_budget(&suite, before, 300);
        let lacks = suite.gateways[0].lacks().await?;
        lacks.iter().any(|reason| reason.starts_with("memory: ")).then_some(())
    })
    .await;
    patient.echoes(100).await;
    let closed = eventually("the largest holders to be closed", async || {
        within_budget(&suite, before, 300);
        let closed = suite.gateways[0].metric("gateway_clients_over_budget_total").await?;
        (0.0 < closed).then_some(closed)
    })
    .await;
    assert!(closed <= 300.0);
    let (code, reason) = unfinished.join_next().await.unwrap().unwrap();
    assert!(code == 1013 && reason.starts_with("retry-after="), "{code} {reason}");
    patient.echoes(100).await;
    patient.report("messages that are never finished");
    unfinished.shutdown().await;
    is_well_again(&suite).await;
}

async fn a_flood_of_large_messages_for_a_worker_that_stands_still(threads: usize) {
    const CLIENTS: usize = 60;
    let mut suite = guarded(threads).start().await;
    let mut flooders = Vec::new();
    for _ in 0..CLIENTS {
        flooders.push(suite.browser(0).await);
    }
    // The new worker has no clients yet, so it gets the next.
    suite.add_worker().await;
    let mut patient = Patient::new(&suite).await;
    let before = suite.gateways[0].resident();
    suite.workers[0].pause().await;
    let mut flood = JoinSet::new();
    for mut client in flooders {
        flood.spawn(async move {
            for _ in 0..4 {
                // Nobody hears of it: the app only looks at the first byte.
                let message = "x".repeat(1_000_000);
                client.send_patiently(message).await;
            }
            client
        });
    }
    for _ in 0..40 {
        patient.echoes(5).await;
        within_budget(&suite, before, CLIENTS);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    patient.report("a worker that stands still");
    suite.workers[0].go_on();
    // Nobody was closed for want of a worker, and everything comes.
    while let Some(client) = soon("a client to have sent all", flood.join_next()).await {
        let mut client = client.unwrap();
        client.send("e").await;
        assert_eq!(client.hears_text().await, "e");
    }
    is_well_again(&suite).await;
}

async fn flood_of_connections_for_a_worker_that_stands_still_stays_within_the_budget(
    threads: usize,
) {
    let mut suite = guarded(threads).start().await;
    let before = suite.gateways[0].resident();
    suite.workers[0].pause().await;
    flood_of_connections(&suite, before).await;
    suite.workers[0].go_on();
    everybody_is_told_of(&suite).await;
}

#[tokio::test]
async fn flood_of_connections_for_a_php_worker_that_does_not_read_stays_within_the_budget() {
    let suite = guarded(1).workers(0).start().await;
    let gateway = &suite.gateways[0];
    let before = gateway.resident();
    let php = Php::worker(gateway.inner, &suite.secret(), "w:1").await;
    flood_of_connections(&suite, before).await;
    drop(php);
    let mut suite = suite;
    suite.add_worker().await;
    everybody_is_told_of(&suite).await;
}

/// Clients that come with much in their headers, wait for the answer and leave, until nobody is let in
/// any more.
async fn flood_of_connections(suite: &Suite, before: usize) {
    let addr = suite.gateways[0].clients;
    let request: Arc<str> = handshake(&format!("X: {}\r\n", "x".repeat(15_000))).into();
    let mut flood = JoinSet::new();
    for _ in 0..100 {
        let request = Arc::clone(&request);
        flood.spawn(async move {
            let mut waited = 0;
            while waited < 10 {
                // Later on, connections wait in the kernel until others have been told of.
                let let_in = timeout(Duration::from_millis(100), async {
                    let mut client = Raw::connect(addr).await;
                    let _ = client.try_send(request.as_bytes()).await;
                    let _ = client.head().await;
                })
                .await;
                waited = if let_in.is_ok() { 0 } else { waited + 1 };
            }
        });
    }
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
        within_budget(suite, before, 1000);
    }
}

/// Waits until a worker has been told of everybody's end, and newcomers are let in.
async fn everybody_is_told_of(suite: &Suite) {
    eventually("a worker to be told of every client", async || {
        let gateway = &suite.gateways[0];
        let clients = gateway.metric("gateway_clients").await?;
        let held = gateway.metric("gateway_events_in_flight_bytes").await?;
        (clients == 0.0 && held == 0.0).then_some(())
    })
    .await;
    is_well_again(suite).await;
}

async fn a_storm_of_connections(threads: usize) {
    const CLIENTS: usize = 2000;
    let suite = guarded(threads).start().await;
    let mut patient = Patient::new(&suite).await;
    let before = suite.gateways[0].resident();
    let addr = suite.gateways[0].clients;
    let mut storm = JoinSet::new();
    for _ in 0..CLIENTS {
        storm.spawn(async move {
            let mut client = Browser::open(addr, "/").await;
            client.send("e").await;
            assert_eq!(client.hears_text().await, "e");
            client
        });
    }
    patient.echoes(50).await;
    let mut clients = Vec::new();
    while let Some(client) = soon("a client to come in", storm.join_next()).await {
        clients.push(client.unwrap());
    }
    patient.echoes(50).await;
    within_budget(&suite, before, CLIENTS);
    patient.report("a storm of connections");
    let open = suite.gateways[0].metric("gateway_connections_open").await;
    assert_eq!(open, Some(CLIENTS as f64 + 1.0));
}

async fn a_flood_of_heads_that_are_never_finished(threads: usize) {
    const MOST: usize = 500;
    let builder = guarded(threads).gateway_flag("--max-handshakes", "500");
    let suite = builder.gateway_flag("--handshake-timeout", "2").start().await;
    let mut patient = Patient::new(&suite).await;
    let before = suite.gateways[0].resident();
    let addr = suite.gateways[0].clients;
    let mut flood = JoinSet::new();
    for _ in 0..2000 {
        flood.spawn(async move {
            let mut client = Raw::connect(addr).await;
            let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(15_000));
            let _ = client.try_send(head.as_bytes()).await;
            client.until_the_end().await;
        });
    }
    for _ in 0..20 {
        patient.echoes(10).await;
        within_budget(&suite, before, MOST);
        let requests = suite.gateways[0].metric("gateway_connections_requests").await.unwrap();
        assert!(requests <= MOST as f64, "{requests}");
    }
    patient.report("heads that are never finished");
    // As soon as they are given up, others come in.
    while soon("a handshake to be given up", flood.join_next()).await.is_some() {}
    let mut newcomer = suite.browser(0).await;
    newcomer.send("e").await;
    assert_eq!(newcomer.hears_text().await, "e");
}

async fn requests_for_pages_do_not_keep_a_place_for_ever(threads: usize) {
    let builder = guarded(threads).gateway_flag("--max-handshakes", "5");
    let suite = builder.gateway_flag("--handshake-timeout", "2").start().await;
    let addr = suite.gateways[0].clients;
    let mut visitors = JoinSet::new();
    for _ in 0..5 {
        let mut visitor = Raw::connect(addr).await;
        visitors.spawn(async move {
            // Each request comes well within the time for one.
            while visitor.try_send(b"HEAD / HTTP/1.1\r\n\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
    }
    let mut newcomer = suite.browser(0).await;
    newcomer.echo("in").await;
    visitors.join_all().await;
}

async fn a_gateway_that_is_full_lets_others_in_when_there_is_a_place(threads: usize) {
    let suite = guarded(threads).gateway_flag("--max-connections", "5").start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(suite.browser(0).await);
    }
    let addr = suite.gateways[0].clients;
    let mut waiting = tokio::spawn(Browser::open(addr, "/"));
    let early = timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "there are five already");
    clients.pop();
    let mut sixth = soon("a place to be free", waiting).await.unwrap();
    sixth.send("e").await;
    assert_eq!(sixth.hears_text().await, "e");
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

/// Waits until the gateway lets everybody in again.
async fn is_well_again(suite: &Suite) {
    eventually("the gateway to be well again", async || {
        suite.gateways[0].lacks().await?.is_empty().then_some(())
    })
    .await;
    let mut newcomer = suite.browser(0).await;
    newcomer.send("e").await;
    assert_eq!(newcomer.hears_text().await, "e");
}

/// A client that behaves, and watches how long its echoes take.
struct Patient {
    client: Browser,
    quiet: Duration,
    times: Vec<Duration>,
}

impl Patient {
    async fn new(suite: &Suite) -> Self {
        let client = suite.browser(0).await;
        let mut patient = Self { client, quiet: Duration::ZERO, times: Vec::new() };
        patient.echoes(100).await;
        patient.quiet = p99(&mut patient.times);
        patient.times.clear();
        patient
    }

    async fn echoes(&mut self, count: usize) {
        for _ in 0..count {
            let since = Instant::now();
            self.client.send("echo").await;
            assert_eq!(self.client.hears_text().await, "echo");
            self.times.push(since.elapsed());
        }
    }

    #[expect(clippy::print_stdout, reason = "a figure to look at, which says nothing by itself")]
    fn report(&mut self, what: &str) {
        let ratio = p99(&mut self.times).as_secs_f64() / self.quiet.as_secs_f64();
        println!("{what}: the p99 of others is {ratio:.1} times its quiet value");
    }
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
