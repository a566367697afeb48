//! Judges the status of gateways.

use std::collections::BTreeMap;

use push_suite_cluster::GatewayStatus;

use super::{Finding, Severity, Topic};
use crate::output::bytes;

/// The difference of clocks that is worth a warning, in milliseconds: tokens allow 30 seconds.
const CLOCK: u64 = 5_000;

/// The part of a limit that is worth a warning, in percent.
const NEARLY: u64 = 80;

/// Finds out what is wrong with a gateway.
pub(super) fn judge(status: &GatewayStatus, now: u64, findings: &mut Vec<Finding>) {
    let at = status.address;
    let mut warn = |topic, problem: String, next: String| {
        findings.push(Finding { severity: Severity::Warning, topic, problem, next });
    };
    if status.draining {
        let clients = status.clients;
        warn(
            Topic::Connection,
            format!("gateway {at} drains: {clients} clients are left"),
            "it ends by itself; its clients connect to other gateways".to_owned(),
        );
    } else if !status.not_ready.is_empty() {
        warn(
            Topic::Connection,
            format!("gateway {at} is not ready: {}", status.not_ready.join("; ")),
            "docs/running.md lists the conditions of /readyz".to_owned(),
        );
    }
    if status.slow_clients != 0 {
        let queued = bytes(status.queue_bytes);
        warn(
            Topic::Clients,
            format!(
                "{} not read at gateway {at}: {queued} are queued",
                clients_do(status.slow_clients)
            ),
            format!("`gwctl clients --slow --gateway {at}` shows them; `gwctl kick` closes one"),
        );
    }
    let difference = status.now.abs_diff(now);
    if CLOCK < difference {
        warn(
            Topic::Clock,
            format!(
                "the clock of gateway {at} differs by {} s from this host's",
                difference / 1000
            ),
            "run NTP on every host (`timedatectl`): tokens are checked with the clock".to_owned(),
        );
    }
    let limits = [
        ("open connections", "--max-connections", status.connections, Some(status.max_connections)),
        (
            "open files",
            "LimitNOFILE of its unit",
            status.descriptors.unwrap_or(0),
            status.descriptor_limit,
        ),
        ("memory of clients", "--memory-budget", status.client_bytes, status.client_bytes_limit),
    ];
    for (thing, setting, used, limit) in limits {
        let Some(limit) = limit.filter(|limit| *limit != 0) else { continue };
        let percent = used.saturating_mul(100) / limit;
        if NEARLY <= percent {
            warn(
                Topic::Limits,
                format!("gateway {at} uses {percent} % of its {thing}: {used} of {limit}"),
                format!("raise {setting}, or add a gateway"),
            );
        }
    }
    let pressed = status.threads.iter().filter(|thread| thread.pressed).count();
    if pressed != 0 {
        warn(
            Topic::Limits,
            format!("memory is short on {pressed} threads of gateway {at}"),
            "raise --memory-budget, or find the clients that hold most: `gwctl clients --slow`"
                .to_owned(),
        );
    }
}

/// Compares gateways with each other.
pub(super) fn compare<'a>(
    statuses: impl Iterator<Item = &'a GatewayStatus>,
    findings: &mut Vec<Finding>,
) {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for status in statuses {
        let commit = status.commit.iter().map(|commit| format!(" ({commit})"));
        let version: String = [status.version.clone()].into_iter().chain(commit).collect();
        versions.entry(version).or_default().push(status.address.to_string());
    }
    if 1 < versions.len() {
        let of = |(version, at): (&String, &Vec<String>)| format!("{version} at {}", at.join(", "));
        let versions: Vec<String> = versions.iter().map(of).collect();
        findings.push(Finding {
            severity: Severity::Warning,
            topic: Topic::Versions,
            problem: format!("gateways have different versions: {}", versions.join("; ")),
            next: "finish the update: docs/running.md has the order".to_owned(),
        });
    }
}

fn clients_do(count: u64) -> String {
    match count {
        1 => "1 client does".to_owned(),
        count => format!("{count} clients do"),
    }
}
