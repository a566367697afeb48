//! Budgets of a client: how many client events and faults in a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use protocol::ClientId;
use runtime::token_bucket::{Bucket, Rate};

/// The budget of faults: 20 malformed messages, or 200 refusals, in [`FAULTS_PERIOD`].
const FAULTS: u64 = 200;

/// The time in which a client may use up its budget of faults.
const FAULTS_PERIOD: Duration = Duration::from_secs(10);

/// Clients without faults and events for this long are forgotten: their buckets are full.
const FORGOTTEN_AFTER: Duration = FAULTS_PERIOD;

/// The table is swept when it has grown to this, or to twice what the last sweep has left.
const LEAST_SWEPT: usize = 1024;

/// How much a fault counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Not of this protocol. No client library sends such a message.
    Malformed,
    /// Well formed and refused, such as a subscription that is not signed correctly.
    Refused,
}

#[derive(Debug)]
struct Spent {
    events: Bucket,
    faults: Bucket,
    last: Instant,
}

/// The budgets of the clients of this worker that have used any of theirs lately.
#[derive(Debug)]
pub(crate) struct Budgets {
    clients: HashMap<ClientId, Spent>,
    sweep_at: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { clients: HashMap::new(), sweep_at: LEAST_SWEPT }
    }
}

impl Budgets {
    /// Whether a client may send a client event, of which it may send `per_second`, and as many at
    /// once.
    pub(crate) fn take_event(&mut self, client: ClientId, per_second: u32, now: Instant) -> bool {
        let rate = Rate::new(per_second.into(), per_second.into());
        self.of(client, now).events.try_take(rate, 1, now).is_ok()
    }

    /// Whether a client stays connected after a fault.
    pub(crate) fn take_fault(&mut self, client: ClientId, weight: Weight, now: Instant) -> bool {
        let cost = match weight {
            Weight::Malformed => FAULTS / 20,
            Weight::Refused => 1,
        };
        let rate = Rate::new(FAULTS / FAULTS_PERIOD.as_secs(), FAULTS);
        self.of(client, now).faults.try_take(rate, cost, now).is_ok()
    }

    /// The client is disconnected.
    pub(crate) fn remove(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// The number of clients in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    fn of(&mut self, client: ClientId, now: Instant) -> &mut Spent {
        if self.sweep_at <= self.clients.len() && !self.clients.contains_key(&client) {
            self.clients
                .retain(|_, spent| now.saturating_duration_since(spent.last) < FORGOTTEN_AFTER);
            self.sweep_at = LEAST_SWEPT.max(2 * self.clients.len());
        }
        let new = || Spent { events: Bucket::default(), faults: Bucket::default(), last: now };
        let spent = self.clients.entry(client).or_insert_with(new);
        spent.last = now;
        spent
    }
}

#[cfg(test)]
mod tests {
    use protocol::ConnectionId;

    use super::*;

    fn client(number: u32) -> ClientId {
        ClientId::new("127.0.0.1:1".parse().unwrap(), ConnectionId(number))
    }

    #[test]
    fn client_events_are_limited_by_the_second_with_a_burst() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        let mut sent = |after: u64, count: usize| {
            let now = start + Duration::from_millis(after);
            (0..count).filter(|_| budgets.take_event(client(1), 10, now)).count()
        };
        assert_eq!(sent(0, 20), 10);
        assert_eq!(sent(101, 20), 1, "a tenth of a second");
        assert_eq!(sent(100_000, 20), 10, "no more than the burst");
        assert!(budgets.take_event(client(2), 1, start), "each client has its own");
    }

    #[test]
    fn twenty_malformed_messages_in_ten_seconds_are_the_most() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        let mut fault = |after: u64| {
            budgets.take_fault(client(1), Weight::Malformed, start + Duration::from_millis(after))
        };
        assert_eq!((0..30).filter(|_| fault(0)).count(), 20);
        assert!(fault(501) && !fault(501), "one for each half of a second");
    }

    #[test]
    fn refusals_count_a_tenth_of_a_malformed_message() {
        let (mut budgets, now) = (Budgets::default(), Instant::now());
        let mut refused = || budgets.take_fault(client(1), Weight::Refused, now);
        assert_eq!((0..300).filter(|_| refused()).count(), 200);
        assert!(!budgets.take_fault(client(1), Weight::Malformed, now));
        assert_eq!((0..20).filter(|_| budgets.take_event(client(1), 10, now)).count(), 10);
    }

    #[test]
    fn clients_of_the_past_are_forgotten() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        for number in 0..100_000 {
            let now = start + Duration::from_millis(u64::from(number));
            budgets.take_event(client(number), 10, now);
        }
        assert!(budgets.len() <= 25_000, "{}", budgets.len());
        let before = budgets.len();
        budgets.remove(client(99_999));
        assert_eq!(budgets.len(), before - 1);
    }
}
