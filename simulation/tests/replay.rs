//! A seed brings the same again, to the last byte.
#![cfg(simulation)]

use simulation::world;

#[test]
fn a_seed_brings_the_same_steps_again() {
    for seed in [3, 7] {
        let (one, other) = (world::run(seed, true), world::run(seed, true));
        assert!(1_000 < one.trace.len(), "{} steps", one.trace.len());
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None);
        assert_eq!((one.trace.len(), one.digest), (other.trace.len(), other.digest));
    }
}

#[test]
fn also_on_another_thread_and_without_its_lines() {
    let here = world::run(5, true);
    let there = std::thread::spawn(|| world::run(5, false).digest);
    assert_eq!(there.join().ok(), Some(here.digest));
}

#[test]
fn another_seed_brings_others() {
    assert_ne!(world::run(1, false).digest, world::run(2, false).digest);
}
