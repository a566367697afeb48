//! The faults of a run and their times, derived from a seed alone.

use std::{fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    partitions::{self, Partition},
    scenario::{Scenario, Shape},
};

/// Number of gateways.
pub const GATEWAYS: usize = 3;

/// Number of workers.
pub const WORKERS: usize = 3;

/// After this time without data a gateway declares a worker dead, in seconds.
pub const PEER_TIMEOUT: u64 = 3;

/// How long the end of a worker that vanished behind a proxy is hidden from its peers: longer than
/// their peer timeout.
pub const VANISHED: Duration = Duration::from_secs(PEER_TIMEOUT * 2);

/// A process of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// The only one of the run.
    Register,
    /// By its number.
    Gateway(usize),
    /// By its number.
    Worker(usize),
}

/// The connections behind one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Links {
    /// Of all peers with the register.
    Register,
    /// Of workers with a gateway.
    Gateway(usize),
}

/// A fault of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Both ends receive a FIN, as from a process that closed it. Data in flight is lost.
    Drop,
    /// Both ends receive a reset.
    Reset,
    /// No data passes for the duration.
    Stall,
    /// The connecting end receives a reset; the accepting end receives nothing for the duration.
    NearEndGone,
    /// The accepting end receives a reset; the connecting end receives nothing for the duration.
    FarEndGone,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; restarted after the duration.
    Kill(Process, Duration),
    /// SIGKILL with its connections left open, as on a host that loses power; restarted after the
    /// duration.
    Vanish(Process, Duration),
    /// SIGTERM; restarted the duration after it has exited.
    Drain(Process, Duration),
    /// SIGSTOP, and SIGCONT after the duration.
    Pause(Process, Duration),
    /// Applied to all open connections, or to one of them.
    Cut(Links, Cut, Duration, Which),
    /// Packets between some hosts are lost for the duration.
    Partition(Partition, Duration),
    /// The link of a host goes down, and up after the duration: it is isolated from all other
    /// hosts, and from clients.
    Unplug(Process, Duration),
}

/// Selects connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All open ones.
    All,
    /// The one with this index, modulo the number of open ones.
    One(usize),
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the start of the run.
    pub at: Duration,
    /// The fault.
    pub fault: Fault,
}

/// The steps of a scenario for a seed.
pub fn plan(scenario: Scenario, shape: &Shape, seed: u64) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    if scenario == Scenario::Partitions {
        return partitions::plan(shape, &mut rng);
    }
    let mut at = Duration::from_millis(300);
    let mut steps = Vec::new();
    let mut last = 0;
    for number in 0..shape.faults {
        // Never the same worker twice in a row: a restarted worker has few clients, or none.
        last = (last + rng.random_range(1..WORKERS)) % WORKERS;
        let worker = Process::Worker(last);
        let fault = match scenario {
            // Both kinds in every run, however short.
            Scenario::Drain if number % 2 == 0 => {
                Fault::Drain(worker, random_downtime(shape, &mut rng))
            }
            _ => random_fault(scenario, shape, worker, &mut rng),
        };
        steps.push(Step { at, fault });
        // Some faults coincide, so that no process of a kind may be left.
        if rng.random_bool(0.7) {
            at += shape.gap.mul_f64(rng.random_range(0.7..2.1));
        }
    }
    steps
}

/// A random duration of a fault.
fn random_downtime(shape: &Shape, rng: &mut StdRng) -> Duration {
    shape.gap.mul_f64(rng.random_range(0.1..1.5))
}

fn random_fault(scenario: Scenario, shape: &Shape, worker: Process, rng: &mut StdRng) -> Fault {
    let down = random_downtime(shape, rng);
    let gateway = Process::Gateway(rng.random_range(0..GATEWAYS));
    let targets = [Process::Register, gateway, worker];
    match scenario {
        Scenario::Workers => Fault::Kill(worker, down),
        Scenario::Register => Fault::Kill(Process::Register, down),
        Scenario::Gateways => Fault::Kill(gateway, down),
        Scenario::Drain => Fault::Drain(gateway, down),
        Scenario::Links => match any(&targets, rng) {
            process if rng.random_bool(0.3) => Fault::Pause(process, down),
            _ if rng.random_bool(0.1) => Fault::Vanish(worker, VANISHED),
            _ => cut(down, rng),
        },
        Scenario::Partitions => unreachable!("partitions are planned in rounds"),
        Scenario::All => match rng.random_range(0..20) {
            0 => Fault::Vanish(worker, VANISHED),
            1..7 => Fault::Kill(worker, down),
            7 | 8 => Fault::Kill(Process::Register, down),
            9 | 10 => Fault::Kill(gateway, down),
            11 | 12 => Fault::Drain(any(&[gateway, worker], rng), down),
            13..16 => Fault::Pause(any(&targets, rng), down),
            _ => cut(down, rng),
        },
    }
}

fn any<T: Copy>(of: &[T], rng: &mut StdRng) -> T {
    *of.choose(rng).expect("the list is a non-empty literal")
}

fn cut(down: Duration, rng: &mut StdRng) -> Fault {
    let links = match rng.random_range(0..=GATEWAYS) {
        GATEWAYS => Links::Register,
        gateway => Links::Gateway(gateway),
    };
    let cuts = [Cut::Drop, Cut::Reset, Cut::Stall, Cut::NearEndGone, Cut::FarEndGone];
    let which = if rng.random_bool(0.3) { Which::All } else { Which::One(rng.random_range(0..16)) };
    Fault::Cut(links, any(&cuts, rng), down, which)
}

impl fmt::Display for Process {
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
            Self::Kill(process, down) => write!(f, "kill {process}, back after {down:.1?}"),
            Self::Vanish(process, down) => write!(f, "let {process} vanish, back after {down:.1?}"),
            Self::Drain(process, down) => write!(f, "drain {process}, back after {down:.1?}"),
            Self::Pause(process, down) => write!(f, "pause {process} for {down:.1?}"),
            Self::Cut(links, cut, down, which) => {
                write!(f, "{cut:?} {which:?} of {links:?}'s links for {down:.1?}")
            }
            Self::Partition(partition, down) => write!(f, "partition {partition} for {down:.1?}"),
            Self::Unplug(process, down) => write!(f, "unplug {process} for {down:.1?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Form;

    #[test]
    fn plan_is_the_same_for_a_seed_and_differs_between_seeds() {
        let scenario = Scenario::All;
        let shape = scenario.shape(Form::Long);
        assert_eq!(plan(scenario, &shape, 7), plan(scenario, &shape, 7));
        assert_ne!(plan(scenario, &shape, 7), plan(scenario, &shape, 8));
    }

    #[test]
    fn plan_contains_the_faults_of_its_scenario() {
        let shape = Scenario::Workers.shape(Form::Long);
        let steps = plan(Scenario::Workers, &shape, 1);
        assert_eq!(steps.len(), 50);
        assert!(steps.iter().all(|step| matches!(step.fault, Fault::Kill(Process::Worker(_), _))));
        assert!(steps.is_sorted_by_key(|step| step.at));
        let shape = Scenario::All.shape(Form::Long);
        let steps = plan(Scenario::All, &shape, 1);
        let is = |test: fn(&Fault) -> bool| steps.iter().any(|step| test(&step.fault));
        assert!(is(|fault| matches!(fault, Fault::Kill(Process::Gateway(_), _))));
        assert!(is(|fault| matches!(fault, Fault::Cut(..))));
        assert!(is(|fault| matches!(fault, Fault::Pause(..))));
        assert!(is(|fault| matches!(fault, Fault::Drain(..))));
    }
}
