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
    crew::Threads,
    flights::Landing,
    live::Counts,
    shared::{Phase, Run},
    thread::Word,
    wire::{News, Order, say},
};
use crate::plan::Plan;

/// The interval of counter reports.
const NEWS: Duration = Duration::from_millis(10);

/// Carries out a process' share of a plan. Its standard output belongs to the protocol.
pub(crate) fn run(plan: Plan, token: u16) -> anyhow::Result<()> {
    crate::procs::wake_on_time();
    let (landed, landings) = mpsc::channel(plan.senders * plan.window as usize);
    let run = Arc::new(Run::new(plan, token, Some(landed)));
    let (threads, words) = Threads::start(&run);
    let threads = Arc::new(threads);
    let (over, is_over) = watch::channel(false);
    let follower = {
        let (threads, run) = (Arc::clone(&threads), Arc::clone(&run));
        os::spawn(move || {
            follow(&run, &threads);
            over.send_replace(true);
        })
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    // Where it fails, the process ends, and its threads with it.
    runtime.block_on(tell(&run, threads.members(), words, landings, is_over))?;
    follower.join().map_err(|_| anyhow::anyhow!("a thread failed"))?;
    let threads = Arc::into_inner(threads).context("the follower has ended")?;
    let tally = threads.end()?;
    say(&mut io::stdout(), &News::Counts(run.live.counts()))?;
    Ok(say(&mut io::stdout(), &News::Tally(tally.written()))?)
}

/// Executes orders until the end of the run, or of the input if the parent process exits.
fn follow(run: &Run, threads: &Threads) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Order::Begin(clock)) => threads.tell(Phase::Running(clock.instant())),
            Ok(Order::Drain) => threads.tell(Phase::Draining),
            Ok(Order::Landed((sender, number))) => run.flights.lands(sender, number),
            Ok(Order::End) | Err(_) => break,
        }
    }
    threads.tell(Phase::Over);
}

/// Reports the phases and counters of the threads.
async fn tell(
    run: &Run,
    members: usize,
    mut words: mpsc::Receiver<Word>,
    mut landings: mpsc::Receiver<Landing>,
    mut is_over: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut out = io::stdout();
    let (mut told, mut heard) = (Counts::default(), 0);
    let mut news = interval(NEWS);
    loop {
        let mut word = None;
        tokio::select! {
            biased;
            _ = is_over.wait_for(|over| *over) => return Ok(()),
            Some(landing) = landings.recv() => {
                say(&mut out, &News::Landed(landing))?;
                continue;
            }
            Some(said) = words.recv() => {
                ensure!(said != Word::Failed, "a thread failed");
                heard += 1;
                word = (heard % members == 0).then_some(said);
            }
            _ = news.tick() => {}
        }
        // Counters are reported before the phase that depends on them.
        let counts = run.live.counts();
        if counts != told {
            say(&mut out, &News::Counts(counts.clone()))?;
            told = counts;
        }
        match word {
            Some(Word::Ready) => say(&mut out, &News::Ready)?,
            Some(Word::Drained) => say(&mut out, &News::Drained)?,
            Some(Word::Failed) | None => {}
        }
    }
}
