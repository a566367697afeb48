//! A scripted worker that watches groups, with its rooms and members.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{
    Command, ConnectionId, Group, Member, MemberChange, MemberId, Message, MessageKind, Part,
    PresenceReport, Snapshot,
    link::{ToGateway, ToPeer},
};

use crate::{Peer, Suite, names::group};

/// A member with that id.
///
/// # Panics
/// If it is no id.
pub fn member(name: &str) -> Member {
    let id = MemberId::new(name).unwrap();
    Member::new(id, format!("\"{name}\""), format!("\"{name}\":{{\"n\":1}}")).unwrap()
}

/// A snapshot with the number of members, their ids and their details.
///
/// # Panics
/// Never.
pub fn snapshot() -> Box<Snapshot> {
    let bytes = |text: &'static str| Part::Bytes(Bytes::from_static(text.as_bytes()));
    let parts = vec![
        bytes("{\"count\":"),
        Part::Count,
        bytes(",\"ids\":["),
        Part::Ids,
        bytes("],\"hash\":{"),
        Part::Entries,
        bytes("}}"),
    ];
    Box::new(Snapshot::new(MessageKind::Text, parts).unwrap())
}

/// The snapshot of these members.
pub fn shown(names: &[&str]) -> String {
    let ids: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let hash: Vec<_> = names.iter().map(|name| format!("\"{name}\":{{\"n\":1}}")).collect();
    let (count, ids, hash) = (names.len(), ids.join(","), hash.join(","));
    format!("{{\"count\":{count},\"ids\":[{ids}],\"hash\":{{{hash}}}}}")
}

/// A group that is watched.
pub fn room() -> Group {
    group("presence-room")
}

/// Adds a client to the room as a member.
pub fn join(client: ConnectionId, name: &str) -> Command {
    let member = Box::new(member(name));
    Command::JoinPresence { client, group: room(), member, snapshot: snapshot() }
}

/// Announces a member of the room, with a message such as `+ann`.
pub fn added(name: &str) -> Command {
    let message = Some(Message::text(format!("+{name}")));
    let change = MemberChange::Added(Box::new(member(name)));
    Command::SetMember { group: room(), change, message }
}

/// The same for one that is gone, such as `-ann`.
///
/// # Panics
/// If it is no id.
pub fn removed(name: &str) -> Command {
    let message = Some(Message::text(format!("-{name}")));
    let change = MemberChange::Removed(MemberId::new(name).unwrap());
    Command::SetMember { group: room(), change, message }
}

/// A worker that watches groups, and the reports that it has received of each shard.
#[derive(Debug)]
pub struct Watcher {
    /// Its link.
    pub peer: Peer,
    /// The last report of each group and shard, with the counts of all members.
    pub told: BTreeMap<(Group, u16), (PresenceReport, BTreeMap<String, u32>)>,
}

impl Watcher {
    /// A worker that watches the groups that begin with `presence-`.
    pub async fn new(suite: &Suite, key: &str) -> Self {
        let mut peer = suite.worker_link(0, key).await;
        peer.send(&ToGateway::Watch { prefixes: vec![group("presence-")] }).await;
        Self { peer, told: BTreeMap::new() }
    }

    /// The next report. It is not taken.
    ///
    /// # Panics
    /// If the link closes.
    pub async fn report(&mut self) -> PresenceReport {
        loop {
            if let ToPeer::Presence(report) = self.peer.next().await.unwrap() {
                self.record(&report);
                return *report;
            }
        }
    }

    fn record(&mut self, report: &PresenceReport) {
        let key = (report.group.clone(), report.shard);
        let mut members = match self.told.remove(&key) {
            Some((_, members)) if !report.full => members,
            _ => BTreeMap::new(),
        };
        for local in &report.members {
            members.insert(local.member.id().to_string(), local.clients);
        }
        self.told.insert(key, (report.clone(), members));
    }

    /// Reads reports, taking full ones, until the shards have reported these clients of the room and
    /// these members.
    pub async fn wait_for(&mut self, clients: u64, members: &[(&str, u32)]) {
        let expected: BTreeMap<_, _> =
            members.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        while self.sums() != (clients, expected.clone()) {
            let report = self.report().await;
            if report.full && !report.more {
                self.take(&report).await;
            }
        }
    }

    /// Takes a full report.
    pub async fn take(&mut self, report: &PresenceReport) {
        let PresenceReport { shard, ref group, number, .. } = *report;
        let group = group.clone();
        self.peer.command(Command::PresenceTaken { shard, group, number }).await;
    }

    /// Clients and members of the room, of all shards.
    fn sums(&self) -> (u64, BTreeMap<String, u32>) {
        let (mut clients, mut members) = (0, BTreeMap::new());
        for ((group, _), (report, local)) in &self.told {
            if *group == room() {
                clients += report.clients;
                for (name, count) in local {
                    *members.entry(name.clone()).or_default() += count;
                }
            }
        }
        (clients, members)
    }

    /// The shards that want a view of the room.
    pub fn wanting(&self) -> Vec<u16> {
        let wanting = self.told.values().filter(|(report, _)| report.wants_view);
        wanting.map(|(report, _)| report.shard).collect()
    }

    /// Sends each shard that wants one a view of these members.
    pub async fn send_views(&mut self, names: &[&str]) {
        for shard in self.wanting() {
            let members = names.iter().map(|name| member(name)).collect();
            let (group, first, last) = (room(), true, true);
            self.peer.command(Command::PresenceView { shard, group, first, last, members }).await;
        }
        self.peer.acknowledged().await;
    }

    /// Sends a command, and waits until the gateway has it.
    pub async fn command(&mut self, command: Command) {
        self.peer.command(command).await;
        self.peer.acknowledged().await;
    }

    /// Tells each shard that everything is settled.
    pub async fn settle(&mut self) {
        let reports: Vec<_> = self.told.values().map(|(report, _)| report.clone()).collect();
        for PresenceReport { shard, group, number, .. } in reports {
            self.peer.command(Command::PresenceSettled { shard, group, number }).await;
        }
        self.peer.acknowledged().await;
    }

    /// The reports that were sent to this worker before now.
    ///
    /// # Panics
    /// If the link closes.
    pub async fn rest(&mut self) -> Vec<PresenceReport> {
        // Behind the reports of every shard.
        self.peer.send(&ToGateway::Ping { token: 77 }).await;
        let mut reports = Vec::new();
        loop {
            match self.peer.next().await.unwrap() {
                ToPeer::Pong { token: 77 } => return reports,
                ToPeer::Presence(report) => {
                    self.record(&report);
                    reports.push(*report);
                }
                _ => {}
            }
        }
    }
}
