//! The executors of a run: threads of this process, or child processes with threads of their own.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread as os,
};

use tokio::sync::{mpsc, watch};

use super::{
    processes::Processes,
    shared::{Phase, Run},
    tally::Tally,
    thread::{self, Word},
};

#[derive(Debug)]
pub(super) enum Crew {
    Threads(Threads),
    Processes(Processes),
}

impl Crew {
    /// Starts them connecting their clients. Each reports the phases of the run.
    pub(super) fn start(run: &Arc<Run>) -> anyhow::Result<(Self, mpsc::Receiver<Word>)> {
        if run.plan.generators == 1 {
            let (threads, words) = Threads::start(run);
            return Ok((Self::Threads(threads), words));
        }
        let (processes, words) = Processes::start(run)?;
        Ok((Self::Processes(processes), words))
    }

    pub(super) fn members(&self) -> usize {
        match self {
            Self::Threads(threads) => threads.members(),
            Self::Processes(processes) => processes.members(),
        }
    }

    /// Sends the phase of the run to all of them.
    pub(super) fn tell(&self, phase: Phase) {
        match self {
            Self::Threads(threads) => threads.tell(phase),
            Self::Processes(processes) => processes.tell(phase),
        }
    }

    /// Waits for their end, and collects their measurements.
    pub(super) fn end(self) -> anyhow::Result<Tally> {
        match self {
            Self::Threads(threads) => threads.end(),
            Self::Processes(processes) => processes.end(),
        }
    }
}

/// Threads of this process.
#[derive(Debug)]
pub(super) struct Threads {
    run: Arc<Run>,
    phase: watch::Sender<Phase>,
    handles: Vec<os::JoinHandle<anyhow::Result<Tally>>>,
}

impl Threads {
    pub(super) fn start(run: &Arc<Run>) -> (Self, mpsc::Receiver<Word>) {
        let (words, heard) = mpsc::channel(run.plan.threads);
        let (phase, follow) = watch::channel(Phase::Preparing);
        let spawn = |number| {
            let (run, follow, words) = (Arc::clone(run), follow.clone(), words.clone());
            os::spawn(move || {
                let tally = thread::run(&run, number, follow, words.clone());
                if tally.is_err() {
                    let _ = words.blocking_send(Word::Failed);
                }
                tally
            })
        };
        let handles = (0..run.plan.threads).map(spawn).collect();
        (Self { run: Arc::clone(run), phase, handles }, heard)
    }

    pub(super) fn members(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn tell(&self, phase: Phase) {
        self.run.sending.store(matches!(phase, Phase::Running(_)), Relaxed);
        self.phase.send_replace(phase);
    }

    pub(super) fn end(self) -> anyhow::Result<Tally> {
        let mut tally = Tally::new(self.run.plan.duration);
        for thread in self.handles {
            let joined = thread.join().map_err(|_| anyhow::anyhow!("a thread failed"))?;
            tally.add(&joined?);
        }
        Ok(tally)
    }
}
