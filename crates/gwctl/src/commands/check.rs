//! `check`: the state of the cluster for monitoring systems, by topic.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, certificates::certificates, observe::observe, registers::registers};
use crate::{
    failure::Failure,
    health::{Finding, Severity, Topic, judge_refused},
    output::{Page, Paint, View, age},
    session::Session,
};

/// Every topic, in the order of their output.
const ALL: [Topic; 8] = [
    Topic::Connection,
    Topic::Delivery,
    Topic::Workers,
    Topic::Clients,
    Topic::Clock,
    Topic::Limits,
    Topic::Versions,
    Topic::Certificates,
];

/// The time for a delivery that is worth a warning.
const SLOW_DELIVERY: Duration = Duration::from_secs(1);

/// Checks the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The topics; all by default
    #[arg(value_enum, value_name = "TOPIC")]
    topics: Vec<Topic>,
}

/// The state of a topic or of all, with the exit codes that monitoring systems expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    const fn paint(self) -> Paint {
        match self {
            Self::Ok => Paint::Green,
            Self::Warning => Paint::Yellow,
            Self::Critical | Self::Unknown => Paint::Red,
        }
    }
}

#[derive(Debug, Serialize)]
struct Checked {
    state: State,
    checks: Vec<Checks>,
}

/// The result for one topic.
#[derive(Debug, Serialize)]
struct Checks {
    topic: Topic,
    state: State,
    /// The measured value, if there is one.
    detail: Option<String>,
    findings: Vec<Finding>,
}

impl Checks {
    fn new(topic: Topic, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.severity).max();
        let state = match worst {
            None => State::Ok,
            Some(Severity::Warning) => State::Warning,
            Some(Severity::Critical) => State::Critical,
        };
        Self { topic, state, detail: None, findings }
    }

    fn unknown(topic: Topic) -> Self {
        let detail = Some("not checked: no gateway is connected".to_owned());
        Self { topic, state: State::Unknown, detail, findings: Vec::new() }
    }
}

impl Check {
    pub(crate) async fn run(self, context: &Context) -> Result<u8, Failure> {
        let topics = if self.topics.is_empty() { ALL.to_vec() } else { self.topics.clone() };
        let (connection, refused) = connection(context).await?;
        let observed = match Session::open(&context.settings).await {
            Ok(session) => observe(context, &session).await.ok().map(|cluster| (session, cluster)),
            Err(_) => None,
        };
        let mut checks = Vec::new();
        for topic in ALL.into_iter().filter(|topic| topics.contains(topic)) {
            let of_topic = |findings: Vec<Finding>| {
                findings.into_iter().filter(|finding| finding.topic == topic).collect::<Vec<_>>()
            };
            checks.push(match (topic, &observed) {
                (Topic::Connection, None) => {
                    Checks::new(topic, [&connection[..], &refused].concat())
                }
                (Topic::Connection, Some((_, cluster))) => {
                    let mut all = of_topic(cluster.findings());
                    all.extend(connection.iter().cloned());
                    let count = cluster.statuses().count();
                    let detail = Some(format!("{count} gateways accept the secret"));
                    Checks { detail, ..Checks::new(topic, all) }
                }
                (topic, None) => Checks::unknown(topic),
                (Topic::Delivery, Some((session, _))) => delivery(session).await?,
                (Topic::Certificates, Some((session, cluster))) => {
                    let gateways: Vec<_> = cluster.statuses().map(|it| it.address).collect();
                    let (findings, detail) =
                        certificates(&context.settings, session, &gateways).await?;
                    Checks { detail: Some(detail), ..Checks::new(topic, findings) }
                }
                (topic, Some((_, cluster))) => Checks::new(topic, of_topic(cluster.findings())),
            });
        }
        let state = checks.iter().map(|checks| checks.state);
        // A topic that is unknown does not hide that another is critical.
        let known = state.clone().filter(|state| *state != State::Unknown).max();
        let state = match known {
            Some(State::Critical) => State::Critical,
            _ => state.max().unwrap_or(State::Unknown),
        };
        context.output.show(&Checked { state, checks })
    }
}

/// Connects to each register. Returns what is wrong with registers, and with peers that they
/// refuse, of which the state of the cluster has the same.
async fn connection(context: &Context) -> Result<(Vec<Finding>, Vec<Finding>), Failure> {
    let mut findings = Vec::new();
    let registers = registers(&context.settings).await?;
    let all = registers.iter().all(|register| !register.connected);
    let refused = judge_refused(registers.iter().flat_map(|register| &register.refused).cloned());
    for register in registers {
        let severity = match (register.connected, all) {
            (true, _) if register.problem.is_none() => continue,
            (true, _) | (_, true) => Severity::Critical,
            (false, false) => Severity::Warning,
        };
        findings.push(Finding {
            severity,
            topic: Topic::Connection,
            problem: register.problem.unwrap_or_else(|| format!("{}: no answer", register.address)),
            next: register.next.unwrap_or_default(),
        });
    }
    Ok((findings, refused))
}

/// Sends a message to a group without members: every thread of every gateway executes that, and
/// reports.
async fn delivery(session: &Session) -> Result<Checks, Failure> {
    let group = format!("gwctl.check.{:016x}", runtime::random::random::<u64>());
    let started = Instant::now();
    let report = session.cluster().send_to_group(group, "").report_within(session.time).await?;
    let took = started.elapsed();
    let mut findings: Vec<Finding> = report
        .unreachable
        .iter()
        .map(|gateway| Finding {
            severity: Severity::Critical,
            topic: Topic::Delivery,
            problem: format!("gateway {gateway} did not execute a message in time"),
            next: format!("the process at {gateway} is stopped or overloaded: look at its CPU"),
        })
        .collect();
    if findings.is_empty() && SLOW_DELIVERY < took {
        findings.push(Finding {
            severity: Severity::Warning,
            topic: Topic::Delivery,
            problem: format!("a message took {}", age(took)),
            next: "look at the CPU of the gateways, and at the network between".to_owned(),
        });
    }
    let detail = Some(format!("executed by every gateway in {}", age(took)));
    let detail = detail.filter(|_| report.is_complete());
    Ok(Checks { detail, ..Checks::new(Topic::Delivery, findings) })
}

impl View for Checked {
    fn show(&self, page: &mut Page) {
        let bad = self.checks.iter().filter(|checks| checks.state != State::Ok).count();
        let all = self.checks.len();
        let first = match bad {
            0 => format!("OK: {all} checks"),
            bad => format!("{}: {bad} of {all} checks", self.state.name().to_uppercase()),
        };
        page.painted(self.state.paint(), first);
        for Checks { topic, state, detail, findings } in &self.checks {
            let detail = detail.iter().map(|detail| format!(": {detail}"));
            let detail: String = detail.collect();
            let topic = format!("{topic:?}").to_lowercase();
            page.painted(state.paint(), format!("{:8} {topic}{detail}", state.name()));
            for Finding { problem, next, .. } in findings {
                page.line(format!("         {problem}"));
                page.line(format!("           next: {next}"));
            }
        }
    }

    fn code(&self) -> u8 {
        self.state as u8
    }
}
