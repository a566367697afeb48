//! Reports on forwarded messages, compared with the connections that clients had.

use std::cell::RefCell;

use simulated::control;
use test_support::{
    account::{ConnectionLog, Disconnection, End},
    message::Kind,
    worker::Reported,
};

use crate::{
    known_gaps::{GatewayLoss, History},
    plan::{Fault, Plan, ProcessId},
    settings,
};

thread_local! {
    static REPORTS: RefCell<Vec<(usize, Reported)>> = const { RefCell::new(Vec::new()) };
}

/// Time in which a gateway notices, without a fault, that a client has disconnected.
const NOTICED: u64 = 1_000_000_000;

/// Maximum time until a fault has begun.
const NOTED: u64 = 20_000_000;

/// Time in which a worker does not notice that a gateway is silent.
const SILENT: u64 = (settings::PEER_TIMEOUT - 1) * 1_000_000_000;

/// Stores a report that a worker instance has received.
pub(crate) fn append(instance: usize, reported: Reported) {
    let Reported { request, report, .. } = &reported;
    let (token, number) = (request.from.to_u64(), u64::from(request.number));
    let unreachable = report.unreachable.len() as u64;
    control::note(
        "reported",
        &[instance as u64, token, number, report.matched, report.reached, unreachable],
    );
    REPORTS.with_borrow_mut(|reports| reports.push((instance, reported)));
}

/// Takes all reports, with the instances of their workers.
pub(crate) fn take() -> Vec<(usize, Reported)> {
    REPORTS.take()
}

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Reports.
    pub all: u64,
    /// Those whose count of reached clients is known, and compared.
    pub exact: u64,
    /// Those that name gateways that did not answer.
    pub incomplete: u64,
    /// Gateways named by them whose host had lost power, which the worker did not know.
    pub silent: u64,
}

/// The account that reports are compared with.
pub(crate) struct Comparison<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) history: &'a History,
    pub(crate) logs: &'a [ConnectionLog],
    pub(crate) disconnections: &'a [Disconnection],
}

impl Comparison<'_> {
    /// Compares all reports, and calls `fails` for each that is wrong.
    pub(crate) fn check(
        &self,
        reports: &[(usize, Reported)],
        mut fails: impl FnMut(String),
    ) -> Counts {
        let mut counts = Counts::default();
        for (instance, reported) in reports {
            if let Err(why) = self.compare(*instance, reported, &mut counts) {
                let Reported { request, kind, from, to, report } = reported;
                let (number, sender) = (request.number, request.from);
                fails(format!(
                    "report on {number} of {sender} ({kind:?}), {from} to {to} at {instance}: \
                     {report}, but {why}"
                ));
            }
        }
        counts
    }

    fn compare(
        &self,
        instance: usize,
        reported: &Reported,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let Reported { from, to, report, .. } = reported;
        let (from, to) = (*from, *to);
        let named: Vec<_> = report.unreachable.iter().map(std::net::SocketAddr::port).collect();
        counts.all += 1;
        counts.incomplete += u64::from(!named.is_empty());
        let known =
            |port: &u16| (0..self.plan.gateways.len()).any(|at| settings::inner(at) == *port);
        if !named.iter().all(known) || (1..named.len()).any(|at| named[..at].contains(&named[at])) {
            return Err("each gateway may be named once".to_owned());
        }
        if report.matched < report.reached + report.dropped {
            return Err("no more clients are reached than matched".to_owned());
        }
        // Each gateway counts the clients that it certainly has, or is named.
        let recipients = || self.logs.iter().filter(|log| is_recipient(log, reported));
        let unknown = |log: &ConnectionLog| {
            self.disconnections.iter().any(|it| {
                let same = it.process == instance && it.gateway == log.gateway;
                same && it.from <= to && from <= it.to
            })
        };
        let missed = |log: &ConnectionLog| named.contains(&log.gateway) || unknown(log);
        let certain = |log: &&ConnectionLog| self.is_certain(log, from, to);
        let counted = recipients().filter(certain).filter(|log| !missed(log)).count() as u64;
        if report.matched < counted {
            return Err(format!("{counted} clients were connected to the other gateways"));
        }
        for gateway in self.silent(instance, from, to) {
            counts.silent += 1;
            if !named.contains(&gateway) {
                return Err(format!("the host of {gateway} has no power"));
            }
        }
        if !self.history.is_calm(self.plan, from, to) || recipients().any(unknown) {
            return Ok(());
        }
        // Without a fault every gateway answers, and no other client counts.
        if !named.is_empty() {
            return Err("no fault keeps a gateway from answering".to_owned());
        }
        let is_possible = |log: &&ConnectionLog| log.began <= to && from <= log.ended + NOTICED;
        let possible = recipients().filter(is_possible).count() as u64;
        if possible < report.matched {
            return Err(format!("{possible} clients were connected"));
        }
        if possible != counted {
            return Ok(());
        }
        counts.exact += 1;
        if report.reached != counted {
            return Err(format!("{counted} clients were connected, and none closing"));
        }
        let lacks = |log: &&ConnectionLog| log.end == End::Stayed && !has_received(log, reported);
        match recipients().filter(is_possible).filter(lacks).count() {
            0 => Ok(()),
            lacking => Err(format!("{lacking} clients have not received it")),
        }
    }

    /// Whether a gateway has a connection from one time to the other, or until it is killed meanwhile, in
    /// which case it may have answered before.
    fn is_certain(&self, log: &ConnectionLog, from: u64, to: u64) -> bool {
        if log.joined.is_none_or(|joined| from < joined) {
            return false;
        }
        let (there, killed) = match self.next_loss(log) {
            None => (true, false),
            Some(GatewayLoss::Killed(at)) => (from < at, at <= to),
            Some(GatewayLoss::Drained(at)) => (to < at, false),
            Some(GatewayLoss::Fenced) => (false, false),
        };
        // The others stay for as long as their gateway does.
        let leaves = log.token.client.is_multiple_of(4);
        there && !(leaves && (killed || log.sent.last().is_none_or(|last| *last <= to)))
    }

    /// Gateways that a worker still had links to while their hosts were without power.
    fn silent(&self, instance: usize, from: u64, to: u64) -> impl Iterator<Item = u16> {
        self.plan.steps.iter().filter_map(move |step| {
            let Fault::Vanish(ProcessId::Gateway(gateway)) = step.fault else { return None };
            let (at, until) = (step.at.as_nanos() as u64, step.until.as_nanos() as u64);
            let within = at + NOTED <= from && from <= at + SILENT && to <= until;
            let linked = within && self.history.was_linked(self.plan, gateway, instance, at);
            let inner = settings::inner(gateway);
            let mut unknown = self.disconnections.iter().filter(|it| it.process == instance);
            (linked && !unknown.any(|it| it.gateway == inner && at <= it.to)).then_some(inner)
        })
    }

    fn next_loss(&self, log: &ConnectionLog) -> Option<GatewayLoss> {
        let mut gateways = 0..self.plan.gateways.len();
        let gateway = gateways.find(|number| settings::inner(*number) == log.gateway)?;
        self.history.next_loss(self.plan, gateway, log.began)
    }
}

/// Whether a forwarded message is for the client of a connection.
fn is_recipient(log: &ConnectionLog, reported: &Reported) -> bool {
    let sender = reported.request.from;
    match reported.kind {
        Kind::Echo => false,
        Kind::Uid => log.token.client == sender.partner(),
        Kind::Group => log.token.group_number() == sender.group_number(),
    }
}

fn has_received(log: &ConnectionLog, reported: &Reported) -> bool {
    let (request, kind) = (reported.request, reported.kind);
    let mut received = log.received.iter();
    received.any(|it| (it.from, it.number, it.kind) == (request.from, request.number, kind))
}
