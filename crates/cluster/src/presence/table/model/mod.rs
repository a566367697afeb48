//! Owners against a model of gateways, which follow the rules of shards: joins, leaves, deaths,
//! lost links and several owners at once, in an order derived from a seed.
//!
//! At every client, messages that add and remove a member alternate; and once nothing changes any
//! more, each client was told the truth. `MODEL_SEEDS=100000 cargo test -p push-suite-cluster model`
//! is the long form, and `MODEL_SEED=7` replays one seed.

mod shard;
mod world;

use std::env;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use world::World;

/// The faults of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    None,
    /// Links are lost, and workers die, become passive and resynchronise.
    GatewaysStay,
    /// Gateways die as well.
    GatewaysToo,
}

/// Runs a schedule, then lets everything heal, and compares the end with the truth.
fn run(seed: u64, faults: Faults) {
    let mut random = StdRng::seed_from_u64(seed);
    let gateways = random.random_range(1..=3);
    let workers = random.random_range(1..=3);
    let mut world = World::new(seed, gateways, workers);
    for _ in 0..random.random_range(20..300) {
        world.step(&mut random, faults);
    }
    world.heal();
    for round in 0..120 {
        world.deliver_all(&mut random);
        world.pass_time(if round % 2 == 0 { 30 } else { 500 });
    }
    world.check_truth(faults);
    world.close_all_clients();
    for _ in 0..120 {
        world.deliver_all(&mut random);
        world.pass_time(300);
    }
    world.check_nothing_is_left();
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODEL_SEEDS").unwrap_or(default),
    }
}

#[test]
fn clients_see_the_truth_without_faults() {
    seeds(400).for_each(|seed| run(seed, Faults::None));
}

#[test]
fn clients_and_applications_see_the_truth_after_lost_links_and_owners() {
    seeds(500).for_each(|seed| run(seed, Faults::GatewaysStay));
}

/// Rare: an owner that has lost a shard takes a member for known that another one has removed, and
/// one that does not own a shard removes a member that is away from it for a moment.
#[test]
fn applications_see_the_truth_although_another_owner_has_removed_a_member() {
    [3939, 4393].into_iter().for_each(|seed| run(seed, Faults::GatewaysStay));
}

#[test]
fn clients_see_the_truth_after_deaths_of_gateways_and_owners() {
    seeds(500).for_each(|seed| run(seed, Faults::GatewaysToo));
}
