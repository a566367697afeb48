//! The network faults of a run and their times, derived from a seed alone.

use std::{fmt, time::Duration};

use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    plan::{Fault, GATEWAYS, PEER_TIMEOUT, Process, Step, WORKERS},
    scenario::Shape,
};

/// Packets between some hosts are lost silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The host on one side.
    pub one: Process,
    /// The hosts on the other side.
    pub others: OtherSide,
    /// The direction.
    pub ways: Ways,
}

/// The other side of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherSide {
    /// One host.
    One(Process),
    /// Every other host.
    All,
}

/// The direction of lost packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Both directions.
    Both,
    /// Packets that `one` sends.
    Out,
    /// Packets that the others send.
    In,
}

impl Partition {
    /// The pairs of sender and receiver whose packets are lost.
    pub fn lost(self) -> Vec<(Process, Process)> {
        let others: Vec<Process> = match self.others {
            OtherSide::One(other) => vec![other],
            OtherSide::All => every_process().filter(|other| *other != self.one).collect(),
        };
        let out = others.iter().map(|other| (self.one, *other));
        let into = others.iter().map(|other| (*other, self.one));
        match self.ways {
            Ways::Both => out.chain(into).collect(),
            Ways::Out => out.collect(),
            Ways::In => into.collect(),
        }
    }
}

/// Every process; each has its own host.
pub fn every_process() -> impl Iterator<Item = Process> {
    let gateways = (0..GATEWAYS).map(Process::Gateway);
    std::iter::once(Process::Register).chain(gateways).chain((0..WORKERS).map(Process::Worker))
}

/// Number of faults in a round: one host vanishes, then the network is partitioned.
const ROUND: u32 = 6;

/// The pause after a host has booted again: a connection attempt that began while it was down hangs
/// for up to five seconds. The guarantees of docs/guarantees.md do not cover a worker that has
/// never reached a gateway.
const BACK: Duration = Duration::from_secs(5);

/// The pause after the last partition has ended: until peer timeouts have elapsed and all links are
/// connected again. The guarantees do not cover clients whose gateway dies sooner.
const WHOLE: Duration = Duration::from_secs(PEER_TIMEOUT + 4);

/// Maximum time until a message to a uid or a group has reached all recipients, whichever processes
/// are cut off from each other: the peer timeout, the time until a worker becomes passive and other
/// workers have handled its events, and as much again for delays by short faults.
pub const FORWARDING_LIMIT: Duration = Duration::from_secs(18);

/// The duration of a long partition between a worker and a gateway: longer than
/// [`FORWARDING_LIMIT`].
const LONG: Duration = Duration::from_secs(26);

/// Every how many rounds a long partition occurs. Not in the first round, the only one of the short
/// form.
const LONG_EVERY: u32 = 3;

/// Plans rounds within the guarantees of docs/guarantees.md: no host vanishes during, or soon
/// after, a partition.
pub(crate) fn plan(shape: &Shape, rng: &mut StdRng) -> Vec<Step> {
    let mut at = Duration::from_millis(300);
    let mut steps = Vec::new();
    let mut partitions = Vec::new();
    let mut whole = at;
    for number in 0..shape.faults {
        if number % ROUND == 0 {
            at = if number == 0 { at } else { whole + WHOLE };
            let down = random_duration(0.3..1.4, rng);
            steps.push(Step { at, fault: Fault::Vanish(host(rng), down) });
            at += down + BACK;
            whole = at;
            partitions = round_partitions(rng);
            continue;
        }
        let time = random_duration(0.3..1.7, rng);
        let fault = match partitions.pop() {
            Some(partition) => Fault::Partition(partition, time),
            None => Fault::Unplug(host(rng), time),
        };
        steps.push(Step { at, fault });
        whole = whole.max(at + time);
        at += shape.gap.mul_f64(rng.random_range(0.5..1.5));
        if number % (ROUND * LONG_EVERY) == ROUND * 2 - 1 {
            at = whole + WHOLE;
            let (one, others) = (gateway(rng), OtherSide::One(worker(rng)));
            let partition = Partition { one, others, ways: ways(rng) };
            steps.push(Step { at, fault: Fault::Partition(partition, LONG) });
            whole = at + LONG;
        }
    }
    steps
}

fn ways(rng: &mut StdRng) -> Ways {
    [Ways::Both, Ways::Out, Ways::In][rng.random_range(0..3)]
}

/// The partitions of a round: one of each kind, in random order. The round's last fault unplugs a
/// host.
fn round_partitions(rng: &mut StdRng) -> Vec<Partition> {
    let all = [Ways::Both, Ways::Out, Ways::In];
    let any = ways(rng);
    let mut kinds: Vec<Partition> = all.map(|ways| between_two(ways, rng)).into();
    kinds.push(Partition { one: Process::Register, others: OtherSide::All, ways: any });
    kinds.shuffle(rng);
    kinds
}

/// A partition between two hosts whose processes have a link.
fn between_two(ways: Ways, rng: &mut StdRng) -> Partition {
    let (gateway, worker) = (gateway(rng), worker(rng));
    let (one, other) = match rng.random_range(0..6) {
        0 => (Process::Register, gateway),
        1 => (Process::Register, worker),
        _ => (gateway, worker),
    };
    Partition { one, others: OtherSide::One(other), ways }
}

fn gateway(rng: &mut StdRng) -> Process {
    Process::Gateway(rng.random_range(0..GATEWAYS))
}

fn worker(rng: &mut StdRng) -> Process {
    Process::Worker(rng.random_range(0..WORKERS))
}

/// A random host, each kind with the same probability.
fn host(rng: &mut StdRng) -> Process {
    match rng.random_range(0..3) {
        0 => Process::Register,
        1 => gateway(rng),
        _ => worker(rng),
    }
}

/// A random duration, in multiples of the peer timeout.
fn random_duration(parts: std::ops::Range<f64>, rng: &mut StdRng) -> Duration {
    Duration::from_secs(PEER_TIMEOUT).mul_f64(rng.random_range(parts))
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.ways {
            Ways::Both => "<->",
            Ways::Out => "->",
            Ways::In => "<-",
        };
        write!(f, "{} {way} ", self.one)?;
        match self.others {
            OtherSide::One(other) => write!(f, "{other}"),
            OtherSide::All => f.write_str("all others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::scenario::{Form, Scenario};

    fn planned(form: Form, seed: u64) -> Vec<Step> {
        plan(&Scenario::Partitions.shape(form), &mut StdRng::seed_from_u64(seed))
    }

    /// When the fault of a step ends.
    fn end(step: &Step) -> Duration {
        match step.fault {
            Fault::Vanish(_, time) | Fault::Partition(_, time) | Fault::Unplug(_, time) => {
                step.at + time
            }
            other => panic!("unexpected fault: {other}"),
        }
    }

    #[test]
    fn partition_lists_the_pairs_with_lost_packets() {
        let (one, other) = (Process::Gateway(1), Process::Worker(2));
        let of = |ways| Partition { one, others: OtherSide::One(other), ways }.lost();
        assert_eq!(of(Ways::Out), [(one, other)]);
        assert_eq!(of(Ways::In), [(other, one)]);
        assert_eq!(of(Ways::Both), [(one, other), (other, one)]);
        let all = Partition { one, others: OtherSide::All, ways: Ways::Out }.lost();
        assert_eq!(all.len(), GATEWAYS + WORKERS);
        assert!(all.iter().all(|(from, to)| *from == one && *to != one));
    }

    #[test]
    fn hosts_vanish_only_while_the_network_is_whole() {
        for seed in 0..100 {
            let steps = planned(Form::Long, seed);
            for (at, step) in steps.iter().enumerate() {
                if !matches!(step.fault, Fault::Vanish(..)) {
                    continue;
                }
                let before = steps[..at].iter().map(end).max().unwrap_or_default();
                assert!(at == 0 || before + WHOLE <= step.at, "seed {seed}: {steps:?}");
                let after = steps.get(at + 1).map_or(Duration::MAX, |next| next.at);
                assert!(end(step) + BACK <= after, "seed {seed}: {steps:?}");
            }
        }
    }

    #[test]
    fn long_partitions_do_not_overlap_other_faults() {
        for seed in 0..20 {
            let steps = planned(Form::Long, seed);
            let is_long =
                |step: &Step| matches!(step.fault, Fault::Partition(_, time) if time == LONG);
            let long: Vec<_> = steps.iter().filter(|step| is_long(step)).collect();
            assert_eq!(long.len(), 3, "seed {seed}");
            for step in long {
                let others = steps.iter().filter(|other| *other != step);
                let mut others = others.map(|other| (other.at, end(other)));
                assert!(others.all(|(at, to)| to + WHOLE <= step.at || end(step) + WHOLE <= at));
            }
        }
    }

    #[test]
    fn short_form_has_every_kind_of_fault_below_and_above_the_peer_timeout() {
        let peer_timeout = Duration::from_secs(PEER_TIMEOUT);
        for seed in 0..100 {
            let steps = planned(Form::Short, seed);
            let is = |test: fn(&Fault) -> bool| steps.iter().any(|step| test(&step.fault));
            assert!(is(|fault| matches!(fault, Fault::Vanish(..))));
            assert!(is(|fault| matches!(fault, Fault::Unplug(..))));
            for ways in [Ways::Both, Ways::Out, Ways::In] {
                let between_two = |step: &Step| {
                    matches!(step.fault, Fault::Partition(it, _)
                        if it.ways == ways && it.others != OtherSide::All)
                };
                assert!(steps.iter().any(between_two), "{ways:?} in seed {seed}");
            }
            assert!(is(
                |fault| matches!(fault, Fault::Partition(it, _) if it.others == OtherSide::All)
            ));
        }
        let all = (0..20).flat_map(|seed| planned(Form::Short, seed));
        let (detected, undetected): (Vec<_>, Vec<_>) =
            all.partition(|step| step.at + peer_timeout < end(step));
        assert!(detected.len().min(undetected.len()) > 20);
    }
}
