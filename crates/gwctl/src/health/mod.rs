//! The state of a cluster, judged: what is wrong, how bad it is, and the next step. Values.

mod certificate;
mod gateway;
mod refused;
mod worker;

use push_suite_cluster::{GatewayStatus, Status, WorkerReport};
use serde::Serialize;

use crate::output::Gap;

pub(crate) use certificate::judge as judge_certificate;
pub(crate) use refused::{Refused, judge as judge_refused, refused};
pub(crate) use worker::stands_still;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// Clients may not notice it yet.
    Warning,
    /// Clients notice it, or some cannot be reached.
    Critical,
}

/// The part of the cluster that a finding concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Topic {
    /// Registers and gateways are reachable and accept the secret
    Connection,
    /// A message takes its way through every thread of every gateway
    Delivery,
    /// Workers are linked to every gateway, and finish their events
    Workers,
    /// Clients read what is sent to them, and are read
    Clients,
    /// The clocks of the hosts agree
    Clock,
    /// No limit is nearly reached
    Limits,
    /// All gateways have the same version
    Versions,
    /// No certificate of gateways, registers or this program has expired, or does soon
    Certificates,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) topic: Topic,
    pub(crate) problem: String,
    /// The next step.
    pub(crate) next: String,
}

/// A gateway, and its status or why there is none.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) address: String,
    pub(crate) status: Result<GatewayStatus, Gap>,
}

/// Everything that is known of a cluster at one moment.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The registers that are configured.
    pub(crate) registers: usize,
    pub(crate) links: Status,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) workers: Vec<WorkerReport>,
    /// Peers that registers refuse.
    pub(crate) refused: Vec<Refused>,
    /// The local time, in milliseconds since the Unix epoch.
    pub(crate) now: u64,
}

impl Cluster {
    /// The statuses of the gateways that have answered.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = &GatewayStatus> {
        self.gateways.iter().filter_map(|gateway| gateway.status.as_ref().ok())
    }

    /// All that is wrong, the worst first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.links.registers < self.registers {
            let (connected, of) = (self.links.registers, self.registers);
            findings.push(Finding {
                severity: Severity::Warning,
                topic: Topic::Connection,
                problem: format!("{connected} of {of} registers are connected"),
                next: "`gwctl registers` names those that are not; the cluster works with one, \
                       but no gateway or worker can join without any"
                    .to_owned(),
            });
        }
        for gateway in &self.gateways {
            match &gateway.status {
                Ok(status) => gateway::judge(status, self.now, &mut findings),
                Err(gap) => findings.push(Finding {
                    severity: Severity::Critical,
                    topic: Topic::Connection,
                    problem: gap.problem.clone(),
                    next: gap.next.clone(),
                }),
            }
        }
        gateway::compare(self.statuses(), &mut findings);
        findings.extend(refused::judge(self.refused.iter().cloned()));
        worker::judge(self, &mut findings);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}
