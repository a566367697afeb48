//! What is done to the suite, and when: follows from a seed alone.

use std::{fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    partitions::{self, Partition},
    scenario::{Scenario, Shape},
};

/// How many gateways there are.
pub const GATEWAYS: usize = 3;

/// How many workers there are.
pub const WORKERS: usize = 3;

/// How long a gateway believes in a silent worker, in seconds.
pub const BELIEVES: u64 = 3;

/// How long nobody hears of a worker that has vanished behind a proxy: longer than anybody believes
/// in it.
pub const VANISHED: Duration = Duration::from_secs(BELIEVES * 2);

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The only one of its kind.
    Register,
    /// By its number.
    Gateway(usize),
    /// By its number.
    Worker(usize),
}

/// Connections that go through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Links {
    /// All peers' with the register.
    Register,
    /// Workers' with a gateway.
    Gateway(usize),
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Both ends see its end, as of a process that closed it. What is under way is lost.
    Drop,
    /// Both ends see an error.
    Reset,
    /// Nothing gets through for a while.
    Stall,
    /// The end that had connected sees an error; the other sees silence for a while.
    NearEndGone,
    /// The other way round.
    FarEndGone,
}

/// Something that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; started again after a while.
    Kill(Who, Duration),
    /// SIGKILL without a sign to its peers, as of a host that loses power; started again after a
    /// while.
    Vanish(Who, Duration),
    /// SIGTERM; started again a while after it has ended.
    Drain(Who, Duration),
    /// SIGSTOP, and SIGCONT after a while.
    Pause(Who, Duration),
    /// Done to all connections that there are, or to one of them.
    Cut(Links, Cut, Duration, Which),
    /// What some hosts send each other is lost for a while.
    Partition(Partition, Duration),
    /// A host's link goes down, and up after a while: it is cut off from all, clients as well.
    Unplug(Who, Duration),
}

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// The one at this place, counted round.
    One(usize),
}

/// When what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// What a seed brings.
pub fn plan(scenario: Scenario, shape: &Shape, seed: u64) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    if scenario == Scenario::Partitions {
        return partitions::plan(shape, &mut dice);
    }
    let mut at = Duration::from_millis(300);
    let mut steps = Vec::new();
    let mut turn = 0;
    for number in 0..shape.faults {
        // Never the same one twice in a row: a worker that is back has few clients, or none.
        turn = (turn + dice.random_range(1..WORKERS)) % WORKERS;
        let worker = Who::Worker(turn);
        let fault = match scenario {
            // Both kinds in every run, however short.
            Scenario::Drain if number % 2 == 0 => Fault::Drain(worker, down(shape, &mut dice)),
            _ => one(scenario, shape, worker, &mut dice),
        };
        steps.push(Step { at, fault });
        // Some come together: there may be nobody left of a kind.
        if dice.random_bool(0.7) {
            at += shape.gap.mul_f64(dice.random_range(0.7..2.1));
        }
    }
    steps
}

/// How long something lasts.
fn down(shape: &Shape, dice: &mut StdRng) -> Duration {
    shape.gap.mul_f64(dice.random_range(0.1..1.5))
}

fn one(scenario: Scenario, shape: &Shape, worker: Who, dice: &mut StdRng) -> Fault {
    let down = down(shape, dice);
    let gateway = Who::Gateway(dice.random_range(0..GATEWAYS));
    let dies = [Who::Register, gateway, worker];
    match scenario {
        Scenario::Workers => Fault::Kill(worker, down),
        Scenario::Register => Fault::Kill(Who::Register, down),
        Scenario::Gateways => Fault::Kill(gateway, down),
        Scenario::Drain => Fault::Drain(gateway, down),
        Scenario::Links => match any(&dies, dice) {
            who if dice.random_bool(0.3) => Fault::Pause(who, down),
            _ if dice.random_bool(0.1) => Fault::Vanish(worker, VANISHED),
            _ => cut(down, dice),
        },
        Scenario::Partitions => unreachable!("it is planned in rounds"),
        Scenario::All => match dice.random_range(0..20) {
            0 => Fault::Vanish(worker, VANISHED),
            1..7 => Fault::Kill(worker, down),
            7 | 8 => Fault::Kill(Who::Register, down),
            9 | 10 => Fault::Kill(gateway, down),
            11 | 12 => Fault::Drain(any(&[gateway, worker], dice), down),
            13..16 => Fault::Pause(any(&dies, dice), down),
            _ => cut(down, dice),
        },
    }
}

fn any<T: Copy>(of: &[T], dice: &mut StdRng) -> T {
    *of.choose(dice).expect("a list that is written here")
}

fn cut(down: Duration, dice: &mut StdRng) -> Fault {
    let links = match dice.random_range(0..=GATEWAYS) {
        GATEWAYS => Links::Register,
        gateway => Links::Gateway(gateway),
    };
    let cuts = [Cut::Drop, Cut::Reset, Cut::Stall, Cut::NearEndGone, Cut::FarEndGone];
    let which =
        if dice.random_bool(0.3) { Which::All } else { Which::One(dice.random_range(0..16)) };
    Fault::Cut(links, any(&cuts, dice), down, which)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register => f.write_str("register"),
            Self::Gateway(number) => write!(f, "gateway-{number}"),
            Self::Worker(number) => write!(f, "worker-{number}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who, down) => write!(f, "kill {who}, back after {down:.1?}"),
            Self::Vanish(who, down) => write!(f, "let {who} vanish, back after {down:.1?}"),
            Self::Drain(who, down) => write!(f, "drain {who}, back after {down:.1?}"),
            Self::Pause(who, down) => write!(f, "pause {who} for {down:.1?}"),
            Self::Cut(links, cut, down, which) => {
                write!(f, "{cut:?} {which:?} of {links:?}'s links for {down:.1?}")
            }
            Self::Partition(partition, down) => write!(f, "part {partition} for {down:.1?}"),
            Self::Unplug(who, down) => write!(f, "unplug {who} for {down:.1?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Form;

    #[test]
    fn a_seed_brings_the_same_again_and_another_does_not() {
        let scenario = Scenario::All;
        let shape = scenario.shape(Form::Long);
        assert_eq!(plan(scenario, &shape, 7), plan(scenario, &shape, 7));
        assert_ne!(plan(scenario, &shape, 7), plan(scenario, &shape, 8));
    }

    #[test]
    fn a_plan_does_what_its_scenario_says() {
        let shape = Scenario::Workers.shape(Form::Long);
        let steps = plan(Scenario::Workers, &shape, 1);
        assert_eq!(steps.len(), 50);
        assert!(steps.iter().all(|step| matches!(step.fault, Fault::Kill(Who::Worker(_), _))));
        assert!(steps.is_sorted_by_key(|step| step.at));
        let shape = Scenario::All.shape(Form::Long);
        let steps = plan(Scenario::All, &shape, 1);
        let is = |test: fn(&Fault) -> bool| steps.iter().any(|step| test(&step.fault));
        assert!(is(|fault| matches!(fault, Fault::Kill(Who::Gateway(_), _))));
        assert!(is(|fault| matches!(fault, Fault::Cut(..))));
        assert!(is(|fault| matches!(fault, Fault::Pause(..))));
        assert!(is(|fault| matches!(fault, Fault::Drain(..))));
    }
}
