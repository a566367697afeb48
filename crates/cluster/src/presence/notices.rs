//! Calls the application's handler of notices: for each group one at a time, in order.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use protocol::Group;
use runtime::sync::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{
    Notice, NoticeKind,
    events::Event,
    table::{Dealt, Source},
};
use crate::shared::Shared;

/// Bytes of notices that wait for handlers, approximately. Beyond it they are dropped.
const LIMIT: usize = 64 * 1024 * 1024;

/// Maximum number of handlers that run at the same time. Some wait for others, such as for the
/// receiver of a webhook.
const AT_ONCE: usize = 4096;

/// Work for one group, in order.
#[derive(Debug)]
enum Item {
    Notice(Notice),
    /// To be reported once the notices before it are handled.
    Dealt(Source, u64, Dealt),
}

/// The notices of all groups.
#[derive(Debug)]
pub(super) struct Notices {
    state: Mutex<State>,
    permits: Semaphore,
    running: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// Of each group that a task handles notices of.
    // Group names are untrusted input, so their hash is keyed.
    waiting: HashMap<Group, VecDeque<Item>>,
    bytes: usize,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            running: TaskTracker::new(),
        }
    }
}

impl Notices {
    /// Adds a notice. A number of clients replaces one that waits right before it.
    pub(super) fn notify(&self, shared: &Arc<Shared>, notice: Notice) {
        let mut state = self.state.lock();
        let weight = notice.weight();
        if LIMIT < state.bytes + weight {
            shared.metrics.presence.dropped.inc();
            return;
        }
        let group = notice.group.clone();
        let is_running = state.waiting.contains_key(&group);
        let waiting = state.waiting.entry(group.clone()).or_default();
        if matches!(notice.kind, NoticeKind::Clients(_))
            && let Some(Item::Notice(last)) = waiting.back_mut()
            && matches!(last.kind, NoticeKind::Clients(_))
        {
            *last = notice;
            return;
        }
        waiting.push_back(Item::Notice(notice));
        state.bytes += weight;
        if !is_running {
            self.start(shared, group);
        }
    }

    /// Adds that reports are dealt with, which they are once the notices of the group so far are
    /// handled. Returns `false` if there are none.
    pub(super) fn dealt(&self, source: &Source, group: &Group, number: u64, dealt: Dealt) -> bool {
        let mut state = self.state.lock();
        let waiting = state.waiting.get_mut(group);
        waiting.map(|it| it.push_back(Item::Dealt(source.clone(), number, dealt))).is_some()
    }

    /// Waits until all notices are handled.
    pub(super) async fn handled(&self) {
        self.running.close();
        self.running.wait().await;
        self.running.reopen();
    }

    fn start(&self, shared: &Arc<Shared>, group: Group) {
        let (token, shared_by_task) = (self.running.token(), Arc::clone(shared));
        shared.spawn_supervised(async move {
            let Some(owner) = shared_by_task.presence() else { return };
            let notices = &owner.notices;
            while let Some(item) = notices.next(&group) {
                match item {
                    Item::Notice(notice) => {
                        let Ok(_permit) = notices.permits.acquire().await else { return };
                        shared_by_task.metrics.presence.notices.inc();
                        owner.application.notify(notice).await;
                    }
                    Item::Dealt(source, number, dealt) => {
                        owner.events.push(Event::Handled(source, group.clone(), number, dealt));
                    }
                }
            }
            drop(token);
        });
    }

    fn next(&self, group: &Group) -> Option<Item> {
        let mut state = self.state.lock();
        match state.waiting.get_mut(group)?.pop_front() {
            Some(item) => {
                if let Item::Notice(notice) = &item {
                    state.bytes -= notice.weight().min(state.bytes);
                }
                Some(item)
            }
            None => {
                state.waiting.remove(group);
                None
            }
        }
    }
}
