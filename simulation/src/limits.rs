//! What docs/guarantees.md names as not covered, as far as a run can prove that it applied: to the
//! clients of one gateway, around one moment.

use crate::{
    account::{Account, Apart, End, Life, Limit, Unpromised},
    cast,
    plan::{Fault, Plan, Who},
};

const SECOND: u64 = 1_000_000_000;

/// How soon after its links a gateway that dies is taken for one that died with them.
const PROMPT: u64 = 2 * SECOND;

/// How long it takes until a peer that is silent is given up, at the most.
const SILENT: u64 = (cast::BELIEVES + 1) * SECOND;

/// How long a worker believes in a gateway that no register names.
const fn grace(plan: &Plan) -> u64 {
    plan.grace * SECOND
}

/// How long it may take until workers have spoken for a gateway, or for one of them that did not.
const fn spoken(plan: &Plan) -> u64 {
    SILENT + 2 * grace(plan) + 4 * SECOND
}

/// How long it may take until two are linked that can be: an attempt that began before hangs for five
/// seconds, and the next is made up to two later.
const LINKED: u64 = 7 * SECOND;

/// How long it takes until a process that was started knows what the others know.
const READY: u64 = SECOND;

/// So soon after it was started nobody is linked to anybody.
const HARDLY: u64 = SECOND * 3 / 200;

/// A time in which something was so.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    to: u64,
}

impl Span {
    const fn overlaps(self, from: u64, to: u64) -> bool {
        self.from <= to && from <= self.to
    }
}

/// What a run knows of its processes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// From when to when which process was there. Those that are there still end at the end.
    lives: Vec<(Who, Span)>,
    /// The number of each of these lives.
    numbers: Vec<usize>,
    /// When gateways died, or were told that they were taken for dead.
    deaths: Vec<(usize, u64)>,
    /// From when to when gateways were on their way to their end.
    drains: Vec<(usize, Span)>,
    /// When which of them were killed on that way, or told that they were taken for dead.
    broken_off: Vec<(usize, u64)>,
}

impl History {
    pub(crate) fn started(&mut self, who: Who, number: usize, at: u64) {
        self.lives.push((who, Span { from: at, to: u64::MAX }));
        self.numbers.push(number);
    }

    pub(crate) fn ended(&mut self, who: Who, at: u64) {
        if let Some((_, life)) = self.lives.iter_mut().rev().find(|(known, _)| *known == who) {
            life.to = life.to.min(at);
        }
        if let Who::Gateway(number) = who {
            self.deaths.push((number, at));
            if let Some((_, drain)) = self.drains.iter_mut().rev().find(|it| it.0 == number) {
                drain.to = drain.to.min(at);
            }
        }
    }

    /// Whether a gateway has died since that time.
    pub(crate) fn has_died_since(&self, gateway: usize, since: u64) -> bool {
        self.deaths.iter().any(|(known, at)| *known == gateway && since <= *at)
    }

    pub(crate) fn asked_to_end(&mut self, gateway: usize, at: u64) {
        self.drains.push((gateway, Span { from: at, to: u64::MAX }));
    }

    /// A gateway that was on its way to its end did not get there: it was killed, or taken for dead.
    pub(crate) fn broken_off(&mut self, gateway: usize, at: u64) {
        self.broken_off.push((gateway, at));
    }

    /// What a client sent to a gateway that was cut off from it while it waited for the last words
    /// of its clients may have come too late; and what it sent to one that did not come to its end as
    /// it should is lost with that.
    pub(crate) fn cut_short(&self, plan: &Plan, life: &mut Life) {
        let mut drains = self.drains.iter().filter(|(gateway, drain)| {
            cast::inner(*gateway) == life.gateway && drain.overlaps(life.began, life.ended)
        });
        let cut_off = |gateway: usize, drain: Span| {
            plan.steps.iter().any(|step| {
                let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
                step.fault == Fault::Isolate(Who::Gateway(gateway)) && drain.overlaps(from, to)
            })
        };
        let lost = drains.any(|(gateway, drain)| {
            self.broken_off.contains(&(*gateway, drain.to)) || cut_off(*gateway, *drain)
        });
        let told = matches!(life.end, End::Left | End::Closed(_));
        if told && lost {
            life.end = End::Closed(None);
        }
    }

    /// Tells the account what is not promised.
    pub(crate) fn limits(&self, plan: &Plan, account: &mut Account) {
        for &(gateway, at) in &self.deaths {
            let limit = |unpromised| Limit {
                gateway: cast::inner(gateway),
                from: at.saturating_sub(spoken(plan)),
                to: at + PROMPT,
                unpromised,
            };
            if !self.is_survived(plan, gateway, at) && self.is_lonely(plan, gateway, at) {
                account.limit(limit(Unpromised::Told));
            }
            let mut workers = (0..plan.workers).map(Who::Worker);
            if workers.any(|worker| cut_off(plan, gateway, worker, at)) {
                account.limit(limit(Unpromised::ToldOnce));
            }
        }
        self.strangers(plan, account);
    }

    /// Whether a worker knew all clients of a gateway that died, as owner or as standby, and was there
    /// until it must have closed them: there are no more workers than each client has holders.
    fn is_survived(&self, plan: &Plan, gateway: usize, at: u64) -> bool {
        let workers = self.lives.iter().filter(|(who, _)| matches!(who, Who::Worker(_)));
        let mut holders = workers.filter(|(_, life)| life.from + READY <= at && at <= life.to);
        let gateway = Who::Gateway(gateway);
        holders.any(|(who, life)| {
            let knew =
                !hinders(plan, gateway, *who, at) && !hinders(plan, gateway, *who, at - READY);
            knew && at + spoken(plan) <= life.to
        })
    }

    /// Whether, from when a gateway died until others could have closed its clients, there was a moment
    /// when fewer than two workers could know of them, or pass on what they know: they, a register and,
    /// if there is any, another gateway were there, had been for a while, and nothing was in the way.
    fn is_lonely(&self, plan: &Plan, gateway: usize, at: u64) -> bool {
        let others = (0..plan.gateways.len()).filter(|other| *other != gateway).map(Who::Gateway);
        let (others, registers): (Vec<_>, Vec<_>) =
            (others.collect(), (0..plan.registers).map(Who::Register).collect());
        let mut times =
            (at.saturating_sub(LINKED)..at + spoken(plan)).step_by(SECOND as usize / 10);
        times.any(|at| {
            let count = |of: &[Who]| of.iter().filter(|who| self.is_fit(plan, **who, at)).count();
            let workers = (0..plan.workers).map(Who::Worker).collect::<Vec<_>>();
            count(&workers) < 2 || count(&registers) == 0 || count(&others) == 0
        })
    }

    /// Whether a process is there, has been for a while, and nothing hinders it, nor did a moment ago.
    fn is_fit(&self, plan: &Plan, who: Who, at: u64) -> bool {
        let mut lives = self.lives.iter().filter(|(known, _)| *known == who);
        lives.any(|(_, life)| life.from + READY <= at && at <= life.to)
            && !plan.steps.iter().any(|step| {
                let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
                concerns(step.fault, who) && from <= at && at <= to + LINKED
            })
    }

    /// Tells the account which workers did not know which lives of gateways, and when.
    fn strangers(&self, plan: &Plan, account: &mut Account) {
        for (who, life) in &self.lives {
            let Who::Gateway(number) = *who else { continue };
            let lives = self.lives.iter().zip(&self.numbers);
            let workers = lives.filter(|((who, _), _)| matches!(who, Who::Worker(_)));
            for (worker, process) in workers.filter(|((_, at), _)| at.overlaps(life.from, life.to))
            {
                if let Some(Span { from, to }) = self.apart(plan, (number, *life), *worker) {
                    let (process, gateway) = (*process, cast::inner(number));
                    account.apart(Apart { process, gateway, from, to });
                }
            }
        }
    }

    /// When a worker had not heard of this life of a gateway, or had not reached it within the grace, and
    /// no other worker took its events.
    fn apart(&self, plan: &Plan, gateway: (usize, Span), worker: (Who, Span)) -> Option<Span> {
        let ((gateway, there), (worker, here)) = (gateway, worker);
        let from = there.from.max(here.from);
        let last = plan.steps.iter().map(|step| step.until.as_nanos() as u64).max().unwrap_or(0);
        let to = there.to.min(here.to).min(last + LINKED);
        let until = |so: &dyn Fn(u64) -> bool| {
            let mut times = (from + HARDLY..=to).step_by(SECOND as usize / 10);
            times.find(|at| !so(*at)).unwrap_or(to)
        };
        let gateway = Who::Gateway(gateway);
        let unheard = until(&|at| {
            let mut registers = (0..plan.registers).map(Who::Register);
            registers
                .all(|it| self.hides(plan, it, gateway, at) || self.hides(plan, it, worker, at))
        });
        let unreached = until(&|at| hinders(plan, gateway, worker, at));
        // What was sent from when it was heard of, and waited, is given up then.
        let in_vain = from + grace(plan) <= unreached
            && self.is_alone(plan, worker, from, from + grace(plan));
        let to = if in_vain { unheard.max(unreached) } else { unheard };
        (from < to).then_some(Span { from, to })
    }

    /// Whether there was a moment between two times when no other worker reached every gateway, or no
    /// register could tell.
    fn is_alone(&self, plan: &Plan, worker: Who, from: u64, to: u64) -> bool {
        (from..to).step_by(SECOND as usize / 10).any(|at| {
            let mut others = (0..plan.workers).map(Who::Worker).filter(|other| *other != worker);
            let mut registers = (0..plan.registers).map(Who::Register);
            let is_fit = |who| self.is_fit(plan, who, at);
            !others.any(is_fit) || !registers.any(is_fit)
        })
    }

    /// Whether a register and another may not know of each other: one of them is away, or something
    /// is in their way.
    fn hides(&self, plan: &Plan, register: Who, other: Who, at: u64) -> bool {
        let is_there = |who| {
            let mut lives = self.lives.iter().filter(|(known, _)| *known == who);
            lives.any(|(_, life)| life.from + 2 * SECOND <= at && at <= life.to)
        };
        !is_there(register) || !is_there(other) || hinders(plan, register, other, at)
    }
}

/// Whether that worker was cut off from a gateway soon before.
fn cut_off(plan: &Plan, gateway: usize, worker: Who, at: u64) -> bool {
    let gateway = Who::Gateway(gateway);
    let cuts = |fault| match fault {
        Fault::Isolate(who) => who == gateway || who == worker,
        Fault::Block(one, other) | Fault::Cut(one, other, _) | Fault::SlowDown(one, other, _) => {
            [(one, other), (other, one)].contains(&(gateway, worker))
        }
        Fault::Pause(_) | Fault::Kill(_) | Fault::Vanish(_) | Fault::Drain(_) => false,
    };
    soon_before(plan, at, cuts)
}

/// Whether there was such a fault, or may still have been one for somebody who has not noticed its end.
fn soon_before(plan: &Plan, at: u64, such: impl Fn(Fault) -> bool) -> bool {
    plan.steps.iter().any(|step| {
        let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
        such(step.fault) && from <= at && at <= to + SILENT + PROMPT
    })
}

/// Whether a fault is in the way of a process, or of one of its links; ends of processes are not.
fn concerns(fault: Fault, who: Who) -> bool {
    match fault {
        Fault::Pause(of) | Fault::Isolate(of) | Fault::Vanish(of) => of == who,
        Fault::Block(one, other) | Fault::Cut(one, other, _) | Fault::SlowDown(one, other, _) => {
            [one, other].contains(&who)
        }
        Fault::Kill(_) | Fault::Drain(_) => false,
    }
}

/// Whether something is in the way of a link between two, or was until a moment ago.
fn hinders(plan: &Plan, one: Who, other: Who, at: u64) -> bool {
    let hinders = |fault| match fault {
        Fault::Pause(who) | Fault::Isolate(who) | Fault::Vanish(who) => who == one || who == other,
        Fault::Block(from, to) | Fault::Cut(from, to, _) | Fault::SlowDown(from, to, _) => {
            [(from, to), (to, from)].contains(&(one, other))
        }
        Fault::Kill(_) | Fault::Drain(_) => false,
    };
    plan.steps.iter().any(|step| {
        let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
        hinders(step.fault) && from <= at && at <= to + LINKED
    })
}
