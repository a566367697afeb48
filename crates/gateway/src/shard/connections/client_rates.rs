//! The rates at which the clients of a shard send: token buckets, and when a paused client is read
//! again. A value.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use runtime::token_bucket::{Bucket, Rate};

use crate::{
    limits::{ClientLimits, RatePolicy},
    shard::slot::SlotKey,
};

/// Maximum number of bytes that a paused client waits for: with fewer to read at a time, a high
/// rate would cost many system calls.
const READ: u64 = 4096;

/// The consequence of something that was received from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Verdict {
    /// It is within its limits.
    Within,
    /// It is not read until this time.
    PauseUntil(Instant),
    /// It is closed.
    Exceeded,
}

/// The rates of a shard's connections, by slot. Made only if there is a limit.
#[derive(Debug)]
pub(in crate::shard) struct ClientRates {
    limits: ClientLimits,
    slots: Vec<Slot>,
    /// The paused connections, soonest first.
    paused: BTreeSet<(Instant, SlotKey)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    messages: Bucket,
    bytes: Bucket,
    /// Its entry in `paused`.
    paused_until: Option<Instant>,
}

impl ClientRates {
    /// The rates of no connections; `None` without a limit.
    pub(in crate::shard) fn new(limits: ClientLimits) -> Option<Box<Self>> {
        let rates = Self { limits, slots: Vec::new(), paused: BTreeSet::new() };
        limits.is_enabled().then(|| Box::new(rates))
    }

    /// A new connection has this slot.
    pub(in crate::shard) fn begin(&mut self, key: SlotKey) {
        let at = key as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        self.forget_pause(key);
        self.slots[at] = Slot::default();
    }

    /// A message or control frame was received.
    pub(in crate::shard) fn message(&mut self, key: SlotKey, now: Instant) -> Verdict {
        let Some(rate) = self.limits.messages else { return Verdict::Within };
        let policy = self.limits.policy;
        self.slots
            .get_mut(key as usize)
            .map_or(Verdict::Within, |slot| charge(&mut slot.messages, rate, 1, 1, policy, now))
    }

    /// Bytes were read.
    pub(in crate::shard) fn bytes(&mut self, key: SlotKey, bytes: usize, now: Instant) -> Verdict {
        let Some(rate) = self.limits.bytes else { return Verdict::Within };
        let policy = self.limits.policy;
        self.slots.get_mut(key as usize).map_or(Verdict::Within, |slot| {
            charge(&mut slot.bytes, rate, bytes as u64, next_read(rate), policy, now)
        })
    }

    /// How many bytes may be read next, so that a client that is paused sends no more than its burst
    /// at a time.
    pub(in crate::shard) fn most_to_read(&mut self, key: SlotKey, now: Instant) -> usize {
        match (self.limits.bytes, self.limits.policy, self.slots.get_mut(key as usize)) {
            (Some(rate), RatePolicy::Pause, Some(slot)) => {
                usize::try_from(slot.bytes.tokens(rate, now)).unwrap_or(usize::MAX).max(1)
            }
            _ => usize::MAX,
        }
    }

    /// Records that a connection is paused until a time, or longer if it is paused already. Returns
    /// whether the soonest end of a pause has changed.
    pub(in crate::shard) fn pause(&mut self, key: SlotKey, until: Instant) -> bool {
        let before = self.soonest();
        let Some(slot) = self.slots.get(key as usize) else { return false };
        let until = slot.paused_until.map_or(until, |known| known.max(until));
        self.forget_pause(key);
        self.slots[key as usize].paused_until = Some(until);
        self.paused.insert((until, key));
        before != self.soonest()
    }

    /// Removes and returns a connection whose pause is over.
    pub(in crate::shard) fn resumed(&mut self, now: Instant) -> Option<SlotKey> {
        let (until, key) = *self.paused.first()?;
        (until <= now).then(|| self.forget_pause(key))?;
        Some(key)
    }

    /// A connection is not paused any more, or never was.
    pub(in crate::shard) fn forget_pause(&mut self, key: SlotKey) {
        let slot = self.slots.get_mut(key as usize);
        if let Some(until) = slot.and_then(|slot| slot.paused_until.take()) {
            self.paused.remove(&(until, key));
        }
    }

    /// The soonest end of a pause.
    pub(in crate::shard) fn soonest(&self) -> Option<Instant> {
        self.paused.first().map(|(until, _)| *until)
    }
}

/// How many bytes a paused client waits for: a twentieth of a second's, within bounds.
fn next_read(rate: Rate) -> u64 {
    (rate.per_second() / 20).clamp(1, READ).min(rate.burst())
}

/// Takes tokens for what was received; `next` of them are to be there before more is.
fn charge(
    bucket: &mut Bucket,
    rate: Rate,
    tokens: u64,
    next: u64,
    policy: RatePolicy,
    now: Instant,
) -> Verdict {
    match policy {
        // They would count as a full bucket only.
        RatePolicy::Disconnect if rate.burst() < tokens => Verdict::Exceeded,
        RatePolicy::Disconnect => match bucket.try_take(rate, tokens, now) {
            Ok(()) => Verdict::Within,
            Err(_) => Verdict::Exceeded,
        },
        RatePolicy::Pause => {
            bucket.take(rate, tokens, now);
            match bucket.wait(rate, next, now) {
                Duration::ZERO => Verdict::Within,
                wait => now.checked_add(wait).map_or(Verdict::Within, Verdict::PauseUntil),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rates(messages: u64, bytes: u64, policy: RatePolicy) -> ClientRates {
        let rate = |value: u64| (value != 0).then(|| Rate::new(value, value));
        let limits = ClientLimits { messages: rate(messages), bytes: rate(bytes), policy };
        let mut rates = *ClientRates::new(limits).unwrap();
        (0..3).for_each(|key| rates.begin(key));
        rates
    }

    #[test]
    fn client_without_limits_has_no_state() {
        assert!(ClientRates::new(ClientLimits::default()).is_none());
    }

    #[test]
    fn paused_client_is_resumed_when_its_next_message_may_come() {
        let (mut rates, start) = (rates(10, 0, RatePolicy::Pause), Instant::now());
        for _ in 0..9 {
            assert_eq!(rates.message(1, start), Verdict::Within);
        }
        let until = start + SECOND / 10;
        assert_eq!(rates.message(1, start), Verdict::PauseUntil(until));
        assert!(rates.pause(1, until));
        assert_eq!(rates.message(2, start), Verdict::Within, "each client has its own bucket");
        assert_eq!((rates.soonest(), rates.resumed(start)), (Some(until), None));
        assert_eq!((rates.resumed(until), rates.soonest()), (Some(1), None));
        assert_eq!(rates.message(1, until), Verdict::PauseUntil(until + SECOND / 10));
    }

    #[test]
    fn client_over_its_limit_is_closed_with_the_policy_disconnect() {
        let (mut rates, start) = (rates(2, 100, RatePolicy::Disconnect), Instant::now());
        let verdicts = [0; 3].map(|_| rates.message(0, start));
        assert_eq!(verdicts, [Verdict::Within, Verdict::Within, Verdict::Exceeded]);
        assert_eq!(rates.bytes(1, 100, start), Verdict::Within);
        assert_eq!(rates.bytes(1, 1, start), Verdict::Exceeded);
        assert_eq!(rates.bytes(2, 101, start), Verdict::Exceeded, "more than its burst at once");
        assert_eq!(rates.most_to_read(1, start), usize::MAX);
    }

    #[test]
    fn reads_of_a_paused_client_are_within_its_burst() {
        let (mut rates, start) = (rates(0, 1000, RatePolicy::Pause), Instant::now());
        assert_eq!(rates.most_to_read(0, start), 1000);
        assert_eq!(rates.bytes(0, 600, start), Verdict::Within);
        assert_eq!(rates.most_to_read(0, start), 400);
        // A twentieth of a second's worth is waited for.
        assert_eq!(rates.bytes(0, 400, start), Verdict::PauseUntil(start + SECOND / 20));
        assert_eq!(rates.most_to_read(0, start + SECOND / 20), 50);
    }

    #[test]
    fn new_connection_in_a_slot_has_full_buckets_and_no_pause() {
        let (mut rates, start) = (rates(1, 0, RatePolicy::Pause), Instant::now());
        assert_eq!(rates.message(0, start), Verdict::PauseUntil(start + SECOND));
        rates.pause(0, start + SECOND);
        rates.begin(0);
        assert_eq!((rates.soonest(), rates.resumed(start + SECOND)), (None, None));
        assert_eq!(rates.message(0, start), Verdict::PauseUntil(start + SECOND));
    }

    #[test]
    fn client_paused_by_both_limits_waits_for_the_later() {
        let (mut rates, start) = (rates(1, 1, RatePolicy::Pause), Instant::now());
        assert!(rates.pause(0, start + 2 * SECOND));
        assert!(!rates.pause(0, start + SECOND));
        assert!(rates.pause(1, start + SECOND));
        assert_eq!(rates.resumed(start + SECOND), Some(1));
        assert_eq!(rates.resumed(start + SECOND), None);
        assert_eq!(rates.resumed(start + 2 * SECOND), Some(0));
    }
}
