//! Observes a run: CPU and memory usage of processes, and progress.

use std::{
    io,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::sleep;

use super::{counters::PARTS, shared::Run};
use crate::{
    plan::Plan,
    proc_stats::{Usage, Watched},
    report::{Process, Sample},
};

/// Samples processes at the phases of a run, and shows its progress.
pub(super) struct Observer {
    servers: Vec<Seen>,
    /// The generator's own.
    own: Vec<Seen>,
    samples: Vec<Sample>,
    bar: ProgressBar,
}

/// The samples of a process at the phases of a run.
struct Seen {
    process: Watched,
    before: Usage,
    start: Usage,
    end: Usage,
    peak: u64,
}

impl Observer {
    /// Starts with a sample of the servers before the first client connects.
    pub(super) fn new(servers: Vec<Watched>, quiet: bool, plan: &Plan) -> Self {
        let bar = ProgressBar::new(PARTS as u64);
        if quiet || !io::IsTerminal::is_terminal(&io::stderr()) {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{:?}", plan.mode).to_lowercase());
        let servers = servers.into_iter().map(Seen::new).collect();
        let own = Vec::from([Seen::new(Watched::itself())]);
        Self { servers, own, samples: Vec::new(), bar }
    }

    /// A further process of the generator has started.
    pub(super) fn add_own(&mut self, pid: u32) {
        self.own.push(Seen::new(Watched { pid, ..Watched::itself() }));
    }

    pub(super) async fn while_connecting<T>(&self, run: &Run, ready: impl Future<Output = T>) -> T {
        let show = async {
            loop {
                let connected = run.live.connected.load(Relaxed);
                self.bar.set_message(format!("{connected} connected"));
                sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            ready = ready => ready,
            () = show => unreachable!("it shows until the other is done"),
        }
    }

    /// All clients are connected, and the measurement starts.
    pub(super) fn begin(&mut self) {
        for seen in self.servers.iter_mut().chain(&mut self.own) {
            seen.start = seen.process.usage().unwrap_or(seen.start);
            seen.end = seen.start;
        }
    }

    /// A part of the run is over.
    pub(super) fn sample(&mut self, run: &Run, start: Instant) {
        self.end();
        let live = &run.live;
        let (mut cpu, mut resident) = (Duration::ZERO, 0);
        for seen in &self.servers {
            cpu += seen.end.cpu.saturating_sub(seen.start.cpu);
            resident += seen.end.resident;
        }
        let at = start.elapsed().as_secs_f64();
        self.samples.push(Sample { at, done: run.done(), cpu, resident });
        self.bar.inc(1);
        self.bar.set_message(format!(
            "{} sent, {} delivered, {} broken",
            live.sent.load(Relaxed),
            live.delivered.load(Relaxed),
            live.broken.load(Relaxed)
        ));
    }

    pub(super) fn end(&mut self) {
        for seen in self.servers.iter_mut().chain(&mut self.own) {
            if let Some(usage) = seen.process.usage() {
                seen.end = usage;
                seen.peak = seen.peak.max(usage.resident);
            }
        }
    }

    /// The measurements: the servers, the generator, and the samples.
    pub(super) fn seen(self) -> (Vec<Process>, Process, Vec<Sample>) {
        self.bar.finish_and_clear();
        let own = self.own.iter().map(Seen::process).reduce(|mut all, one| {
            all.add(&one);
            all
        });
        let servers = self.servers.iter().map(Seen::process).collect();
        (servers, own.unwrap_or_default(), self.samples)
    }
}

impl Seen {
    fn new(process: Watched) -> Self {
        let before = process.usage().unwrap_or_default();
        Self { process, before, start: before, end: before, peak: before.resident }
    }

    fn process(&self) -> Process {
        Process {
            name: self.process.name.clone(),
            pid: self.process.pid,
            connecting_cpu: self.start.cpu.saturating_sub(self.before.cpu).as_secs_f64(),
            cpu: self.end.cpu.saturating_sub(self.start.cpu).as_secs_f64(),
            resident_before: self.before.resident,
            resident_start: self.start.resident,
            resident_peak: self.peak,
            resident_end: self.end.resident,
        }
    }
}
