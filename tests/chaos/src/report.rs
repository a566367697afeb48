//! The result of a run as text: faults, counts, and violated rules.

use std::{collections::BTreeMap, fmt::Write as _};

use test_support::account::Balance;

use crate::{
    partitions::Ways,
    plan::{Cut, Fault, Process, Step},
    scenario::Scenario,
};

/// The facts of a run besides its balance.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The scenario.
    pub scenario: Scenario,
    /// The seed that reproduces its faults.
    pub seed: u64,
    /// Seconds from the start of the plan until all faults have ended.
    pub seconds: f64,
    /// The number of faults of each kind.
    pub faults: Vec<(&'static str, usize)>,
    /// Lines about members of a watched group.
    pub observed: String,
}

/// Formats the report.
pub fn report(facts: &Facts, balance: &Balance) -> String {
    let Facts { scenario, seed, seconds, faults, observed } = facts;
    let mut text = format!("{} --seed {seed}: {seconds:.0} s", scenario.name());
    for (fault, count) in faults {
        let _ = write!(text, ", {fault} {count}");
    }
    let counts = &balance.counts;
    let closes = counts.closes.iter().map(|(why, count)| format!("{why} {count}"));
    let rows = [
        ("connections, closed by the remote side", counts.connections, Some(counts.closed)),
        ("messages sent", counts.sent, None),
        ("messages handled", counts.handled, None),
        ("not handled: gateway lost, or client aborted", counts.unhandled, None),
        ("redelivered, handled for the first time", counts.redelivered - counts.again, None),
        ("redelivered, handled again", counts.again, None),
        ("handled late, by a worker that was cut off", counts.overtaken, None),
        ("answers", counts.answers, None),
        ("forwarded to uids and groups", counts.forwarded, None),
        ("onConnect", counts.connects, None),
        ("onClose", counts.closes.values().sum(), None),
        ("onClose missing: fewer than two workers running", counts.closes_missing, None),
    ];
    for (name, count, more) in rows {
        let more = more.map_or_else(String::new, |more| format!(", {more}"));
        let _ = write!(text, "\n  {name:48}{count:>9}{more}");
    }
    text.push_str(observed);
    let _ = write!(text, "\n  by reason: {}", closes.collect::<Vec<_>>().join(", "));
    for (rule, count, examples) in balance.broken.iter() {
        let _ = write!(text, "\n  BROKEN: {count} {}", rule.text());
        for example in examples {
            let _ = write!(text, "\n    {example}");
        }
    }
    let result = if balance.broken.is_empty() { "balances" } else { "DOES NOT BALANCE" };
    let _ = write!(text, "\n  {result}");
    text
}

/// The number of faults of each kind in a plan.
pub fn kinds(steps: &[Step]) -> Vec<(&'static str, usize)> {
    let mut kinds = BTreeMap::new();
    for step in steps {
        let kind = match step.fault {
            Fault::Kill(Process::Worker(_), _) => "workers killed",
            Fault::Kill(Process::Gateway(_), _) => "gateways killed",
            Fault::Kill(Process::Register, _) => "registers killed",
            Fault::Vanish(Process::Worker(_), _) => "workers vanished",
            Fault::Vanish(Process::Gateway(_), _) => "gateways vanished",
            Fault::Vanish(Process::Register, _) => "registers vanished",
            Fault::Drain(Process::Gateway(_), _) => "gateways drained",
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
