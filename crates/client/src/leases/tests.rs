//! Who is taken for gone, and when.

use super::*;

const GRACE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(1);

struct World {
    leases: Leases,
    now: Instant,
}

fn name(text: &str) -> Instance {
    Instance::new(text).unwrap()
}

fn address(gateway: &str) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, gateway.as_bytes()[0]], 2900))
}

fn settled(gateway: &str, owner: &str) -> Settled {
    Settled { gateway: name(gateway), owner: name(owner) }
}

fn over(instance: &str) -> Verdict {
    Verdict::Over { gateway: name(instance), in_doubt: false }
}

/// Clients of these holders, on a gateway that is gone.
fn orphaned(gateway: &str, holders: &[&str]) -> Orphaned {
    Orphaned { gateway: name(gateway), holders: holders.iter().map(|text| name(text)).collect() }
}

fn take_over(gateway: &str, holders: &[&str]) -> Verdict {
    Verdict::Orphans(Decision::TakeOver(orphaned(gateway, holders)))
}

fn owner_done(gateway: &str, holders: &[&str]) -> Verdict {
    Verdict::Orphans(Decision::OwnerDone(orphaned(gateway, holders)))
}

fn over_in_doubt(instance: &str) -> Verdict {
    Verdict::Over { gateway: name(instance), in_doubt: true }
}

/// Gateways as `address instance`; an empty instance is not told.
fn said(gateways: &[(&str, &str)], workers: Option<&[&str]>) -> Said {
    let gateway = |(at, instance): &(&str, &str)| Gateway {
        instance: Instance::new(instance).ok(),
        ..Gateway::plain(address(at).to_string())
    };
    let workers = workers.map(|names| names.iter().map(|text| name(text)).collect());
    Said {
        gateways: gateways.iter().map(gateway).collect(),
        workers,
        settled: vec![],
        takeovers: vec![],
    }
}

impl World {
    fn new() -> Self {
        Self { leases: Leases::new(GRACE, name("us")), now: Instant::now() }
    }

    fn heard(&mut self, said: Said) {
        self.leases.heard(Some(said), self.now);
    }

    fn lose(&mut self, at: &str, instance: &str) {
        let gateway = address(at);
        let address = gateway.to_string().into();
        self.leases.unlinked(address, gateway, name(instance), self.now, self.now);
    }

    /// We stand by for clients with these holders on a life that is over.
    fn stands_by(&mut self, gateway: &str, groups: &[&[&str]]) {
        let groups = groups.iter().map(|holders| orphaned(gateway, holders).holders).collect();
        self.leases.orphaned(&name(gateway), groups, self.now);
    }

    fn linked(&mut self, at: &str, instance: &str) -> Option<Vec<Verdict>> {
        self.leases.linked(address(at), &name(instance), self.now)
    }

    fn after(&mut self, passed: Duration) -> Vec<Verdict> {
        self.now += passed;
        self.leases.due(self.now)
    }
}

#[test]
fn a_gateway_that_nobody_names_is_gone_after_the_grace() {
    let mut world = World::new();
    world.heard(said(&[("a", "a1")], None));
    world.lose("a", "a1");
    assert_eq!(world.leases.next(), None);
    assert_eq!(world.after(GRACE * 9), [], "it is named");
    world.heard(said(&[], None));
    assert_eq!(world.leases.next(), Some(world.now + GRACE));
    assert_eq!(world.after(GRACE - SOON), []);
    assert_eq!(world.after(SOON), [over_in_doubt("a1")], "it was named for long after we lost it");
    assert_eq!(world.after(GRACE), [], "told once");
    assert_eq!(world.linked("a", "a1"), None, "and never taken back");
}

#[test]
fn one_that_was_never_linked_is_waited_for_once_as_long_as_the_grace_and_is_not_over() {
    let mut world = World::new();
    let awaited = |world: &mut World| {
        let gateway = address("a");
        world.leases.awaited(gateway.to_string().into(), gateway, name("a1"), world.now);
    };
    world.heard(said(&[("a", "a1")], None));
    assert!(world.leases.may_await(&name("a1")));
    awaited(&mut world);
    assert_eq!(world.leases.next(), Some(world.now + GRACE));
    assert_eq!(world.leases.hurry(world.now), []);
    assert_eq!(world.after(GRACE - SOON), []);
    assert_eq!(world.after(SOON), [Verdict::Missed(name("a1"))], "though it is named");
    assert!(!world.leases.may_await(&name("a1")) && world.leases.may_await(&name("a2")));
    world.leases.await_unreached();
    assert!(world.leases.may_await(&name("a1")), "by a worker that takes events again");
    awaited(&mut world);
    assert_eq!(world.after(GRACE), [Verdict::Missed(name("a1"))]);
    assert!(!world.leases.may_await(&name("a1")));
    assert_eq!(world.linked("a", "a1"), Some(vec![]), "it may be there");
    assert!(!world.leases.is_back(&name("a1")), "there is nothing that we knew");
    assert!(world.leases.may_await(&name("a1")));
    awaited(&mut world);
    assert_eq!(world.linked("a", "a2"), Some(vec![Verdict::Missed(name("a1"))]));
    assert!(!world.leases.is_over(&name("a1")));
}

#[test]
fn a_life_is_newer_unless_it_is_known_from_before() {
    let mut world = World::new();
    assert!(world.leases.is_newer(&name("a1")));
    world.lose("a", "a1");
    assert!(!world.leases.is_newer(&name("a1")) && world.leases.is_newer(&name("a2")));
    // A register that is behind names one that we never met.
    world.leases.outlived(name("a0"));
    assert!(!world.leases.is_newer(&name("a0")) && !world.leases.may_await(&name("a0")));
    assert_eq!(world.linked("a", "a2"), Some(vec![over("a1")]));
    assert!(!world.leases.is_newer(&name("a1")));
}

#[test]
fn a_back_end_says_of_nobody_that_it_must_not_go_on() {
    let mut world = World { leases: Leases::of_back_end(GRACE), now: Instant::now() };
    world.heard(said(&[], None));
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE), [over("a1")]);
    assert_eq!(world.linked("a", "a1"), Some(vec![]));
    let mut told = said(&[], None);
    told.settled.push(settled("a1", "w1"));
    world.heard(told);
    assert_eq!(world.linked("a", "a1"), None, "workers have said so");
}

#[test]
fn a_gateway_is_not_gone_for_want_of_a_register() {
    let mut world = World::new();
    world.heard(said(&[], None));
    world.lose("a", "a1");
    world.leases.heard(None, world.now);
    assert_eq!(world.after(GRACE * 9), []);
    world.heard(said(&[], None));
    assert_eq!(world.after(GRACE - SOON), [], "the grace begins anew");
    assert_eq!(world.after(SOON), [over_in_doubt("a1")]);
}

#[test]
fn one_that_is_named_again_in_time_is_waited_for() {
    let mut world = World::new();
    world.heard(said(&[], None));
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE - SOON), []);
    world.heard(said(&[("a", "a1")], None));
    world.heard(said(&[], None));
    assert_eq!(world.after(GRACE - SOON), []);
}

#[test]
fn another_life_at_the_same_address_ends_the_one_before_at_once() {
    let mut world = World::new();
    world.lose("a", "a1");
    world.lose("b", "b1");
    assert_eq!(world.linked("a", "a2"), Some(vec![over("a1")]));
}

#[test]
fn one_that_is_linked_again_is_not_gone_whatever_registers_say() {
    let mut world = World::new();
    world.heard(said(&[], None));
    world.lose("a", "a1");
    assert_eq!(world.linked("a", "a1"), Some(vec![]));
    assert!(world.leases.is_back(&name("a1")));
    assert_eq!(world.after(GRACE * 9), []);
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE), [over_in_doubt("a1")], "lost before it had said everything");
    world.lose("b", "b1");
    world.linked("b", "b1");
    world.leases.confirmed(&name("b1"));
    assert!(!world.leases.is_back(&name("b1")));
    assert_eq!(world.linked("b", "b2"), Some(vec![]), "nothing is left of it");
}

#[test]
fn a_register_that_tells_no_lives_names_addresses() {
    let mut world = World::new();
    world.heard(said(&[("a", "")], None));
    world.lose("a", "a1");
    assert_eq!(world.after(GRACE * 9), []);
    world.heard(said(&[("b", "")], None));
    assert_eq!(world.after(GRACE), [over_in_doubt("a1")]);
}

#[test]
fn an_owner_that_is_there_closes_its_own_clients() {
    let mut world = World::new();
    world.heard(said(&[], Some(&["w1", "w2"])));
    world.stands_by("a1", &[&["w1", "us"], &["w2", "us"]]);
    assert_eq!(world.after(GRACE * 9), []);
    let facts = Said { settled: vec![settled("a1", "w1")], ..said(&[], Some(&["w1", "w2"])) };
    world.heard(facts);
    assert_eq!(world.after(SOON), [owner_done("a1", &["w1", "us"])]);
}

#[test]
fn clients_of_an_owner_that_is_gone_are_taken_over_by_the_first_standby() {
    let mut world = World::new();
    world.heard(said(&[], Some(&["w1"])));
    world.stands_by("a1", &[&["w1", "us", "w2"]]);
    world.heard(said(&[], Some(&[])));
    assert_eq!(world.after(SOON), []);
    assert_eq!(world.after(SOON), [take_over("a1", &["w1", "us", "w2"])]);
    assert_eq!(world.after(GRACE), []);
}

#[test]
fn second_standby_waits_for_the_first_and_takes_over_if_that_is_gone_too() {
    let mut world = World::new();
    world.heard(said(&[], Some(&["w2"])));
    world.stands_by("a1", &[&["w1", "w2", "us"]]);
    assert_eq!(world.after(GRACE), []);
    world.heard(said(&[], Some(&[])));
    assert_eq!(world.after(PROMPT), [take_over("a1", &["w1", "w2", "us"])]);
}

#[test]
fn second_standby_takes_over_what_the_first_seems_not_to_know_of() {
    let mut world = World::new();
    world.heard(said(&[], Some(&["w2"])));
    world.stands_by("a1", &[&["w1", "w2", "us"]]);
    assert_eq!(world.after(GRACE + PROMPT), [], "it may still find that the gateway is gone");
    assert_eq!(world.after(PROMPT), [take_over("a1", &["w1", "w2", "us"])]);
}

#[test]
fn what_the_first_standby_has_closed_is_compared_by_the_others() {
    let mut world = World::new();
    let holders = ["w1", "w2", "us"];
    let takeover = |holders: &[&str], by: &str| {
        let Orphaned { gateway, holders } = orphaned("a1", holders);
        Takeover { gateway, by: name(by), digest: 7, holders }
    };
    world.heard(said(&[], Some(&["w2"])));
    world.stands_by("a1", &[&holders]);
    let told = |takeovers| Said { takeovers, ..said(&[], Some(&["w2"])) };
    // Clients of other owners, those of another gateway, and those for which this worker comes first.
    let other = Takeover { gateway: name("b1"), ..takeover(&holders, "w2") };
    let behind = takeover(&holders, "us");
    world.heard(told(vec![takeover(&["w1", "w2", "w3"], "w2"), other, behind]));
    assert_eq!(world.after(SOON), []);
    world.heard(told(vec![takeover(&holders, "w2")]));
    let done = Verdict::Orphans(Decision::StandbyDone(orphaned("a1", &holders), 7));
    assert_eq!(world.after(Duration::ZERO), [done]);
    assert_eq!(world.leases.takeovers().count(), 4, "passed on to registers that restart");
    assert!(world.leases.is_over(&name("a1")), "no worker may go on");
}

#[test]
fn what_was_handed_over_is_done_if_the_holders_before_have_done_it() {
    let mut world = World::new();
    world.heard(said(&[], Some(&["w2"])));
    world.stands_by("a1", &[&["w1", "w2", "us"]]);
    let Orphaned { gateway, holders } = orphaned("a1", &["w1", "w2"]);
    let takeover = Takeover { gateway, by: name("w2"), digest: 7, holders };
    world.heard(Said { takeovers: vec![takeover], ..said(&[], Some(&["w2"])) });
    let done = Decision::StandbyDone(orphaned("a1", &["w1", "w2", "us"]), 7);
    assert_eq!(world.after(Duration::ZERO), [Verdict::Orphans(done)]);
}

#[test]
fn an_owner_that_was_done_before_it_died_is_not_followed() {
    let mut world = World::new();
    let facts = Said { settled: vec![settled("a1", "w1")], ..said(&[], Some(&[])) };
    world.heard(facts);
    world.stands_by("a1", &[&["w1", "us"]]);
    assert_eq!(world.after(GRACE), [owner_done("a1", &["w1", "us"])]);
}

#[test]
fn without_a_register_that_knows_workers_nobody_takes_over() {
    let mut world = World::new();
    world.heard(said(&[], None));
    world.stands_by("a1", &[&["w1", "us"]]);
    assert_eq!(world.after(GRACE * 9), []);
}

#[test]
fn a_life_that_registers_name_in_place_of_another_ends_that_at_once() {
    let mut world = World::new();
    world.heard(said(&[("a", "a1"), ("b", "b1")], None));
    world.lose("a", "a1");
    world.lose("b", "b1");
    world.leases.outlived(name("a0"));
    world.heard(said(&[("a", "a0"), ("b", "b1"), ("b", "b2")], None));
    assert_eq!(world.leases.next(), Some(world.now + GRACE));
    assert_eq!(world.after(SOON), [], "an older one; and one that is named still");
    world.heard(said(&[("a", "a2"), ("b", "b1"), ("b", "b2")], None));
    assert!(world.leases.next().is_some_and(|next| next <= world.now));
    assert_eq!(world.after(Duration::ZERO), [over("a1")]);
    assert_eq!(world.linked("a", "a1"), None);
}

#[test]
fn what_is_known_of_a_gateway_that_is_gone_is_handed_over_until_that_is_decided() {
    let mut world = World::new();
    let workers = |names| said(&[], Some(names));
    world.heard(workers(&["us", "w1"]));
    world.now += GRACE;
    world.lose("a", "a1");
    assert_eq!(world.after(SOON), []);
    world.heard(workers(&["us", "w2"]));
    let to_w2 = HandOver { gateway: name("a1"), address: address("a"), to: vec![name("w2")] };
    assert_eq!(world.after(SOON), [Verdict::HandOver(to_w2)]);
    assert!(world.leases.hands_over(&name("a1"), &name("w2")));
    assert_eq!(world.after(GRACE), [over("a1")]);
    world.stands_by("a1", &[&["w1", "us"]]);
    world.heard(workers(&["us", "w1", "w2", "w3"]));
    let to = [name("w1"), name("w2"), name("w3")];
    let verdicts = world.after(SOON);
    assert!(
        matches!(&verdicts[..], [Verdict::HandOver(_), Verdict::HandOver(last)] if last.to.len() == 3
            && to.iter().all(|it| last.to.contains(it))),
        "{verdicts:?}"
    );
    let facts = Said { settled: vec![settled("a1", "w1")], ..workers(&["us", "w1", "w2", "w3"]) };
    world.heard(facts);
    assert_eq!(world.after(SOON), [owner_done("a1", &["w1", "us"])]);
    world.after(SOON);
    assert!(!world.leases.hands_over(&name("a1"), &name("w3")), "nothing is left of it");
}

#[test]
fn whoever_clients_are_handed_over_to_decides_on_their_gateway_as_others_do() {
    let mut world = World::new();
    world.heard(said(&[], Some(&["us"])));
    let groups = || vec![orphaned("a1", &["w1", "us"]).holders];
    world.leases.handed_over(address("a"), &name("a1"), groups(), world.now);
    assert_eq!(world.after(GRACE - SOON), []);
    world.leases.handed_over(address("a"), &name("a1"), groups(), world.now);
    assert_eq!(world.after(SOON), [over_in_doubt("a1")]);
    // More of them come later.
    world.leases.handed_over(address("a"), &name("a1"), groups(), world.now);
    assert_eq!(world.after(PROMPT), [take_over("a1", &["w1", "us"])]);
}

#[test]
fn what_somebody_else_has_settled_is_over_for_us_too() {
    let mut world = World::new();
    let facts = Said { settled: vec![settled("a1", "w1")], ..said(&[("a", "a1")], Some(&[])) };
    world.heard(facts);
    assert!(world.leases.is_over(&name("a1")));
    assert_eq!(world.leases.settled().count(), 1, "passed on to registers that restart");
    world.lose("a", "a1");
    assert_eq!(world.leases.next(), Some(world.now));
    assert_eq!(world.after(Duration::ZERO), [over("a1")], "our own clients there, at once");
    assert_eq!(world.after(GRACE), []);
}

#[test]
fn whoever_leaves_does_not_wait_for_the_grace() {
    let mut world = World::new();
    world.heard(said(&[("b", "b1")], None));
    world.lose("a", "a1");
    world.lose("b", "b1");
    assert_eq!(world.leases.hurry(world.now), [over("a1")], "the other is only out of reach");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut world = World::new();
    for one in 0..REMEMBERED * 2 {
        world.leases.settle(settled(&format!("g{one}"), "w"));
    }
    assert_eq!(world.leases.settled().count(), REMEMBERED);
    assert!(!world.leases.is_over(&name("g0")));
}

#[test]
fn clients_of_a_gateway_that_went_on_without_us_are_closed_in_doubt() {
    let mut world = World::new();
    world.heard(said(&[("a", "a1")], None));
    world.lose("a", "a1");
    world.after(PROMPT);
    assert_eq!(world.linked("a", "a2"), Some(vec![over("a1")]), "back at once");
    world.heard(said(&[("b", "b1"), ("c", "c1")], None));
    world.lose("b", "b1");
    world.lose("c", "c1");
    world.after(PROMPT + SOON);
    assert_eq!(world.linked("b", "b2"), Some(vec![over_in_doubt("b1")]));
    world.heard(said(&[], None));
    assert_eq!(world.after(GRACE), [over_in_doubt("c1")]);
}

#[test]
fn one_whose_end_is_found_after_a_standstill_may_have_gone_on_meanwhile() {
    let mut world = World::new();
    world.heard(said(&[("a", "a1")], None));
    let stood = world.now;
    world.after(PROMPT + SOON);
    let gateway = address("a");
    let text = || gateway.to_string().into();
    world.leases.unlinked(text(), gateway, name("a1"), stood, world.now);
    assert_eq!(world.linked("a", "a2"), Some(vec![over_in_doubt("a1")]), "its next life at once");
}

#[test]
fn whoever_stood_still_while_nobody_named_a_gateway_waits_anew() {
    let mut world = World::new();
    world.heard(said(&[], Some(&[])));
    world.lose("a", "a1");
    world.stands_by("b1", &[&["w1", "us"]]);
    assert_eq!(world.after(GRACE + PROMPT + SOON), [], "it may have been named since");
    assert_eq!(world.leases.next(), Some(world.now + PROMPT));
    assert_eq!(world.after(PROMPT), [take_over("b1", &["w1", "us"])]);
    assert_eq!(world.after(GRACE - PROMPT), [over_in_doubt("a1")]);
}

#[test]
fn one_that_registers_did_not_name_while_it_was_linked_was_taken_for_gone_by_others_perhaps() {
    let mut world = World::new();
    world.heard(said(&[], None));
    world.linked("a", "a1");
    world.after(PROMPT + SOON);
    // What was known counts for want of a register, and not when one names it.
    world.leases.heard(None, world.now);
    world.lose("a", "a1");
    assert_eq!(world.linked("a", "a2"), Some(vec![over_in_doubt("a1")]));
    world.heard(said(&[("a", "a2")], None));
    world.after(GRACE);
    world.heard(said(&[], None));
    world.lose("a", "a2");
    assert_eq!(world.after(GRACE), [over("a2")], "missed as soon as it was lost");
}

#[test]
fn one_whose_link_is_given_up_since_others_closed_its_clients_has_gone_on() {
    let mut world = World::new();
    world.linked("a", "a1");
    let facts = Said { settled: vec![settled("a1", "w1")], ..said(&[("a", "a1")], Some(&[])) };
    world.heard(facts);
    world.lose("a", "a1");
    world.leases.went_on(&name("a1"));
    assert_eq!(world.after(Duration::ZERO), [over_in_doubt("a1")]);
}

#[test]
fn clients_of_a_gateway_that_dies_after_we_left_are_closed_in_doubt() {
    let mut world = World::new();
    world.heard(said(&[], None));
    world.lose("a", "a1");
    world.after(SOON);
    world.leases.leave(world.now);
    world.lose("b", "b1");
    assert_eq!(world.leases.hurry(world.now), [over("a1"), over_in_doubt("b1")]);
}
