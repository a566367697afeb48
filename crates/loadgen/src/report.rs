//! The report of a run: figures computed from measurements.

use std::time::Duration;

use serde::Serialize;

use crate::{
    account::Account,
    latency::Summary,
    plan::{Audience, Mode, Plan},
};

/// The raw measurements of a run.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) machine: String,
    pub(crate) connecting: Duration,
    pub(crate) measured: Duration,
    pub(crate) sent: u64,
    /// The unit that CPU time is divided by: deliveries, cycles, or answers.
    pub(crate) done: u64,
    pub(crate) answered: u64,
    pub(crate) connected: u64,
    pub(crate) broken: u64,
    pub(crate) skipped: u64,
    pub(crate) shed: u64,
    pub(crate) trouble: Option<String>,
    pub(crate) account: Account,
    pub(crate) latency: Summary,
    pub(crate) over_time: Vec<(Duration, Summary)>,
    pub(crate) lag: Summary,
    pub(crate) connect: Summary,
    pub(crate) processes: Vec<Process>,
    /// All processes of the generator together.
    pub(crate) own: Process,
    pub(crate) samples: Vec<Sample>,
}

/// The servers at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Seconds from the start.
    pub(crate) at: f64,
    pub(crate) done: u64,
    /// Of the servers, since the start.
    pub(crate) cpu: Duration,
    pub(crate) resident: u64,
}

/// The usage of a process: seconds and bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// While clients connected and prepared.
    pub(crate) connecting_cpu: f64,
    /// While it was measured.
    pub(crate) cpu: f64,
    pub(crate) resident_before: u64,
    pub(crate) resident_start: u64,
    pub(crate) resident_peak: u64,
    pub(crate) resident_end: u64,
}

impl Process {
    /// Adds another process of the same kind. Peaks need not have been at the same time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.connecting_cpu += other.connecting_cpu;
        self.cpu += other.cpu;
        self.resident_before += other.resident_before;
        self.resident_start += other.resident_start;
        self.resident_peak += other.resident_peak;
        self.resident_end += other.resident_end;
    }
}

/// The whole report, as `--json` writes it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) label: String,
    pub(crate) machine: String,
    pub(crate) mode: Mode,
    pub(crate) audience: Audience,
    pub(crate) server: String,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) window: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) senders: usize,
    pub(crate) seconds: f64,
    pub(crate) connecting_seconds: f64,
    pub(crate) messages: Messages,
    /// Bytes received per delivery, with frame headers; 0 if none were counted.
    pub(crate) bytes_each: f64,
    /// Deliveries (or cycles, or answers) a second.
    pub(crate) per_second: f64,
    /// The unit that CPU time is divided by: deliveries, cycles, or answers.
    pub(crate) unit: &'static str,
    pub(crate) latency_us: Summary,
    pub(crate) connect_us: Summary,
    pub(crate) send_lag_us: Summary,
    pub(crate) servers: Servers,
    pub(crate) generator: Generator,
    pub(crate) parts: Vec<Part>,
}

/// The outcome of messages and clients.
#[derive(Debug, Serialize)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    /// How often they were to arrive.
    pub(crate) expected: u64,
    #[serde(flatten)]
    pub(crate) account: Account,
    pub(crate) lost: u64,
    pub(crate) not_sent: u64,
    /// Messages that idle clients have answered.
    pub(crate) answered: u64,
    pub(crate) connected: u64,
    pub(crate) broken: u64,
    pub(crate) slow_closed: u64,
    pub(crate) trouble: Option<String>,
}

impl Messages {
    /// Whether everything arrived as it should have.
    pub(crate) fn is_clean(&self) -> bool {
        let account = &self.account;
        [self.lost, self.broken, self.not_sent, account.duplicated, account.out_of_order] == [0; 5]
            && account.damaged == 0
    }
}

/// All watched processes together.
#[derive(Debug, Serialize)]
pub(crate) struct Servers {
    pub(crate) cpu_seconds: f64,
    /// CPU per delivery, per cycle, or per answer.
    pub(crate) cpu_us_each: Option<f64>,
    pub(crate) cores: f64,
    /// Per client and second.
    pub(crate) cpu_us_client_second: f64,
    /// Per connection, while the clients connected.
    pub(crate) connecting_us_each: f64,
    /// Bytes per connection at the end, minus the memory before the first connection.
    pub(crate) bytes_each: f64,
    pub(crate) processes: Vec<Process>,
}

/// The generator's own cost.
#[derive(Debug, Serialize)]
pub(crate) struct Generator {
    pub(crate) processes: usize,
    /// Of all processes together.
    pub(crate) threads: usize,
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_each: Option<f64>,
    pub(crate) cores: f64,
    pub(crate) resident_peak: u64,
    /// Why the generator limits the figures, if it does.
    pub(crate) limit: Option<String>,
}

/// A part of the run, for the plots.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) at: f64,
    pub(crate) per_second: f64,
    pub(crate) latency_us: Option<Summary>,
    pub(crate) cpu_us_each: Option<f64>,
    pub(crate) resident: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Report {
    pub(crate) fn new(plan: &Plan, facts: Facts) -> Self {
        let seconds = facts.measured.as_secs_f64().max(f64::EPSILON);
        let expected = facts.sent * plan.receivers();
        let each = |cpu: f64| (0 < facts.done).then(|| cpu * 1e6 / facts.done as f64);
        let clients = plan.clients() as f64;
        let parts = parts(&facts, plan.duration);
        let (processes, own) = (facts.processes, facts.own);
        let total = |of: fn(&Process) -> f64| processes.iter().map(of).sum::<f64>();
        let cpu = total(|process| process.cpu);
        let servers = Servers {
            cpu_seconds: cpu,
            cpu_us_each: each(cpu).filter(|_| !processes.is_empty()),
            cores: cpu / seconds,
            cpu_us_client_second: cpu * 1e6 / seconds / clients,
            connecting_us_each: total(|process| process.connecting_cpu) * 1e6 / clients,
            bytes_each: total(|process| {
                process.resident_end as f64 - process.resident_before as f64
            }) / clients,
            processes,
        };
        let threads = plan.generators * plan.threads;
        let generator = Generator {
            processes: plan.generators,
            threads,
            cpu_seconds: own.cpu,
            cpu_us_each: each(own.cpu),
            cores: own.cpu / seconds,
            resident_peak: own.resident_peak,
            limit: limit(
                own.cpu / seconds / threads as f64,
                &facts.lag,
                &facts.latency,
                facts.skipped,
            ),
        };
        Self {
            label: plan.label.clone(),
            machine: facts.machine,
            mode: plan.mode,
            audience: plan.audience,
            server: servers_of(plan),
            connections: plan.connections,
            size: plan.size,
            window: plan.window,
            rate: plan.rate,
            senders: plan.senders,
            seconds,
            connecting_seconds: facts.connecting.as_secs_f64(),
            messages: Messages {
                sent: facts.sent,
                expected,
                lost: expected.saturating_sub(facts.account.delivered),
                account: facts.account,
                not_sent: facts.skipped,
                answered: facts.answered,
                connected: facts.connected,
                broken: facts.broken,
                slow_closed: facts.shed,
                trouble: facts.trouble,
            },
            bytes_each: facts.account.bytes as f64 / facts.account.delivered.max(1) as f64,
            per_second: facts.done as f64 / seconds,
            unit: match plan.mode {
                Mode::Churn | Mode::Storm => "cycle",
                Mode::Idle => "answer",
                _ => "delivery",
            },
            latency_us: facts.latency,
            connect_us: facts.connect,
            send_lag_us: facts.lag,
            servers,
            generator,
            parts,
        }
    }
}

fn servers_of(plan: &Plan) -> String {
    let addrs: Vec<String> = plan.targets.iter().map(|target| target.addr.to_string()).collect();
    addrs.join(", ")
}

/// A busy generator cannot measure the speed of the server, and one that sends late measures
/// itself.
fn limit(busy: f64, lag: &Summary, latency: &Summary, not_sent: u64) -> Option<String> {
    if 0 < not_sent {
        return Some(format!("{not_sent} messages were due and not sent"));
    }
    if 0.9 < busy {
        return Some(format!(
            "its threads are {:.0}% busy: give it more (--threads, --generators)",
            busy * 100.0
        ));
    }
    let late = 0 < lag.count && latency.p50 < 2.0 * lag.p50;
    late.then(|| format!("it sent {:.0} µs late, half of the latency or more", lag.p50))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn parts(facts: &Facts, duration: Duration) -> Vec<Part> {
    let mut before = Sample { at: 0.0, done: 0, cpu: Duration::ZERO, resident: 0 };
    let length = duration.as_secs_f64() / facts.samples.len().max(1) as f64;
    let watches = !facts.processes.is_empty();
    let part = |sample: &Sample| {
        let done = sample.done.saturating_sub(before.done) as f64;
        let cpu = sample.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
        let middle = (before.at + sample.at) / 2.0;
        let in_part = |(start, _): &&(Duration, Summary)| {
            (start.as_secs_f64()..start.as_secs_f64() + length).contains(&middle)
        };
        let part = Part {
            at: sample.at,
            per_second: done / (sample.at - before.at).max(f64::EPSILON),
            latency_us: facts.over_time.iter().find(in_part).map(|(_, summary)| *summary),
            cpu_us_each: (watches && 0.0 < done).then_some(cpu / done),
            resident: sample.resident,
        };
        before = *sample;
        part
    };
    facts.samples.iter().map(part).collect()
}

#[cfg(test)]
mod tests;
