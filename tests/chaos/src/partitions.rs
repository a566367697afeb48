//! What networks do to hosts, and when in a run: follows from a seed alone.

use std::{fmt, time::Duration};

use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{
    plan::{BELIEVES, Fault, GATEWAYS, Step, WORKERS, Who},
    scenario::Shape,
};

/// Some hosts hear nothing of some others: what is sent is lost, and nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Whose words are lost, or who is not spoken to.
    pub one: Who,
    /// On the other side.
    pub others: Others,
    /// In which direction.
    pub ways: Ways,
}

/// The other side of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// One host.
    One(Who),
    /// Every other.
    All,
}

/// What is lost of what two sides send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// All of it.
    Both,
    /// What the one sends.
    Out,
    /// What the others send.
    In,
}

impl Partition {
    /// Who sends in vain, and to whom.
    pub fn lost(self) -> Vec<(Who, Who)> {
        let others: Vec<Who> = match self.others {
            Others::One(other) => vec![other],
            Others::All => everybody().filter(|other| *other != self.one).collect(),
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

/// Everybody who has a host.
pub fn everybody() -> impl Iterator<Item = Who> {
    let gateways = (0..GATEWAYS).map(Who::Gateway);
    std::iter::once(Who::Register).chain(gateways).chain((0..WORKERS).map(Who::Worker))
}

/// How many faults there are in a round: one host vanishes, then the network is partitioned.
const ROUND: u32 = 6;

/// How long nothing else is done when a host is back: an attempt to reach it that began while it was
/// away hangs for up to five seconds. Who has never reached a gateway, and cannot, is no more bound
/// to what docs/guarantees.md promises.
const BACK: Duration = Duration::from_secs(5);

/// How long nothing else is done when the network is whole again: until silence is noticed that
/// began then, and all are linked again. What becomes of clients whose gateway dies sooner is not
/// promised.
const WHOLE: Duration = Duration::from_secs(BELIEVES + 4);

/// How long it may take until what is sent to a uid or a group has come to all, whichever processes are cut off
/// from each other: until silence is noticed, a worker has left its events to others, and these have handled them;
/// with as much again for what short faults hold up besides.
pub const PASSED_ON: Duration = Duration::from_secs(18);

/// How long a worker is cut off from a gateway now and then: longer than that.
const LONG: Duration = Duration::from_secs(26);

/// In how many rounds a worker is cut off for so long once. Not in the first, which is all of the short
/// form.
const LONG_EVERY: u32 = 3;

/// In rounds, which keep to what docs/guarantees.md promises: nobody vanishes while, or soon after,
/// others are cut off from each other.
pub(crate) fn plan(shape: &Shape, dice: &mut StdRng) -> Vec<Step> {
    let mut at = Duration::from_millis(300);
    let mut steps = Vec::new();
    let mut storm = Vec::new();
    let mut whole = at;
    for number in 0..shape.faults {
        if number % ROUND == 0 {
            at = if number == 0 { at } else { whole + WHOLE };
            let away = lasts(0.3..1.4, dice);
            steps.push(Step { at, fault: Fault::Vanish(host(dice), away) });
            at += away + BACK;
            whole = at;
            storm = kinds(dice);
            continue;
        }
        let time = lasts(0.3..1.7, dice);
        let fault = match storm.pop() {
            Some(partition) => Fault::Partition(partition, time),
            None => Fault::Unplug(host(dice), time),
        };
        steps.push(Step { at, fault });
        whole = whole.max(at + time);
        at += shape.gap.mul_f64(dice.random_range(0.5..1.5));
        if number % (ROUND * LONG_EVERY) == ROUND * 2 - 1 {
            at = whole + WHOLE;
            let (one, others) = (gateway(dice), Others::One(worker(dice)));
            let partition = Partition { one, others, ways: ways(dice) };
            steps.push(Step { at, fault: Fault::Partition(partition, LONG) });
            whole = at + LONG;
        }
    }
    steps
}

fn ways(dice: &mut StdRng) -> Ways {
    [Ways::Both, Ways::Out, Ways::In][dice.random_range(0..3)]
}

/// The partitions of a round: of each kind one, in any order. The last fault of it is another.
fn kinds(dice: &mut StdRng) -> Vec<Partition> {
    let all = [Ways::Both, Ways::Out, Ways::In];
    let any = ways(dice);
    let mut kinds: Vec<Partition> = all.map(|ways| between_two(ways, dice)).into();
    kinds.push(Partition { one: Who::Register, others: Others::All, ways: any });
    kinds.shuffle(dice);
    kinds
}

/// Between two who speak to each other.
fn between_two(ways: Ways, dice: &mut StdRng) -> Partition {
    let (gateway, worker) = (gateway(dice), worker(dice));
    let (one, other) = match dice.random_range(0..6) {
        0 => (Who::Register, gateway),
        1 => (Who::Register, worker),
        _ => (gateway, worker),
    };
    Partition { one, others: Others::One(other), ways }
}

fn gateway(dice: &mut StdRng) -> Who {
    Who::Gateway(dice.random_range(0..GATEWAYS))
}

fn worker(dice: &mut StdRng) -> Who {
    Who::Worker(dice.random_range(0..WORKERS))
}

/// Any, but each kind as often as another.
fn host(dice: &mut StdRng) -> Who {
    match dice.random_range(0..3) {
        0 => Who::Register,
        1 => gateway(dice),
        _ => worker(dice),
    }
}

/// In parts of the time for which a silent peer is believed in.
fn lasts(parts: std::ops::Range<f64>, dice: &mut StdRng) -> Duration {
    Duration::from_secs(BELIEVES).mul_f64(dice.random_range(parts))
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
            Others::One(other) => write!(f, "{other}"),
            Others::All => f.write_str("everybody"),
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

    /// Until when the last of them lasts.
    fn end(step: &Step) -> Duration {
        match step.fault {
            Fault::Vanish(_, time) | Fault::Partition(_, time) | Fault::Unplug(_, time) => {
                step.at + time
            }
            other => panic!("{other} has no place here"),
        }
    }

    #[test]
    fn a_partition_says_whose_words_are_lost() {
        let (one, other) = (Who::Gateway(1), Who::Worker(2));
        let of = |ways| Partition { one, others: Others::One(other), ways }.lost();
        assert_eq!(of(Ways::Out), [(one, other)]);
        assert_eq!(of(Ways::In), [(other, one)]);
        assert_eq!(of(Ways::Both), [(one, other), (other, one)]);
        let all = Partition { one, others: Others::All, ways: Ways::Out }.lost();
        assert_eq!(all.len(), GATEWAYS + WORKERS);
        assert!(all.iter().all(|(from, to)| *from == one && *to != one));
    }

    #[test]
    fn who_vanishes_does_so_in_a_network_that_is_whole_and_has_been() {
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
    fn workers_are_cut_off_for_long_in_the_long_form_while_the_network_is_whole_otherwise() {
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
    fn every_kind_comes_in_the_short_form_and_some_outlast_what_peers_believe() {
        let believes = Duration::from_secs(BELIEVES);
        for seed in 0..100 {
            let steps = planned(Form::Short, seed);
            let is = |test: fn(&Fault) -> bool| steps.iter().any(|step| test(&step.fault));
            assert!(is(|fault| matches!(fault, Fault::Vanish(..))));
            assert!(is(|fault| matches!(fault, Fault::Unplug(..))));
            for ways in [Ways::Both, Ways::Out, Ways::In] {
                let between_two = |step: &Step| {
                    matches!(step.fault, Fault::Partition(it, _)
                        if it.ways == ways && it.others != Others::All)
                };
                assert!(steps.iter().any(between_two), "{ways:?} in seed {seed}");
            }
            assert!(is(
                |fault| matches!(fault, Fault::Partition(it, _) if it.others == Others::All)
            ));
        }
        let all = (0..20).flat_map(|seed| planned(Form::Short, seed));
        let (noticed, unnoticed): (Vec<_>, Vec<_>) =
            all.partition(|step| step.at + believes < end(step));
        assert!(noticed.len().min(unnoticed.len()) > 20);
    }
}
