//! Random choices, reproducible by seed.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// Random choices of one attacker, or of a plan.
#[derive(Debug)]
pub(crate) struct Rng(SmallRng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// An independent generator, for one part of the decisions.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.0.random())
    }

    /// A uniform number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// True with a probability of one in `times`.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.0.random_ratio(1, times)
    }

    /// A number from 1 to `most`, on a logarithmic scale.
    pub(crate) fn amount(&mut self, most: usize) -> usize {
        let exponent = self.0.random_range(0.0..=(most as f64).ln());
        (f64::exp(exponent) as usize).clamp(1, most)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.random()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill(&mut bytes[..]);
        bytes
    }

    /// A text of letters and digits.
    pub(crate) fn word(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(*self.pick(b"abcdefghijklmnopqrstuvwxyz0123456789")))
            .collect()
    }

    /// A pause from one to `most` milliseconds.
    pub(crate) fn pause(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.amount(most) as u64)
    }

    /// Cuts bytes into pieces of random lengths.
    pub(crate) fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() && pieces.len() < 50 {
            let (piece, rest) = bytes.split_at(self.amount(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces.push(bytes);
        pieces
    }

    /// Changes, removes or repeats bytes at random places.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.amount(8) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = *self.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
                2 => drop(bytes.drain(at..(at + self.amount(16)).min(bytes.len()))),
                _ => {
                    let repeated = bytes[at..(at + self.amount(16)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, repeated);
                }
            }
        }
    }
}
