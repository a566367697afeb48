//! When gateways are declared dead, and which worker closes their clients.

use protocol::discovery::Gateway;

use super::*;

const GRACE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(1);

struct World {
    detector: FailureDetector,
    now: Instant,
}

fn name(text: &str) -> InstanceId {
    InstanceId::new(text).unwrap()
}

fn address(gateway: &str) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, gateway.as_bytes()[0]], 2900))
}

fn cleanup(gateway: &str, owner: &str) -> CleanupRecord {
    CleanupRecord { gateway: name(gateway), owner: name(owner) }
}

fn dead(instance: &str) -> Action {
    Action::GatewayDead { gateway: name(instance), in_doubt: false }
}

/// Clients of these holders, on a dead gateway.
fn orphaned(gateway: &str, holders: &[&str]) -> Orphaned {
    Orphaned { gateway: name(gateway), holders: holders.iter().map(|text| name(text)).collect() }
}

fn take_over(gateway: &str, holders: &[&str]) -> Action {
    Action::Orphans(OrphanAction::TakeOver(orphaned(gateway, holders)))
}

fn owner_done(gateway: &str, holders: &[&str]) -> Action {
    Action::Orphans(OrphanAction::OwnerDone(orphaned(gateway, holders)))
}

fn dead_in_doubt(instance: &str) -> Action {
    Action::GatewayDead { gateway: name(instance), in_doubt: true }
}

/// Gateways as `address instance`; an empty instance means that none is reported.
fn view(gateways: &[(&str, &str)], workers: Option<&[&str]>) -> RegisterView {
    let gateway = |(at, instance): &(&str, &str)| Gateway {
        instance: InstanceId::new(instance).ok(),
        ..Gateway::plain(address(at).to_string())
    };
    let workers = workers.map(|names| names.iter().map(|text| name(text)).collect());
    RegisterView {
        gateways: gateways.iter().map(gateway).collect(),
        workers,
        settled: vec![],
        takeovers: vec![],
    }
}

impl World {
    fn new() -> Self {
        Self { detector: FailureDetector::new(GRACE, name("us")), now: Instant::now() }
    }

    fn update_view(&mut self, view: RegisterView) {
        self.detector.update_view(Some(view), self.now);
    }

    fn lose(&mut self, at: &str, instance: &str) {
        let gateway = address(at);
        let address = gateway.to_string().into();
        self.detector.unlinked(address, gateway, name(instance), self.now, self.now);
    }

    /// This worker is a standby for clients with these holders on a dead instance.
    fn stands_by(&mut self, gateway: &str, groups: &[&[&str]]) {
        let groups = groups.iter().map(|holders| orphaned(gateway, holders).holders).collect();
        self.detector.orphaned(&name(gateway), groups, self.now);
    }

    fn linked(&mut self, at: &str, instance: &str) -> Option<Vec<Action>> {
        self.detector.linked(address(at), &name(instance), self.now)
    }

    fn after(&mut self, passed: Duration) -> Vec<Action> {
        self.now += passed;
        self.detector.due(self.now)
    }
}

#[test]
fn unlisted_gateway_is_declared_dead_after_the_grace_period() {
    let mut world = World::new();
    world.update_view(view(&[("a", "a1")], None));
    world.lose("a", "a1");
    assert_eq!(world.detector.next(), None);
    assert_eq!(world.after(GRACE * 9), [], "it is listed");
    world.update_view(view(&[], None));
    assert_eq!(world.detector.next(), Some(world.now + GRACE));
    assert_eq!(world.after(GRACE - SOON), []);
    assert_eq!(
        world.after(SOON),
        [dead_in_doubt("a1")],
        "it was listed for long after the link was lost"
    );
    assert_eq!(world.after(GRACE), [], "reported once");
    assert_eq!(world.linked("a", "a1"), None, "and never taken back");
}

#[test]
fn never_linked_gateway_is_awaited_once_for_the_grace_period_and_not_declared_dead() {
    let mut world = World::new();
    let awaited = |world: &mut World| {
        let gateway = address("a");
        world.detector.awaited(gateway.to_string().into(), gateway, name("a1"), world.now);
    };
    world.update_view(view(&[("a", "a1")], None));
    assert!(world.detector.may_await(&name("a1")));
    awaited(&mut world);
    assert_eq!(world.detector.next(), Some(world.now + GRACE));
    assert_eq!(world.detector.decide_now(world.now), []);
    assert_eq!(world.after(GRACE - SOON), []);
    assert_eq!(world.after(SOON), [Action::NeverConnected(name("a1"))], "although it is listed");
    assert!(!world.detector.may_await(&name("a1")) && world.detector.may_await(&name("a2")));
    world.detector.await_unreached();
    assert!(world.detector.may_await(&name("a1")), "by a worker that takes events again");
    awaited(&mut world);
    assert_eq!(world.after(GRACE), [Action::NeverConnected(name("a1"))]);
    assert!(!world.detector.may_await(&name("a1")));
    assert_eq!(world.linked("a", "a1"), Some(vec![]), "it may be there");
    assert!(!world.detector.is_back(&name("a1")), "there is nothing that we knew");
    assert!(world.detector.may_await(&name("a1")));
    awaited(&mut world);
    assert_eq!(world.linked("a", "a2"), Some(vec![Action::NeverConnected(name("a1"))]));
    assert!(!world.detector.is_dead(&name("a1")));
}

#[test]
fn instance_is_newer_unless_known() {
    let mut world = World::new();
    assert!(world.detector.is_newer(&name("a1")));
    world.lose("a", "a1");
    assert!(!world.detector.is_newer(&name("a1")) && world.detector.is_newer(&name("a2")));
    // An outdated register lists an instance that was never linked.
    world.detector.superseded(name("a0"));
    assert!(!world.detector.is_newer(&name("a0")) && !world.detector.may_await(&name("a0")));
    assert_eq!(world.linked("a", "a2"), Some(vec![dead("a1")]));
    assert!(!world.detector.is_newer(&name("a1")));
}

#[test]
fn back_end_fences_no_gateway() {
    let mut world = World { detector: FailureDetector::for_back_end(GRACE), now: Instant::now() };
    world.update_view(view(&[], None));
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE), [dead("a1")]);
    assert_eq!(world.linked("a", "a1"), Some(vec![]));
    let mut updated = view(&[], None);
    updated.settled.push(cleanup("a1", "w1"));
    world.update_view(updated);
    assert_eq!(world.linked("a", "a1"), None, "workers have declared it dead");
}

#[test]
fn gateway_without_connected_register_is_not_declared_dead() {
    let mut world = World::new();
    world.update_view(view(&[], None));
    world.lose("a", "a1");
    world.detector.update_view(None, world.now);
    assert_eq!(world.after(GRACE * 9), []);
    world.update_view(view(&[], None));
    assert_eq!(world.after(GRACE - SOON), [], "the grace period restarts");
    assert_eq!(world.after(SOON), [dead_in_doubt("a1")]);
}

#[test]
fn gateway_listed_again_in_time_is_awaited() {
    let mut world = World::new();
    world.update_view(view(&[], None));
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE - SOON), []);
    world.update_view(view(&[("a", "a1")], None));
    world.update_view(view(&[], None));
    assert_eq!(world.after(GRACE - SOON), []);
}

#[test]
fn new_instance_at_the_same_address_declares_the_old_one_dead_at_once() {
    let mut world = World::new();
    world.lose("a", "a1");
    world.lose("b", "b1");
    assert_eq!(world.linked("a", "a2"), Some(vec![dead("a1")]));
}

#[test]
fn relinked_gateway_is_alive_regardless_of_registers() {
    let mut world = World::new();
    world.update_view(view(&[], None));
    world.lose("a", "a1");
    assert_eq!(world.linked("a", "a1"), Some(vec![]));
    assert!(world.detector.is_back(&name("a1")));
    assert_eq!(world.after(GRACE * 9), []);
    world.lose("a", "a1");
    assert_eq!(
        world.after(GRACE),
        [dead_in_doubt("a1")],
        "lost before its complete state had arrived"
    );
    world.lose("b", "b1");
    world.linked("b", "b1");
    world.detector.confirmed(&name("b1"));
    assert!(!world.detector.is_back(&name("b1")));
    assert_eq!(world.linked("b", "b2"), Some(vec![]), "nothing is left of it");
}

#[test]
fn register_without_instances_lists_addresses() {
    let mut world = World::new();
    world.update_view(view(&[("a", "")], None));
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE * 9), []);
    world.update_view(view(&[("b", "")], None));
    assert_eq!(world.after(GRACE), [dead_in_doubt("a1")]);
}

#[test]
fn owner_that_is_present_closes_its_own_clients() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&["w1", "w2"])));
    world.stands_by("a1", &[&["w1", "us"], &["w2", "us"]]);
    assert_eq!(world.after(GRACE * 9), []);
    let updated =
        RegisterView { settled: vec![cleanup("a1", "w1")], ..view(&[], Some(&["w1", "w2"])) };
    world.update_view(updated);
    assert_eq!(world.after(SOON), [owner_done("a1", &["w1", "us"])]);
}

#[test]
fn clients_of_a_terminated_owner_are_taken_over_by_the_first_standby() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&["w1"])));
    world.stands_by("a1", &[&["w1", "us", "w2"]]);
    world.update_view(view(&[], Some(&[])));
    assert_eq!(world.after(SOON), []);
    assert_eq!(world.after(SOON), [take_over("a1", &["w1", "us", "w2"])]);
    assert_eq!(world.after(GRACE), []);
}

#[test]
fn second_standby_waits_for_the_first_and_takes_over_if_that_has_terminated_too() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&["w2"])));
    world.stands_by("a1", &[&["w1", "w2", "us"]]);
    assert_eq!(world.after(GRACE), []);
    world.update_view(view(&[], Some(&[])));
    assert_eq!(world.after(PROMPT), [take_over("a1", &["w1", "w2", "us"])]);
}

#[test]
fn second_standby_takes_over_clients_that_the_first_does_not_close() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&["w2"])));
    world.stands_by("a1", &[&["w1", "w2", "us"]]);
    assert_eq!(world.after(GRACE + PROMPT), [], "it may still declare the gateway dead");
    assert_eq!(world.after(PROMPT), [take_over("a1", &["w1", "w2", "us"])]);
}

#[test]
fn takeover_of_the_first_standby_is_compared_by_the_others() {
    let mut world = World::new();
    let holders = ["w1", "w2", "us"];
    let takeover = |holders: &[&str], by: &str| {
        let Orphaned { gateway, holders } = orphaned("a1", holders);
        Takeover { gateway, by: name(by), digest: 7, holders }
    };
    world.update_view(view(&[], Some(&["w2"])));
    world.stands_by("a1", &[&holders]);
    let updated = |takeovers| RegisterView { takeovers, ..view(&[], Some(&["w2"])) };
    // Clients of other owners, clients of another gateway, and clients for which this worker ranks
    // first.
    let other = Takeover { gateway: name("b1"), ..takeover(&holders, "w2") };
    let behind = takeover(&holders, "us");
    world.update_view(updated(vec![takeover(&["w1", "w2", "w3"], "w2"), other, behind]));
    assert_eq!(world.after(SOON), []);
    world.update_view(updated(vec![takeover(&holders, "w2")]));
    let done = Action::Orphans(OrphanAction::StandbyDone(orphaned("a1", &holders), 7));
    assert_eq!(world.after(Duration::ZERO), [done]);
    assert_eq!(world.detector.takeovers().count(), 4, "passed on to registers that restart");
    assert!(world.detector.is_dead(&name("a1")), "no worker may go on");
}

#[test]
fn takeover_by_earlier_holders_covers_clients_handed_over() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&["w2"])));
    world.stands_by("a1", &[&["w1", "w2", "us"]]);
    let Orphaned { gateway, holders } = orphaned("a1", &["w1", "w2"]);
    let takeover = Takeover { gateway, by: name("w2"), digest: 7, holders };
    world.update_view(RegisterView { takeovers: vec![takeover], ..view(&[], Some(&["w2"])) });
    let done = OrphanAction::StandbyDone(orphaned("a1", &["w1", "w2", "us"]), 7);
    assert_eq!(world.after(Duration::ZERO), [Action::Orphans(done)]);
}

#[test]
fn owner_that_finished_before_it_terminated_is_not_taken_over() {
    let mut world = World::new();
    let updated = RegisterView { settled: vec![cleanup("a1", "w1")], ..view(&[], Some(&[])) };
    world.update_view(updated);
    world.stands_by("a1", &[&["w1", "us"]]);
    assert_eq!(world.after(GRACE), [owner_done("a1", &["w1", "us"])]);
}

#[test]
fn no_takeover_without_a_register_that_reports_workers() {
    let mut world = World::new();
    world.update_view(view(&[], None));
    world.stands_by("a1", &[&["w1", "us"]]);
    assert_eq!(world.after(GRACE * 9), []);
}

#[test]
fn instance_listed_in_place_of_another_supersedes_it_at_once() {
    let mut world = World::new();
    world.update_view(view(&[("a", "a1"), ("b", "b1")], None));
    world.lose("a", "a1");
    world.lose("b", "b1");
    world.detector.superseded(name("a0"));
    world.update_view(view(&[("a", "a0"), ("b", "b1"), ("b", "b2")], None));
    assert_eq!(world.detector.next(), Some(world.now + GRACE));
    assert_eq!(world.after(SOON), [], "an older one, and one that is still listed");
    world.update_view(view(&[("a", "a2"), ("b", "b1"), ("b", "b2")], None));
    assert!(world.detector.next().is_some_and(|next| next <= world.now));
    assert_eq!(world.after(Duration::ZERO), [dead("a1")]);
    assert_eq!(world.linked("a", "a1"), None);
}

#[test]
fn clients_of_a_lost_gateway_are_handed_over_until_they_are_closed() {
    let mut world = World::new();
    let workers = |names| view(&[], Some(names));
    world.update_view(workers(&["us", "w1"]));
    world.now += GRACE;
    world.lose("a", "a1");
    assert_eq!(world.after(SOON), []);
    world.update_view(workers(&["us", "w2"]));
    let to_w2 = HandOver { gateway: name("a1"), address: address("a"), to: vec![name("w2")] };
    assert_eq!(world.after(SOON), [Action::HandOver(to_w2)]);
    assert!(world.detector.hands_over(&name("a1"), &name("w2")));
    assert_eq!(world.after(GRACE), [dead("a1")]);
    world.stands_by("a1", &[&["w1", "us"]]);
    world.update_view(workers(&["us", "w1", "w2", "w3"]));
    let to = [name("w1"), name("w2"), name("w3")];
    let actions = world.after(SOON);
    assert!(
        matches!(&actions[..], [Action::HandOver(_), Action::HandOver(last)] if last.to.len() == 3
            && to.iter().all(|it| last.to.contains(it))),
        "{actions:?}"
    );
    let updated =
        RegisterView { settled: vec![cleanup("a1", "w1")], ..workers(&["us", "w1", "w2", "w3"]) };
    world.update_view(updated);
    assert_eq!(world.after(SOON), [owner_done("a1", &["w1", "us"])]);
    world.after(SOON);
    assert!(!world.detector.hands_over(&name("a1"), &name("w3")), "nothing is left of it");
}

#[test]
fn worker_with_clients_handed_over_declares_their_gateway_dead() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&["us"])));
    let groups = || vec![orphaned("a1", &["w1", "us"]).holders];
    world.detector.handed_over(address("a"), &name("a1"), groups(), world.now);
    assert_eq!(world.after(GRACE - SOON), []);
    world.detector.handed_over(address("a"), &name("a1"), groups(), world.now);
    assert_eq!(world.after(SOON), [dead_in_doubt("a1")]);
    // More of them follow later.
    world.detector.handed_over(address("a"), &name("a1"), groups(), world.now);
    assert_eq!(world.after(PROMPT), [take_over("a1", &["w1", "us"])]);
}

#[test]
fn gateway_cleaned_up_by_another_worker_is_dead_here_too() {
    let mut world = World::new();
    let updated =
        RegisterView { settled: vec![cleanup("a1", "w1")], ..view(&[("a", "a1")], Some(&[])) };
    world.update_view(updated);
    assert!(world.detector.is_dead(&name("a1")));
    assert_eq!(world.detector.cleanups().count(), 1, "passed on to registers that restart");
    world.lose("a", "a1");
    assert_eq!(world.detector.next(), Some(world.now));
    assert_eq!(world.after(Duration::ZERO), [dead("a1")], "its own clients there, at once");
    assert_eq!(world.after(GRACE), []);
}

#[test]
fn shutdown_does_not_wait_for_the_grace_period() {
    let mut world = World::new();
    world.update_view(view(&[("b", "b1")], None));
    world.lose("a", "a1");
    world.lose("b", "b1");
    assert_eq!(world.detector.decide_now(world.now), [dead("a1")], "the other is only unreachable");
}

#[test]
fn cleanup_records_are_bounded() {
    let mut world = World::new();
    for one in 0..REMEMBERED * 2 {
        world.detector.record_cleanup(cleanup(&format!("g{one}"), "w"));
    }
    assert_eq!(world.detector.cleanups().count(), REMEMBERED);
    assert!(!world.detector.is_dead(&name("g0")));
}

#[test]
fn clients_of_a_gateway_that_outlived_its_link_are_closed_in_doubt() {
    let mut world = World::new();
    world.update_view(view(&[("a", "a1")], None));
    world.lose("a", "a1");
    world.after(PROMPT);
    assert_eq!(world.linked("a", "a2"), Some(vec![dead("a1")]), "back at once");
    world.update_view(view(&[("b", "b1"), ("c", "c1")], None));
    world.lose("b", "b1");
    world.lose("c", "c1");
    world.after(PROMPT + SOON);
    assert_eq!(world.linked("b", "b2"), Some(vec![dead_in_doubt("b1")]));
    world.update_view(view(&[], None));
    assert_eq!(world.after(GRACE), [dead_in_doubt("c1")]);
}

#[test]
fn gateway_lost_during_a_stall_is_closed_in_doubt() {
    let mut world = World::new();
    world.update_view(view(&[("a", "a1")], None));
    let stood = world.now;
    world.after(PROMPT + SOON);
    let gateway = address("a");
    let text = || gateway.to_string().into();
    world.detector.unlinked(text(), gateway, name("a1"), stood, world.now);
    assert_eq!(world.linked("a", "a2"), Some(vec![dead_in_doubt("a1")]), "its next life at once");
}

#[test]
fn stalled_worker_restarts_the_grace_period() {
    let mut world = World::new();
    world.update_view(view(&[], Some(&[])));
    world.lose("a", "a1");
    world.stands_by("b1", &[&["w1", "us"]]);
    assert_eq!(world.after(GRACE + PROMPT + SOON), [], "it may have been listed since");
    assert_eq!(world.detector.next(), Some(world.now + PROMPT));
    assert_eq!(world.after(PROMPT), [take_over("b1", &["w1", "us"])]);
    assert_eq!(world.after(GRACE - PROMPT), [dead_in_doubt("a1")]);
}

#[test]
fn gateway_unlisted_while_linked_is_closed_in_doubt() {
    let mut world = World::new();
    world.update_view(view(&[], None));
    world.linked("a", "a1");
    world.after(PROMPT + SOON);
    // The state is kept while no register is connected, and cleared when one lists the gateway.
    world.detector.update_view(None, world.now);
    world.lose("a", "a1");
    assert_eq!(world.linked("a", "a2"), Some(vec![dead_in_doubt("a1")]));
    world.update_view(view(&[("a", "a2")], None));
    world.after(GRACE);
    world.update_view(view(&[], None));
    world.lose("a", "a2");
    assert_eq!(world.after(GRACE), [dead("a2")], "missing as soon as it was lost");
}

#[test]
fn gateway_declared_dead_by_others_while_alive_is_closed_in_doubt() {
    let mut world = World::new();
    world.linked("a", "a1");
    let updated =
        RegisterView { settled: vec![cleanup("a1", "w1")], ..view(&[("a", "a1")], Some(&[])) };
    world.update_view(updated);
    world.lose("a", "a1");
    world.detector.survived(&name("a1"));
    assert_eq!(world.after(Duration::ZERO), [dead_in_doubt("a1")]);
}

#[test]
fn clients_of_a_gateway_that_dies_during_the_drain_are_closed_in_doubt() {
    let mut world = World::new();
    world.update_view(view(&[], None));
    world.lose("a", "a1");
    world.after(SOON);
    world.detector.leave(world.now);
    world.lose("b", "b1");
    assert_eq!(world.detector.decide_now(world.now), [dead("a1"), dead_in_doubt("b1")]);
}
