//! Reported calls at the moment at which a link is lost: the call is sent once, and its report names
//! the gateway.

use std::time::Duration;

use protocol::{
    Answer, Command, Effect, Recipients,
    link::{ToGateway, ToPeer},
};
use push_suite_cluster::{Cluster, ClusterGuard, Config, Error, Recipients as To, Report};
use test_support::fakes::{FakeGateway, FakeLink, FakeRegister, SECRET, Subscriber, sent_to, soon};
use tokio::task::JoinHandle;

/// The largest future of a report, in bytes.
const MAX_FUTURE: usize = 1200;

struct Scene {
    cluster: ClusterGuard,
    _register: FakeRegister,
    _subscriber: Subscriber,
    gateway: FakeGateway,
}

impl Scene {
    async fn start() -> (Self, FakeLink) {
        let (register, gateway) = (FakeRegister::start().await, FakeGateway::start().await);
        let config = Config::new([register.address()], SECRET);
        let cluster = Cluster::start(config.gateway_grace(Duration::from_secs(60)));
        let subscriber = register.serve(&[&gateway]).await;
        let link = gateway.link().await;
        soon(cluster.ready()).await;
        (Self { cluster, _register: register, _subscriber: subscriber, gateway }, link)
    }

    /// Starts to send to the first client, with a report.
    fn send(&self, text: &'static str) -> JoinHandle<Result<Report, Error>> {
        let (cluster, client) = (self.cluster.clone(), self.gateway.client(1));
        tokio::spawn(async move {
            cluster.send_to_client(client, text).report_within(Duration::from_secs(60)).await
        })
    }

    async fn until_linked(&self, count: usize) {
        soon(async {
            while self.cluster.status().linked != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn reported(link: &mut FakeLink) -> (u64, u64, Command) {
    loop {
        match link.next().await {
            ToGateway::ReportedCommand { seq, request, command } => return (seq, request, command),
            other => link.note(other).await,
        }
    }
}

async fn result(report: JoinHandle<Result<Report, Error>>) -> Report {
    soon(report).await.expect("no panic").expect("the gateway is known")
}

fn effect(matched: u64) -> Answer {
    Answer::Effect(Effect { matched, reached: matched, dropped: 0 })
}

#[tokio::test]
async fn command_of_a_lost_link_is_sent_once_more_without_a_request() {
    let (scene, mut link) = Scene::start().await;
    let report = scene.send("1");
    let (seq, _, command) = reported(&mut link).await;
    assert_eq!((seq, command), (1, sent_to(1, "1")));
    drop(link);
    // Known at once, and not only after the time to wait.
    let lost = result(report).await;
    assert_eq!((lost.matched, &lost.unreachable[..]), (0, &[scene.gateway.addr()][..]));
    scene.until_linked(0).await;
    let parked = result(scene.send("2")).await;
    assert_eq!(parked.unreachable, [scene.gateway.addr()]);
    let mut link = scene.gateway.link().await;
    scene.until_linked(1).await;
    // Both once, in order, before newer ones, and nothing waits for their effect.
    for number in 1..=2 {
        assert_eq!(link.numbered_command().await, (number, sent_to(1, &number.to_string())));
    }
    let report = scene.send("3");
    let (seq, request, command) = reported(&mut link).await;
    assert_eq!((seq, command), (3, sent_to(1, "3")));
    link.send(ToPeer::CommandAck { through: 3 }).await;
    link.send(ToPeer::Answer { request, answer: effect(1) }).await;
    let report = result(report).await;
    assert!(report.is_complete() && report.reached == 1, "{report}");
}

#[tokio::test]
async fn acknowledged_command_of_a_lost_link_is_not_sent_again() {
    let (mut scene, mut link) = Scene::start().await;
    let report = scene.send("1");
    reported(&mut link).await;
    scene.gateway.taken = 1;
    drop(link);
    assert_eq!(result(report).await.unreachable, [scene.gateway.addr()]);
    scene.until_linked(0).await;
    let mut link = scene.gateway.link().await;
    scene.until_linked(1).await;
    scene.cluster.send_to_client(scene.gateway.client(1), "2").await.expect("it is linked");
    assert_eq!(link.numbered_command().await, (2, sent_to(1, "2")));
}

#[tokio::test]
async fn answers_of_two_links_are_not_confused() {
    let (scene, mut link) = Scene::start().await;
    let before = scene.send("1");
    let (_, old, _) = reported(&mut link).await;
    drop(link);
    result(before).await;
    scene.until_linked(0).await;
    let mut link = scene.gateway.link().await;
    scene.until_linked(1).await;
    link.command().await;
    let report = scene.send("2");
    let (_, new, _) = reported(&mut link).await;
    assert_ne!(old, new);
    // As if the old request had been sent on this link.
    link.send(ToPeer::Answer { request: old, answer: effect(70) }).await;
    link.send(ToPeer::Answer { request: new, answer: effect(1) }).await;
    assert_eq!(result(report).await.matched, 1);
}

#[tokio::test]
async fn effects_of_several_calls_arrive_in_one_message() {
    let (scene, mut link) = Scene::start().await;
    let (mut reports, mut effects) = (Vec::new(), Vec::new());
    for matched in 0..3 {
        reports.push(scene.send("1"));
        let (_, request, _) = reported(&mut link).await;
        effects.push((request, Effect { matched, reached: matched, dropped: 0 }));
    }
    // In another order, with one that answers no request.
    effects.reverse();
    effects.push((0, Effect { matched: 70, reached: 70, dropped: 0 }));
    link.send(ToPeer::Effects { effects }).await;
    for (matched, report) in (0..).zip(reports) {
        let report = result(report).await;
        assert!(report.is_complete() && report.matched == matched, "{report}");
    }
}

/// The future of a handler contains that of each report that it may wait for, and is moved for each
/// event.
#[tokio::test]
async fn future_of_a_report_is_small() {
    let (scene, _link) = Scene::start().await;
    let one = scene.cluster.send_to_client(scene.gateway.client(1), "1").report();
    let all = scene.cluster.send_to_all(To::All, "1").report();
    assert!(size_of_val(&one) <= MAX_FUTURE, "{} bytes", size_of_val(&one));
    assert!(size_of_val(&all) <= MAX_FUTURE, "{} bytes", size_of_val(&all));
}

#[tokio::test]
async fn answer_of_another_kind_is_no_report() {
    let (scene, mut link) = Scene::start().await;
    let report = scene.send("1");
    let (_, request, _) = reported(&mut link).await;
    link.send(ToPeer::Answer { request, answer: Answer::Count(7) }).await;
    let report = result(report).await;
    assert_eq!((report.matched, report.unreachable), (0, vec![scene.gateway.addr()]));
}

#[tokio::test]
async fn call_that_is_dropped_while_it_waits_for_its_report_is_sent() {
    let (scene, mut link) = Scene::start().await;
    let report = scene.send("1");
    let (_, request, _) = reported(&mut link).await;
    report.abort();
    assert!(soon(report).await.is_err());
    link.send(ToPeer::Answer { request, answer: effect(1) }).await;
    // The late answer is ignored, and the link goes on.
    let sent = scene.cluster.send_to_all(To::All, "2").await;
    sent.expect("it is linked");
    let to = Recipients::All;
    let expected = Command::SendToAll { to, message: "2".into() };
    assert_eq!(link.command().await, expected);
}

#[tokio::test]
async fn call_without_a_report_has_no_request() {
    let (scene, mut link) = Scene::start().await;
    drop(scene.cluster.send_to_all(To::All, "not awaited"));
    scene.cluster.send_to_client(scene.gateway.client(1), "1").await.expect("it is linked");
    assert_eq!(link.numbered_command().await, (1, sent_to(1, "1")));
}
