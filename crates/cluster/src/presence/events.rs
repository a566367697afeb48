//! The queue between the links and the task that owns groups.

use std::{collections::VecDeque, sync::Arc};

use protocol::{Group, InstanceId, MemberId, PresenceAnswer, PresenceNotified, PresenceReport};
use runtime::sync::Mutex;
use tokio::sync::Notify;

use super::table::{Dealt, Source};
use crate::{events::Room, link::Link};

/// Bytes of queued events beyond which links are not read, approximately. Reports are at most as
/// long as a frame.
const LIMIT: usize = 8 * 1024 * 1024;

/// An event for the task that owns groups.
#[derive(Debug)]
pub(crate) enum Event {
    /// A link is established on which this worker is to watch.
    Linked(Arc<Link>),
    /// It has closed.
    Unlinked(Arc<Link>),
    /// A shard has reported a group.
    Report(Arc<Link>, Box<PresenceReport>),
    /// Of the report that follows.
    Notified(Arc<Link>, Box<PresenceNotified>),
    /// A shard reports a group to another owner from here on.
    Lost(Arc<Link>, u16, Group),
    /// A gateway was declared dead.
    Dead(InstanceId),
    /// This worker watches nothing until further links are established: it becomes passive, or
    /// leaves.
    Withdrawn,
    /// There is space in the queue of a link again.
    Room(Arc<Link>),
    /// A gateway has answered a query about a group.
    Answered(u64, PresenceAnswer),
    /// All gateways have, unless it says `false`.
    Asked(u64, bool),
    /// The notices are handled before which that much was dealt with, up to a report.
    Handled(Source, Group, u64, Dealt),
}

impl Event {
    /// Approximate memory that it takes, in bytes.
    fn weight(&self) -> usize {
        let content = match self {
            Self::Report(_, report) => {
                let members = report.members.iter().map(|it| it.member.weight());
                let view = report.view.iter().flatten().map(|id| id.weight());
                members.chain(view).sum()
            }
            Self::Notified(_, notified) => notified.members.iter().map(MemberId::weight).sum(),
            Self::Answered(_, answer) => {
                answer.members.iter().map(|it| it.member.weight()).sum::<usize>()
            }
            _ => 0,
        };
        size_of::<Self>() + content
    }
}

/// Events in order. Those of links are bounded by [`room`](Self::room).
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    state: Arc<Mutex<State>>,
    wake: Notify,
    room: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
}

impl EventQueue {
    pub(crate) fn push(&self, event: Event) {
        let mut state = self.state.lock();
        state.bytes += event.weight();
        state.events.push_back(event);
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Event> {
        let mut state = self.state.lock();
        let event = state.events.pop_front()?;
        let was_full = LIMIT < state.bytes;
        state.bytes -= event.weight();
        if was_full && state.bytes <= LIMIT {
            self.room.notify_waiters();
        }
        Some(event)
    }

    /// Waits until an event is pushed.
    pub(super) async fn pushed(&self) {
        self.wake.notified().await;
    }

    /// Ready when links may be read again; `None` if they may.
    pub(crate) fn room(&self) -> Option<Room> {
        if self.state.lock().bytes <= LIMIT {
            return None;
        }
        let (state, room) = (Arc::clone(&self.state), Arc::clone(&self.room));
        Some(Box::pin(async move {
            loop {
                let notified = room.notified();
                tokio::pin!(notified);
                // Before the check, so that space freed in between is not missed.
                notified.as_mut().enable();
                if state.lock().bytes <= LIMIT {
                    return;
                }
                notified.await;
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use protocol::{LocalMember, Member};

    use super::*;

    #[test]
    fn links_are_not_read_while_many_reports_wait() {
        let member = |number: usize| {
            let id = MemberId::new(number.to_string()).unwrap();
            LocalMember { member: Member::new(id, "", vec![b'x'; 10_000]).unwrap(), clients: 1 }
        };
        let answer = || PresenceAnswer { clients: 1, members: (0..100).map(member).collect() };
        let queue = EventQueue::default();
        let mut pushed = 0;
        while queue.room().is_none() {
            queue.push(Event::Answered(pushed, answer()));
            pushed += 1;
        }
        assert!((8..=9).contains(&pushed), "{pushed} MB");
        let (mut one, mut other) = (queue.room().unwrap(), queue.room().unwrap());
        assert_eq!((&mut one).now_or_never(), None);
        while queue.room().is_some() {
            assert!(queue.pop().is_some());
        }
        // Also of a link that did not wait yet.
        assert_eq!(((&mut one).now_or_never(), (&mut other).now_or_never()), (Some(()), Some(())));
        while queue.pop().is_some() {}
        assert_eq!(queue.state.lock().bytes, 0);
    }
}
