//! What happens in a round, all of it from a seed.

use std::fmt;

use clap::ValueEnum as _;

use crate::{attack::Attack, dice::Dice};

/// A round of attacks.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Threads of each gateway.
    pub(crate) threads: usize,
    /// Whether clients that do not read are cut off or miss messages.
    pub(crate) slow_client: &'static str,
    /// What attacks, and how many of each kind.
    pub(crate) attackers: Vec<(Attack, usize)>,
    /// Whether the processes are asked to end while the attacks go on.
    pub(crate) ends_under_attack: bool,
    /// Where the choices of the attackers come from.
    pub(crate) dice: Dice,
}

impl Plan {
    /// The plan of a seed; of some kinds of attackers, if they are named.
    pub(crate) fn new(seed: u64, only: &[Attack]) -> Self {
        let mut dice = Dice::new(seed);
        let kinds = if only.is_empty() { Attack::value_variants() } else { only };
        let count = if only.is_empty() { 2 + dice.below(6) } else { only.len() };
        let mut attackers: Vec<(Attack, usize)> = Vec::new();
        for at in 0..count {
            let kind = if only.is_empty() { *dice.pick(kinds) } else { kinds[at] };
            if !attackers.iter().any(|(known, _)| *known == kind) {
                attackers.push((kind, dice.amount(30)));
            }
        }
        Self {
            threads: 1 + dice.below(2),
            slow_client: if dice.once_in(2) { "disconnect" } else { "drop" },
            attackers,
            ends_under_attack: dice.once_in(2),
            dice,
        }
    }
}

impl Plan {
    /// Whether attackers know the secret.
    pub(crate) fn knows_the_secret(&self) -> bool {
        self.attackers.iter().any(|(kind, _)| kind.knows_the_secret())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "threads {}, slow clients {}", self.threads, self.slow_client)?;
        if self.ends_under_attack {
            f.write_str(", ended under attack")?;
        }
        self.attackers.iter().try_for_each(|(kind, count)| write!(f, ", {count} {kind:?}"))
    }
}
