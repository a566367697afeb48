//! State that the threads of a run share, and state that the clients of one thread share.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{
    counters::Counters,
    in_flight::{Completion, InFlight},
    live::Live,
};
use crate::{
    account::Stream,
    frame::Template,
    plan::{Mode, Plan},
    stamp::Stamp,
};

/// The phase of a run; it only advances.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Preparing,
    Running(Instant),
    /// Nothing new is begun; messages in flight may still arrive.
    Draining,
    Over,
}

/// A run, as every thread sees it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) live: Live,
    pub(super) sending: AtomicBool,
    pub(super) in_flight: InFlight,
    /// Distinguishes the messages of this run from those of other runs.
    pub(super) token: u16,
    pub(super) template: Template,
}

impl Run {
    /// `other_processes` receives the completions of messages that other processes sent.
    pub(super) fn new(
        plan: Plan,
        token: u16,
        other_processes: Option<mpsc::Sender<Completion>>,
    ) -> Self {
        Self {
            live: Live::default(),
            sending: AtomicBool::new(false),
            in_flight: InFlight::new(&plan, other_processes),
            token,
            template: plan.template(),
            plan,
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Relaxed)
    }

    /// The divisor of CPU time: deliveries, cycles where clients connect and disconnect, and answers where
    /// they are idle.
    pub(super) fn done(&self) -> u64 {
        match self.plan.mode {
            Mode::Churn | Mode::Storm => self.live.cycles.load(Relaxed),
            Mode::Idle => self.live.answered.load(Relaxed),
            _ => self.live.delivered.load(Relaxed),
        }
    }

    pub(super) fn stamp(&self, sender: usize, number: u32, due: Duration) -> Stamp {
        Stamp {
            run: self.token,
            sender: u32::try_from(sender).unwrap_or(u32::MAX),
            number,
            due: nanos(due),
        }
    }
}

/// One thread's part of a run.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) run: Arc<Run>,
    pub(super) counters: RefCell<Counters>,
    /// The read buffer, for one socket at a time.
    pub(super) input: RefCell<Vec<u8>>,
    /// The write buffer, likewise.
    pub(super) output: RefCell<Vec<u8>>,
    phase: watch::Receiver<Phase>,
}

impl Local {
    pub(super) fn new(run: Arc<Run>, phase: watch::Receiver<Phase>) -> Self {
        Self {
            counters: RefCell::new(Counters::new(run.plan.duration)),
            input: RefCell::new(vec![0; 64 * 1024]),
            output: RefCell::default(),
            run,
            phase,
        }
    }

    /// Waits for the run to begin. Returns also if the run ends before.
    pub(super) async fn started(&self) -> Instant {
        let mut phase = self.phase.clone();
        let running = phase.wait_for(|phase| *phase != Phase::Preparing).await;
        let start = match running.as_deref() {
            Ok(Phase::Running(start)) => *start,
            _ => Instant::now(),
        };
        drop(running);
        if Instant::now() < start {
            sleep_until(start.into()).await;
        }
        start
    }

    /// Waits until the run has reached `phase`.
    pub(super) async fn reached(&self, phase: Phase) {
        let _ = self.phase.clone().wait_for(|now| phase <= *now).await;
    }

    /// Counts a received message. Returns its sender and number if it is new.
    pub(super) fn record(
        &self,
        streams: &mut [Stream],
        first: usize,
        message: (&[u8], u64),
        start: Instant,
    ) -> Option<(usize, u32)> {
        let (front, size) = message;
        let mut counters = self.counters.borrow_mut();
        let stamp = Stamp::read(front).filter(|stamp| stamp.run == self.run.token);
        let sender = stamp.map_or(usize::MAX, |stamp| stamp.sender as usize);
        let stream = sender.checked_sub(first).and_then(|index| streams.get_mut(index));
        let (Some(stamp), Some(stream)) = (stamp, stream) else {
            counters.account.foreign += 1;
            return None;
        };
        let before = counters.account.delivered;
        counters.account.enter(stream.arrives(stamp.number));
        if before == counters.account.delivered {
            return None;
        }
        if size != self.run.plan.size as u64 {
            counters.account.damaged += 1;
        }
        let now = nanos(start.elapsed());
        counters.latency.record(now, now.saturating_sub(stamp.due));
        Some((sender, stamp.number))
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
