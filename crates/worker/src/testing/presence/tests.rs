//! Members, their snapshots and the notices about them, on a gateway inside a test.

use protocol::{Group, Member, MemberChange, MemberId, Message, MessageKind, Part, Snapshot};
use push_suite_cluster::NoticeKind;

use crate::{Client, Worker, testing::TestCluster};

struct Rooms;

impl Worker for Rooms {
    async fn on_message(&self, _client: &Client, _message: Message) -> anyhow::Result<()> {
        Ok(())
    }

    fn watched_groups(&self) -> Vec<Group> {
        vec![Group::new("room-").unwrap()]
    }

    fn presence_message(&self, _group: &Group, change: &MemberChange) -> Option<Message> {
        Some(match change {
            MemberChange::Added(member) => format!("+{}", member.id()).into(),
            MemberChange::Removed(id) => format!("-{id}").into(),
        })
    }
}

fn member(id: &str) -> Member {
    Member::new(MemberId::new(id).unwrap(), format!("\"{id}\""), "").unwrap()
}

fn snapshot() -> Snapshot {
    let parts = vec![Part::Count, Part::Bytes(":".into()), Part::Ids];
    Snapshot::new(MessageKind::Text, parts).unwrap()
}

#[tokio::test]
async fn members_receive_a_snapshot_and_the_changes_of_others() {
    let cluster = TestCluster::start();
    let (ann, bob, tab) = (cluster.client(), cluster.client(), cluster.client());
    let kinds = || -> Vec<NoticeKind> {
        cluster.update_presence(&Rooms).into_iter().map(|notice| notice.kind).collect()
    };
    ann.join_presence("room-1", member("ann"), snapshot()).await.unwrap();
    assert_eq!(cluster.received(ann.id()), [r#"1:"ann""#.into()]);
    let clients = NoticeKind::Clients;
    let added = |id| NoticeKind::MemberAdded(member(id));
    assert_eq!(kinds(), [NoticeKind::Occupied, clients(1), added("ann")]);

    bob.join_presence("room-1", member("bob"), snapshot()).await.unwrap();
    tab.join_presence("room-1", member("bob"), snapshot()).await.unwrap();
    assert_eq!(kinds(), [clients(3), added("bob")]);
    assert_eq!(cluster.received(ann.id()), ["+bob".into()]);
    assert_eq!(cluster.received(bob.id()), [r#"2:"ann","bob""#.into()]);
    let members = cluster.cluster().presence("room-1").await.unwrap();
    let members: Vec<_> = members.iter().map(|it| (it.member.id().as_str(), it.clients)).collect();
    assert_eq!(members, [(Some("ann"), 1), (Some("bob"), 2)]);

    bob.leave_group("room-1").await.unwrap();
    assert_eq!(kinds(), [clients(2)], "bob has another client");
    tab.close(None).await.unwrap();
    let removed = |id| NoticeKind::MemberRemoved(MemberId::new(id).unwrap());
    assert_eq!(kinds(), [clients(1), removed("bob")]);
    assert_eq!(cluster.received(ann.id()), ["-bob".into()]);
    let [(_, counts)] = &cluster.cluster().presence_counts(["room-1"]).await.unwrap()[..] else {
        panic!("one group")
    };
    assert_eq!((counts.clients, counts.members), (1, 1));

    ann.leave_group("room-1").await.unwrap();
    assert_eq!(kinds(), [clients(0), removed("ann"), NoticeKind::Vacated]);
    ann.join_group("hall").await.unwrap();
    assert_eq!(kinds(), [], "not watched");
}

#[tokio::test]
async fn client_that_joins_again_remains_the_member_that_it_is() {
    let cluster = TestCluster::start();
    let ann = cluster.client();
    for id in ["ann", "other"] {
        ann.join_presence("room-1", member(id), snapshot()).await.unwrap();
        assert_eq!(cluster.received(ann.id()), [r#"1:"ann""#.into()]);
    }
    ann.close(None).await.unwrap();
    cluster.cluster().join_presence(ann.id(), "room-1", member("ann"), snapshot()).await.unwrap();
    assert_eq!(cluster.received(ann.id()), []);
}
