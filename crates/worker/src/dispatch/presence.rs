//! Calls the application about watched groups.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use protocol::{Group, MemberChange, Message, watched_uid};
use push_suite_cluster::{
    Notice, NoticeKind, UidNotice,
    internal::{Application, Room},
};
use runtime::clock;

use super::{Dispatcher, catch_panic};
use crate::Worker;

/// A dispatcher as the application of watched groups.
pub(crate) struct Watching<W>(pub(crate) Arc<Dispatcher<W>>);

impl<W: Worker> Application for Watching<W> {
    fn message(&self, group: &Group, change: &MemberChange) -> Option<Message> {
        // Unwind safe: as for handlers, only the application's state can be inconsistent.
        let made = catch_unwind(AssertUnwindSafe(|| self.0.worker.presence_message(group, change)));
        made.unwrap_or_else(|_| {
            self.0.presence_failed("presence_message", group, "panicked");
            None
        })
    }

    fn notify(&self, notice: Notice) -> Room {
        let dispatcher = Arc::clone(&self.0);
        Box::pin(async move {
            let Notice { group, number, kind, .. } = &notice;
            let (handler, result) = match (watched_uid::uid_of(group), kind) {
                (None, _) => {
                    let handler = async { dispatcher.worker.on_presence(&notice).await };
                    ("on_presence", catch_panic(handler).await)
                }
                (Some(uid), NoticeKind::Occupied | NoticeKind::Vacated) => {
                    let notice = UidNotice::new(uid, *number, *kind == NoticeKind::Occupied);
                    let handler = async { dispatcher.worker.on_uid(&notice).await };
                    ("on_uid", catch_panic(handler).await)
                }
                // The number of its clients has changed.
                (Some(_), _) => return,
            };
            if let Err(error) = result {
                dispatcher.presence_failed(handler, &notice.group, &format!("{error:#}"));
            }
        })
    }
}

impl<W> Dispatcher<W> {
    /// Counts and logs a failure.
    fn presence_failed(&self, handler: &str, group: &Group, error: &str) {
        self.metrics.failures.inc();
        self.metrics.given_up.inc();
        if let Some(suppressed) = self.warnings.lock().presence.admit(clock::now()) {
            tracing::warn!(%group, handler, error, suppressed, "handler failed");
        }
    }
}
