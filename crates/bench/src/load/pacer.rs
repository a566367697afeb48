//! Sends when messages are due, whatever has come back: an open loop.
//!
//! On a thread of its own, since a runtime's timers are good to a millisecond only.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Instant,
};

use super::shared::{Run, Tally, nanos};
use crate::{link::Outgoing, plan::Schedule};

/// Sends from `start` on, each sender in turn, until the run stops sending.
pub(super) fn pace(run: &Run, senders: &[(usize, Arc<Outgoing>)], start: Instant) -> Tally {
    let mut tally = Tally::new(run.plan.duration);
    // Each thread has its share of the rate, in proportion to its senders.
    let all = if run.plan.is_fanout() { run.plan.senders } else { run.plan.connections };
    #[expect(clippy::cast_precision_loss, reason = "counts of connections")]
    let share = senders.len() as f64 / all as f64;
    let Some(rate) = run.plan.rate.filter(|_| !senders.is_empty()) else { return tally };
    let schedule = Schedule::new(rate * share);
    let mut numbers = vec![0_u32; senders.len()];
    let mut frame = Vec::new();
    for n in 0.. {
        let due = schedule.due(n);
        if run.plan.duration <= due {
            break;
        }
        sleep_until(start + due);
        if !run.is_sending() {
            // It fell behind: what was due until the end and never sent must not vanish.
            let due = schedule.due_before(run.plan.duration);
            run.live.skipped.fetch_add(due.saturating_sub(n), Relaxed);
            break;
        }
        let place = usize::try_from(n % senders.len() as u64).unwrap_or(0);
        let (index, out) = &senders[place];
        if out.is_full() {
            run.live.skipped.fetch_add(1, Relaxed);
            continue;
        }
        frame.clear();
        run.template.append(&run.stamp(*index, numbers[place], due), &mut frame);
        let now = start.elapsed();
        // A connection that ended is counted where it is read.
        if out.send(&frame).is_ok() {
            numbers[place] += 1;
            run.live.sent.fetch_add(1, Relaxed);
            tally.lag.record(nanos(now), nanos(now.saturating_sub(due)));
        }
    }
    tally
}

#[expect(clippy::disallowed_methods, reason = "no runtime runs on this thread")]
fn sleep_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
