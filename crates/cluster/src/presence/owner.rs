//! The task of an owner: passes what links receive to the table, and executes what it decides.

use std::{
    collections::VecDeque,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use protocol::{Answer, Command, Group, Member, MemberChange, Message, Query};
use runtime::clock;
use tokio::time::sleep_until;

use super::{
    Notice,
    events::{Event, EventQueue},
    notices::Notices,
    senders::Senders,
    table::{Decision, Now, PresenceTable, To},
};
use crate::{events::Room, link::Link, shared::Shared};

/// Approximate memory that the table may take. Groups and members beyond it wait until there is
/// room.
const TABLE: usize = 256 * 1024 * 1024;

/// Maximum number of queries at the same time.
const ASKS: usize = 256;

/// Maximum number of events between two turns of other tasks.
const TURN: usize = 64;

/// Bytes of members in one part of a view.
const PART: usize = 256 * 1024;

/// The application of a worker that watches groups.
pub trait Application: Send + Sync + 'static {
    /// The message about a change of the members of a group.
    fn message(&self, group: &Group, change: &MemberChange) -> Option<Message>;

    /// Calls the handler of a notice.
    fn notify(&self, notice: Notice) -> Room;
}

/// Groups that this worker may own.
pub(crate) struct Owner {
    prefixes: Vec<Group>,
    grace: Duration,
    pub(super) application: Arc<dyn Application>,
    pub(crate) events: EventQueue,
    pub(super) notices: Notices,
}

impl Owner {
    pub(crate) fn new(
        prefixes: Vec<Group>,
        grace: Duration,
        application: Arc<dyn Application>,
    ) -> Self {
        let (events, notices) = Default::default();
        Self { prefixes, grace, application, events, notices }
    }

    /// Waits until all notices are handled.
    pub(crate) async fn notices_handled(&self) {
        self.notices.handled().await;
    }
}

/// The state of the task.
struct Driver<'a> {
    shared: &'a Arc<Shared>,
    owner: &'a Owner,
    table: PresenceTable,
    senders: Senders,
    /// Queries that wait for others to end.
    asks: VecDeque<(u64, Group, Query)>,
    /// Number of queries that are pending.
    asking: usize,
}

fn now() -> Now {
    Now { at: clock::now(), micros: clock::unix_micros() }
}

/// Owns groups until the cluster is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(owner) = shared.presence() else { return };
    let mut driver = Driver::new(&shared, owner);
    loop {
        let next = driver.table.next();
        tokio::select! {
            () = owner.events.pushed() => {}
            () = until(next) => {}
        }
        while driver.turn() {
            tokio::task::yield_now().await;
        }
        driver.resynchronise();
        driver.count();
    }
}

async fn until(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next.into()).await,
        None => pending().await,
    }
}

impl<'a> Driver<'a> {
    fn new(shared: &'a Arc<Shared>, owner: &'a Owner) -> Self {
        Self {
            shared,
            owner,
            table: PresenceTable::new(owner.grace, TABLE, now()),
            senders: Senders::default(),
            asks: VecDeque::new(),
            asking: 0,
        }
    }

    /// Handles events, then what is due: also while events come faster than they are handled.
    /// Returns whether there may be more.
    fn turn(&mut self) -> bool {
        let mut left = TURN;
        while 0 < left
            && let Some(event) = self.owner.events.pop()
        {
            self.handle(event);
            self.execute();
            left -= 1;
        }
        self.table.due(now());
        self.execute();
        left == 0
    }

    fn handle(&mut self, event: Event) {
        let prefixes = &self.owner.prefixes;
        match event {
            Event::Linked(link) => {
                self.table.linked(link.instance(), now());
                self.senders.linked(self.shared, link, prefixes);
            }
            Event::Unlinked(link) => self.senders.unlinked(&link),
            // Of an earlier link, or sent before the gateway knew that this worker has withdrawn.
            Event::Report(link, _) | Event::Notified(link, _) | Event::Lost(link, ..)
                if !self.senders.is_present(&link) => {}
            Event::Report(link, report) => {
                self.shared.metrics.presence.reports.inc();
                self.table.report(link.instance(), *report, now());
            }
            Event::Notified(link, notified) => {
                self.table.notified(link.instance(), *notified);
            }
            Event::Lost(link, shard, group) => {
                self.table.lost(link.instance(), shard, &group, now());
            }
            Event::Dead(gateway) => self.table.gateway_dead(&gateway, now()),
            Event::Withdrawn => {
                self.table.clear();
                self.senders.clear();
                self.asks.clear();
            }
            Event::Room(link) => {
                if self.senders.room(self.shared, &link, prefixes) {
                    self.table.linked(link.instance(), now());
                }
            }
            Event::Answered(ask, answer) => self.table.answered(ask, answer, now()),
            Event::Asked(ask, complete) => {
                self.asking -= 1;
                self.table.asked(ask, complete, now());
            }
            Event::Handled(source, group, number, dealt) => {
                let command = dealt.command(source.shard, group, number);
                self.senders.send(self.shared, &source.gateway, command);
            }
        }
    }

    fn execute(&mut self) {
        for decision in self.table.take_decisions() {
            self.carry_out(decision);
        }
        while self.asking < ASKS
            && let Some((ask, _, query)) = self.asks.pop_front()
        {
            self.asking += 1;
            self.shared.metrics.presence.queries.inc();
            self.shared.spawn_supervised(ask_all(Arc::clone(self.shared), ask, query));
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        let (shared, senders) = (self.shared, &mut self.senders);
        match decision {
            Decision::Taken { source, group, number } => {
                let taken = Command::PresenceTaken { shard: source.shard, group, number };
                senders.send(shared, &source.gateway, taken);
            }
            Decision::Set { to, group, change } => {
                let message = self.owner.application.message(&group, &change);
                let set = Command::SetMember { group, change, message };
                match to {
                    To::All => senders.send_to_all(shared, &set),
                    To::Only(gateway) => senders.send(shared, &gateway, set),
                }
            }
            Decision::View { source, group, members } => {
                let parts = parts(members);
                let last = parts.len() - 1;
                for (at, members) in parts.into_iter().enumerate() {
                    let (shard, group) = (source.shard, group.clone());
                    let (first, last) = (at == 0, at == last);
                    let part = Command::PresenceView { shard, group, first, last, members };
                    senders.send(shared, &source.gateway, part);
                }
            }
            Decision::Notice(notice) => self.owner.notices.notify(shared, notice),
            Decision::Dealt { source, group, number, dealt } => {
                if !self.owner.notices.dealt(&source, &group, number, dealt) {
                    let command = dealt.command(source.shard, group, number);
                    senders.send(shared, &source.gateway, command);
                }
            }
            Decision::Ask { ask, group, members } => {
                let query = Query::Presence { group: group.clone(), members };
                self.asks.push_back((ask, group, query));
            }
        }
    }

    /// After something was left out at the bound of the table, everything is reported again.
    fn resynchronise(&mut self) {
        if self.table.take_incomplete() {
            tracing::info!("presence table has room again; gateways report everything again");
            self.senders.restart_all(self.shared, &self.owner.prefixes);
        }
    }

    fn count(&self) {
        let metrics = &self.shared.metrics.presence;
        metrics.groups.set(self.table.len() as i64);
        metrics.members.set(self.table.members() as i64);
        metrics.bytes.set(self.table.weight() as i64);
        if metrics.incomplete.set(self.table.is_incomplete().into()) == 0
            && self.table.is_incomplete()
        {
            tracing::warn!(
                limit = TABLE,
                "presence table is full: further groups and members wait until there is room"
            );
        }
    }
}

/// Splits the members of a view into parts; one if there are none.
fn parts(members: Vec<Member>) -> Vec<Vec<Member>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for member in members {
        bytes += member.weight();
        if PART < bytes {
            bytes = member.weight();
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(member);
        }
    }
    parts
}

/// Asks every gateway. Those that registers list, or that may still have clients, and are not
/// linked have not answered.
async fn ask_all(shared: Arc<Shared>, ask: u64, query: Query) {
    let Some(owner) = shared.presence() else { return };
    let directory = shared.directory();
    let all_linked = directory.required().next().is_none() && directory.awaited().next().is_none();
    let links: Vec<Arc<Link>> = directory.links().cloned().collect();
    drop(directory);
    let answers = links.iter().map(|link| async {
        match link.ask(query.clone()).await {
            Ok(Answer::Presence(answer)) => {
                owner.events.push(Event::Answered(ask, answer));
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(gateway = %link.gateway(), %error, "presence query not answered");
                false
            }
        }
    });
    let answers = join_all(answers).await;
    let complete = all_linked && !answers.is_empty() && answers.iter().all(|answered| *answered);
    owner.events.push(Event::Asked(ask, complete));
}

impl Shared {
    /// Starts to watch groups, before the first link.
    pub(crate) fn watch_groups(self: &Arc<Self>, owner: Owner) {
        if self.set_presence(Arc::new(owner)) {
            self.spawn_supervised(run(Arc::clone(self)));
        }
    }

    /// Passes an event to the owner, if this worker watches groups.
    pub(crate) fn push_presence(&self, event: impl FnOnce() -> Event) {
        if let Some(owner) = self.presence() {
            owner.events.push(event());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::MemberId;

    use super::*;
    use crate::{
        ClusterGuard, Config,
        presence::table::{Dealt, Source},
    };

    struct Silent;

    impl Application for Silent {
        fn message(&self, _: &Group, _: &MemberChange) -> Option<Message> {
            None
        }

        fn notify(&self, _: Notice) -> Room {
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn deadlines_are_met_while_events_come_faster_than_they_are_handled() {
        let guard = ClusterGuard::of(Config::new([""; 0], ""), Some("worker".to_owned()), None);
        let shared = &guard.cluster().shared;
        let owner = Owner::new(Vec::new(), Duration::ZERO, Arc::new(Silent));
        let mut driver = Driver::new(shared, &owner);
        // A takeover that is to end by now.
        let source = Source { gateway: protocol::InstanceId::from_random(1), shard: 0 };
        let group = Group::new("room").unwrap();
        let report = protocol::PresenceReport {
            group: group.clone(),
            shard: 0,
            number: 1,
            full: true,
            more: false,
            clients: 1,
            members: Vec::new(),
            view: None,
            wants_view: true,
        };
        let before = Now { at: clock::now() - Duration::from_secs(10), micros: 0 };
        driver.table.report(&source.gateway, report, before);
        assert!(driver.table.next().is_some());
        for number in 0..TURN as u64 * 2 {
            owner.events.push(Event::Handled(source.clone(), group.clone(), number, Dealt::Whole));
        }
        assert!(driver.turn(), "more events wait");
        assert_eq!(driver.table.next(), None);
    }

    #[test]
    fn views_are_split_by_bytes() {
        let member = |id: u32| {
            let id = MemberId::new(id.to_string()).unwrap();
            Member::new(id, Bytes::new(), vec![b'x'; 10_000]).unwrap()
        };
        assert_eq!(parts(Vec::new()), [Vec::new()]);
        let all: Vec<_> = (0..100).map(member).collect();
        let parts = parts(all.clone());
        assert_eq!(parts.len(), 4);
        for part in &parts {
            assert!(part.iter().map(Member::weight).sum::<usize>() <= PART);
        }
        assert_eq!(parts.concat(), all);
    }
}
