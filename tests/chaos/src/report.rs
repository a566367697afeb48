//! A run's result as text: what was done, what was counted, what does not balance.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    account::Balance,
    partitions::Ways,
    plan::{Cut, Fault, Step, Who},
    scenario::Scenario,
};

/// What a run has to say besides its balance.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which it was.
    pub scenario: Scenario,
    /// By which it can be done again.
    pub seed: u64,
    /// Seconds from the first message to the last fault's end.
    pub seconds: f64,
    /// How often each kind of fault was done.
    pub faults: Vec<(&'static str, usize)>,
}

/// All of it.
pub fn report(facts: &Facts, balance: &Balance) -> String {
    let Facts { scenario, seed, seconds, faults } = facts;
    let mut text = format!("{} --seed {seed}: {seconds:.0} s", scenario.name());
    for (fault, count) in faults {
        let _ = write!(text, ", {fault} {count}");
    }
    let counts = &balance.counts;
    let closes = counts.closes.iter().map(|(why, count)| format!("{why} {count}"));
    let rows = [
        ("connections, closed from the other side", counts.connections, Some(counts.closed)),
        ("messages sent", counts.sent, None),
        ("messages handled", counts.handled, None),
        ("not handled: gateway lost, or client broke off", counts.gone, None),
        ("handled with the mark, for the first time", counts.redelivered - counts.again, None),
        ("handled with the mark, again", counts.again, None),
        ("handled late, by a worker that was cut off", counts.overtaken, None),
        ("answers", counts.answers, None),
        ("passed on to uids and groups", counts.passed_on, None),
        ("onConnect", counts.connects, None),
        ("onClose", counts.closes.values().sum(), None),
        ("onClose missing: fewer than two workers there", counts.closes_missing, None),
    ];
    for (name, count, more) in rows {
        let more = more.map_or_else(String::new, |more| format!(", {more}"));
        let _ = write!(text, "\n  {name:48}{count:>9}{more}");
    }
    let _ = write!(text, "\n  by reason: {}", closes.collect::<Vec<_>>().join(", "));
    for (rule, count, examples) in balance.broken.iter() {
        let _ = write!(text, "\n  BROKEN: {count} {}", rule.text());
        for example in examples {
            let _ = write!(text, "\n    {example}");
        }
    }
    let verdict = if balance.broken.is_empty() { "balances" } else { "DOES NOT BALANCE" };
    let _ = write!(text, "\n  {verdict}");
    text
}

/// How often each kind of fault is done.
pub fn kinds(steps: &[Step]) -> Vec<(&'static str, usize)> {
    let mut kinds = BTreeMap::new();
    for step in steps {
        let kind = match step.fault {
            Fault::Kill(Who::Worker(_), _) => "workers killed",
            Fault::Kill(Who::Gateway(_), _) => "gateways killed",
            Fault::Kill(Who::Register, _) => "registers killed",
            Fault::Vanish(Who::Worker(_), _) => "workers vanished",
            Fault::Vanish(Who::Gateway(_), _) => "gateways vanished",
            Fault::Vanish(Who::Register, _) => "registers vanished",
            Fault::Drain(Who::Gateway(_), _) => "gateways drained",
            Fault::Drain(..) => "workers drained",
            Fault::Pause(..) => "pauses",
            Fault::Cut(_, Cut::Stall, ..) => "links stalled",
            Fault::Cut(_, Cut::Drop, ..) => "links dropped",
            Fault::Cut(_, Cut::Reset, ..) => "links reset",
            Fault::Cut(..) => "links half closed",
            Fault::Partition(it, _) if it.ways == Ways::Both => "partitions",
            Fault::Partition(..) => "partitions in one direction",
            Fault::Unplug(..) => "hosts unplugged",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds.into_iter().collect()
}
