//! The gaps that docs/guarantees.md names, where a run can prove that one applied: to the clients of one
//! gateway, around one moment.

use test_support::account::{Account, ConnectionLog, Disconnection, End, Exemption, Guarantee};

use crate::{
    plan::{Fault, Plan, ProcessId},
    settings,
};

const SECOND: u64 = 1_000_000_000;

/// Maximum time between the loss of its links and the death of a gateway that count as one failure.
const PROMPT: u64 = 2 * SECOND;

/// Maximum time until a silent peer is disconnected.
const SILENT: u64 = (settings::PEER_TIMEOUT + 1) * SECOND;

/// How long a worker waits for a gateway that no register lists.
const fn grace(plan: &Plan) -> u64 {
    plan.grace * SECOND
}

/// Maximum time until workers have closed the clients of a dead gateway, takeovers included.
const fn cleanup_time(plan: &Plan) -> u64 {
    SILENT + 2 * grace(plan) + 4 * SECOND
}

/// Maximum time until two reachable processes are linked: an earlier attempt hangs for five seconds, and
/// the next starts up to two seconds later.
const LINKED: u64 = 7 * SECOND;

/// Time until a started process has the state that the others have.
const READY: u64 = SECOND;

/// Time after a start in which no link exists yet.
const STARTUP: u64 = SECOND * 3 / 200;

/// An interval of time.
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

/// The end of a gateway for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayLoss {
    /// It was killed, or its host lost power.
    Killed(u64),
    /// It began to drain.
    Drained(u64),
    /// It found itself declared dead, and that at an unknown time.
    Fenced,
}

/// The history of a run's processes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The lifetime of each process. Running processes have no end.
    runs: Vec<(ProcessId, Span)>,
    /// The instance number of each of these.
    instances: Vec<usize>,
    /// When gateways died, or were fenced.
    deaths: Vec<(usize, u64)>,
    /// The drains of gateways.
    drains: Vec<(usize, Span)>,
    /// When draining gateways were killed or fenced.
    broken_off: Vec<(usize, u64)>,
}

impl History {
    pub(crate) fn started(&mut self, id: ProcessId, number: usize, at: u64) {
        self.runs.push((id, Span { from: at, to: u64::MAX }));
        self.instances.push(number);
    }

    pub(crate) fn ended(&mut self, id: ProcessId, at: u64) {
        if let Some((_, run)) = self.runs.iter_mut().rev().find(|(known, _)| *known == id) {
            run.to = run.to.min(at);
        }
        if let ProcessId::Gateway(number) = id {
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

    pub(crate) fn drain_started(&mut self, gateway: usize, at: u64) {
        self.drains.push((gateway, Span { from: at, to: u64::MAX }));
    }

    /// A draining gateway did not finish: it was killed or fenced.
    pub(crate) fn broken_off(&mut self, gateway: usize, at: u64) {
        self.broken_off.push((gateway, at));
    }

    /// Client data in flight may be late for a draining gateway that is partitioned from its clients, and is
    /// lost with a draining gateway that does not finish.
    pub(crate) fn cut_short(&self, plan: &Plan, log: &mut ConnectionLog) {
        let mut drains = self.drains.iter().filter(|(gateway, drain)| {
            settings::inner(*gateway) == log.gateway && drain.overlaps(log.began, log.ended)
        });
        let cut_off = |gateway: usize, drain: Span| {
            plan.steps.iter().any(|step| {
                let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
                step.fault == Fault::Isolate(ProcessId::Gateway(gateway))
                    && drain.overlaps(from, to)
            })
        };
        let lost = drains.any(|(gateway, drain)| {
            self.broken_off.contains(&(*gateway, drain.to)) || cut_off(*gateway, *drain)
        });
        let noticed = matches!(log.end, End::Left | End::Closed(_));
        if noticed && lost {
            log.end = End::Closed(None);
        }
    }

    /// Adds the gaps that applied to the account.
    pub(crate) fn add_gaps(&self, plan: &Plan, account: &mut Account) {
        for &(gateway, at) in &self.deaths {
            let exemption = |guarantee| Exemption {
                gateway: settings::inner(gateway),
                from: at.saturating_sub(cleanup_time(plan)),
                to: at + PROMPT,
                guarantee,
            };
            if !self.is_survived(plan, gateway, at) && self.lacked_two_workers(plan, gateway, at) {
                account.exempt(exemption(Guarantee::CloseDelivered));
            }
            let mut workers = (0..plan.workers).map(ProcessId::Worker);
            if workers.any(|worker| cut_off(plan, gateway, worker, at)) {
                account.exempt(exemption(Guarantee::CloseDeliveredOnce));
            }
        }
        for disconnection in self.disconnections(plan) {
            account.disconnection(disconnection);
        }
    }

    /// Whether a worker that knew all clients of a dead gateway, as owner or as standby, ran until it must have
    /// closed them: there are no more workers than each client has holders.
    fn is_survived(&self, plan: &Plan, gateway: usize, at: u64) -> bool {
        let workers = self.runs.iter().filter(|(id, _)| matches!(id, ProcessId::Worker(_)));
        let mut holders = workers.filter(|(_, run)| run.from + READY <= at && at <= run.to);
        let id_of_gateway = ProcessId::Gateway(gateway);
        let gateways = self.runs.iter().filter(|(id, run)| *id == id_of_gateway && run.to == at);
        let spans: Vec<_> = gateways.map(|(_, run)| *run).collect();
        holders.any(|(id, run)| {
            let is_apart = |at| hinders(plan, id_of_gateway, *id, at);
            // Without a register, a worker that started later does not know the gateway.
            let is_unknown = spans.iter().any(|span| {
                let apart = self.disconnection(plan, (gateway, *span), (*id, *run));
                apart.is_some_and(|apart| at < apart.to + READY)
            });
            let knew = !is_apart(at) && !is_apart(at - READY) && !is_unknown;
            knew && at + cleanup_time(plan) <= run.to
        })
    }

    /// Whether, between the death of a gateway and the time by which its clients could have been closed, there
    /// was a moment with fewer than two workers that had state of them and could hand it over. That takes
    /// them, a register and another gateway (if one exists), all running for a while without a fault.
    fn lacked_two_workers(&self, plan: &Plan, gateway: usize, at: u64) -> bool {
        let others =
            (0..plan.gateways.len()).filter(|other| *other != gateway).map(ProcessId::Gateway);
        let (others, registers): (Vec<_>, Vec<_>) =
            (others.collect(), (0..plan.registers).map(ProcessId::Register).collect());
        let mut times =
            (at.saturating_sub(LINKED)..at + cleanup_time(plan)).step_by(SECOND as usize / 10);
        times.any(|at| {
            let count =
                |of: &[ProcessId]| of.iter().filter(|id| self.is_fit(plan, **id, at)).count();
            let workers = (0..plan.workers).map(ProcessId::Worker).collect::<Vec<_>>();
            count(&workers) < 2 || count(&registers) == 0 || count(&others) == 0
        })
    }

    /// Whether a process has been running for a while without a fault now or just before.
    fn is_fit(&self, plan: &Plan, id: ProcessId, at: u64) -> bool {
        let mut runs = self.runs.iter().filter(|(known, _)| *known == id);
        runs.any(|(_, run)| run.from + READY <= at && at <= run.to)
            && !plan.steps.iter().any(|step| {
                let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
                concerns(step.fault, id) && from <= at && at <= to + LINKED
            })
    }

    /// Which workers did not know which gateway instances, and when.
    pub(crate) fn disconnections(&self, plan: &Plan) -> Vec<Disconnection> {
        let mut found = Vec::new();
        for (id, run) in &self.runs {
            let ProcessId::Gateway(number) = *id else { continue };
            let runs = self.runs.iter().zip(&self.instances);
            let workers = runs.filter(|((id, _), _)| matches!(id, ProcessId::Worker(_)));
            for (worker, process) in workers.filter(|((_, at), _)| at.overlaps(run.from, run.to)) {
                if let Some(Span { from, to }) = self.disconnection(plan, (number, *run), *worker) {
                    let (process, gateway) = (*process, settings::inner(number));
                    found.push(Disconnection { process, gateway, from, to });
                }
            }
        }
        found
    }

    /// The first time, since `since`, at which a gateway was killed, or began to close its clients.
    pub(crate) fn next_loss(&self, plan: &Plan, gateway: usize, since: u64) -> Option<GatewayLoss> {
        let deaths = self.deaths.iter().map(|&(number, at)| {
            let killed = plan.steps.iter().any(|step| {
                let begins = step.at.as_nanos() as u64;
                let id = ProcessId::Gateway(number);
                (step.fault == Fault::Kill(id) || step.fault == Fault::Vanish(id))
                    && (begins..begins + STARTUP).contains(&at)
            });
            (number, at, if killed { GatewayLoss::Killed(at) } else { GatewayLoss::Fenced })
        });
        let drains = self.drains.iter();
        let drains =
            drains.map(|(number, span)| (*number, span.from, GatewayLoss::Drained(span.from)));
        let losses =
            deaths.chain(drains).filter(|(number, at, _)| *number == gateway && since <= *at);
        losses.min_by_key(|(_, at, _)| *at).map(|(_, _, loss)| loss)
    }

    /// Whether a gateway that was killed at that time, by its plan, had a link to a worker instance.
    pub(crate) fn was_linked(&self, plan: &Plan, gateway: usize, instance: usize, at: u64) -> bool {
        let died = |&(number, death): &(usize, u64)| {
            number == gateway && (at..at + STARTUP).contains(&death)
        };
        let gateway = ProcessId::Gateway(gateway);
        let ran = |run: &Span| run.from + READY <= at && at <= run.to;
        let mut gateways = self.runs.iter().filter(|(id, _)| *id == gateway);
        let mut workers = self.runs.iter().zip(&self.instances);
        let worker = workers.find(|(_, number)| **number == instance);
        self.deaths.iter().any(died)
            && gateways.any(|(_, run)| ran(run))
            && worker.is_some_and(|((id, run), _)| ran(run) && !hinders(plan, gateway, *id, at - 1))
    }

    /// Whether no fault applied in an interval, nor so shortly before that a process may not have recovered.
    pub(crate) fn is_calm(&self, plan: &Plan, from: u64, to: u64) -> bool {
        let recent = |at: u64| at <= to && from <= at.saturating_add(LINKED);
        let drains = self.drains.iter().map(|(_, drain)| drain);
        plan.steps.iter().all(|step| {
            let (at, until) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
            to < at || until + LINKED < from
        }) && !self.deaths.iter().any(|(_, at)| recent(*at))
            && !drains.into_iter().any(|drain| drain.from <= to && from <= drain.to)
    }

    /// When a worker had not discovered this gateway instance, or had not reached it within the grace period,
    /// and no other worker took over its events.
    fn disconnection(
        &self,
        plan: &Plan,
        gateway: (usize, Span),
        worker: (ProcessId, Span),
    ) -> Option<Span> {
        let ((gateway, there), (worker, here)) = (gateway, worker);
        let from = there.from.max(here.from);
        let last = plan.steps.iter().map(|step| step.until.as_nanos() as u64).max().unwrap_or(0);
        let to = there.to.min(here.to).min(last + LINKED);
        let until = |so: &dyn Fn(u64) -> bool| {
            let mut times = (from + STARTUP..=to).step_by(SECOND as usize / 10);
            times.find(|at| !so(*at)).unwrap_or(to)
        };
        let gateway = ProcessId::Gateway(gateway);
        let undiscovered = until(&|at| {
            let mut registers = (0..plan.registers).map(ProcessId::Register);
            registers
                .all(|it| self.hides(plan, it, gateway, at) || self.hides(plan, it, worker, at))
        });
        let unreached = until(&|at| hinders(plan, gateway, worker, at));
        // Commands that were sent since its discovery, and waited, are dropped then.
        let dropped = from + grace(plan) <= unreached
            && self.is_alone(plan, worker, from, from + grace(plan));
        let to = if dropped { undiscovered.max(unreached) } else { undiscovered };
        (from < to).then_some(Span { from, to })
    }

    /// Whether there was a moment between two times when no other worker reached every gateway, or no
    /// register was available to report it.
    fn is_alone(&self, plan: &Plan, worker: ProcessId, from: u64, to: u64) -> bool {
        (from..to).step_by(SECOND as usize / 10).any(|at| {
            let mut others =
                (0..plan.workers).map(ProcessId::Worker).filter(|other| *other != worker);
            let mut registers = (0..plan.registers).map(ProcessId::Register);
            let is_fit = |id| self.is_fit(plan, id, at);
            !others.any(is_fit) || !registers.any(is_fit)
        })
    }

    /// Whether a register and another process may not know each other: one of them is down, or a fault
    /// separates them.
    fn hides(&self, plan: &Plan, register: ProcessId, other: ProcessId, at: u64) -> bool {
        let is_there = |id| {
            let mut runs = self.runs.iter().filter(|(known, _)| *known == id);
            runs.any(|(_, run)| run.from + 2 * SECOND <= at && at <= run.to)
        };
        !is_there(register) || !is_there(other) || hinders(plan, register, other, at)
    }
}

/// Whether that worker was partitioned from a gateway shortly before.
fn cut_off(plan: &Plan, gateway: usize, worker: ProcessId, at: u64) -> bool {
    let gateway = ProcessId::Gateway(gateway);
    let cuts = |fault| match fault {
        Fault::Isolate(id) => id == gateway || id == worker,
        Fault::Block(one, other) | Fault::Cut(one, other, _) | Fault::SlowDown(one, other, _) => {
            [(one, other), (other, one)].contains(&(gateway, worker))
        }
        Fault::Pause(_) | Fault::Kill(_) | Fault::Vanish(_) | Fault::Drain(_) => false,
    };
    soon_before(plan, at, cuts)
}

/// Whether there was such a fault, or a process may not have noticed its end yet.
fn soon_before(plan: &Plan, at: u64, such: impl Fn(Fault) -> bool) -> bool {
    plan.steps.iter().any(|step| {
        let (from, to) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
        such(step.fault) && from <= at && at <= to + SILENT + PROMPT
    })
}

/// Whether a fault affects a process or one of its links; terminations do not count.
fn concerns(fault: Fault, id: ProcessId) -> bool {
    match fault {
        Fault::Pause(of) | Fault::Isolate(of) | Fault::Vanish(of) => of == id,
        Fault::Block(one, other) | Fault::Cut(one, other, _) | Fault::SlowDown(one, other, _) => {
            [one, other].contains(&id)
        }
        Fault::Kill(_) | Fault::Drain(_) => false,
    }
}

/// Whether a fault separates two processes, or did until just before.
fn hinders(plan: &Plan, one: ProcessId, other: ProcessId, at: u64) -> bool {
    let hinders = |fault| match fault {
        Fault::Pause(id) | Fault::Isolate(id) | Fault::Vanish(id) => id == one || id == other,
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
