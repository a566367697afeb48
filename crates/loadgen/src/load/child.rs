//! A run in a child process: its threads, coordinated by the parent process.

use std::{
    io::{self, BufRead as _},
    sync::Arc,
    thread as os,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tokio::{
    runtime,
    sync::{mpsc, watch},
    time::interval,
};

use super::{
    executors::Threads,
    in_flight::Completion,
    live::Counts,
    shared::{Phase, Run},
    thread::ThreadState,
    wire::{ChildMessage, ParentMessage, write_line},
};
use crate::plan::Plan;

/// The interval of counter reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(10);

/// Carries out a process' share of a plan. Its standard output belongs to the protocol.
pub(crate) fn run(plan: Plan, token: u16) -> anyhow::Result<()> {
    crate::proc_stats::wake_on_time();
    let (completed, completions) = mpsc::channel(plan.senders * plan.window as usize);
    let run = Arc::new(Run::new(plan, token, Some(completed)));
    let (threads, states) = Threads::start(&run);
    let threads = Arc::new(threads);
    let (ended, has_ended) = watch::channel(false);
    let reader = {
        let (threads, run) = (Arc::clone(&threads), Arc::clone(&run));
        os::spawn(move || {
            execute_messages(&run, &threads);
            ended.send_replace(true);
        })
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    // On failure the process ends, with all its threads.
    runtime.block_on(report(&run, threads.members(), states, completions, has_ended))?;
    reader.join().map_err(|_| anyhow::anyhow!("a thread failed"))?;
    let threads = Arc::into_inner(threads).context("the reader has ended")?;
    let counters = threads.end()?;
    write_line(&mut io::stdout(), &ChildMessage::Counts(run.live.counts()))?;
    Ok(write_line(&mut io::stdout(), &ChildMessage::Counters(counters.serialized()))?)
}

/// Executes the parent's messages until the end of the run, or of the input if the parent process
/// exits.
fn execute_messages(run: &Run, threads: &Threads) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(ParentMessage::Begin(clock)) => threads.set_phase(Phase::Running(clock.instant())),
            Ok(ParentMessage::Drain) => threads.set_phase(Phase::Draining),
            Ok(ParentMessage::Completed((sender, number))) => {
                run.in_flight.complete(sender, number)
            }
            Ok(ParentMessage::End) | Err(_) => break,
        }
    }
    threads.set_phase(Phase::Over);
}

/// Reports the phases and counters of the threads.
async fn report(
    run: &Run,
    members: usize,
    mut states: mpsc::Receiver<ThreadState>,
    mut completions: mpsc::Receiver<Completion>,
    mut has_ended: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let (mut reported, mut received) = (Counts::default(), 0);
    let mut report_interval = interval(REPORT_INTERVAL);
    loop {
        let mut state = None;
        tokio::select! {
            biased;
            _ = has_ended.wait_for(|over| *over) => return Ok(()),
            Some(completion) = completions.recv() => {
                write_line(&mut out, &ChildMessage::Completed(completion))?;
                continue;
            }
            Some(new) = states.recv() => {
                ensure!(new != ThreadState::Failed, "a thread failed");
                received += 1;
                state = (received % members == 0).then_some(new);
            }
            _ = report_interval.tick() => {}
        }
        // Counters are reported before the phase that depends on them.
        let counts = run.live.counts();
        if counts != reported {
            write_line(&mut out, &ChildMessage::Counts(counts.clone()))?;
            reported = counts;
        }
        match state {
            Some(ThreadState::Ready) => write_line(&mut out, &ChildMessage::Ready)?,
            Some(ThreadState::Drained) => write_line(&mut out, &ChildMessage::Drained)?,
            Some(ThreadState::Failed) | None => {}
        }
    }
}
