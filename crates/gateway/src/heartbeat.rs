//! When a silent client is pinged, and when it is closed. No I/O, no clock.
//!
//! Two independent rules: `GatewayWorker`'s heartbeat, if configured, with its exact timings, and
//! pings by WebSocket control frames, which browsers answer automatically. Neither needs a timer or a
//! timestamp per client: all clients are checked periodically, and each counts the checks since it
//! last sent something.

use std::time::Duration;

use framing::Framing;

/// The settings of `GatewayWorker`'s heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// Seconds between pings; never 0.
    pub(crate) interval: u64,
    /// How many pings may stay unanswered, at most [`MAX_LIMIT`]; 0 never closes a client.
    pub(crate) limit: u16,
    /// The ping to send.
    pub(crate) ping: Ping,
    /// The input that counts as activity.
    pub(crate) liveness: Liveness,
}

/// Maximum number of pings that may stay unanswered.
pub(crate) const MAX_LIMIT: u16 = 30_000;

/// The ping of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ping {
    /// A message.
    Data(String),
    /// A WebSocket ping frame to WebSocket clients, nothing to others.
    Frame,
    /// Nothing.
    None,
}

/// The input that counts as activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Any input, including pings, pongs and partial messages.
    Any,
    /// Complete messages only.
    Messages,
}

/// The action that is due for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    /// It was silent for too long, and is to be closed.
    Close,
}

/// How long a client has been silent, in checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Heartbeat ticks since its last message.
    since_message: u16,
    /// Heartbeat ticks since its last input.
    since_received: u16,
    /// Checks of [`WebSocketPing`] since its last input.
    checks: u16,
}

impl Silence {
    /// Any input was received.
    pub(crate) fn received(&mut self) {
        (self.since_received, self.checks) = (0, 0);
    }

    /// Checks of [`WebSocketPing`] since its last input, of which the first may have followed it at
    /// once.
    pub(crate) const fn checks(self) -> u16 {
        self.checks
    }

    /// A complete message was received.
    pub(crate) fn received_message(&mut self) {
        *self = Self::default();
    }
}

impl Heartbeat {
    /// Milliseconds between ticks: two ticks per interval if clients may be closed.
    pub(crate) fn tick(&self) -> u64 {
        let interval = self.interval.saturating_mul(1000);
        if self.limit == 0 { interval } else { interval / 2 }
    }

    /// Whether it has no effect on clients of such a listener.
    pub(crate) fn does_nothing(&self, framing: Framing) -> bool {
        let sends = match self.ping {
            Ping::Data(_) => true,
            Ping::Frame => framing == Framing::WebSocket,
            Ping::None => false,
        };
        self.limit == 0 && !sends
    }

    /// The action after one more tick of silence: a ping after a whole interval without a message,
    /// then at every further one, and closing half an interval after the last ping that may stay
    /// unanswered.
    pub(crate) fn due(&self, silence: &mut Silence) -> Due {
        let ticks = silence.since_message;
        let silent = match self.liveness {
            Liveness::Any => silence.since_received,
            Liveness::Messages => ticks,
        };
        if 0 < self.limit && self.limit * 2 < silent {
            return Due::Close;
        }
        silence.since_message = after(ticks);
        silence.since_received = after(silence.since_received);
        let between = 0 < self.limit && !ticks.is_multiple_of(2);
        match ticks == 0 || between || self.ping == Ping::None {
            true => Due::Nothing,
            false => Due::Ping,
        }
    }
}

/// One more tick. The counter alternates between its last two values, so that pings continue at
/// every other tick.
const fn after(ticks: u16) -> u16 {
    match ticks.checked_add(1) {
        Some(next) => next,
        None => u16::MAX - 1,
    }
}

/// Sends a ping frame to each client that has been silent for an interval, and closes it if it
/// stays silent until the deadline for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WebSocketPing {
    every: Duration,
    /// Checks of silence before the ping.
    ping_after: u16,
    /// Checks of silence before the close.
    close_after: u16,
}

/// Checks in the shorter of interval and deadline. Pings and closes are late by one check interval
/// at most.
const CHECKS: u32 = 5;

/// Maximum number of checks in both together. If one is thousands of times longer than the other,
/// checks are that much rarer.
const MOST_CHECKS: u32 = 30_000;

impl WebSocketPing {
    /// Pings after an interval of silence, with a deadline for any answer. Neither may be zero.
    pub(crate) fn new(interval: Duration, deadline: Duration) -> Self {
        let both = interval.saturating_add(deadline);
        let every =
            (interval.min(deadline) / CHECKS).max(both / MOST_CHECKS).max(Duration::from_millis(1));
        let checks = |time: Duration| {
            let checks = time.as_nanos().div_ceil(every.as_nanos()).max(1);
            u16::try_from(checks).unwrap_or(u16::MAX / 2)
        };
        let ping_after = checks(interval);
        Self { every, ping_after, close_after: ping_after.saturating_add(checks(deadline)) }
    }

    /// The time between two checks of a client.
    pub(crate) const fn every(self) -> Duration {
        self.every
    }

    /// For how long a client has been silent at least.
    pub(crate) fn silent(self, silence: Silence) -> Duration {
        self.every.saturating_mul(silence.checks().saturating_sub(1).into())
    }

    /// The action after one more check. The first check after input may come immediately, so it
    /// does not count.
    pub(crate) fn due(self, silence: &mut Silence) -> Due {
        silence.checks = silence.checks.saturating_add(1);
        // The number of checks after the first.
        match silence.checks - 1 {
            checks if checks == self.ping_after => Due::Ping,
            checks if self.close_after <= checks => Due::Close,
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(limit: u16, data: &str) -> Heartbeat {
        let ping = if data.is_empty() { Ping::None } else { Ping::Data(data.into()) };
        Heartbeat { interval: 2, limit, ping, liveness: Liveness::Messages }
    }

    /// The actions, check by check; `before` is called before each.
    fn checks(
        due: impl Fn(&mut Silence) -> Due,
        count: usize,
        before: impl Fn(usize, &mut Silence),
    ) -> String {
        let (mut silence, mut actions) = (Silence::default(), String::new());
        for at in 0..count {
            before(at, &mut silence);
            let due = due(&mut silence);
            actions.push(match due {
                Due::Nothing => '-',
                Due::Ping => 'p',
                Due::Close => 'x',
            });
            if due == Due::Close {
                break;
            }
        }
        actions
    }

    /// The actions, tick by tick, after a client fell silent.
    fn ticks(limit: u16, data: &str, count: usize) -> String {
        checks(|silence| heartbeat(limit, data).due(silence), count, |_, _| {})
    }

    #[test]
    fn heartbeat_has_the_timings_of_gateway_worker() {
        // Half an interval each: the ping comes after 1.0 to 1.5 intervals, closing after 1.5 to 2.
        assert_eq!(ticks(1, "ping", 9), "--px");
        assert_eq!(ticks(2, "ping", 9), "--p-px");
        assert_eq!(ticks(1, "", 9), "---x");
        // A whole interval each.
        assert_eq!(ticks(0, "ping", 5), "-pppp");
        assert_eq!(ticks(0, "", 5), "-----");
    }

    #[test]
    fn a_limit_halves_the_tick() {
        let heartbeat = |limit| Heartbeat { interval: 55, ..heartbeat(limit, "") };
        assert_eq!((heartbeat(0).tick(), heartbeat(1).tick()), (55_000, 27_500));
    }

    #[test]
    fn heartbeat_continues_for_any_length_of_silence() {
        let heartbeat = Heartbeat { liveness: Liveness::Any, ..heartbeat(1, "ping") };
        let actions =
            checks(|silence| heartbeat.due(silence), 200_001, |_, silence| silence.received());
        assert_eq!((actions.matches('p').count(), actions.find('x')), (100_000, None));
        let heartbeat = Heartbeat { limit: MAX_LIMIT, ..heartbeat };
        let actions = checks(|silence| heartbeat.due(silence), 200_000, |_, _| {});
        assert_eq!(actions.find('x'), Some(2 * usize::from(MAX_LIMIT) + 1));
    }

    #[test]
    fn heartbeat_without_ping_and_limit_does_nothing() {
        let does_nothing = |limit, ping: Ping| {
            let heartbeat = Heartbeat { ping, ..heartbeat(limit, "") };
            [Framing::WebSocket, Framing::Text].map(|framing| heartbeat.does_nothing(framing))
        };
        assert_eq!(does_nothing(0, Ping::None), [true, true]);
        assert_eq!(does_nothing(0, Ping::Frame), [false, true]);
        assert_eq!(does_nothing(0, Ping::Data("p".into())), [false, false]);
        assert_eq!(does_nothing(1, Ping::None), [false, false]);
    }

    #[test]
    fn heartbeat_closes_silent_clients_and_keeps_pinging_active_ones() {
        let pongs = |liveness| {
            let heartbeat = Heartbeat { liveness, ..heartbeat(1, "ping") };
            // A pong behind every ping, and never a message.
            checks(
                |silence| heartbeat.due(silence),
                9,
                |at, silence| {
                    if at % 2 == 1 {
                        silence.received();
                    }
                },
            )
        };
        assert_eq!(pongs(Liveness::Any), "--p-p-p-p");
        assert_eq!(pongs(Liveness::Messages), "--px");
        let heartbeat = Heartbeat { liveness: Liveness::Any, ..heartbeat(1, "ping") };
        assert_eq!(checks(|silence| heartbeat.due(silence), 9, |_, _| {}), "--px");
        let falls_silent = |at, silence: &mut Silence| {
            if at < 4 {
                silence.received();
            }
        };
        assert_eq!(checks(|silence| heartbeat.due(silence), 20, falls_silent), "--p-p-x");
    }

    #[test]
    fn websocket_ping_comes_after_an_interval_and_the_close_after_another() {
        let interval = CHECKS as usize;
        let seconds = Duration::from_secs;
        let ping = WebSocketPing::new(seconds(25), seconds(25));
        let actions = checks(|silence| ping.due(silence), 99, |_, _| {});
        assert_eq!(actions.find('p'), Some(interval), "{actions}");
        assert_eq!(actions.find('x'), Some(2 * interval), "{actions}");
        assert_eq!(actions.matches('p').count(), 1, "{actions}");
        // A client that answers is pinged again and again.
        let answers = |at: usize, silence: &mut Silence| {
            if at.is_multiple_of(interval + 1) {
                silence.received();
            }
        };
        let actions = checks(|silence| ping.due(silence), 99, answers);
        assert_eq!(actions.matches('p').count(), 99 / (interval + 1), "{actions}");
        assert!(!actions.contains('x'), "{actions}");
        assert_eq!(ping.every(), seconds(5));
    }

    #[test]
    fn deadline_of_a_ping_is_independent_of_its_interval() {
        let seconds = Duration::from_secs;
        for (interval, deadline) in
            [(25, 25), (25, 5), (5, 25), (1, 1), (60, 1), (86_400, 1), (1, 86_400)]
        {
            let (interval, deadline) = (seconds(interval), seconds(deadline));
            let ping = WebSocketPing::new(interval, deadline);
            let actions = checks(|silence| ping.due(silence), 99_999, |_, _| {});
            let at = |action| actions.find(action).unwrap() as u32;
            let (pinged, closed) = (ping.every() * at('p'), ping.every() * at('x'));
            let late = ping.every();
            assert!((interval..interval + late).contains(&pinged), "{ping:?}: {pinged:?}");
            let passed = closed - pinged;
            assert!((deadline..deadline + late).contains(&passed), "{ping:?}: {passed:?}");
            let longest = interval.max(deadline);
            assert!(late <= interval.min(deadline) / 5 || late <= longest / 10_000, "{ping:?}");
        }
    }
}
