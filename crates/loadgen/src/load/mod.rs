//! A run: connect, measure, drain, account.

pub(crate) mod child;
mod clients;
mod counters;
mod cycles;
mod executors;
mod in_flight;
mod live;
mod observer;
mod pacer;
mod processes;
mod publisher;
mod shared;
mod thread;
mod wire;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, ensure};
use tokio::{
    runtime,
    sync::mpsc,
    time::{sleep, sleep_until, timeout},
};

use crate::{
    plan::{Mode, Plan},
    proc_stats::{self, Watched},
    report::{Facts, Report},
};
use counters::{Counters, PARTS};
use executors::Executors;
use observer::Observer;
use shared::{Phase, Run};
use thread::ThreadState;

/// Carries out a plan.
pub(crate) fn run(plan: &Plan, quiet: bool) -> anyhow::Result<Report> {
    proc_stats::wake_on_time();
    let files = plan.clients().div_ceil(plan.generators) + 64;
    let limit = proc_stats::file_limit().unwrap_or(usize::MAX);
    ensure!(
        files <= limit,
        "{} connections need {files} open files, the limit is {limit}: raise it (ulimit -n)",
        plan.clients()
    );
    let servers: Vec<Vec<Watched>> =
        plan.processes.iter().map(|which| Watched::find(which)).collect::<Result<_, _>>()?;
    let mut observer = Observer::new(servers.into_iter().flatten().collect(), quiet, plan);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let token = u16::try_from(now.as_micros() & 0xffff).unwrap_or_default();
    let run = Arc::new(Run::new(plan.clone(), token, None));
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (executors, states) = Executors::start(&run)?;
    if let Executors::Processes(processes) = &executors {
        processes.pids().into_iter().for_each(|pid| observer.add_own(pid));
    }
    let times = runtime.block_on(conduct(&run, &executors, states, &mut observer));
    executors.set_phase(Phase::Over);
    let counters = executors.end();
    Ok(report(&run, &counters?, times?, observer))
}

/// How long the two parts took.
#[derive(Clone, Copy, Debug)]
struct Times {
    connecting: Duration,
    measured: Duration,
}

/// The delay until child processes have received the start of a run.
const NOTICE: Duration = Duration::from_millis(20);

async fn conduct(
    run: &Run,
    executors: &Executors,
    mut states: mpsc::Receiver<ThreadState>,
    observer: &mut Observer,
) -> anyhow::Result<Times> {
    let plan = &run.plan;
    let began = Instant::now();
    for _ in 0..executors.members() {
        if observer.while_connecting(run, states.recv()).await != Some(ThreadState::Ready) {
            bail!("a part of the generator failed");
        }
    }
    let connecting = began.elapsed();
    let connected = run.live.connected.load(Relaxed);
    if let Some(trouble) = run.live.trouble() {
        ensure!(0 < connected, "{trouble}");
        ensure!(!plan.is_fanout(), "{trouble}: a fan-out needs all of its receivers");
    }
    sleep(plan.settle).await;
    observer.begin();
    let notice = if matches!(executors, Executors::Processes(_)) { NOTICE } else { Duration::ZERO };
    let start = Instant::now() + notice;
    executors.set_phase(Phase::Running(start));
    for part in 1..=u32::try_from(PARTS).unwrap_or(1) {
        sleep_until((start + plan.duration * part / u32::try_from(PARTS).unwrap_or(1)).into())
            .await;
        observer.sample(run, start);
        if plan.mode == Mode::Storm && all_connected(run) {
            break;
        }
    }
    executors.set_phase(Phase::Draining);
    let measured = start.elapsed();
    // A client that has not drained may send one more message, so the account is closed after that.
    let drained = async {
        for _ in 0..executors.members() {
            let _ = states.recv().await;
        }
        while outstanding(run) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(plan.grace, drained).await;
    observer.end();
    Ok(Times { connecting, measured })
}

/// Whether every client of a storm has connected, or failed to.
fn all_connected(run: &Run) -> bool {
    let connected = run.live.cycles.load(Relaxed) + run.live.broken.load(Relaxed);
    run.plan.connections as u64 <= connected
}

fn outstanding(run: &Run) -> bool {
    let live = &run.live;
    live.delivered.load(Relaxed) < live.sent.load(Relaxed) * run.plan.receivers()
}

fn report(run: &Run, counters: &Counters, times: Times, observer: Observer) -> Report {
    let live = &run.live;
    let (processes, own, samples) = observer.seen();
    Report::new(
        &run.plan,
        Facts {
            machine: proc_stats::machine(),
            connecting: times.connecting,
            measured: times.measured,
            sent: live.sent.load(Relaxed),
            done: run.done(),
            connected: live.connected.load(Relaxed),
            answered: live.answered.load(Relaxed),
            broken: live.broken.load(Relaxed),
            skipped: live.skipped.load(Relaxed),
            shed: live.shed.load(Relaxed),
            trouble: live.trouble(),
            account: counters.account,
            latency: counters.latency.summary(),
            over_time: counters.latency.parts().collect(),
            lag: counters.lag.summary(),
            connect: counters.connect.summary(),
            processes,
            own,
            samples,
        },
    )
}
