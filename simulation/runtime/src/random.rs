//! Random numbers, all derived from one seed.

use std::{cell::RefCell, convert::Infallible};

use rand::{
    SeedableRng as _, TryRng,
    distr::{
        Distribution, StandardUniform,
        uniform::{SampleRange, SampleUniform},
    },
    rngs::StdRng,
};

thread_local! {
    static GENERATOR: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(0));
}

/// Seeds the generator of this thread.
pub fn seed(seed: u64) {
    GENERATOR.set(StdRng::seed_from_u64(seed));
}

/// As `rand::random`.
#[must_use]
pub fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    rand::RngExt::random(&mut Generator)
}

/// As `rand::random_range`.
#[must_use]
pub fn random_range<T: SampleUniform>(range: impl SampleRange<T>) -> T {
    rand::RngExt::random_range(&mut Generator, range)
}

/// As `rand::rng`.
#[must_use]
pub fn rng() -> Generator {
    Generator
}

/// The generator of this thread.
#[derive(Clone, Copy, Debug)]
pub struct Generator;

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        GENERATOR.with_borrow_mut(StdRng::try_next_u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        GENERATOR.with_borrow_mut(StdRng::try_next_u64)
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        GENERATOR.with_borrow_mut(|rng| rng.try_fill_bytes(into))
    }
}
