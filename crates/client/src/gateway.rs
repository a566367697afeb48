//! Looks after one gateway: links to it, runs the link, links again.

use std::{sync::Arc, time::Duration};

use protocol::link::Refusal;
use service::{backoff::Backoff, clock, dice, outage::Outage, stream::Stream};
use tokio::time::Instant;

use crate::{
    link::{self, Callbacks, Ended, Failed, Link, Parting, Proved},
    shared::Shared,
};

/// Waits between attempts: short at first, since most gateways are back at once.
const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(2);

/// How long to leave alone what will not change by itself soon: another secret, or another
/// language.
const LEAVE_ALONE: Duration = Duration::from_secs(20);

/// How long a worker stays away from a gateway at which another one of the same name and id has taken its
/// place: if both run, they would replace each other for ever. Twice as long each time, up to the second.
const REPLACED: Duration = Duration::from_secs(10);
const REPLACED_CAP: Duration = Duration::from_secs(600);

/// How a link ended, and what its gateway said of that before.
type End = (Ended, Option<Parting>);

/// Keeps one gateway linked for as long as a register names it, and calls it for as long as something
/// waits for it.
pub(crate) async fn look_after(shared: Arc<Shared>, address: Arc<str>) {
    let mut backoff = Backoff::new(FIRST, CAP);
    // What cannot be mended from here is said once, not at every attempt.
    let mut complained = false;
    // Since when nobody listens there.
    let mut refused = None;
    // How often another worker has taken our place there, one time soon after the other.
    let mut replaced = 0;
    let mut newcomer = Newcomer::new(shared.leases().grace());
    loop {
        let identity = shared.identity_now();
        let attempt = link::connect(&address, &identity, dice::random()).await;
        if shared.is_leaving() {
            return;
        }
        let is_other = shared.identity_now().worker() != identity.worker();
        let pause = match attempt {
            // The gateway hangs up on it when the next comes.
            Ok(_) if is_other => continue,
            Ok(proved) => {
                (complained, refused, newcomer.linked) = (false, None, true);
                let since = Instant::now();
                let (ended, parting) = run(&shared, &address, proved).await;
                match ended {
                    Ended::ByUs => {
                        shared.give_up(|at, _| *at == *address);
                        return;
                    }
                    Ended::Switched => continue,
                    _ => {}
                }
                backoff.ended_after(since.elapsed());
                match parting {
                    Some(Parting::Replaced { by }) => {
                        replaced = if since.elapsed() < REPLACED_CAP { replaced } else { 0 };
                        let pause = stay_away(replaced, dice::random());
                        replaced += 1;
                        shared.metrics.replaced.inc();
                        tracing::warn!(
                            gateway = &*address, by, retry_in = ?pause,
                            "another worker with this name and id has linked; \
                             if both run, one needs another --name or --id"
                        );
                        pause
                    }
                    Some(Parting::Draining) | None => backoff.next(dice::random()),
                }
            }
            Err(failed) => {
                shared.metrics.failed_links.inc();
                shared.change(|directory| directory.down(&address));
                let now = Instant::now();
                refused = failed.is_refused().then(|| refused.unwrap_or(now));
                if refused.is_some_and(|since| shared.is_nobody(&address, now - since)) {
                    shared.give_up(|at, _| *at == *address);
                }
                let patient = is_lasting(&failed, shared.directory().is_native(&address));
                if patient && !complained {
                    complained = true;
                    tracing::warn!(gateway = &*address, error = %failed, "left alone");
                } else if !patient && backoff.tries() == 0 {
                    tracing::warn!(gateway = &*address, error = %failed, "cannot link; trying on");
                }
                if newcomer.is_overdue() {
                    newcomer.leave_out(&shared, &address, &failed);
                }
                newcomer.cap(if patient { LEAVE_ALONE } else { backoff.next(dice::random()) })
            }
        };
        if !shared.is_wanted(&address) {
            tracing::info!(gateway = &*address, "no register names it any more");
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.unwanted(&address) => {}
        }
        if !shared.is_wanted(&address) {
            return;
        }
    }
}

/// A gateway that registers name, until it is linked for the first time.
struct Newcomer {
    since: Instant,
    grace: Duration,
    linked: bool,
    left_out: Outage,
}

impl Newcomer {
    fn new(grace: Duration) -> Self {
        Self { since: Instant::now(), grace, linked: false, left_out: Outage::default() }
    }

    /// Whether it should have been linked by now.
    fn is_overdue(&self) -> bool {
        !self.linked && self.grace <= self.since.elapsed()
    }

    /// How long to wait before it is called again, where it was to be `pause`: not past the grace.
    fn cap(&self, pause: Duration) -> Duration {
        match self.linked || self.is_overdue() {
            true => pause,
            false => pause.min(self.grace.saturating_sub(self.since.elapsed())),
        }
    }

    /// Questions to all gateways do without it from here on.
    fn leave_out(&mut self, shared: &Shared, address: &str, error: &Failed) {
        if !self.left_out.lasts() {
            shared.change(|directory| directory.leave_out(address));
        }
        if self.left_out.fails(clock::now()).is_some() {
            let tried = Duration::from_secs(self.since.elapsed().as_secs());
            tracing::warn!(
                gateway = address, %error, ?tried,
                "gateway was never linked; questions to all gateways leave it out. Does its inner address lead there?"
            );
        }
    }
}

/// Whether trying again soon is of no use. A gateway that is known to be `native` and does not
/// say so was only met at a bad moment.
fn is_lasting(failed: &Failed, native: bool) -> bool {
    match failed {
        Failed::NoChallenge => !native,
        Failed::Refused(Refusal::Secret | Refusal::Key)
        | Failed::Impostor
        | Failed::Bytes(_)
        | Failed::Hello(_)
        | Failed::OutOfOrder
        | Failed::Address(_)
        | Failed::OtherAddress(_) => true,
        Failed::Connect(_)
        | Failed::Lost(_)
        | Failed::TooSlow
        | Failed::Refused(Refusal::ShuttingDown) => false,
    }
}

async fn run(shared: &Arc<Shared>, address: &str, proved: Proved<Stream>) -> End {
    let Proved { gateway, instance, .. } = &proved;
    let gateway = *gateway;
    // What waits for an earlier life of it waits in vain.
    shared.give_up(|at, link| *at == *address && link.instance() != instance);
    if !shared.meet(gateway, instance) {
        // Before anything is heard that it still tells of its clients.
        return (link::write_off(proved).await, None);
    }
    let others = shared.directory();
    for other in others.lives(address).iter().filter(|named| *named != instance) {
        shared.leases().outlived(other.clone());
    }
    let passive = shared.is_passive();
    let link = link_up(shared, address, &proved);
    let down = Down { shared, address };
    let intake = shared.consumer().filter(|_| !passive).map(|consumer| consumer.linked(&link));
    shared.metrics.links.inc();
    shared.lives().linked(link.instance(), gateway);
    tracing::info!(%gateway, "linked");
    // Nothing changes in the directory, but those who watch it want to know.
    let changed = || shared.change(|_| ());
    let relayed = |from, message| shared.relayed(&link, from, message);
    let callbacks = Callbacks { changed: &changed, relayed: &relayed };
    let run = link::run(&link, proved.stream, proved.read, intake, shared.peer_timeout, callbacks);
    let confirm = async {
        shared.confirm(&link).await;
        std::future::pending().await
    };
    let (ended, since) = tokio::select! {
        ended = run => ended,
        ended = confirm => ended,
    };
    let ended = match ended {
        // Hung up for good, but not on the address: another life may be there, or come.
        Ended::ByUs if shared.leases().is_over(link.instance()) => Ended::WrittenOff,
        Ended::ByUs if shared.is_passive() != passive => Ended::Switched,
        ended => ended,
    };
    drop(down);
    if shared.is_passive() {
        link.leave_events();
    }
    if !matches!(ended, Ended::ByUs) {
        shared.miss(address, &link, &ended, since);
    }
    let parting = link.parting();
    match (&ended, &parting) {
        (Ended::ByUs | Ended::Switched, _) => {
            tracing::debug!(%gateway, reason = %ended, "link closed");
        }
        (_, Some(Parting::Draining)) => {
            shared.lives().drained(link.instance());
            tracing::info!(%gateway, "gateway left");
        }
        // Said by whoever decides when to come back.
        (_, Some(Parting::Replaced { .. })) => {}
        (lost, None) => {
            shared.metrics.lost_links.inc();
            tracing::warn!(%gateway, reason = %lost, "link lost");
        }
    }
    (ended, parting)
}

/// How long to stay away once another has taken our place that often before: the two must not come back
/// at the same time.
fn stay_away(times: u32, dice: u64) -> Duration {
    let ceiling = REPLACED.saturating_mul(1 << times.min(10)).min(REPLACED_CAP);
    ceiling / 2 + ceiling.mul_f64(dice as f64 / u64::MAX as f64) / 2
}

/// Puts the link where what is sent finds it: what waits for this life of the gateway goes first.
fn link_up(shared: &Shared, address: &str, proved: &Proved<Stream>) -> Arc<Link> {
    let Proved { gateway, instance, taken, .. } = proved;
    shared.change(|directory| {
        // One that is parked is given up nowhere but in here.
        let next = directory.parked_at(address).and_then(|last| last.next(*taken));
        let link = next.unwrap_or_else(|| {
            let (unclaimed, metrics) = (Arc::clone(&shared.unclaimed), Arc::clone(&shared.metrics));
            let (instance, held) = (instance.clone(), shared.held.clone());
            Link::first(*gateway, instance, *taken, held, unclaimed, metrics)
        });
        directory.up(address, *gateway, Arc::clone(&link));
        link
    })
}

/// Takes the link back, also when the task is dropped.
struct Down<'a> {
    shared: &'a Shared,
    address: &'a str,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.shared.metrics.links.dec();
        self.shared.lost(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_that_is_replaced_again_and_again_stays_away_for_longer() {
        let mut longest = Duration::ZERO;
        for times in 0..20 {
            let (least, most) = (stay_away(times, 0), stay_away(times, u64::MAX));
            assert!(REPLACED / 2 <= least && least < most && most <= REPLACED_CAP);
            assert!(longest <= most);
            longest = most;
        }
        assert_eq!(longest, REPLACED_CAP);
    }
}
