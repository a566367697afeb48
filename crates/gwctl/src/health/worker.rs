//! Judges workers.

use std::time::Duration;

use push_suite_cluster::WorkerReport;

use super::{Cluster, Finding, Severity, Topic};
use crate::{names::plain, output::age};

/// The time without an acknowledgement after which a worker counts as standing still, in
/// milliseconds.
const STALLED: u64 = 5_000;

/// Whether a worker stands still: it has events, and has finished none of them for a while.
pub(crate) fn stands_still(worker: &WorkerReport) -> bool {
    worker.stalled().is_some_and(|millis| STALLED <= millis)
}

/// Finds out what is wrong with the workers.
pub(super) fn judge(cluster: &Cluster, findings: &mut Vec<Finding>) {
    let answered = cluster.statuses().next().is_some();
    if answered && cluster.workers.is_empty() {
        findings.push(Finding {
            severity: Severity::Critical,
            topic: Topic::Workers,
            problem:
                "no worker is linked: events wait, and after --no-worker-timeout their clients \
                      are closed"
                    .to_owned(),
            next: "start a worker with the same --register-address and secret, such as \
                   `systemctl start business-worker@1`, and read its log"
                .to_owned(),
        });
    }
    for worker in &cluster.workers {
        let key = plain(&worker.key);
        if stands_still(worker) {
            let time = age(Duration::from_millis(worker.stalled().unwrap_or(0)));
            let ((events, _), clients) = (worker.in_flight(), worker.clients());
            findings.push(Finding {
                severity: Severity::Critical,
                topic: Topic::Workers,
                problem: format!(
                    "worker {key} stands still: for {time} it has finished none of {}, and {}",
                    count(events, "event", "events"),
                    count(clients, "client waits", "clients wait"),
                ),
                next: format!(
                    "look at its CPU and its log, then restart it: its events go to other workers. \
                     `gwctl clients --worker {key}` shows its clients"
                ),
            });
        } else if worker.links.iter().any(|(_, link)| link.late) {
            findings.push(Finding {
                severity: Severity::Warning,
                topic: Topic::Workers,
                problem: format!("worker {key} is late to answer liveness probes"),
                next: "look at its CPU and its log, and at the network between".to_owned(),
            });
        }
        if !worker.missing.is_empty() {
            let missing: Vec<String> = worker.missing.iter().map(ToString::to_string).collect();
            let missing = missing.join(", ");
            findings.push(Finding {
                severity: Severity::Warning,
                topic: Topic::Workers,
                problem: format!("worker {key} is not linked to gateway {missing}"),
                next: format!("check that its host reaches {missing}, and read its log"),
            });
        }
    }
}

fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
