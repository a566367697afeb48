//! Figures worked out from made-up facts.

use super::*;
use crate::{plan::tests as plan, text};

fn plan(mode: Mode) -> Plan {
    Plan { label: "a run".to_owned(), duration: Duration::from_secs(2), ..plan::example(mode) }
}

fn process(name: &str, cpu: f64) -> Process {
    Process {
        name: name.to_owned(),
        pid: 7,
        connecting_cpu: 0.001,
        cpu,
        resident_before: 1_000_000,
        resident_start: 1_020_000,
        resident_peak: 1_030_000,
        resident_end: 1_025_000,
    }
}

pub(crate) fn facts(own: f64) -> Facts {
    let cpu = Duration::from_millis(500);
    Facts {
        measured: Duration::from_secs(2),
        sent: 100,
        done: 990,
        account: Account { delivered: 990, ..Account::default() },
        latency: Summary { count: 990, p50: 100.0, ..Summary::default() },
        over_time: [0, 1].map(|at| (Duration::from_secs(at), Summary::default())).into(),
        processes: Vec::from([process("gateway", 0.3), process("worker", 0.2)]),
        own: process("bench", own),
        samples: Vec::from([
            Sample { at: 1.0, done: 500, cpu, resident: 9 },
            Sample { at: 2.0, done: 990, cpu: cpu * 2, resident: 9 },
        ]),
        ..Facts::default()
    }
}

pub(crate) fn report() -> Report {
    Report::new(&plan(Mode::Fanout), facts(0.5))
}

#[expect(clippy::float_cmp, reason = "exact by construction")]
#[test]
fn cost_is_server_cpu_per_delivery() {
    let report = report();
    assert_eq!(report.servers.cpu_us_each, Some(0.5 * 1e6 / 990.0));
    assert_eq!(report.servers.cores, 0.25);
    assert_eq!(report.servers.bytes_each, 5000.0);
    assert_eq!(report.servers.connecting_us_each, 200.0);
    assert_eq!(report.per_second, 495.0);
    assert_eq!(report.parts[0].per_second, 500.0);
    assert_eq!(report.parts[1].cpu_us_each, Some(500_000.0 / 490.0));
    assert!(report.parts.iter().all(|part| part.latency_us.is_some()));
}

#[test]
fn undelivered_messages_count_as_lost_per_recipient() {
    let report = report();
    assert_eq!((report.messages.expected, report.messages.lost), (1000, 10));
    assert!(!report.messages.is_clean());
    assert!(text::render(&report).contains("10 lost"));
}

#[test]
fn busy_generator_is_reported_as_the_limit() {
    assert_eq!(report().generator.limit, None);
    let busy = Report::new(&plan(Mode::Fanout), facts(1.9));
    assert!(busy.generator.limit.is_some());
    assert!(text::render(&busy).contains("WARNING"));
}

#[test]
fn late_generator_is_reported_as_the_limit() {
    let lag = Summary { count: 9, p50: 60.0, ..Summary::default() };
    let late = Report::new(&plan(Mode::Paced), Facts { lag, ..facts(0.1) });
    assert!(late.generator.limit.is_some());
}

#[test]
fn page_has_no_external_references() {
    let mut report = report();
    report.label = "<script>".to_owned();
    let page = crate::html::page(&report);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(!page.contains("src=") && !page.contains("href="));
}
