//! Judges workers.

use std::time::Duration;

use push_suite_cluster::{PeerStatus, WorkerReport};

use super::{Cluster, Finding, Severity, Topic};
use crate::{names::plain, output::age};

/// The time without an acknowledgement after which a worker counts as standing still, in
/// milliseconds.
const STALLED: u64 = 5_000;

/// The resolution of that time, in milliseconds.
const RESOLUTION: u64 = 250;

/// Whether a worker stands still: it has events, and has finished none of them for a while.
pub(crate) fn stands_still(worker: &WorkerReport) -> bool {
    worker.stalled().is_some_and(|millis| STALLED <= millis)
}

/// Whether it has sent nothing since it finished its last event, not even answers to liveness
/// probes: its process is stopped, and not only its handlers.
fn is_silent(worker: &WorkerReport) -> bool {
    let since = |link: &PeerStatus| link.stalled.map_or(0, |it| it.saturating_sub(RESOLUTION));
    worker
        .links
        .iter()
        .filter(|(_, link)| link.stalled.is_some())
        .all(|(_, link)| link.late || since(link) <= link.silent)
}

/// How to restart it: of a worker with the packaged settings, the unit and its host.
fn restart(worker: &WorkerReport) -> String {
    let mut parts = worker.key.rsplitn(3, ':');
    match (parts.next(), parts.next(), parts.next(), &worker.instance) {
        (Some(id), Some("BusinessWorker"), Some(host), Some(_)) => {
            let (id, host) = (plain(id), plain(host));
            format!("restart it (`systemctl restart business-worker@{id}` on {host})")
        }
        _ => "restart it".to_owned(),
    }
}

fn still(worker: &WorkerReport, key: &str) -> Finding {
    let time = age(Duration::from_millis(worker.stalled().unwrap_or(0)));
    let ((events, _), clients) = (worker.in_flight(), worker.clients());
    let (events, clients) =
        (count(events, "event", "events"), count(clients, "client waits", "clients wait"));
    let restart = restart(worker);
    let (fact, cause) = match is_silent(worker) {
        true => (
            format!("for {time} it has finished none of {events} and sent nothing, and {clients}"),
            format!("its process is stopped, or its host is overloaded: {restart}"),
        ),
        false => (
            format!(
                "for {time} it has finished none of {events}, and {clients}; it answers liveness \
                 probes, so its handlers hang"
            ),
            format!(
                "mend what its handlers wait for, such as a database or an HTTP service, or \
                 {restart}"
            ),
        ),
    };
    Finding {
        severity: Severity::Critical,
        topic: Topic::Workers,
        problem: format!("worker {key} stands still: {fact}"),
        next: format!(
            "{cause}. Its events go to other workers then; `gwctl clients --worker {key}` shows \
             its clients"
        ),
    }
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
            findings.push(still(worker, &key));
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
