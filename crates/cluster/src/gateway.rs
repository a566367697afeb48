//! Maintains the link to one gateway: connects, runs the link, reconnects.

use std::{sync::Arc, time::Duration};

use protocol::{
    link::{Refusal, ToGateway},
    streaming::StreamGap,
};
use runtime::{backoff::Backoff, clock, outage::Outage, random, stream::Stream};
use tokio::time::Instant;

use crate::{
    link::{self, Callbacks, Ended, Failed, Link, PlannedEnd, PresenceMessage, Proved},
    presence,
    shared::Shared,
    streams::Gap,
};

/// Delays between attempts: short at first, since most gateways are back at once.
const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(2);

/// Delay after a failure that will not resolve by itself soon: another secret key, or another
/// protocol.
const LASTING_FAILURE_DELAY: Duration = Duration::from_secs(20);

/// How long a worker stays away from a gateway at which another worker with the same name and id
/// has replaced it: if both run, they would replace each other forever. Doubles each time, up to
/// the cap.
const REPLACED_DELAY: Duration = Duration::from_secs(10);
const REPLACED_DELAY_CAP: Duration = Duration::from_secs(600);

/// How a link ended, and the reason announced by its gateway before.
type End = (Ended, Option<PlannedEnd>);

/// Keeps one gateway linked while a register lists it, and keeps dialling it while commands wait
/// for it.
pub(crate) async fn maintain_link(shared: Arc<Shared>, address: Arc<str>) {
    let mut backoff = Backoff::new(FIRST, CAP);
    // A failure that needs an operator is logged once, not at every attempt.
    let mut warned = false;
    // Since when connections are refused.
    let mut refused = None;
    // How often another worker has replaced this one there in quick succession.
    let mut replaced = 0;
    let mut first_link = FirstLink::new(shared.failure_detector().grace());
    loop {
        let identity = shared.identity_now();
        let attempt = link::connect(&address, &identity, random::random()).await;
        if shared.is_leaving() {
            return;
        }
        let is_other = shared.identity_now().worker() != identity.worker();
        let pause = match attempt {
            // The gateway closes this link when the next one is established.
            Ok(_) if is_other => continue,
            Ok(proved) => {
                (warned, refused, first_link.linked) = (false, None, true);
                shared.set_rejected_by(None);
                let since = Instant::now();
                let (ended, planned_end) = run(&shared, &address, proved).await;
                match ended {
                    Ended::ByUs => {
                        shared.give_up(|at, _| *at == *address);
                        return;
                    }
                    Ended::Switched => continue,
                    _ => {}
                }
                backoff.ended_after(since.elapsed());
                match planned_end {
                    Some(PlannedEnd::Replaced { by }) => {
                        replaced = if since.elapsed() < REPLACED_DELAY_CAP { replaced } else { 0 };
                        let pause = replaced_delay(replaced, random::random());
                        replaced += 1;
                        shared.metrics.replaced.inc();
                        tracing::warn!(
                            gateway = &*address, by, retry_in = ?pause,
                            "another worker with this name and id has linked; \
                             if both run, one needs another --name or --id"
                        );
                        pause
                    }
                    Some(PlannedEnd::Draining) | None => backoff.next(random::random()),
                }
            }
            Err(failed) => {
                shared.metrics.failed_links.inc();
                if failed.is_wrong_secret() {
                    shared.set_rejected_by(Some(&address));
                }
                shared.change(|directory| directory.down(&address));
                let now = Instant::now();
                refused = failed.is_refused().then(|| refused.unwrap_or(now));
                if refused.is_some_and(|since| shared.is_absent(&address, now - since)) {
                    shared.give_up(|at, _| *at == *address);
                }
                let lasting = is_lasting(&failed, shared.directory().is_native(&address));
                if lasting && !warned {
                    warned = true;
                    tracing::warn!(
                        gateway = &*address, error = %failed,
                        "cannot link; retrying every 20 s"
                    );
                } else if !lasting && backoff.tries() == 0 {
                    tracing::warn!(gateway = &*address, error = %failed, "cannot link; retrying");
                }
                if first_link.is_overdue() {
                    first_link.leave_out(&shared, &address, &failed);
                }
                first_link.cap(if lasting {
                    LASTING_FAILURE_DELAY
                } else {
                    backoff.next(random::random())
                })
            }
        };
        if !shared.is_wanted(&address) {
            tracing::info!(gateway = &*address, "no register lists it any more");
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

/// A gateway that registers list, until it is linked for the first time.
struct FirstLink {
    since: Instant,
    grace: Duration,
    linked: bool,
    left_out: Outage,
}

impl FirstLink {
    fn new(grace: Duration) -> Self {
        Self { since: Instant::now(), grace, linked: false, left_out: Outage::default() }
    }

    /// Whether it should have been linked by now.
    fn is_overdue(&self) -> bool {
        !self.linked && self.grace <= self.since.elapsed()
    }

    /// Caps the delay `pause` before the next attempt at the end of the grace period.
    fn cap(&self, pause: Duration) -> Duration {
        match self.linked || self.is_overdue() {
            true => pause,
            false => pause.min(self.grace.saturating_sub(self.since.elapsed())),
        }
    }

    /// Excludes it from queries to all gateways from here on.
    fn leave_out(&mut self, shared: &Shared, address: &str, error: &Failed) {
        if !self.left_out.lasts() {
            shared.change(|directory| directory.leave_out(address));
        }
        if self.left_out.fails(clock::now()).is_some() {
            let tried = Duration::from_secs(self.since.elapsed().as_secs());
            tracing::warn!(
                gateway = address, %error, ?tried,
                "gateway was never linked; queries to all gateways skip it. \
                 Is its inner address reachable?"
            );
        }
    }
}

/// Whether an early retry is useless. A missing challenge of a gateway that is known to be `native`
/// is a transient failure.
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
    // Commands queued for an earlier instance of it will never be delivered.
    shared.give_up(|at, link| *at == *address && link.instance() != instance);
    if !shared.admit(gateway, instance) {
        // Before it can send anything about its clients.
        return (link::fence(proved).await, None);
    }
    let others = shared.directory();
    for other in others.instances_at(address).iter().filter(|named| *named != instance) {
        shared.failure_detector().superseded(other.clone());
    }
    let passive = shared.is_passive();
    let link = link_up(shared, address, &proved);
    if shared.is_passive() != passive {
        // Switched before the link was in the directory.
        link.hang_up();
    }
    let down = Down { shared, address };
    let receiver = shared.consumer().filter(|_| !passive).map(|consumer| consumer.linked(&link));
    shared.metrics.links.inc();
    shared.instances().linked(link.instance(), gateway);
    tracing::info!(%gateway, "linked");
    // The directory has not changed; this only notifies watchers of the status.
    let changed = || shared.change(|_| ());
    let relayed = |from, message| shared.relayed(&link, from, message);
    let check_uid = |check| shared.check_uid(&link, check);
    let watched = shared.presence().filter(|_| !passive);
    if let Some(owner) = watched {
        owner.events.push(presence::Event::Linked(Arc::clone(&link)));
    }
    let report = |message| {
        if let Some(owner) = watched {
            owner.events.push(match message {
                PresenceMessage::Report(report) => {
                    presence::Event::Report(Arc::clone(&link), report)
                }
                PresenceMessage::Notified(notified) => {
                    presence::Event::Notified(Arc::clone(&link), notified)
                }
                PresenceMessage::Lost(shard, group) => {
                    presence::Event::Lost(Arc::clone(&link), shard, group)
                }
            });
        }
    };
    if shared.streams.is_served() {
        // The link is new, so there is space.
        let _ = link.offer(&mut ToGateway::ServeStreams { serves: true });
    }
    let stream_gaps = |shard, gaps: Vec<StreamGap>| {
        let gap = |gap| Gap { link: Arc::clone(&link), shard, gap };
        if shared.streams.is_served() {
            shared.streams.gaps.push(gaps.into_iter().map(gap));
        }
    };
    let presence_room = || watched.and_then(|owner| owner.events.room());
    let callbacks = Callbacks {
        changed: &changed,
        relayed: &relayed,
        check_uid: &check_uid,
        presence: &report,
        stream_gaps: &stream_gaps,
        presence_room: &presence_room,
    };
    let run =
        link::run(&link, proved.stream, proved.read, receiver, shared.peer_timeout, callbacks);
    let confirm = async {
        shared.confirm(&link).await;
        std::future::pending().await
    };
    let (ended, since) = tokio::select! {
        ended = run => ended,
        ended = confirm => ended,
    };
    let ended = match ended {
        // Closed for good, but the address is still dialled: another instance may be there, or
        // follow.
        Ended::ByUs if shared.failure_detector().is_dead(link.instance()) => Ended::Fenced,
        // Only a cluster that ends closes links for good.
        Ended::ByUs if !shared.is_leaving() => Ended::Switched,
        ended => ended,
    };
    drop(down);
    if let Some(owner) = watched {
        owner.events.push(presence::Event::Unlinked(Arc::clone(&link)));
    }
    if shared.is_passive() {
        link.leave_events();
    }
    if !matches!(ended, Ended::ByUs) {
        shared.record_lost_link(address, &link, &ended, since);
    }
    let planned_end = link.planned_end();
    match (&ended, &planned_end) {
        (Ended::ByUs | Ended::Switched, _) => {
            tracing::debug!(%gateway, reason = %ended, "link closed");
        }
        (_, Some(PlannedEnd::Draining)) => {
            shared.instances().drained(link.instance());
            tracing::info!(%gateway, "gateway left");
        }
        // Logged by the caller, which chooses the delay.
        (_, Some(PlannedEnd::Replaced { .. })) => {}
        (lost, None) => {
            shared.metrics.lost_links.inc();
            tracing::warn!(%gateway, reason = %lost, "link lost");
        }
    }
    (ended, planned_end)
}

/// How long to stay away after another worker has replaced this one `times` times before.
/// Randomized, so that the two do not come back at the same time.
fn replaced_delay(times: u32, random: u64) -> Duration {
    let ceiling = REPLACED_DELAY.saturating_mul(1 << times.min(10)).min(REPLACED_DELAY_CAP);
    ceiling / 2 + ceiling.mul_f64(random as f64 / u64::MAX as f64) / 2
}

/// Makes the link available to senders. Commands queued for this instance of the gateway precede
/// new ones.
fn link_up(shared: &Shared, address: &str, proved: &Proved<Stream>) -> Arc<Link> {
    let Proved { gateway, instance, taken, .. } = proved;
    shared.change(|directory| {
        // A parked link is given up only in here, within this task.
        let next = directory.parked_at(address).and_then(|last| last.next(*taken));
        let link = next.unwrap_or_else(|| {
            let (unscoped, metrics) = (Arc::clone(&shared.unscoped), Arc::clone(&shared.metrics));
            let (instance, pending_acks) = (instance.clone(), shared.pending_acks.clone());
            Link::first(*gateway, instance, *taken, pending_acks, unscoped, metrics)
        });
        directory.up(address, *gateway, Arc::clone(&link));
        link
    })
}

/// Marks the gateway as disconnected, also when the task is dropped.
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
    fn worker_replaced_repeatedly_stays_away_longer() {
        let mut longest = Duration::ZERO;
        for times in 0..20 {
            let (least, most) = (replaced_delay(times, 0), replaced_delay(times, u64::MAX));
            assert!(REPLACED_DELAY / 2 <= least && least < most && most <= REPLACED_DELAY_CAP);
            assert!(longest <= most);
            longest = most;
        }
        assert_eq!(longest, REPLACED_DELAY_CAP);
    }
}
