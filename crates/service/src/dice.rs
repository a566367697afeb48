//! Chance, from one place for all of us.

pub use rand::{random, random_range, rng};
