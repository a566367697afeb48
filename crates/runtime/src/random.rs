//! Random numbers; the simulation replaces this module.

pub use rand::{random, random_range, rng};
