//! A worker that owns groups, and scripted gateways.

mod running;

use std::time::Duration;

use protocol::{
    Answer, Command, Group, InstanceId, LocalMember, Member, MemberChange, MemberId, Message,
    PresenceAnswer, PresenceReport, Query,
    link::{ToGateway, ToPeer},
};
use push_suite_worker::{Client, Notice, NoticeKind, Worker};
use running::{Running, start_as};
use test_support::fakes::{FakeGateway, FakeLink, soon};
use tokio::sync::mpsc;

/// Watches rooms, and passes its notices on.
struct Rooms(mpsc::Sender<NoticeKind>);

impl Worker for Rooms {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    fn watched_groups(&self) -> Vec<Group> {
        vec![group("room-")]
    }

    fn presence_message(&self, _group: &Group, change: &MemberChange) -> Option<Message> {
        match change {
            MemberChange::Added(member) if member.id().as_str() == Some("ghost") => panic!("boo"),
            MemberChange::Added(member) => Some(format!("+{}", member.id()).into()),
            MemberChange::Removed(id) => Some(format!("-{id}").into()),
        }
    }

    async fn on_presence(&self, notice: &Notice) -> anyhow::Result<()> {
        if !matches!(notice.kind, NoticeKind::Clients(_)) {
            self.0.send(notice.kind.clone()).await?;
        }
        Ok(())
    }
}

fn group(name: &str) -> Group {
    Group::new(name).expect("a name")
}

fn id(text: &str) -> MemberId {
    MemberId::new(text).expect("an id")
}

fn member(text: &str) -> Member {
    Member::new(id(text), format!("\"{text}\""), "{}").expect("short")
}

fn locals(members: &[(&str, u32)]) -> Vec<LocalMember> {
    let local =
        |(text, clients): &(&str, u32)| LocalMember { member: member(text), clients: *clients };
    members.iter().map(local).collect()
}

/// A full report of shard 0 about `room-1`.
fn full(number: u64, members: &[(&str, u32)], view: Option<&[&str]>) -> PresenceReport {
    PresenceReport {
        group: group("room-1"),
        shard: 0,
        number,
        full: true,
        more: false,
        clients: members.iter().map(|(_, clients)| u64::from(*clients)).sum(),
        members: locals(members),
        view: view.map(|view| view.iter().map(|text| id(text)).collect()),
        wants_view: view.is_none(),
    }
}

/// A report of changes, and how many clients there are now.
fn changes(number: u64, members: &[(&str, u32)], clients: u64) -> PresenceReport {
    let full = full(number, members, Some(&[]));
    PresenceReport { full: false, view: None, clients, ..full }
}

fn set(change: MemberChange) -> Command {
    let message = match &change {
        MemberChange::Added(member) => format!("+{}", member.id()),
        MemberChange::Removed(id) => format!("-{id}"),
    };
    Command::SetMember { group: group("room-1"), change, message: Some(message.into()) }
}

fn added(text: &str) -> Command {
    set(MemberChange::Added(Box::new(member(text))))
}

fn removed(text: &str) -> Command {
    set(MemberChange::Removed(id(text)))
}

fn taken(number: u64) -> Command {
    Command::PresenceTaken { shard: 0, group: group("room-1"), number }
}

fn settled(number: u64) -> Command {
    Command::PresenceSettled { shard: 0, group: group("room-1"), number }
}

fn view(members: &[&str]) -> Command {
    let members = members.iter().map(|text| member(text)).collect();
    let (first, last) = (true, true);
    Command::PresenceView { shard: 0, group: group("room-1"), first, last, members }
}

/// A gateway and its link, which begins with what the worker watches.
async fn linked(gateway: &FakeGateway) -> FakeLink {
    let mut link = gateway.link().await;
    assert_eq!(watch(&mut link).await, [group("room-")]);
    link
}

async fn watch(link: &mut FakeLink) -> Vec<Group> {
    loop {
        match link.next().await {
            ToGateway::Watch { prefixes } => return prefixes,
            other => link.note(other).await,
        }
    }
}

async fn report(link: &mut FakeLink, report: PresenceReport) {
    link.send(ToPeer::Presence(Box::new(report))).await;
}

/// Answers the next query, which has to be about these members, or about the whole group.
async fn answer(link: &mut FakeLink, about: Option<&[&str]>, members: &[(&str, u32)]) {
    let about = about.map(|about| about.iter().map(|text| id(text)).collect::<Vec<_>>());
    let (request, query) = soon(link.query()).await;
    assert_eq!(query, Query::Presence { group: group("room-1"), members: about });
    let clients = members.iter().map(|(_, clients)| u64::from(*clients)).sum();
    let answer = Answer::Presence(PresenceAnswer { clients, members: locals(members) });
    link.send(ToPeer::Answer { request, answer }).await;
}

/// The answer of a gateway with these members.
fn among(query: &Query, members: &[(&str, u32)]) -> Answer {
    let Query::Presence { members: about, .. } = query else { panic!("{query:?}") };
    let clients = members.iter().map(|(_, clients)| u64::from(*clients)).sum();
    let mut members = locals(members);
    members.retain(|it| about.as_ref().is_none_or(|about| about.contains(it.member.id())));
    Answer::Presence(PresenceAnswer { clients, members })
}

/// The next command to a gateway with these members, which answers queries, except settlements.
async fn command_amid_queries(link: &mut FakeLink, members: &[(&str, u32)]) -> Command {
    loop {
        match link.next().await {
            ToGateway::Query { request, query } => {
                link.send(ToPeer::Answer { request, answer: among(&query, members) }).await;
            }
            ToGateway::Command {
                command: Command::PresenceSettled { .. } | Command::PresenceNotified { .. },
                ..
            } => {}
            ToGateway::Command { command, .. } => return command,
            other => link.note(other).await,
        }
    }
}

/// A worker that holds nothing back, and two linked gateways.
async fn scene() -> (Running, [FakeGateway; 2], [FakeLink; 2], mpsc::Receiver<NoticeKind>) {
    let (sender, notices) = mpsc::channel(10_000);
    let mut gateways = [FakeGateway::start().await, FakeGateway::start().await];
    for (number, gateway) in gateways.iter_mut().enumerate() {
        gateway.instance = InstanceId::from_random(number as u64);
    }
    let running = start_as(Rooms(sender), &gateways.each_ref(), |config| {
        config.presence_grace = Duration::ZERO;
    })
    .await;
    let links = [linked(&gateways[0]).await, linked(&gateways[1]).await];
    (running, gateways, links, notices)
}

async fn next(notices: &mut mpsc::Receiver<NoticeKind>) -> NoticeKind {
    soon(notices.recv()).await.expect("the worker runs")
}

#[tokio::test]
async fn new_owner_asks_all_gateways_then_answers_with_all_members() {
    let (_running, _gateways, [mut one, mut two], mut notices) = scene().await;
    report(&mut one, full(1, &[("ann", 1)], None)).await;
    assert_eq!(one.command().await, taken(1));
    answer(&mut one, None, &[("ann", 1)]).await;
    // It reports to another owner, or has not reported yet.
    answer(&mut two, None, &[("bob", 2)]).await;
    let command = command_amid_queries(&mut one, &[("ann", 1)]).await;
    assert_eq!(command, view(&["ann", "bob"]), "no shard has a view to be changed");
    for kind in [NoticeKind::Occupied, NoticeKind::MemberAdded(member("ann"))] {
        assert_eq!(next(&mut notices).await, kind);
    }
    // Now it does. The view lacks a member, and has one that no gateway has any more.
    report(&mut two, full(1, &[("bob", 2)], Some(&["ann", "old"]))).await;
    let here = async {
        let first = command_amid_queries(&mut one, &[("ann", 1)]).await;
        report(&mut one, changes(2, &[("cid", 1)], 2)).await;
        [first, command_amid_queries(&mut one, &[("ann", 1), ("cid", 1)]).await]
    };
    let there = async {
        let mut commands = Vec::new();
        for _ in 0..4 {
            commands.push(command_amid_queries(&mut two, &[("bob", 2)]).await);
        }
        commands
    };
    let (here, there) = soon(async { tokio::join!(here, there) }).await;
    assert_eq!(here, [removed("old"), added("cid")]);
    assert_eq!(there, [taken(1), added("bob"), removed("old"), added("cid")]);
    // The other owner may have given notice of it, which the report would say.
    assert_eq!(next(&mut notices).await, NoticeKind::MemberAdded(member("bob")));
    assert_eq!(next(&mut notices).await, NoticeKind::MemberRemoved(id("old")));
}

#[tokio::test]
async fn member_is_removed_once_no_gateway_has_it() {
    let (_running, _gateways, [mut one, mut two], mut notices) = scene().await;
    report(&mut one, full(1, &[("ann", 1), ("bob", 1)], None)).await;
    assert_eq!(one.command().await, taken(1));
    answer(&mut one, None, &[("ann", 1), ("bob", 1)]).await;
    answer(&mut two, None, &[]).await;
    assert_eq!(one.command().await, view(&["ann", "bob"]));
    assert_eq!(one.command().await, settled(1));
    report(&mut one, changes(2, &[("ann", 0)], 1)).await;
    answer(&mut one, Some(&["ann"]), &[]).await;
    // A client of it has joined there, which is not reported yet.
    answer(&mut two, Some(&["ann"]), &[("ann", 1)]).await;
    // It has left again.
    answer(&mut one, Some(&["ann"]), &[]).await;
    answer(&mut two, Some(&["ann"]), &[]).await;
    for link in [&mut one, &mut two] {
        assert_eq!(link.command().await, removed("ann"));
    }
    assert_eq!(one.command().await, settled(2));
    report(&mut one, changes(3, &[("bob", 0)], 0)).await;
    answer(&mut one, Some(&["bob"]), &[]).await;
    answer(&mut two, Some(&["bob"]), &[]).await;
    for link in [&mut one, &mut two] {
        assert_eq!(link.command().await, removed("bob"));
    }
    assert_eq!(one.command().await, settled(3));
    let expected = [
        NoticeKind::Occupied,
        NoticeKind::MemberAdded(member("ann")),
        NoticeKind::MemberAdded(member("bob")),
        NoticeKind::MemberRemoved(id("ann")),
        NoticeKind::MemberRemoved(id("bob")),
        NoticeKind::Vacated,
    ];
    for kind in expected {
        assert_eq!(next(&mut notices).await, kind);
    }
}

#[tokio::test]
async fn gateway_that_is_not_linked_is_waited_for() {
    let (_running, [_first, second], [mut one, two], _notices) = scene().await;
    report(&mut one, full(1, &[("ann", 1)], Some(&["ann", "gone"]))).await;
    assert_eq!(one.command().await, taken(1));
    drop(two);
    let mut queries = 0;
    while queries < 4 {
        match one.next().await {
            ToGateway::Query { request, query } => {
                queries += 1;
                one.send(ToPeer::Answer { request, answer: among(&query, &[("ann", 1)]) }).await;
            }
            ToGateway::Command { command, .. } => assert_eq!(command, settled(1)),
            other => one.note(other).await,
        }
    }
    let mut two = linked(&second).await;
    let (here, there) = tokio::join!(
        command_amid_queries(&mut one, &[("ann", 1)]),
        command_amid_queries(&mut two, &[])
    );
    assert_eq!((here, there), (removed("gone"), removed("gone")));
}

#[tokio::test]
async fn plain_group_is_occupied_and_vacated() {
    let (_running, _gateways, [mut one, mut two], mut notices) = scene().await;
    let plain =
        |number, clients| PresenceReport { clients, wants_view: false, ..full(number, &[], None) };
    report(&mut one, plain(1, 2)).await;
    assert_eq!(one.command().await, taken(1));
    assert_eq!(next(&mut notices).await, NoticeKind::Occupied);
    assert_eq!(one.command().await, settled(1));
    report(&mut one, PresenceReport { full: false, ..plain(2, 0) }).await;
    answer(&mut one, Some(&[]), &[]).await;
    answer(&mut two, Some(&[]), &[]).await;
    assert_eq!(next(&mut notices).await, NoticeKind::Vacated);
    assert_eq!(one.command().await, settled(2));
}

#[tokio::test]
async fn settlement_waits_for_the_handlers_of_notices() {
    let (sender, mut notices) = mpsc::channel(1);
    let gateway = FakeGateway::start().await;
    let _running = start_as(Rooms(sender), &[&gateway], |_| ()).await;
    let mut link = linked(&gateway).await;
    report(&mut link, full(1, &[("ann", 1), ("bob", 1)], None)).await;
    assert_eq!(link.command().await, taken(1));
    answer(&mut link, None, &[]).await;
    assert_eq!(link.command().await, view(&["ann", "bob"]));
    assert!(link.sends_nothing().await, "the second notice waits in its handler");
    for _ in 0..2 {
        next(&mut notices).await;
    }
    assert_eq!(link.command().await, settled(1));
}

#[tokio::test]
async fn message_that_cannot_be_made_is_left_out() {
    let (_running, _gateways, [mut one, mut two], _notices) = scene().await;
    report(&mut one, full(1, &[("ann", 1)], Some(&["ann"]))).await;
    assert_eq!(one.command().await, taken(1));
    for link in [&mut one, &mut two] {
        answer(link, None, &[]).await;
    }
    assert_eq!(one.command().await, settled(1));
    report(&mut one, changes(2, &[("ghost", 1)], 2)).await;
    let change = MemberChange::Added(Box::new(member("ghost")));
    let without = Command::SetMember { group: group("room-1"), change, message: None };
    assert_eq!(two.command().await, without);
}

#[tokio::test]
async fn leaving_worker_decides_nothing_more() {
    let (running, _gateways, [mut one, mut two], _notices) = scene().await;
    report(&mut one, full(1, &[("ann", 1)], Some(&["ann"]))).await;
    assert_eq!(one.command().await, taken(1));
    for link in [&mut one, &mut two] {
        answer(link, None, &[]).await;
    }
    assert_eq!(one.command().await, settled(1));
    running.stop.cancel();
    loop {
        match one.next().await {
            ToGateway::Leaving => break,
            other => one.note(other).await,
        }
    }
    report(&mut one, changes(2, &[("ann", 0), ("bob", 1)], 1)).await;
    let (first, second) = tokio::join!(one.until_closed(), two.until_closed());
    assert_eq!((first, second), (Vec::new(), Vec::new()));
    running.ended().await.unwrap();
}

#[tokio::test]
async fn gateway_that_reads_too_slowly_reports_again() {
    const MEMBERS: u64 = 2_200;
    let (_running, _gateways, [mut one, mut two], _notices) = scene().await;
    report(&mut one, full(1, &[("ann", 1)], Some(&["ann"]))).await;
    assert_eq!(one.command().await, taken(1));
    for link in [&mut one, &mut two] {
        answer(link, None, &[]).await;
    }
    for number in 2..MEMBERS {
        let name = format!("m{number}");
        let large = Member::new(id(&name), "", vec![b'x'; 16_000]).unwrap();
        let members = vec![LocalMember { member: large, clients: 1 }];
        report(&mut one, PresenceReport { members, ..changes(number, &[], number) }).await;
        loop {
            if let Command::SetMember { change, .. } = one.command().await {
                assert_eq!(change.id().as_str(), Some(&*name));
                break;
            }
        }
    }
    // The second gateway has read nothing meanwhile.
    let mut changes = 0;
    let restart = async {
        loop {
            match two.next().await {
                ToGateway::Watch { prefixes } => return prefixes,
                ToGateway::Command { .. } => changes += 1,
                other => two.note(other).await,
            }
        }
    };
    assert_eq!(soon(restart).await, [], "it watches no more");
    assert_eq!(watch(&mut two).await, [group("room-")], "and again");
    assert!(changes < MEMBERS - 2, "{changes} were not dropped");
}
