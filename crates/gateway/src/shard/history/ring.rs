//! The last lifecycle events of a shard: a value.

use std::collections::VecDeque;

use protocol::{
    ConnectionId,
    inspect::{History, LifecycleEvent, LifecycleKind, MAX_EVENTS},
};
use rustc_hash::FxHashSet;

/// The last events, in two queues: a quarter is for those of which a fault or an attacker can cause
/// many for one client or without any, so that they displace no other.
#[derive(Debug)]
pub(super) struct Ring {
    most: usize,
    usual: VecDeque<LifecycleEvent>,
    frequent: VecDeque<LifecycleEvent>,
}

impl Ring {
    /// Keeps up to `most` events.
    pub(super) fn new(most: usize) -> Self {
        Self { most, usual: VecDeque::new(), frequent: VecDeque::new() }
    }

    /// Whether it keeps none.
    pub(super) const fn is_off(&self) -> bool {
        self.most == 0
    }

    /// Adds an event, with the highest number so far, and removes the oldest if there are too many.
    pub(super) fn push(&mut self, event: LifecycleEvent) {
        let quarter = self.most / 4;
        let (events, most) = match is_frequent(&event.kind) {
            true if self.frequent.iter().rev().take(RECENT).any(|known| repeats(known, &event)) => {
                return;
            }
            true => (&mut self.frequent, quarter),
            false => (&mut self.usual, self.most - quarter),
        };
        if most == 0 {
            return;
        }
        if events.len() == most {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// The last events that match, oldest first.
    pub(super) fn find(&self, history: &History) -> Vec<LifecycleEvent> {
        let concerned = self.concerned(history);
        let matches = |event: &&LifecycleEvent| {
            history.since <= event.at
                && history.after < event.number
                && history.client.is_none_or(|client| event.client == Some(client))
                && concerned.as_ref().is_none_or(|clients| {
                    event.client.is_some_and(|client| clients.contains(&client))
                        || event.client.is_none()
                            && history.uid.is_none()
                            && is_from(event, history)
                })
        };
        let limit = history.limit.min(MAX_EVENTS) as usize;
        let last = |events: &VecDeque<LifecycleEvent>| {
            events.iter().rev().filter(matches).take(limit).cloned().collect::<Vec<_>>()
        };
        let mut found = last(&self.usual);
        found.extend(last(&self.frequent));
        found.sort_unstable_by_key(|event| event.number);
        found.drain(..found.len().saturating_sub(limit));
        found
    }

    /// The clients that a uid or an address selects; `None` if neither is given.
    fn concerned(&self, history: &History) -> Option<FxHashSet<ConnectionId>> {
        if history.uid.is_none() && history.ip.is_none() {
            return None;
        }
        let all = || self.usual.iter().chain(&self.frequent);
        let of_uid: Option<FxHashSet<_>> = history.uid.as_ref().map(|uid| {
            let bound = all().filter(|event| event.kind.uid() == Some(uid));
            bound.filter_map(|event| event.client).collect()
        });
        let of_ip: Option<FxHashSet<_>> = history.ip.map(|_| {
            all().filter(|event| is_from(event, history)).filter_map(|event| event.client).collect()
        });
        match (of_uid, of_ip) {
            (Some(one), Some(other)) => Some(one.intersection(&other).copied().collect()),
            (one, other) => one.or(other),
        }
    }
}

/// Whether an event has the address that is asked for.
fn is_from(event: &LifecycleEvent, history: &History) -> bool {
    let remote = event.kind.remote().map(|remote| remote.ip().to_canonical());
    history.ip.is_some_and(|ip| remote == Some(ip.to_canonical()))
}

/// Events looked at for a repetition.
const RECENT: usize = 16;

/// Whether this has happened to the client shortly before: once says as much.
fn repeats(known: &LifecycleEvent, event: &LifecycleEvent) -> bool {
    let is_same = match (&known.kind, &event.kind) {
        (LifecycleKind::Slow { .. }, LifecycleKind::Slow { .. })
        | (LifecycleKind::JoinRefused { .. }, LifecycleKind::JoinRefused { .. }) => true,
        (LifecycleKind::Paused { reason }, LifecycleKind::Paused { reason: again }) => {
            reason == again
        }
        _ => false,
    };
    is_same && known.client == event.client
}

/// Whether a client can cause many such events, or a connection that becomes no client.
const fn is_frequent(kind: &LifecycleKind) -> bool {
    match kind {
        LifecycleKind::Refused { .. }
        | LifecycleKind::JoinRefused { .. }
        | LifecycleKind::Assigned { again: true, .. }
        | LifecycleKind::Unassigned
        | LifecycleKind::Slow { .. }
        | LifecycleKind::Paused { .. } => true,
        LifecycleKind::Connected { .. }
        | LifecycleKind::Bound { .. }
        | LifecycleKind::Assigned { again: false, .. }
        | LifecycleKind::WorkerLinked { .. }
        | LifecycleKind::WorkerLost { .. }
        | LifecycleKind::Closed(_)
        | LifecycleKind::Draining { .. } => false,
    }
}

#[cfg(test)]
mod tests;
