//! The executors of a run: threads of this process, or child processes with threads of their own.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread as os,
};

use tokio::sync::{mpsc, watch};

use super::{
    counters::Counters,
    processes::Processes,
    shared::{Phase, Run},
    thread::{self, ThreadState},
};

#[derive(Debug)]
pub(super) enum Executors {
    Threads(Threads),
    Processes(Processes),
}

impl Executors {
    /// Starts them connecting their clients. Each reports the phases of the run.
    pub(super) fn start(run: &Arc<Run>) -> anyhow::Result<(Self, mpsc::Receiver<ThreadState>)> {
        if run.plan.generators == 1 {
            let (threads, states) = Threads::start(run);
            return Ok((Self::Threads(threads), states));
        }
        let (processes, states) = Processes::start(run)?;
        Ok((Self::Processes(processes), states))
    }

    pub(super) fn members(&self) -> usize {
        match self {
            Self::Threads(threads) => threads.members(),
            Self::Processes(processes) => processes.members(),
        }
    }

    /// Sends the phase of the run to all of them.
    pub(super) fn set_phase(&self, phase: Phase) {
        match self {
            Self::Threads(threads) => threads.set_phase(phase),
            Self::Processes(processes) => processes.set_phase(phase),
        }
    }

    /// Waits for their end, and collects their measurements.
    pub(super) fn end(self) -> anyhow::Result<Counters> {
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
    handles: Vec<os::JoinHandle<anyhow::Result<Counters>>>,
}

impl Threads {
    pub(super) fn start(run: &Arc<Run>) -> (Self, mpsc::Receiver<ThreadState>) {
        let (states, received) = mpsc::channel(run.plan.threads);
        let (phase, receiver) = watch::channel(Phase::Preparing);
        let spawn = |number| {
            let (run, receiver, states) = (Arc::clone(run), receiver.clone(), states.clone());
            os::spawn(move || {
                let counters = thread::run(&run, number, receiver, states.clone());
                if counters.is_err() {
                    let _ = states.blocking_send(ThreadState::Failed);
                }
                counters
            })
        };
        let handles = (0..run.plan.threads).map(spawn).collect();
        (Self { run: Arc::clone(run), phase, handles }, received)
    }

    pub(super) fn members(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.run.sending.store(matches!(phase, Phase::Running(_)), Relaxed);
        self.phase.send_replace(phase);
    }

    pub(super) fn end(self) -> anyhow::Result<Counters> {
        let mut counters = Counters::new(self.run.plan.duration);
        for thread in self.handles {
            let joined = thread.join().map_err(|_| anyhow::anyhow!("a thread failed"))?;
            counters.add(&joined?);
        }
        Ok(counters)
    }
}
