//! A run: connect, measure, drain, account.

mod clients;
mod cycles;
mod pacer;
mod shared;
mod thread;

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread as os,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    runtime,
    sync::{mpsc, watch},
    time::{sleep, sleep_until, timeout},
};

use crate::{
    plan::{Mode, Plan},
    procs::{self, Usage, Watched},
    report::{Facts, Process, Report, Sample},
};
use shared::{PARTS, Phase, Run, Tally};
use thread::Word;

/// Carries out a plan.
pub(crate) fn run(plan: &Plan, quiet: bool) -> anyhow::Result<Report> {
    procs::wake_on_time();
    let files = plan.clients() + 64;
    let limit = procs::file_limit().unwrap_or(usize::MAX);
    ensure!(
        files <= limit,
        "{} connections need {files} open files, the limit is {limit}: raise it (ulimit -n)",
        plan.clients()
    );
    let watched: Vec<Vec<Watched>> =
        plan.processes.iter().map(|which| Watched::find(which)).collect::<Result<_, _>>()?;
    let watched = watched.into_iter().flatten().chain([Watched::itself()]).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = u16::try_from(now.as_micros() & 0xffff).unwrap_or_default();
    let run = Arc::new(Run::new(plan.clone(), token));
    let (phase, follow) = watch::channel(Phase::Preparing);
    let (words, heard) = mpsc::channel(plan.threads);
    let mut watch = Watch::new(watched, quiet, plan);
    let threads: Vec<_> = (0..plan.threads)
        .map(|number| {
            let (run, follow, words) = (Arc::clone(&run), follow.clone(), words.clone());
            os::spawn(move || thread::run(&run, number, follow, words))
        })
        .collect();
    drop(words);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let times = runtime.block_on(conduct(&run, &phase, heard, &mut watch))?;
    let mut tally = Tally::new(plan.duration);
    for thread in threads {
        let joined = thread.join().map_err(|_| anyhow::anyhow!("a thread failed"))?;
        tally.add(&joined?);
    }
    watch.bar.finish_and_clear();
    Ok(report(&run, &tally, times, watch))
}

/// How long the two parts took.
#[derive(Clone, Copy, Debug)]
struct Times {
    connecting: Duration,
    measured: Duration,
}

async fn conduct(
    run: &Run,
    phase: &watch::Sender<Phase>,
    mut words: mpsc::Receiver<Word>,
    watch: &mut Watch,
) -> anyhow::Result<Times> {
    let plan = &run.plan;
    let began = Instant::now();
    for _ in 0..plan.threads {
        watch.while_connecting(run, words.recv()).await.context("a thread failed")?;
    }
    let connecting = began.elapsed();
    let connected = run.live.connected.load(Relaxed);
    if let Some(trouble) = run.live.trouble() {
        ensure!(0 < connected, "{trouble}");
        ensure!(!plan.is_fanout(), "{trouble}: a fan-out needs all of its receivers");
    }
    sleep(plan.settle).await;
    watch.begin();
    let start = Instant::now();
    run.sending.store(true, Relaxed);
    phase.send_replace(Phase::Running(start));
    for part in 1..=u32::try_from(PARTS).unwrap_or(1) {
        sleep_until((start + plan.duration * part / u32::try_from(PARTS).unwrap_or(1)).into())
            .await;
        watch.sample(run, start);
        if plan.mode == Mode::Storm && all_came(run) {
            break;
        }
    }
    run.sending.store(false, Relaxed);
    let measured = start.elapsed();
    phase.send_replace(Phase::Draining);
    // A thread that has not drained may send one more, so the account is not closed before.
    let drained = async {
        for _ in 0..plan.threads {
            let _ = words.recv().await;
        }
        while outstanding(run) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(plan.grace, drained).await;
    watch.end();
    phase.send_replace(Phase::Over);
    Ok(Times { connecting, measured })
}

/// Whether every client of a storm has come, or could not.
fn all_came(run: &Run) -> bool {
    let came = run.live.cycles.load(Relaxed) + run.live.broken.load(Relaxed);
    run.plan.connections as u64 <= came
}

fn outstanding(run: &Run) -> bool {
    let live = &run.live;
    live.delivered.load(Relaxed) < live.sent.load(Relaxed) * run.plan.receivers()
}

/// What is looked at while a run goes on.
struct Watch {
    processes: Vec<Seen>,
    samples: Vec<Sample>,
    bar: ProgressBar,
}

/// A process at the turns of a run.
struct Seen {
    process: Watched,
    before: Usage,
    start: Usage,
    end: Usage,
    peak: u64,
}

impl Watch {
    fn new(watched: Vec<Watched>, quiet: bool, plan: &Plan) -> Self {
        let look = |process: Watched| {
            let before = process.usage().unwrap_or_default();
            Seen { process, before, start: before, end: before, peak: before.resident }
        };
        let bar = ProgressBar::new(PARTS as u64);
        if quiet || !io::IsTerminal::is_terminal(&io::stderr()) {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{:?}", plan.mode).to_lowercase());
        Self { processes: watched.into_iter().map(look).collect(), samples: Vec::new(), bar }
    }

    async fn while_connecting<T>(&self, run: &Run, ready: impl Future<Output = T>) -> T {
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

    fn begin(&mut self) {
        for seen in &mut self.processes {
            seen.start = seen.process.usage().unwrap_or(seen.start);
            seen.end = seen.start;
        }
    }

    fn sample(&mut self, run: &Run, start: Instant) {
        self.end();
        let live = &run.live;
        let (mut cpu, mut resident) = (Duration::ZERO, 0);
        for seen in self.servers() {
            cpu += seen.end.cpu.saturating_sub(seen.start.cpu);
            resident += seen.end.resident;
        }
        let done = done(run);
        self.samples.push(Sample { at: start.elapsed().as_secs_f64(), done, cpu, resident });
        self.bar.inc(1);
        self.bar.set_message(format!(
            "{} sent, {} delivered, {} broken",
            live.sent.load(Relaxed),
            live.delivered.load(Relaxed),
            live.broken.load(Relaxed)
        ));
    }

    fn end(&mut self) {
        for seen in &mut self.processes {
            if let Some(usage) = seen.process.usage() {
                seen.end = usage;
                seen.peak = seen.peak.max(usage.resident);
            }
        }
    }

    /// All but the generator itself, which comes last.
    fn servers(&self) -> &[Seen] {
        self.processes.split_last().map_or(&[], |(_, servers)| servers)
    }
}

/// What CPU time is divided by: deliveries, or cycles where clients come and go.
fn done(run: &Run) -> u64 {
    match run.plan.mode {
        Mode::Churn | Mode::Storm => run.live.cycles.load(Relaxed),
        _ => run.live.delivered.load(Relaxed),
    }
}

fn report(run: &Run, tally: &Tally, times: Times, watch: Watch) -> Report {
    let live = &run.live;
    let processes = watch.processes.iter().map(|seen| Process {
        name: seen.process.name.clone(),
        pid: seen.process.pid,
        connecting_cpu: seen.start.cpu.saturating_sub(seen.before.cpu).as_secs_f64(),
        cpu: seen.end.cpu.saturating_sub(seen.start.cpu).as_secs_f64(),
        resident_before: seen.before.resident,
        resident_start: seen.start.resident,
        resident_peak: seen.peak,
        resident_end: seen.end.resident,
    });
    Report::new(
        &run.plan,
        Facts {
            machine: procs::machine(),
            connecting: times.connecting,
            measured: times.measured,
            sent: live.sent.load(Relaxed),
            done: done(run),
            connected: live.connected.load(Relaxed),
            broken: live.broken.load(Relaxed),
            skipped: live.skipped.load(Relaxed),
            shed: live.shed.load(Relaxed),
            trouble: live.trouble(),
            account: tally.account,
            latency: tally.latency.summary(),
            over_time: tally.latency.parts().collect(),
            lag: tally.lag.summary(),
            connect: tally.connect.summary(),
            processes: processes.collect(),
            samples: watch.samples,
        },
    )
}
