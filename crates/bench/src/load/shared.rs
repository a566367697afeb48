//! What the threads of a run share with each other, and what the clients of one thread do.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use crate::{
    account::{Account, Stream},
    frame::Template,
    latency::Series,
    plan::Plan,
    stamp::Stamp,
};

/// How far the run has come. Only ever forward.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Preparing,
    Running(Instant),
    /// Nothing new is begun; what is on its way may still come.
    Draining,
    Over,
}

/// Counters that all threads add to, for the progress bar and the plots.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) connected: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) delivered: AtomicU64,
    /// Connect, echo, close.
    pub(super) cycles: AtomicU64,
    /// Connections that ended, or could not be made, when they should not have.
    pub(super) broken: AtomicU64,
    /// Messages of an open loop that were due and not sent: the socket was full, or the pacer
    /// fell behind.
    pub(super) skipped: AtomicU64,
    /// Clients that did not read, and were closed for it.
    pub(super) shed: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Live {
    pub(super) fn breaks(&self, error: impl std::fmt::Display) {
        self.broken.fetch_add(1, Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert_with(|| error.to_string());
    }

    /// The first thing that went wrong.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A run, as every thread sees it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) live: Live,
    pub(super) sending: AtomicBool,
    pub(super) flights: Flights,
    /// Tells our messages from those of another run.
    pub(super) token: u16,
    pub(super) template: Template,
}

impl Run {
    pub(super) fn new(plan: Plan, token: u16) -> Self {
        Self {
            live: Live::default(),
            sending: AtomicBool::new(false),
            flights: Flights::new(plan.senders, plan.window),
            token,
            template: Template::new(plan.op(), plan.size, plan.binary),
            plan,
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Relaxed)
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

/// Messages of a closed fan-out loop that not all have received yet: one place for each message
/// of each sender that may be on the way.
#[derive(Debug)]
pub(super) struct Flights {
    window: u32,
    left: Vec<AtomicU32>,
    landed: Vec<Notify>,
}

impl Flights {
    fn new(senders: usize, window: u32) -> Self {
        let places = senders * window as usize;
        Self {
            window,
            left: (0..places).map(|_| AtomicU32::new(0)).collect(),
            landed: (0..senders).map(|_| Notify::new()).collect(),
        }
    }

    fn place(&self, sender: usize, number: u32) -> Option<&AtomicU32> {
        self.left.get(sender * self.window as usize + (number % self.window) as usize)
    }

    /// Takes the place of a message, if the one that had it has reached everybody.
    pub(super) fn take_off(&self, sender: usize, number: u32, receivers: u64) -> bool {
        let receivers = u32::try_from(receivers).unwrap_or(u32::MAX);
        let Some(place) = self.place(sender, number) else { return false };
        place.compare_exchange(0, receivers, Relaxed, Relaxed).is_ok()
    }

    /// A message has reached one more.
    pub(super) fn arrives(&self, sender: usize, number: u32) {
        let Some(place) = self.place(sender, number) else { return };
        let before = place.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if before == Ok(1) {
            self.landed[sender].notify_one();
        }
    }

    pub(super) async fn landed(&self, sender: usize) {
        if let Some(landed) = self.landed.get(sender) {
            landed.notified().await;
        }
    }
}

/// What one thread measured.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) account: Account,
    /// From when a message was due to when it was read.
    pub(super) latency: Series,
    /// From when a message was due to when it was sent: the generator's own delay.
    pub(super) lag: Series,
    /// Connect and handshake.
    pub(super) connect: Series,
}

/// Parts of a run in the plots.
pub(super) const PARTS: usize = 40;

impl Tally {
    pub(super) fn new(duration: Duration) -> Self {
        Self {
            account: Account::default(),
            latency: Series::new(PARTS, duration),
            lag: Series::new(PARTS, duration),
            connect: Series::new(1, duration),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.account += other.account;
        self.latency.add(&other.latency);
        self.lag.add(&other.lag);
        self.connect.add(&other.connect);
    }
}

/// One thread's part of a run.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) run: Arc<Run>,
    pub(super) tally: RefCell<Tally>,
    /// What sockets are read into, one at a time.
    pub(super) input: RefCell<Vec<u8>>,
    /// What is about to be sent, likewise.
    pub(super) output: RefCell<Vec<u8>>,
    phase: watch::Receiver<Phase>,
}

impl Local {
    pub(super) fn new(run: Arc<Run>, phase: watch::Receiver<Phase>) -> Self {
        Self {
            tally: RefCell::new(Tally::new(run.plan.duration)),
            input: RefCell::new(vec![0; 64 * 1024]),
            output: RefCell::default(),
            run,
            phase,
        }
    }

    /// Waits for the run to begin. A run that never begins is over; its end is not waited for.
    pub(super) async fn started(&self) -> Instant {
        let mut phase = self.phase.clone();
        let running = phase.wait_for(|phase| matches!(phase, Phase::Running(_))).await;
        match running.as_deref() {
            Ok(Phase::Running(start)) => *start,
            _ => Instant::now(),
        }
    }

    /// Waits until the run has come to `phase`.
    pub(super) async fn reached(&self, phase: Phase) {
        let _ = self.phase.clone().wait_for(|now| phase <= *now).await;
    }

    /// Books a message that was received; the sender and number, if it is new.
    pub(super) fn book(
        &self,
        streams: &mut [Stream],
        first: usize,
        message: (&[u8], u64),
        start: Instant,
    ) -> Option<(usize, u32)> {
        let (front, size) = message;
        let mut tally = self.tally.borrow_mut();
        let stamp = Stamp::read(front).filter(|stamp| stamp.run == self.run.token);
        let sender = stamp.map_or(usize::MAX, |stamp| stamp.sender as usize);
        let stream = sender.checked_sub(first).and_then(|place| streams.get_mut(place));
        let (Some(stamp), Some(stream)) = (stamp, stream) else {
            tally.account.foreign += 1;
            return None;
        };
        let before = tally.account.delivered;
        tally.account.enter(stream.arrives(stamp.number));
        if before == tally.account.delivered {
            return None;
        }
        if size != self.run.plan.size as u64 {
            tally.account.damaged += 1;
        }
        let now = nanos(start.elapsed());
        tally.latency.record(now, now.saturating_sub(stamp.due));
        Some((sender, stamp.number))
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
