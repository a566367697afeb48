//! Members of watched groups over two gateways and several workers, of which some are killed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use push_suite_worker::{
    Client, Config, Group, Member, MemberChange, MemberId, Message, MessageKind, Notice,
    NoticeKind, Part, Snapshot, Worker, serve,
};
use service::Starting;
use suite_tests::{Browser, Received, Suite, eventually, on_one_and_three_threads, suite::Builder};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

on_one_and_three_threads!(
    member_on_two_gateways_is_added_once_and_removed_once,
    reconnect_within_the_grace_period_is_no_change,
    killed_owner_is_replaced_by_another_worker,
    stopped_owner_is_replaced_without_a_change,
    rolling_restart_of_workers_repeats_no_notice,
    members_of_a_killed_gateway_are_removed,
    killed_gateway_and_owner_leave_no_member_behind,
    partitioned_worker_misses_no_change,
    thousand_members_are_seen_by_all,
    clients_that_join_meanwhile_see_every_later_change,
);

const GRACE: Duration = Duration::from_secs(1);

/// Joins and leaves the room as messages request it.
struct Rooms(Arc<Mutex<Vec<NoticeKind>>>);

impl Worker for Rooms {
    async fn on_message(&self, client: &Client, message: Message) -> anyhow::Result<()> {
        match message.as_text().and_then(|text| text.split_once(' ')) {
            Some(("join", user)) => {
                let member = Member::new(MemberId::new(user)?, user.to_owned(), "")?;
                let parts = vec![Part::Bytes("=".into()), Part::Ids];
                let snapshot = Snapshot::new(MessageKind::Text, parts)?;
                client.join_presence("room", member, snapshot).await?;
            }
            Some(("leave", _)) => client.leave_group("room").await?,
            _ => client.send(message).await?,
        }
        Ok(())
    }

    fn watched_groups(&self) -> Vec<Group> {
        vec![Group::new("room").unwrap()]
    }

    fn presence_message(&self, _: &Group, change: &MemberChange) -> Option<Message> {
        Some(match change {
            MemberChange::Added(member) => format!("+{}", member.id()).into(),
            MemberChange::Removed(id) => format!("-{id}").into(),
        })
    }

    async fn on_presence(&self, notice: &Notice) -> anyhow::Result<()> {
        if !matches!(notice.kind, NoticeKind::Clients(_)) {
            self.0.lock().unwrap().push(notice.kind.clone());
        }
        Ok(())
    }
}

/// A worker inside the test process. Dropping it looks like a crash to gateways.
struct Running {
    notices: Arc<Mutex<Vec<NoticeKind>>>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(suite: &Suite, id: &str) -> Self {
        let notices = Arc::default();
        let registers = suite.register_addrs.iter().map(ToString::to_string);
        let config = Config::new(registers, suite.secret())
            .name("rooms")
            .id(id)
            .gateway_grace(Duration::from_secs(2))
            .presence_grace(GRACE)
            .threads(1)
            .tls(suite.tls());
        let stop = CancellationToken::new();
        let starting = Starting::new(None, stop.clone(), Duration::from_secs(5));
        let health = starting.health.clone();
        let task = tokio::spawn(serve(Rooms(Arc::clone(&notices)), config, starting));
        eventually("a worker to be linked", async || health.is_ready().then_some(())).await;
        Self { notices, stop, task }
    }

    /// Whether it owns the room, or has.
    fn has_owned(&self) -> bool {
        !self.notices.lock().unwrap().is_empty()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client, and the members that it was told of.
struct Observer {
    browser: Browser,
    told: BTreeSet<String>,
    changes: Vec<String>,
}

impl Observer {
    /// A client that has not joined.
    async fn connect(suite: &Suite, gateway: usize) -> Self {
        let mut browser = suite.browser(gateway).await;
        // Its worker has it.
        browser.echo("ready").await;
        Self { browser, told: BTreeSet::new(), changes: Vec::new() }
    }

    async fn join(suite: &Suite, gateway: usize, user: &str) -> Self {
        let mut observer = Self::connect(suite, gateway).await;
        observer.browser.send(format!("join {user}")).await;
        let list = observer.browser.receive_text().await;
        let list = list.strip_prefix('=').unwrap_or_else(|| panic!("no list: {list}"));
        observer.told = list.split(',').map(ToOwned::to_owned).collect();
        assert!(observer.told.contains(user), "{list}");
        observer
    }

    async fn next(&mut self) {
        let Received::Text(text) = self.browser.receive().await else { panic!("closed") };
        self.change(text);
    }

    /// Messages that add and remove a member alternate.
    fn change(&mut self, text: String) {
        let alternates = match text.split_at(1) {
            ("+", user) => self.told.insert(user.to_owned()),
            ("-", user) => self.told.remove(user),
            _ => panic!("not expected: {text}"),
        };
        assert!(alternates, "{text} repeated: {:?}", self.changes);
        self.changes.push(text);
    }

    /// Waits until it was told of these members and no others.
    async fn sees(&mut self, users: &BTreeSet<String>) {
        while self.told != *users {
            self.next().await;
        }
    }

    /// Everything that has arrived by now.
    async fn changes(&mut self) -> Vec<String> {
        self.browser.send("mark").await;
        loop {
            match self.browser.receive_text().await {
                mark if mark == "mark" => return std::mem::take(&mut self.changes),
                text => self.change(text),
            }
        }
    }
}

fn users(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Two gateways and so many workers.
async fn scene(threads: usize, workers: usize) -> (Suite, Vec<Running>) {
    scene_of(Suite::builder(), threads, workers).await
}

async fn scene_of(builder: Builder, threads: usize, workers: usize) -> (Suite, Vec<Running>) {
    let suite = builder.threads(threads).start().await;
    let mut running = Vec::new();
    for id in 0..workers {
        running.push(Running::start(&suite, &id.to_string()).await);
    }
    (suite, running)
}

/// Waits until a worker owns the room, and takes it out of the others.
async fn take_owner(workers: &mut Vec<Running>) -> Running {
    let owner =
        eventually("an owner of the room", async || workers.iter().position(Running::has_owned))
            .await;
    workers.swap_remove(owner)
}

async fn member_on_two_gateways_is_added_once_and_removed_once(threads: usize) {
    let (suite, workers) = scene(threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let mut tabs = Vec::new();
    for gateway in [0, 1, 1] {
        tabs.push(Observer::join(&suite, gateway, "bob").await);
    }
    ann.sees(&users(&["ann", "bob"])).await;
    let mut cid = Observer::join(&suite, 1, "cid").await;
    assert_eq!(cid.told, users(&["ann", "bob", "cid"]));
    tabs.pop().unwrap().browser.close().await;
    tabs.pop().unwrap().browser.close().await;
    ann.sees(&users(&["ann", "bob", "cid"])).await;
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(ann.changes().await, ["+bob", "+cid"], "one tab is open");
    tabs.pop().unwrap().browser.close().await;
    for observer in [&mut ann, &mut cid] {
        observer.sees(&users(&["ann", "cid"])).await;
        assert_eq!(observer.changes().await, ["-bob"]);
    }
    ann.browser.close().await;
    cid.browser.close().await;
    let notices = || workers.iter().flat_map(|it| it.notices.lock().unwrap().clone());
    eventually("the room to be vacated", async || {
        notices().any(|notice| notice == NoticeKind::Vacated).then_some(())
    })
    .await;
    let added = notices().filter(|it| matches!(it, NoticeKind::MemberAdded(_))).count();
    let removed = notices().filter(|it| matches!(it, NoticeKind::MemberRemoved(_))).count();
    assert_eq!((added, removed), (3, 3));
}

async fn reconnect_within_the_grace_period_is_no_change(threads: usize) {
    let (suite, _workers) = scene(threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let mut bob = Observer::join(&suite, 1, "bob").await;
    ann.sees(&users(&["ann", "bob"])).await;
    for gateway in [0, 1, 0] {
        bob.browser.close().await;
        bob = Observer::join(&suite, gateway, "bob").await;
        assert_eq!(bob.told, users(&["ann", "bob"]));
    }
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(ann.changes().await, ["+bob"]);
}

async fn killed_owner_is_replaced_by_another_worker(threads: usize) {
    let (suite, mut workers) = scene(threads, 3).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let bob = Observer::join(&suite, 1, "bob").await;
    ann.sees(&users(&["ann", "bob"])).await;
    for round in 0..2 {
        let user = format!("cid{round}");
        let cid = Observer::join(&suite, 1, &user).await;
        ann.sees(&users(&["ann", "bob", &user])).await;
        // It has left when its owner dies, within the grace period.
        cid.browser.close().await;
        drop(take_owner(&mut workers).await);
        ann.sees(&users(&["ann", "bob"])).await;
    }
    bob.browser.close().await;
    ann.sees(&users(&["ann"])).await;
    assert_eq!(ann.changes().await, ["+bob", "+cid0", "-cid0", "+cid1", "-cid1", "-bob"]);
}

async fn stopped_owner_is_replaced_without_a_change(threads: usize) {
    let (suite, mut workers) = scene(threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let mut bob = Observer::join(&suite, 1, "bob").await;
    ann.sees(&users(&["ann", "bob"])).await;
    let mut owner = take_owner(&mut workers).await;
    owner.stop.cancel();
    (&mut owner.task).await.unwrap().unwrap();
    let mut cid = Observer::join(&suite, 0, "cid").await;
    for observer in [&mut ann, &mut bob, &mut cid] {
        observer.sees(&users(&["ann", "bob", "cid"])).await;
    }
    tokio::time::sleep(GRACE * 2).await;
    assert_eq!(ann.changes().await, ["+bob", "+cid"]);
    assert_eq!(bob.changes().await, ["+cid"]);
    assert_eq!(cid.changes().await, [""; 0]);
}

async fn rolling_restart_of_workers_repeats_no_notice(threads: usize) {
    let (suite, mut workers) = scene(threads, 1).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let _bob = Observer::join(&suite, 1, "bob").await;
    let mut notices = Vec::new();
    for id in ["a", "b", "c"] {
        // Gateways learn in the end which notices were given.
        tokio::time::sleep(GRACE * 2).await;
        workers.push(Running::start(&suite, id).await);
        tokio::time::sleep(GRACE * 2).await;
        let mut old = workers.remove(0);
        old.stop.cancel();
        (&mut old.task).await.unwrap().unwrap();
        notices.extend(std::mem::take(&mut *old.notices.lock().unwrap()));
        // The next one has taken over.
        let cid = Observer::join(&suite, 0, &format!("cid{id}")).await;
        ann.sees(&users(&["ann", "bob", &format!("cid{id}")])).await;
        cid.browser.close().await;
        ann.sees(&users(&["ann", "bob"])).await;
    }
    for worker in &workers {
        notices.extend(std::mem::take(&mut *worker.notices.lock().unwrap()));
    }
    let count = |is: &dyn Fn(&NoticeKind) -> bool| notices.iter().filter(|it| is(it)).count();
    let added = |name: &str| {
        count(&|it| matches!(it, NoticeKind::MemberAdded(it) if it.id().as_str() == Some(name)))
    };
    assert_eq!(count(&|it| matches!(it, NoticeKind::Occupied)), 1, "{notices:?}");
    for name in ["ann", "bob", "cida", "cidb", "cidc"] {
        assert_eq!(added(name), 1, "{name}: {notices:?}");
    }
    assert_eq!(count(&|it| matches!(it, NoticeKind::MemberRemoved(_))), 3, "{notices:?}");
    assert_eq!(count(&|it| matches!(it, NoticeKind::Vacated)), 0, "{notices:?}");
}

async fn members_of_a_killed_gateway_are_removed(threads: usize) {
    let (mut suite, _workers) = scene(threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let _both = [Observer::join(&suite, 0, "bob").await, Observer::join(&suite, 1, "bob").await];
    let _cid = Observer::join(&suite, 1, "cid").await;
    ann.sees(&users(&["ann", "bob", "cid"])).await;
    suite.gateways[1].kill();
    ann.sees(&users(&["ann", "bob"])).await;
    assert_eq!(ann.changes().await, ["+bob", "+cid", "-cid"]);
}

async fn killed_gateway_and_owner_leave_no_member_behind(threads: usize) {
    let (mut suite, mut workers) = scene(threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let _cid = Observer::join(&suite, 1, "cid").await;
    ann.sees(&users(&["ann", "cid"])).await;
    suite.gateways[1].kill();
    drop(take_owner(&mut workers).await);
    ann.sees(&users(&["ann"])).await;
    let dan = Observer::join(&suite, 0, "dan").await;
    assert_eq!(dan.told, users(&["ann", "dan"]));
    ann.sees(&users(&["ann", "dan"])).await;
    assert_eq!(ann.changes().await, ["+cid", "-cid", "+dan"]);
}

async fn partitioned_worker_misses_no_change(threads: usize) {
    let (suite, _workers) = scene_of(Suite::builder().relayed(), threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let mut bob = Observer::join(&suite, 1, "bob").await;
    ann.sees(&users(&["ann", "bob"])).await;
    let mut all = users(&["ann", "bob"]);
    let mut others = Vec::new();
    for (round, worker) in ["rooms:0", "rooms:1"].into_iter().enumerate() {
        suite.gateways[1].partition_from(worker);
        for gateway in [0, 1] {
            let user = format!("user{round}{gateway}");
            others.push(Observer::join(&suite, gateway, &user).await);
            all.insert(user);
        }
        suite.gateways[1].heal();
        for observer in [&mut ann, &mut bob].into_iter().chain(&mut others) {
            observer.sees(&all).await;
        }
    }
    for other in others {
        other.browser.close().await;
    }
    ann.sees(&users(&["ann", "bob"])).await;
    bob.sees(&users(&["ann", "bob"])).await;
}

async fn thousand_members_are_seen_by_all(threads: usize) {
    const MEMBERS: usize = 1000;
    let (suite, workers) = scene(threads, 2).await;
    let mut ann = Observer::join(&suite, 0, "ann").await;
    let mut bob = Observer::join(&suite, 1, "bob").await;
    // Clients are members of one room only once, so it takes as many clients.
    let mut all = users(&["ann", "bob"]);
    let mut browsers = Vec::new();
    for number in 0..MEMBERS {
        let mut browser = suite.browser(number % 2).await;
        browser.send(format!("join m{number}")).await;
        all.insert(format!("m{number}"));
        browsers.push(browser);
    }
    ann.sees(&all).await;
    bob.sees(&all).await;
    let mut late = Observer::join(&suite, 1, "late").await;
    all.insert("late".to_owned());
    assert_eq!(late.told, all);
    ann.sees(&all).await;
    drop(browsers);
    for observer in [&mut ann, &mut bob, &mut late] {
        observer.sees(&users(&["ann", "bob", "late"])).await;
    }
    assert_eq!(ann.changes().await.len(), 1 + 2 * MEMBERS + 1);
    drop(workers);
}

async fn clients_that_join_meanwhile_see_every_later_change(threads: usize) {
    const ROUNDS: usize = 30;
    let (suite, _workers) = scene(threads, 2).await;
    let mut observers = Vec::new();
    let mut churning = Vec::new();
    let mut all = BTreeSet::new();
    for round in 0..ROUNDS {
        let (here, there) = (round % 2, (round + 1) % 2);
        let mut churn = suite.browser(there).await;
        // Not awaited: it joins while the observer does.
        churn.send(format!("join churn{round}")).await;
        churning.push(churn);
        let observer = Observer::join(&suite, here, &format!("user{round}")).await;
        observers.push(observer);
        all.extend([format!("user{round}"), format!("churn{round}")]);
    }
    for observer in &mut observers {
        observer.sees(&all).await;
    }
    drop(churning);
    all.retain(|user| user.starts_with("user"));
    for observer in &mut observers {
        observer.sees(&all).await;
    }
}
