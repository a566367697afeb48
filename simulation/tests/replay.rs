//! The same seed produces the same run, to the last byte.
#![cfg(simulation)]

use simulation::world;

#[test]
fn run_with_the_same_seed_repeats_every_step() {
    for seed in [3, 7] {
        let (one, other) = (world::run(seed, true), world::run(seed, true));
        assert!(1_000 < one.trace.len(), "{} steps", one.trace.len());
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None);
        assert_eq!((one.trace.len(), one.digest), (other.trace.len(), other.digest));
    }
}

#[test]
fn digest_is_independent_of_thread_and_trace() {
    let here = world::run(5, true);
    let there = std::thread::spawn(|| world::run(5, false).digest);
    assert_eq!(there.join().ok(), Some(here.digest));
}

#[test]
fn run_with_another_seed_has_another_digest() {
    assert_ne!(world::run(1, false).digest, world::run(2, false).digest);
}
