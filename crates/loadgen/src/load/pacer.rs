//! Sends when messages are due, regardless of answers: an open loop.
//!
//! On a thread of its own, since a runtime's timers are good to a millisecond only.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Instant,
};

use tokio::sync::mpsc;

use super::{
    counters::Counters,
    shared::{Run, nanos},
};
use crate::{link::Outgoing, schedule::Schedule, stamp::Stamp};

/// Where a sender's messages go.
pub(super) enum Output {
    Socket(Arc<Outgoing>),
    /// A publisher, which measures by itself how late it is.
    Publisher(mpsc::Sender<Stamp>),
}

impl Output {
    fn is_full(&self) -> bool {
        match self {
            Self::Socket(out) => out.is_full(),
            Self::Publisher(queue) => queue.capacity() == 0,
        }
    }
}

/// Sends from `start` on, each sender in turn, until the run stops sending.
pub(super) fn pace(run: &Run, senders: &[(usize, Output)], start: Instant) -> Counters {
    let mut counters = Counters::new(run.plan.duration);
    let rate = run.plan.rate.filter(|_| !senders.is_empty());
    let Some(schedule) = rate.map(Schedule::new) else { return counters };
    // All senders take turns, in all processes; these are some of them.
    let all = if run.plan.is_fanout() { run.plan.senders } else { run.plan.connections };
    let end = run.plan.duration;
    let mut numbers = vec![0_u32; senders.len()];
    let mut frame = Vec::new();
    for (turn, place) in (0..).flat_map(|turn| (0..senders.len()).map(move |place| (turn, place))) {
        let (index, out) = &senders[place];
        let due = schedule.turn(*index, all, turn);
        if end <= due {
            break;
        }
        sleep_until(start + due);
        if !run.is_sending() {
            // The pacer fell behind: messages that were due and never sent are counted.
            let left = |(at, (index, _)): (usize, &(usize, _))| {
                schedule.turns_before(*index, all, end) - turn - u64::from(at < place)
            };
            run.live.skipped.fetch_add(senders.iter().enumerate().map(left).sum(), Relaxed);
            break;
        }
        if out.is_full() {
            run.live.skipped.fetch_add(1, Relaxed);
            continue;
        }
        let stamp = run.stamp(*index, numbers[place], due);
        let now = start.elapsed();
        let is_sent = match out {
            Output::Socket(out) => {
                frame.clear();
                run.template.append(&stamp, &mut frame);
                let is_sent = out.send(&frame).is_ok();
                if is_sent {
                    counters.lag.record(nanos(now), nanos(now.saturating_sub(due)));
                }
                is_sent
            }
            Output::Publisher(queue) => queue.try_send(stamp).is_ok(),
        };
        // A connection that ended is counted where it is read.
        if is_sent {
            numbers[place] += 1;
            run.live.sent.fetch_add(1, Relaxed);
        }
    }
    counters
}

#[expect(clippy::disallowed_methods, reason = "no runtime runs on this thread")]
fn sleep_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
