//! Checks uids against the limit of connections, asked for by gateways: compares the clients of a
//! uid on all gateways with the limit, and closes those that are over it.
//!
//! Each gateway asks after it has bound a client, so the check of the last of several bindings
//! finds all of them. A check is complete when every gateway has answered and nothing is over the
//! limit: a gateway that does not answer is asked until it does or is declared dead, since its
//! clients are closed then.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use protocol::{Binding, Command, Query, Uid, UidLimit, link::ToGateway};
use runtime::sync::Mutex;
use tokio::time::sleep;

use crate::{Cluster, Error, link::Link, merge, shared::Shared};

/// How long a check waits after an error before it asks again, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(2);

/// Maximum number of checks that wait, and of uids that one is in progress for, together. A gateway
/// asks for a few hundred at a time; should there be so many gateways, it asks again when the link
/// is back.
const CHECKS: usize = 64 * 1024;

/// The check that a gateway has asked for.
#[derive(Clone, Debug)]
pub(crate) struct UidCheck {
    pub(crate) number: u64,
    pub(crate) uid: Uid,
    pub(crate) limit: UidLimit,
    /// See [`Query::Bindings`].
    pub(crate) clock: u64,
}

/// The checks of a worker. Those of one uid are made one after the other: a later one does not
/// count clients that the earlier one closes.
#[derive(Debug)]
pub(crate) struct UidChecks<C = (Arc<Link>, UidCheck)> {
    state: Mutex<State<C>>,
}

#[derive(Debug)]
struct State<C> {
    /// The waiting checks of each uid that one is in progress for.
    // Uids are untrusted input, so their hash is keyed.
    waiting: HashMap<Uid, VecDeque<C>>,
    /// Number of checks that wait.
    count: usize,
}

/// Whether a check was taken.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// No check of this uid is in progress: one is to be started.
    First,
    /// It is made after others of this uid.
    Queued,
    /// There are too many.
    Refused,
}

impl<C> Default for UidChecks<C> {
    fn default() -> Self {
        Self { state: Mutex::new(State { waiting: HashMap::new(), count: 0 }) }
    }
}

impl<C> UidChecks<C> {
    fn add(&self, uid: Uid, check: C) -> Taken {
        let mut state = self.state.lock();
        if CHECKS <= state.count + state.waiting.len() {
            return Taken::Refused;
        }
        state.count += 1;
        let is_first = !state.waiting.contains_key(&uid);
        state.waiting.entry(uid).or_default().push_back(check);
        if is_first { Taken::First } else { Taken::Queued }
    }

    /// The next check of the uid; `None` if that was the last.
    fn next(&self, uid: &Uid) -> Option<C> {
        let mut state = self.state.lock();
        match state.waiting.get_mut(uid)?.pop_front() {
            Some(next) => {
                state.count -= 1;
                Some(next)
            }
            None => {
                state.waiting.remove(uid);
                None
            }
        }
    }
}

impl Shared {
    /// Starts a check for a gateway. Returns `false` if there are too many.
    pub(crate) fn check_uid(self: &Arc<Self>, link: &Arc<Link>, check: UidCheck) -> bool {
        let uid = check.uid.clone();
        match self.uid_checks.add(uid.clone(), (Arc::clone(link), check)) {
            Taken::First => self.spawn_supervised(run(Arc::clone(self), uid)),
            Taken::Queued => {}
            Taken::Refused => return false,
        }
        true
    }
}

/// Makes the checks of a uid, one after the other.
async fn run(shared: Arc<Shared>, uid: Uid) {
    let cluster = Cluster { shared, scope: None, partial: None };
    while let Some((link, check)) = cluster.shared.uid_checks.next(&uid) {
        let checked = async {
            complete(&cluster, &check).await;
            let (check, uid) = (check.number, uid.clone());
            // If the link has closed, its gateway asks another worker, or this one again.
            let _ = link.send_message(&mut ToGateway::UidChecked { check, uid }).await;
        };
        tokio::select! {
            biased;
            () = link.gone() => {}
            () = checked => {}
        }
    }
}

/// Closes what is over the limit, until a query of all gateways finds nothing more: it also
/// confirms that the others are closed.
async fn complete(cluster: &Cluster, check: &UidCheck) {
    let mut pause = FIRST;
    loop {
        match close_excess(cluster, check).await {
            Ok(0) => return,
            Ok(closed) => tracing::debug!(closed, "closed clients over the limit for their uid"),
            Err(error) => {
                tracing::debug!(%error, "uid not checked yet");
                sleep(pause).await;
                pause = (pause * 2).min(LAST);
            }
        }
    }
}

/// Returns how many clients were over the limit.
async fn close_excess(cluster: &Cluster, check: &UidCheck) -> Result<usize, Error> {
    let UidCheck { uid, limit, clock, .. } = check;
    // Clients of a gateway that no register lists count until it is declared dead.
    if let Some(link) = cluster.shared.directory().awaited().next() {
        return Err(link.unreachable());
    }
    let query = || Query::Bindings { uid: uid.clone(), clock: *clock };
    let answers = cluster.ask_all(|_| Some(query())).await?;
    let over = limit.excess(merge::bindings(answers)?);
    for Binding { client, since } in &over {
        let directory = cluster.shared.directory();
        let Some(link) = directory.link(client.gateway) else {
            return Err(Error::Unreachable { gateway: client.gateway.to_string() });
        };
        // Not kept if the link closes: the client is found again.
        let (client, since, keep) = (client.connection, *since, limit.keep);
        link.send(Command::CloseBinding { client, since, keep }).await?;
    }
    Ok(over.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(number: usize) -> Uid {
        Uid::from(number)
    }

    #[test]
    fn checks_of_one_uid_are_made_in_turn() {
        let checks = UidChecks::default();
        assert_eq!(checks.add(uid(1), "first"), Taken::First);
        assert_eq!(checks.add(uid(1), "second"), Taken::Queued);
        assert_eq!(checks.add(uid(2), "other"), Taken::First);
        assert_eq!(checks.next(&uid(1)), Some("first"));
        assert_eq!(checks.add(uid(1), "third"), Taken::Queued);
        for next in [Some("second"), Some("third"), None] {
            assert_eq!(checks.next(&uid(1)), next);
        }
        assert_eq!(checks.add(uid(1), "again"), Taken::First);
    }

    #[test]
    fn checks_are_bounded_whether_they_wait_or_are_in_progress() {
        let checks = UidChecks::default();
        let in_progress = CHECKS / 2;
        for number in 0..in_progress {
            assert_eq!(checks.add(uid(number), ()), Taken::First);
            assert_eq!(checks.next(&uid(number)), Some(()));
        }
        for _ in in_progress..CHECKS {
            assert_eq!(checks.add(uid(0), ()), Taken::Queued);
        }
        for number in [0, in_progress] {
            assert_eq!(checks.add(uid(number), ()), Taken::Refused);
        }
        // One ends.
        assert_eq!(checks.next(&uid(1)), None);
        assert_eq!(checks.add(uid(0), ()), Taken::Queued);
        assert_eq!(checks.add(uid(0), ()), Taken::Refused);
    }
}
