//! A run: connect, measure, drain, account.

mod clients;
mod crew;
mod cycles;
mod flights;
mod live;
mod observer;
mod pacer;
mod processes;
pub(crate) mod seated;
mod shared;
mod tally;
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
    procs::{self, Watched},
    report::{Facts, Report},
};
use crew::Crew;
use observer::Observer;
use shared::{Phase, Run};
use tally::{PARTS, Tally};
use thread::Word;

/// Carries out a plan.
pub(crate) fn run(plan: &Plan, quiet: bool) -> anyhow::Result<Report> {
    procs::wake_on_time();
    let files = plan.clients().div_ceil(plan.generators) + 64;
    let limit = procs::file_limit().unwrap_or(usize::MAX);
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
    let (crew, words) = Crew::start(&run)?;
    if let Crew::Processes(processes) = &crew {
        processes.pids().into_iter().for_each(|pid| observer.add_own(pid));
    }
    let times = runtime.block_on(conduct(&run, &crew, words, &mut observer));
    crew.tell(Phase::Over);
    let tally = crew.end();
    Ok(report(&run, &tally?, times?, observer))
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
    crew: &Crew,
    mut words: mpsc::Receiver<Word>,
    observer: &mut Observer,
) -> anyhow::Result<Times> {
    let plan = &run.plan;
    let began = Instant::now();
    for _ in 0..crew.members() {
        if observer.while_connecting(run, words.recv()).await != Some(Word::Ready) {
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
    let notice = if matches!(crew, Crew::Processes(_)) { NOTICE } else { Duration::ZERO };
    let start = Instant::now() + notice;
    crew.tell(Phase::Running(start));
    for part in 1..=u32::try_from(PARTS).unwrap_or(1) {
        sleep_until((start + plan.duration * part / u32::try_from(PARTS).unwrap_or(1)).into())
            .await;
        observer.sample(run, start);
        if plan.mode == Mode::Storm && all_came(run) {
            break;
        }
    }
    crew.tell(Phase::Draining);
    let measured = start.elapsed();
    // A client that has not drained may send one more message, so the account is closed after that.
    let drained = async {
        for _ in 0..crew.members() {
            let _ = words.recv().await;
        }
        while outstanding(run) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(plan.grace, drained).await;
    observer.end();
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

fn report(run: &Run, tally: &Tally, times: Times, observer: Observer) -> Report {
    let live = &run.live;
    let (processes, own, samples) = observer.seen();
    Report::new(
        &run.plan,
        Facts {
            machine: procs::machine(),
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
            account: tally.account,
            latency: tally.latency.summary(),
            over_time: tally.latency.parts().collect(),
            lag: tally.lag.summary(),
            connect: tally.connect.summary(),
            processes,
            own,
            samples,
        },
    )
}
