//! The plan of a round, derived from a seed.

use std::fmt;

use clap::ValueEnum as _;

use crate::{attack::Attack, rng::Rng};

/// The limit of messages in a second, if there is one: far more than clients send that do not
/// attack.
pub(crate) const RATE: usize = 2000;

/// A round of attacks.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Threads of each gateway.
    pub(crate) threads: usize,
    /// Whether clients that do not read are disconnected or miss messages.
    pub(crate) slow_client: &'static str,
    /// Policy for clients that send more than [`RATE`] messages in a second, if that is a limit.
    pub(crate) rate_policy: Option<&'static str>,
    /// Kinds of attackers, with their numbers.
    pub(crate) attackers: Vec<(Attack, usize)>,
    /// Whether the processes are stopped while the attacks continue.
    pub(crate) stops_under_attack: bool,
    /// Source of the attackers' choices.
    pub(crate) rng: Rng,
}

impl Plan {
    /// The plan of a seed, limited to these kinds of attackers unless empty.
    pub(crate) fn new(seed: u64, only: &[Attack]) -> Self {
        let mut rng = Rng::new(seed);
        let kinds = if only.is_empty() { Attack::value_variants() } else { only };
        let count = if only.is_empty() { 2 + rng.below(6) } else { only.len() };
        let mut attackers: Vec<(Attack, usize)> = Vec::new();
        for at in 0..count {
            let kind = if only.is_empty() { *rng.pick(kinds) } else { kinds[at] };
            if !attackers.iter().any(|(known, _)| *known == kind) {
                attackers.push((kind, rng.amount(30)));
            }
        }
        Self {
            threads: 1 + rng.below(2),
            slow_client: if rng.once_in(2) { "disconnect" } else { "drop" },
            rate_policy: [None, None, Some("pause"), Some("disconnect")][rng.below(4)],
            attackers,
            stops_under_attack: rng.once_in(2),
            rng,
        }
    }
}

impl Plan {
    /// Whether some attackers have the secret.
    pub(crate) fn has_secret(&self) -> bool {
        self.attackers.iter().any(|(kind, _)| kind.has_secret())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "threads {}, slow clients {}", self.threads, self.slow_client)?;
        if let Some(policy) = self.rate_policy {
            write!(f, ", fast clients {policy}")?;
        }
        if self.stops_under_attack {
            f.write_str(", stopped under attack")?;
        }
        self.attackers.iter().try_for_each(|(kind, count)| write!(f, ", {count} {kind:?}"))
    }
}
