//! Reports of calls: the clients that they match and reach, and the gateways that do not answer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use protocol::{
    Command, Effect,
    link::{ToGateway, ToPeer},
};
use push_suite_cluster::{
    Close, Cluster, ClusterGuard, Error, Exclude, Message, Recipients, Report,
};
use push_suite_worker::ClientId;
use suite_tests::{
    Browser, Scene, Suite, TestWorker, eventually, names::uid, on_one_and_three_threads,
    peer::encoded, with_timeout,
};

on_one_and_three_threads!(
    report_counts_the_clients_of_both_gateways,
    report_counts_what_a_command_changed,
    report_of_a_long_call_is_complete,
    effects_of_one_turn_leave_in_one_message,
    handler_gets_a_report_of_its_own_client,
    slow_client_is_reported_as_dropped,
    slow_client_that_is_closed_is_reported_as_dropped,
    join_beyond_the_group_limit_is_matched_and_not_reached,
    killed_gateway_is_named_in_the_report_and_the_rest_is_sent_once,
    late_gateway_is_named_in_the_report_and_still_sends_once,
    reported_call_with_invalid_arguments_is_a_typed_error,
);

/// The counts of a complete report.
fn counts(report: &Report) -> (u64, u64, u64) {
    assert!(report.is_complete(), "{report}");
    (report.matched, report.reached, report.dropped)
}

async fn report_counts_the_clients_of_both_gateways(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    for (client, uid) in [(a, "ann"), (b, "ann"), (c, "bob")] {
        let bound = cluster.bind_uid(client, uid).report().await.unwrap();
        assert_eq!(counts(&bound), (1, 1, 0));
    }
    for (client, group) in [(c, "r"), (d, "r"), (d, "s")] {
        cluster.join_group(client, group).await.unwrap();
    }
    let absent = ClientId::new(a.gateway, protocol::ConnectionId(0));
    let all = cluster.send_to_all(Recipients::All, "1");
    assert_eq!(counts(&all.report().await.unwrap()), (4, 4, 0));
    let some = cluster.send_to_all(Recipients::Only(vec![a, absent, b, a]), "2");
    assert_eq!(counts(&some.report().await.unwrap()), (3, 3, 0), "a twice");
    let others = cluster.send_to_all(Recipients::Except(vec![a]), "3");
    assert_eq!(counts(&others.report().await.unwrap()), (3, 3, 0));
    let not_ann = cluster.send_to_all(Recipients::ExceptUids(vec![uid("ann")]), "4");
    assert_eq!(counts(&not_ann.report().await.unwrap()), (2, 2, 0));
    let one = cluster.send_to_client(d, "5");
    assert_eq!(counts(&one.report().await.unwrap()), (1, 1, 0));
    let none = cluster.send_to_client(absent, "no");
    assert_eq!(counts(&none.report().await.unwrap()), (0, 0, 0));
    let ann = cluster.send_to_uid("ann", "6");
    assert_eq!(counts(&ann.report().await.unwrap()), (2, 2, 0), "on both gateways");
    let uids = cluster.send_to_uids(["ann", "none", "bob", "bob"], "7");
    assert_eq!(counts(&uids.report().await.unwrap()), (4, 4, 0), "bob twice");
    let device = cluster.send_to_uids_except(["ann"], &[a], "8");
    assert_eq!(counts(&device.report().await.unwrap()), (1, 1, 0));
    let group = cluster.send_to_group("r", "9");
    assert_eq!(counts(&group.report().await.unwrap()), (2, 2, 0));
    let groups = cluster.send_to_groups(["r", "s"], Exclude::uids(["bob"]).unwrap(), "10");
    assert_eq!(counts(&groups.report().await.unwrap()), (2, 2, 0), "d is in both");
    let nobody = cluster.send_to_group("none", "no");
    assert_eq!(counts(&nobody.report().await.unwrap()), (0, 0, 0));
    let no_list = cluster.send_to_uids(Vec::<String>::new(), "no");
    assert_eq!(counts(&no_list.report().await.unwrap()), (0, 0, 0));

    // Exactly the reported messages arrive.
    cluster.send_to_all(Recipients::All, "end").await.unwrap();
    let mut received = Vec::new();
    for client in 0..4 {
        received.push(scene.received_until(client, "end").await.join(" "));
    }
    assert_eq!(received, ["1 2 2 6 7", "1 2 3 6 7 8", "1 3 4 7 7 9", "1 3 4 5 9 10 10"]);
}

async fn report_counts_what_a_command_changed(threads: usize) {
    let scene = Scene::start(threads).await;
    let ([a, b, c, d], cluster) = (scene.ids, scene.cluster.clone());
    for client in [a, b, c] {
        cluster.bind_uid(client, "ann").await.unwrap();
    }
    let report = async |sending: push_suite_cluster::Sending<'_>| {
        let report = sending.report().await.unwrap();
        assert!(report.is_complete(), "{report}");
        (report.matched, report.reached)
    };
    assert_eq!(report(cluster.join_group_by_uid("ann", "r")).await, (3, 3));
    assert_eq!(report(cluster.join_group_by_uid("none", "r")).await, (0, 0));
    assert_eq!(report(cluster.leave_group(a, "r")).await, (1, 1));
    assert_eq!(report(cluster.leave_group(a, "r")).await, (1, 0), "not a member any more");
    assert_eq!(report(cluster.leave_group_by_uid("ann", "r")).await, (3, 2));
    assert_eq!(report(cluster.join_group(d, "r")).await, (1, 1));
    assert_eq!(report(cluster.ungroup("r")).await, (1, 1));
    assert_eq!(report(cluster.ungroup("r")).await, (0, 0));
    assert_eq!(report(cluster.unbind_uid(d)).await, (1, 0), "it had none");
    let session = serde_json::json!({"a": 1});
    assert_eq!(report(cluster.set_session(d, &session)).await, (1, 1));
    assert_eq!(report(cluster.update_session(d, &session)).await, (1, 1));
    assert_eq!(report(cluster.remove_session_keys(d, ["a"])).await, (1, 1));
    assert_eq!(report(cluster.close_uid_except("ann", &[a], (4001, "bye"))).await, (2, 2));
    let close = Close::new(4001, "").unwrap().with_last_message("bye");
    assert_eq!(report(cluster.close_client(a, close)).await, (1, 1));
    assert_eq!(report(cluster.close_uid("ann", None)).await, (0, 0), "all are closed");
    assert_eq!(report(cluster.destroy_client(d)).await, (1, 1));
    for gone in [
        cluster.close_client(a, "bye"),
        cluster.destroy_client(d),
        cluster.bind_uid(a, "ann"),
        cluster.join_group(a, "r"),
        cluster.set_session(a, &session),
    ] {
        assert_eq!(report(gone).await, (0, 0));
    }
}

async fn report_of_a_long_call_is_complete(threads: usize) {
    let scene = Scene::start(threads).await;
    let ([a, b, ..], cluster) = (scene.ids, scene.cluster.clone());
    cluster.bind_uid(a, 15_000).await.unwrap();
    cluster.bind_uid(b, 3).await.unwrap();
    // Several commands for each gateway, of which each is applied in several slices.
    let report = cluster.send_to_uids(0..25_000, "x").report().await.unwrap();
    assert_eq!(counts(&report), (2, 2, 0));
    let report = cluster.send_to_uids(vec![3; 3000], "x").report().await.unwrap();
    assert_eq!(counts(&report), (3000, 3000, 0));
}

/// Reports cost little because of this.
async fn effects_of_one_turn_leave_in_one_message(threads: usize) {
    const COMMANDS: u64 = 50;
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let mut browser = suite.browser(0).await;
    let to = worker.accept_client().await;
    let mut frames = BytesMut::new();
    for seq in 1..=COMMANDS {
        let command = Command::SendToClient { to, message: format!("{seq}").into() };
        let request = 1000 + seq;
        frames.unsplit(encoded(&ToGateway::ReportedCommand { seq, request, command }));
    }
    worker.send_bytes(&frames).await;
    let (mut messages, mut answers) = (0, Vec::new());
    while (answers.len() as u64) < COMMANDS {
        if let ToPeer::Effects { effects } = worker.next().await.expect("the link stays open") {
            messages += 1;
            answers.extend(effects);
        }
    }
    let reached = Effect { matched: 1, reached: 1, dropped: 0 };
    let all: Vec<_> = (1..=COMMANDS).map(|seq| (1000 + seq, reached)).collect();
    assert_eq!(answers, all);
    // One, unless the commands arrive in parts.
    assert!(messages <= 5, "{messages} messages for {COMMANDS} effects");
    for seq in 1..=COMMANDS {
        assert_eq!(browser.receive_text().await, seq.to_string());
    }
}

async fn handler_gets_a_report_of_its_own_client(threads: usize) {
    let suite = Suite::builder().gateways(1).threads(threads).start().await;
    let _worker = TestWorker::start(&suite, "1").await;
    let mut ann = suite.browser(0).await;
    ann.send("report hello").await;
    assert_eq!(ann.receive_text().await, "hello");
    assert_eq!(ann.receive_text().await, "1 matched, 1 reached, 0 dropped");
}

/// Sends to a client that reads nothing until a report counts it as dropped. Returns the reports.
async fn until_dropped(cluster: &Cluster, client: ClientId) -> Vec<Report> {
    let (mut reports, message) = (Vec::new(), Message::binary(vec![0; 60_000]));
    while reports.last().is_none_or(|last: &Report| last.dropped == 0) {
        assert!(reports.len() < 1000, "the client reads nothing");
        reports.push(cluster.send_to_client(client, message.clone()).report().await.unwrap());
    }
    reports
}

/// One gateway with such flags, a client of it, and a back end.
async fn with_flags(
    threads: usize,
    flags: &[(&str, &str)],
) -> (Suite, Browser, ClientId, ClusterGuard) {
    let mut builder = Suite::builder().gateways(1).threads(threads);
    for (flag, value) in flags {
        builder = builder.gateway_flag(flag, value);
    }
    let suite = builder.start().await;
    let mut worker = suite.worker_link(0, "w:1").await;
    let browser = suite.browser(0).await;
    let client = ClientId::new(suite.gateways[0].inner, worker.accept_client().await);
    let cluster = suite.cluster().await;
    (suite, browser, client, cluster)
}

async fn slow_client_is_reported_as_dropped(threads: usize) {
    let flags = [("--slow-client", "drop"), ("--send-to-client-buffer-size", "100000")];
    let (_suite, mut browser, client, cluster) = with_flags(threads, &flags).await;
    let reports = until_dropped(&cluster, client).await;
    let (last, before) = reports.split_last().unwrap();
    assert_eq!(counts(last), (1, 0, 1));
    assert!(before.iter().all(|report| counts(report) == (1, 1, 0)));
    // Exactly what was reached arrives.
    for _ in before {
        browser.receive().await;
    }
    let report = cluster.send_to_client(client, "on we go").report().await.unwrap();
    assert_eq!(counts(&report), (1, 1, 0));
    assert_eq!(browser.receive_text().await, "on we go");
}

async fn slow_client_that_is_closed_is_reported_as_dropped(threads: usize) {
    let flags = [("--send-to-client-buffer-size", "100000")];
    let (_suite, _browser, client, cluster) = with_flags(threads, &flags).await;
    let reports = until_dropped(&cluster, client).await;
    assert_eq!(counts(reports.last().unwrap()), (1, 0, 1));
    let report = cluster.send_to_client(client, "too late").report().await.unwrap();
    assert_eq!(counts(&report), (0, 0, 0), "it was closed");
}

async fn join_beyond_the_group_limit_is_matched_and_not_reached(threads: usize) {
    let (_suite, _browser, client, cluster) =
        with_flags(threads, &[("--max-groups-per-client", "1")]).await;
    cluster.bind_uid(client, "ann").await.unwrap();
    for (group, reached) in [("r", 1), ("s", 0), ("r", 1)] {
        let report = cluster.join_group(client, group).report().await.unwrap();
        assert_eq!(counts(&report), (1, reached, 0), "{group}");
        let report = cluster.join_group_by_uid("ann", group).report().await.unwrap();
        assert_eq!(counts(&report), (1, reached, 0), "{group}");
    }
}

async fn killed_gateway_is_named_in_the_report_and_the_rest_is_sent_once(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let killed = scene.suite.gateways[1].inner;
    // So that it takes the command, and does not answer.
    scene.suite.gateways[1].pause().await;
    // So that it is listed until then: a gateway that is not, and refuses connections, is gone.
    scene.suite.registers[0].pause().await;
    let cluster = scene.cluster.clone();
    let report = tokio::spawn(async move {
        let sending = cluster.send_to_all(Recipients::All, "hello");
        sending.report_within(Duration::from_secs(60)).await
    });
    assert_eq!(scene.browsers[0].receive_text().await, "hello");
    assert!(!report.is_finished(), "one gateway has not answered");
    scene.suite.gateways[1].kill();
    let report = with_timeout("the report", report).await.unwrap().unwrap();
    assert_eq!((report.matched, report.reached, report.dropped), (2, 2, 0));
    assert_eq!(report.unreachable, [killed]);
    assert!(report.to_string().ends_with(&format!("no answer from {killed}")), "{report}");
    // Each client of the other gateway has it once.
    scene.cluster.send_to_all(Recipients::All, "end").await.unwrap();
    assert_eq!(scene.received_until(0, "end").await, [""; 0], "read above");
    assert_eq!(scene.received_until(2, "end").await, ["hello"]);
    // A gateway that is known to be disconnected is named at once.
    let report = scene.cluster.send_to_all(Recipients::All, "again").report().await.unwrap();
    assert_eq!((report.reached, report.unreachable), (2, vec![killed]));
    // One that is gone has no clients, and a report is complete without it.
    scene.suite.registers[0].resume();
    let report = eventually("the gateway to be gone", async || {
        let report = scene.cluster.send_to_all(Recipients::All, "on we go").report().await.unwrap();
        report.is_complete().then_some(report)
    })
    .await;
    assert_eq!(counts(&report), (2, 2, 0));
}

async fn late_gateway_is_named_in_the_report_and_still_sends_once(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let late: SocketAddr = scene.suite.gateways[1].inner;
    scene.suite.gateways[1].pause().await;
    let sending = scene.cluster.send_to_all(Recipients::All, "hello");
    let report = sending.report_within(Duration::from_millis(100)).await.unwrap();
    assert_eq!((report.reached, report.unreachable), (2, vec![late]));
    scene.suite.gateways[1].resume();
    // Its late answer is that of no other request.
    let report = eventually("the gateway to answer", async || {
        let report = scene.cluster.send_to_uid("none", "no").report().await.unwrap();
        report.is_complete().then_some(report)
    })
    .await;
    assert_eq!(counts(&report), (0, 0, 0));
    scene.cluster.send_to_all(Recipients::All, "end").await.unwrap();
    for client in 0..4 {
        assert_eq!(scene.received_until(client, "end").await, ["hello"]);
    }
}

async fn reported_call_with_invalid_arguments_is_a_typed_error(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let ([a, ..], cluster) = (scene.ids, scene.cluster.clone());
    let huge = "x".repeat(10_000_000);
    for name in ["", &huge] {
        for refused in [
            cluster.send_to_uid(name, "no"),
            cluster.send_to_uids(["ann", name], "no"),
            cluster.send_to_group(name, "no"),
            cluster.send_to_groups(["r", name], &[], "no"),
            cluster.bind_uid(a, name),
            cluster.join_group(a, name),
            cluster.join_group_by_uid(name, "r"),
            cluster.leave_group_by_uid("ann", name),
            cluster.ungroup(name),
            cluster.close_uid(name, None),
        ] {
            let refused = refused.report().await;
            assert!(matches!(refused, Err(Error::Name(_))), "{refused:?}");
        }
    }
    let many = vec![a; 10_001];
    let refused = cluster.send_to_all(Recipients::Except(many.clone()), "no").report().await;
    assert!(matches!(refused, Err(Error::TooMany { count: 10_001, .. })), "{refused:?}");
    let keys = cluster.remove_session_keys(a, vec!["k"; 10_001]).report().await;
    assert!(matches!(keys, Err(Error::TooMany { count: 10_001, .. })), "{keys:?}");
    let refused = cluster.close_client(a, (1001, "no")).report().await;
    assert!(matches!(refused, Err(Error::Close(_))), "{refused:?}");
    let refused = cluster.set_session(a, "no object").report().await;
    assert!(matches!(refused, Err(Error::Session(_))), "{refused:?}");
    let large = Message::binary(vec![0; 33 << 20]);
    for refused in [
        cluster.send_to_client(a, large.clone()),
        cluster.send_to_all(Recipients::All, large),
        cluster.remove_session_keys(a, [huge.repeat(4)]),
    ] {
        let refused = refused.report().await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }
    let nowhere = ClientId::new("127.0.0.1:1".parse().unwrap(), a.connection);
    let refused = cluster.send_to_client(nowhere, "no").report().await;
    assert!(matches!(refused, Err(Error::Unreachable { .. })), "{refused:?}");
    cluster.send_to_all(Recipients::All, "end").await.unwrap();
    for client in 0..4 {
        assert_eq!(scene.received_until(client, "end").await, [""; 0], "nothing was sent");
    }
    let sessions = cluster.all_sessions().await.unwrap().into_iter().collect::<BTreeMap<_, _>>();
    assert!(sessions[&a].is_empty());
    scene.cluster.close().await;
    let closed = cluster.send_to_all(Recipients::All, "no").report().await;
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
}
