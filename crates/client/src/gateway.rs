//! Looks after one gateway: links to it, runs the link, links again.

use std::{sync::Arc, time::Duration};

use protocol::link::Refusal;
use service::{backoff::Backoff, dice, stream::Stream};
use tokio::time::Instant;

use crate::{
    link::{self, Ended, Failed, Link, Proved},
    shared::Shared,
};

/// Waits between attempts: short at first, since most gateways are back at once.
const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(2);

/// How long to leave alone what will not change by itself soon: another secret, or another
/// language.
const LEAVE_ALONE: Duration = Duration::from_secs(20);

/// Keeps one gateway linked for as long as a register names it, and calls it for as long as something
/// waits for it.
pub(crate) async fn look_after(shared: Arc<Shared>, address: Arc<str>) {
    let mut backoff = Backoff::new(FIRST, CAP);
    // What cannot be mended from here is said once, not at every attempt.
    let mut complained = false;
    // Since when nobody listens there.
    let mut refused = None;
    loop {
        let attempt = link::connect(&address, &shared.identity, dice::random()).await;
        if shared.is_leaving() {
            return;
        }
        let pause = match attempt {
            Ok(proved) => {
                (complained, refused) = (false, None);
                let since = Instant::now();
                if let Ended::ByUs = run(&shared, &address, proved).await {
                    shared.give_up(|at, _| *at == *address);
                    return;
                }
                backoff.ended_after(since.elapsed());
                backoff.next(dice::random())
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
                    tracing::warn!(gateway = %address, error = %failed, "left alone");
                } else if !patient && backoff.tries() == 0 {
                    tracing::warn!(gateway = %address, error = %failed, "cannot link; trying on");
                }
                if patient { LEAVE_ALONE } else { backoff.next(dice::random()) }
            }
        };
        if !shared.is_wanted(&address) {
            tracing::info!(gateway = %address, "no register names it any more");
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

async fn run(shared: &Arc<Shared>, address: &str, proved: Proved<Stream>) -> Ended {
    let Proved { gateway, instance, .. } = &proved;
    let gateway = *gateway;
    // What waits for an earlier life of it waits in vain.
    shared.give_up(|at, link| *at == *address && link.instance() != instance);
    if !shared.meet(gateway, instance) {
        // Before anything is heard that it still tells of its clients.
        return link::write_off(proved).await;
    }
    let others = shared.directory();
    for other in others.lives(address).iter().filter(|named| *named != instance) {
        shared.leases().outlived(other.clone());
    }
    let link = link_up(shared, address, &proved);
    let down = Down { shared, address };
    let intake = shared.consumer().map(|consumer| consumer.linked(&link));
    shared.metrics.links.inc();
    tracing::info!(%gateway, "linked");
    // Nothing changes in the directory, but those who watch it want to know.
    let changed = || shared.change(|_| ());
    let run = link::run(&link, proved.stream, proved.read, intake, shared.peer_timeout, &changed);
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
        ended => ended,
    };
    drop(down);
    if !matches!(ended, Ended::ByUs) {
        shared.miss(address, &link, &ended, since);
    }
    match &ended {
        Ended::ByUs => tracing::debug!(%gateway, "link closed"),
        lost => {
            shared.metrics.lost_links.inc();
            tracing::warn!(%gateway, reason = %lost, "link lost");
        }
    }
    ended
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
