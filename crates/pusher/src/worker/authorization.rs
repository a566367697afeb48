//! Closes connections that are not authorized in time.
//!
//! Their worker has a timer. Another worker has none, after the first one is gone: it finds the
//! deadline in the session with the client's next message, which is a ping at the latest.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::ClientId;
use push_suite_worker::{Cluster, Error};
use runtime::clock;

use super::Shared;
use crate::{connect::Refused, state::State};

/// How often deadlines are checked.
const EVERY: Duration = Duration::from_secs(1);

/// Seconds after which a client whose gateway could not be asked is checked again.
const RETRY: u32 = 5;

/// Maximum number of timers. Connections beyond it are checked with their next message.
const MOST: usize = 1 << 20;

/// Clients by the time at which they have to be authorized.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Instant, ClientId)>>);

impl Deadlines {
    pub(super) fn add(&mut self, client: ClientId, now: Instant, seconds: u32) {
        if self.0.len() < MOST {
            self.0.push(Reverse((now + Duration::from_secs(seconds.into()), client)));
        }
    }

    /// The next client whose time is up.
    fn pop(&mut self, now: Instant) -> Option<ClientId> {
        let Reverse((at, client)) = *self.0.peek()?;
        (at <= now).then(|| self.0.pop()).map(|_| client)
    }
}

/// Closes overdue clients of this worker, forever.
pub(super) async fn enforce(shared: Arc<Shared>, cluster: Cluster) {
    loop {
        tokio::time::sleep(EVERY).await;
        let next = || shared.deadlines.lock().pop(clock::now());
        while let Some(client) = next() {
            if let Err(error) = check(&shared, &cluster, client).await {
                tracing::debug!(%client, %error, "not checked for authorization");
                if error.is_retryable() {
                    shared.deadlines.lock().add(client, clock::now(), RETRY);
                }
            }
        }
    }
}

async fn check(shared: &Shared, cluster: &Cluster, client: ClientId) -> Result<(), Error> {
    let Some(session) = cluster.session(client).await? else { return Ok(()) };
    let Some(state) = State::read(&session).filter(|state| !state.is_authorized) else {
        return Ok(());
    };
    shared.metrics.closed(Refused::Unauthorized);
    let close = Refused::Unauthorized.close(state.opened.error_events)?;
    cluster.close_client(client, close).await
}

#[cfg(test)]
mod tests {
    use protocol::ConnectionId;

    use super::*;

    #[test]
    fn clients_are_due_in_the_order_of_their_deadlines() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        let client = |number| ClientId::new("127.0.0.1:1".parse().unwrap(), ConnectionId(number));
        deadlines.add(client(1), now, 30);
        deadlines.add(client(2), now, 10);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(deadlines.pop(after(9)), None);
        assert_eq!(deadlines.pop(after(30)), Some(client(2)));
        assert_eq!(deadlines.pop(after(30)), Some(client(1)));
        assert_eq!(deadlines.pop(after(99)), None);
    }
}
