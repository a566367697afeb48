//! The limit of connections for each uid in the whole cluster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use protocol::{
    Answer, Command, ConnectionId, Keep, Query, UidLimit,
    link::{ToGateway, ToPeer},
};
use push_suite_cluster::Cluster;
use push_suite_worker::CloseReason;
use suite_tests::{
    Browser, Call, Peer, Received, Suite, TestWorker, eventually, names::uid,
    on_one_and_three_threads, suite::Builder,
};

on_one_and_three_threads!(
    exactly_the_limit_stays_of_clients_bound_at_once,
    exactly_the_limit_stays_of_clients_replaced_at_once,
    limit_is_exact_on_a_gateway_without_a_worker,
);

const NEW: (u16, &str) = (4409, "too many connections");
const OLDEST: (u16, &str) = (4409, "replaced by a newer connection");

fn suite(limit: usize, policy: &str) -> Builder {
    Suite::builder()
        .gateway_flag("--max-connections-per-uid", &limit.to_string())
        .gateway_flag("--uid-limit-policy", policy)
}

/// Has a worker with `--app bench` bind the client. Returns `false` if it is closed at once.
async fn bind(browser: &mut Browser, name: &str) -> bool {
    browser.send(format!("u{name}")).await;
    match browser.receive().await {
        Received::Text(text) => {
            assert_eq!(text, format!("u{name}"));
            true
        }
        Received::Closed(code) => {
            assert_eq!(code, Some(4409));
            false
        }
        other => panic!("received {other:?}"),
    }
}

async fn assert_closed(browser: &mut Browser, (code, reason): (u16, &str)) {
    assert_eq!(browser.receive_close().await, Some((code, reason.to_owned())));
}

/// Waits until no uid is being checked on any gateway.
async fn all_checked(suite: &Suite) {
    for gateway in &suite.gateways {
        gateway.wait_for_metric("pushsuite_gateway_uid_checks_pending", 0.0).await;
    }
}

async fn clients(cluster: &Cluster, name: &str) -> usize {
    cluster.clients_of_uid(name).await.unwrap().len()
}

async fn wait_for_clients(cluster: &Cluster, name: &str, count: usize) {
    eventually(format!("{count} clients of {name}"), async || {
        (clients(cluster, name).await == count).then_some(())
    })
    .await;
}

/// Two clients on each gateway are bound to the same uid at the same moment, many times.
async fn bound_at_once(threads: usize, limit: usize, policy: &str) {
    const ROUNDS: usize = 50;
    let suite = suite(limit, policy).workers(2).threads(threads).start().await;
    let cluster = suite.cluster().await;
    let (mut open, mut closed) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let name = format!("user-{round}");
        let mut browsers = Vec::new();
        for gateway in [0, 1, 0, 1] {
            browsers.push(suite.browser(gateway).await);
        }
        let binds = browsers.iter_mut().map(|browser| bind(browser, &name));
        futures_util::future::join_all(binds).await;
        wait_for_clients(&cluster, &name, limit).await;
        open.push(browsers);
    }
    all_checked(&suite).await;
    for (round, browsers) in open.iter_mut().enumerate() {
        assert_eq!(clients(&cluster, &format!("user-{round}")).await, limit, "round {round}");
        let mut alive = 0;
        for browser in browsers {
            match browser.try_send("e").await && browser.receive().await == "e".into() {
                true => alive += 1,
                false => closed += 1,
            }
        }
        assert_eq!(alive, limit, "round {round}");
    }
    assert_eq!(closed, ROUNDS * (4 - limit));
    let mut counted = 0.0;
    for gateway in &suite.gateways {
        let name = r#"pushsuite_gateway_clients_closed_total{reason="uid_limit"}"#;
        counted += gateway.metric(name).await.unwrap_or_default();
    }
    assert_eq!(counted as usize, closed);
}

async fn exactly_the_limit_stays_of_clients_bound_at_once(threads: usize) {
    bound_at_once(threads, threads.min(2), "close-new").await;
}

async fn exactly_the_limit_stays_of_clients_replaced_at_once(threads: usize) {
    bound_at_once(threads, threads.min(2), "close-oldest").await;
}

#[tokio::test]
async fn new_connection_is_refused_on_whatever_gateway() {
    let suite = suite(2, "close-new").workers(1).start().await;
    let cluster = suite.cluster().await;
    let [mut one, mut two] = [suite.browser(0).await, suite.browser(1).await];
    assert!(bind(&mut one, "ann").await && bind(&mut two, "ann").await);
    all_checked(&suite).await;
    for gateway in [0, 1] {
        let mut three = suite.browser(gateway).await;
        three.send("uann").await;
        // Before it, the reply of its worker may arrive.
        assert_eq!(three.closed().await, Some(NEW.0));
        suite.gateways[gateway]
            .wait_for_log(&["client is over the limit of connections for its uid"])
            .await;
    }
    assert_eq!(clients(&cluster, "ann").await, 2);
    // There is room again, also for a client that had another uid.
    one.close().await;
    let mut three = suite.browser(1).await;
    assert!(bind(&mut three, "bob").await && bind(&mut three, "ann").await);
    all_checked(&suite).await;
    two.echo("two").await;
    three.echo("three").await;
    assert_eq!((clients(&cluster, "ann").await, clients(&cluster, "bob").await), (2, 0));
}

#[tokio::test]
async fn new_connection_replaces_the_oldest_on_whatever_gateway() {
    let suite = suite(2, "close-oldest").start().await;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut open = Vec::new();
    for at in 0..6 {
        let mut browser = suite.browser(at % 2).await;
        browser.exchange("bind ann", "ann").await;
        open.push(browser);
        if 2 < open.len() {
            assert_closed(&mut open.remove(0), OLDEST).await;
        }
        all_checked(&suite).await;
    }
    for browser in &mut open {
        browser.exchange("echo here", "here").await;
    }
    let mut reasons = Vec::new();
    while reasons.len() < 4 {
        if let Call::Close(reason) = worker.next_report().await.call {
            reasons.push(reason);
        }
    }
    assert_eq!(reasons, [CloseReason::UidLimit; 4]);
}

#[tokio::test]
async fn client_that_is_bound_to_its_uid_again_keeps_its_place() {
    let suite = suite(1, "close-new").workers(1).start().await;
    let cluster = suite.cluster().await;
    let mut ann = suite.browser(0).await;
    for _ in 0..20 {
        assert!(bind(&mut ann, "ann").await);
        let mut other = suite.browser(1).await;
        other.send("uann").await;
        assert!(bind(&mut ann, "ann").await);
        assert_eq!(other.closed().await, Some(NEW.0));
    }
    all_checked(&suite).await;
    assert_eq!(clients(&cluster, "ann").await, 1);
    ann.echo("still here").await;
}

/// Clients of a gateway, bound by a back end. The worker has another protocol, or none checks uids.
async fn limit_is_exact_on_a_gateway_without_a_worker(threads: usize) {
    let mut suite = suite(2, "close-oldest").threads(threads).start().await;
    let mut browsers = Vec::new();
    for gateway in [0, 1] {
        let mut php = suite_tests::Php::worker(
            suite.gateways[gateway].inner,
            &suite.secret(),
            &format!("php:{gateway}"),
        )
        .await;
        let mut peer = suite.peer(gateway).await;
        let mut here = Vec::new();
        for _ in 0..5 {
            here.push((suite.browser(gateway).await, ConnectionId(php.accept_client().await)));
        }
        let (mut here, ids): (Vec<_>, Vec<_>) = here.into_iter().unzip();
        for client in ids {
            peer.command(Command::BindUid { client, uid: uid("ann") }).await;
        }
        peer.acknowledged().await;
        for browser in &mut here[..3] {
            assert_closed(browser, OLDEST).await;
        }
        let Answer::Clients(found) = peer.query(clients_of("ann")).await else { panic!() };
        assert_eq!(found[0].1.len(), 2);
        browsers.extend(here.split_off(3));
    }
    // Each gateway has two. The first worker that can check uids closes two of the four.
    suite.add_worker().await;
    let cluster = suite.cluster().await;
    wait_for_clients(&cluster, "ann", 2).await;
    all_checked(&suite).await;
    assert_eq!(clients(&cluster, "ann").await, 2);
    for browser in &mut browsers[..2] {
        assert_closed(browser, OLDEST).await;
    }
}

fn clients_of(name: &str) -> Query {
    Query::ClientsOfUids { uids: vec![uid(name)] }
}

/// A worker link that is asked for checks, and answers none of them.
async fn next_check(worker: &mut Peer) -> (u64, UidLimit, u64) {
    loop {
        match worker.next().await {
            Some(ToPeer::CheckUid { check, uid: of, limit, clock }) => {
                assert_eq!(of, uid("ann"));
                return (check, limit, clock);
            }
            Some(ToPeer::Relayed { .. }) | None => panic!("no check"),
            Some(_) => {}
        }
    }
}

#[tokio::test]
async fn check_of_a_lost_worker_is_repeated_by_another() {
    let mut suite = suite(1, "close-oldest").start().await;
    let [first, second] = [0, 1].map(|at| suite.gateways[at].inner).map(|inner| {
        let secret = suite.secret();
        async move { Peer::worker(inner, &secret, "silent:1").await }
    });
    let mut links = [first.await, second.await];
    let mut browsers = Vec::new();
    for (gateway, link) in links.iter_mut().enumerate() {
        browsers.push(suite.browser(gateway).await);
        let client = link.accept_client().await;
        link.command(Command::BindUid { client, uid: uid("ann") }).await;
        let limit = UidLimit { connections: 1, keep: Keep::Newest };
        let (check, asked, clock) = next_check(link).await;
        assert_eq!(asked, limit);
        let stamps = Query::Bindings { uid: uid("ann"), clock: 0 };
        let Answer::Bindings(bindings) = link.query(stamps).await else { panic!() };
        let (bound, since) = bindings[0];
        assert!(bindings.len() == 1 && bound == client && since <= clock, "{bindings:?} {clock}");
        // Answers to other checks do not end it.
        for (check, name) in [(check + 1, "ann"), (u64::MAX, "ann"), (check, "bob")] {
            link.send(&ToGateway::UidChecked { check, uid: uid(name) }).await;
        }
        link.query(Query::Groups).await;
        let pending = suite.gateways[gateway].metric("pushsuite_gateway_uid_checks_pending").await;
        assert_eq!(pending, Some(1.0));
    }
    drop(links);
    suite.add_worker().await;
    assert_closed(&mut browsers[0], OLDEST).await;
    all_checked(&suite).await;
    let cluster = suite.cluster().await;
    assert_eq!(clients(&cluster, "ann").await, 1);
}

#[tokio::test]
async fn check_waits_for_a_suspended_gateway_and_outlives_its_worker() {
    let mut suite = suite(1, "close-new").workers(1).start().await;
    let mut kept = suite.browser(1).await;
    assert!(bind(&mut kept, "ann").await);
    all_checked(&suite).await;
    suite.gateways[1].pause().await;
    let mut new = suite.browser(0).await;
    assert!(bind(&mut new, "ann").await, "whether there are others is not known yet");
    suite.gateways[0].wait_for_metric("pushsuite_gateway_uid_checks_pending", 1.0).await;
    suite.workers[0].kill();
    suite.spawn_worker();
    new.echo("by the new worker").await;
    suite.gateways[0].wait_for_metric("pushsuite_gateway_uid_checks_pending", 1.0).await;
    suite.gateways[1].resume();
    assert_closed(&mut new, NEW).await;
    all_checked(&suite).await;
    kept.echo("kept").await;
}

#[tokio::test]
async fn clients_of_a_dead_gateway_do_not_count() {
    let mut suite =
        suite(1, "close-new").workers(1).worker_flag("--gateway-grace", "1").start().await;
    let mut lost = suite.browser(1).await;
    assert!(bind(&mut lost, "ann").await);
    all_checked(&suite).await;
    suite.gateways[1].kill();
    let mut new = suite.browser(0).await;
    assert!(bind(&mut new, "ann").await);
    all_checked_on_first(&suite).await;
    new.echo("alone").await;
}

async fn all_checked_on_first(suite: &Suite) {
    suite.gateways[0].wait_for_metric("pushsuite_gateway_uid_checks_pending", 0.0).await;
}

#[tokio::test]
async fn stamps_of_gateways_whose_clocks_differ_follow_each_other() {
    let suite = suite(2, "close-new").gateways(1).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut clients = suite.accepted_clients(&mut worker, 2).await.into_iter();
    let mut stamp = async |clock: u64| {
        let (browser, client) = clients.next().unwrap();
        let query = Query::Bindings { uid: uid("ann"), clock };
        worker.query(query.clone()).await;
        worker.command(Command::BindUid { client, uid: uid("ann") }).await;
        let Answer::Bindings(bindings) = worker.query(query).await else { panic!() };
        (browser, *bindings.last().unwrap(), client)
    };
    // Far in the future, and beyond what is believed.
    let ahead = 1 << 62;
    let (_one, (client, since), expected) = stamp(ahead).await;
    assert!(client == expected && ahead < since && since < ahead + 1000, "{since}");
    let (_two, (client, since), expected) = stamp(u64::MAX).await;
    assert!(client == expected && (1 << 63..(1 << 63) + 1000).contains(&since), "{since}");
    // A close for an earlier or a later binding has no effect.
    for other in [0, since - 1, since + 1, u64::MAX] {
        let keep = Keep::Newest;
        worker.command(Command::CloseBinding { client, since: other, keep }).await;
    }
    assert_eq!(worker.query(Query::IsOnline { client }).await, Answer::Online(true));
    worker.command(Command::CloseBinding { client, since, keep: Keep::Newest }).await;
    assert_eq!(worker.query(Query::IsOnline { client }).await, Answer::Online(false));
}

#[tokio::test]
async fn without_a_limit_no_uid_is_checked() {
    let suite = Suite::builder().workers(1).start().await;
    let mut open = Vec::new();
    for at in 0..4 {
        let mut browser = suite.browser(at % 2).await;
        assert!(bind(&mut browser, "ann").await);
        open.push(browser);
    }
    for browser in &mut open {
        browser.echo("here").await;
    }
    for gateway in &suite.gateways {
        assert_eq!(gateway.metric("pushsuite_gateway_uid_checks_total").await, Some(0.0));
    }
}
