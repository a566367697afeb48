//! When a silent client is pinged, and when it is given up. Values.
//!
//! Two rules that know nothing of each other: `GatewayWorker`'s heartbeat, to the letter where that is
//! asked for, and pings by WebSocket control frames, which browsers answer by themselves. Neither needs a
//! timer or a time for each client: all are looked at again and again, and each counts the looks since it
//! was heard.

use std::time::Duration;

use crate::framing::Framing;

/// The settings of `GatewayWorker`'s heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// Seconds between pings; never 0.
    pub(crate) interval: u64,
    /// How many pings may stay unanswered, at most [`MAX_LIMIT`]; 0 never gives up.
    pub(crate) limit: u16,
    /// What is sent.
    pub(crate) ping: Ping,
    /// What keeps a client from being given up.
    pub(crate) life: Life,
}

/// The most pings that may stay unanswered.
pub(crate) const MAX_LIMIT: u16 = 30_000;

/// What a heartbeat sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ping {
    /// A message.
    Data(String),
    /// A WebSocket ping to clients that speak WebSocket, nothing to others.
    Frame,
    /// Nothing.
    None,
}

/// What counts as a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Whatever comes from the client: pings, pongs and parts of messages too.
    Any,
    /// Whole messages alone.
    Messages,
}

/// What is due to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// It was silent for too long.
    GiveUp,
}

/// How long a client has been silent, in looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    /// Ticks of the heartbeat since its last message.
    since_message: u16,
    /// Ticks of the heartbeat since it was last heard.
    since_heard: u16,
    /// Looks of [`WebSocketPing`] since it was last heard.
    looks: u8,
}

impl Silence {
    /// Something came from the client.
    pub(super) fn heard(&mut self) {
        (self.since_heard, self.looks) = (0, 0);
    }

    /// A message came from the client.
    pub(super) fn spoke(&mut self) {
        *self = Self::default();
    }
}

impl Heartbeat {
    /// Milliseconds between ticks: twice for each interval where clients may be given up.
    pub(super) fn tick(&self) -> u64 {
        let interval = self.interval.saturating_mul(1000);
        if self.limit == 0 { interval } else { interval / 2 }
    }

    /// Whether clients of such a listener notice nothing of it.
    pub(crate) fn does_nothing(&self, framing: Framing) -> bool {
        let sends = match self.ping {
            Ping::Data(_) => true,
            Ping::Frame => framing == Framing::WebSocket,
            Ping::None => false,
        };
        self.limit == 0 && !sends
    }

    /// What one more tick of silence brings: a ping after a whole interval without a message, then at every
    /// further one, and the end half an interval after the last one that may stay unanswered.
    pub(super) fn due(&self, silence: &mut Silence) -> Due {
        let ticks = silence.since_message;
        let silent = match self.life {
            Life::Any => silence.since_heard,
            Life::Messages => ticks,
        };
        if 0 < self.limit && self.limit * 2 < silent {
            return Due::GiveUp;
        }
        silence.since_message = after(ticks);
        silence.since_heard = after(silence.since_heard);
        let between = 0 < self.limit && !ticks.is_multiple_of(2);
        match ticks == 0 || between || self.ping == Ping::None {
            true => Due::Nothing,
            false => Due::Ping,
        }
    }
}

/// One more tick. The last ones are counted again and again, so that pings go on at every other tick.
const fn after(ticks: u16) -> u16 {
    match ticks.checked_add(1) {
        Some(next) => next,
        None => u16::MAX - 1,
    }
}

/// A ping frame to each client that has been silent for an interval, and the end for one that stays silent
/// for as long again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WebSocketPing {
    interval: Duration,
}

/// How often a client is looked at in each interval. A ping is late by one of them at the most.
const LOOKS: u8 = 5;

impl WebSocketPing {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval }
    }

    /// The time between two looks at a client.
    pub(super) fn every(self) -> Duration {
        self.interval / u32::from(LOOKS)
    }

    /// What one more look brings. The first one after a client was heard may come at once, so it does not
    /// count.
    pub(super) fn due(silence: &mut Silence) -> Due {
        silence.looks = silence.looks.saturating_add(1);
        match silence.looks {
            looks if looks == LOOKS + 1 => Due::Ping,
            looks if 2 * LOOKS < looks => Due::GiveUp,
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(limit: u16, data: &str) -> Heartbeat {
        let ping = if data.is_empty() { Ping::None } else { Ping::Data(data.into()) };
        Heartbeat { interval: 2, limit, ping, life: Life::Messages }
    }

    /// What comes look by look, `before` each of which something happens.
    fn looks(
        due: impl Fn(&mut Silence) -> Due,
        count: usize,
        before: impl Fn(usize, &mut Silence),
    ) -> String {
        let (mut silence, mut told) = (Silence::default(), String::new());
        for at in 0..count {
            before(at, &mut silence);
            let due = due(&mut silence);
            told.push(match due {
                Due::Nothing => '-',
                Due::Ping => 'p',
                Due::GiveUp => 'x',
            });
            if due == Due::GiveUp {
                break;
            }
        }
        told
    }

    /// What comes tick by tick after a client fell silent.
    fn ticks(limit: u16, data: &str, count: usize) -> String {
        looks(|silence| heartbeat(limit, data).due(silence), count, |_, _| {})
    }

    #[test]
    fn the_reference_timings_hold() {
        // Half an interval each: the ping comes after 1.0 to 1.5 intervals, the end after 1.5 to 2.
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
    fn heartbeat_goes_on_however_long_a_client_says_nothing() {
        let heartbeat = Heartbeat { life: Life::Any, ..heartbeat(1, "ping") };
        let told = looks(|silence| heartbeat.due(silence), 200_001, |_, silence| silence.heard());
        assert_eq!((told.matches('p').count(), told.find('x')), (100_000, None));
        let heartbeat = Heartbeat { limit: MAX_LIMIT, ..heartbeat };
        let told = looks(|silence| heartbeat.due(silence), 200_000, |_, _| {});
        assert_eq!(told.find('x'), Some(2 * usize::from(MAX_LIMIT) + 1));
    }

    #[test]
    fn heartbeat_that_sends_nothing_and_gives_nobody_up_does_nothing() {
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
    fn heartbeat_gives_up_whom_it_does_not_hear_and_goes_on_pinging_whom_it_does() {
        let pongs = |life| {
            let heartbeat = Heartbeat { life, ..heartbeat(1, "ping") };
            // A pong behind every ping, and never a message.
            looks(
                |silence| heartbeat.due(silence),
                9,
                |at, silence| {
                    if at % 2 == 1 {
                        silence.heard();
                    }
                },
            )
        };
        assert_eq!(pongs(Life::Any), "--p-p-p-p");
        assert_eq!(pongs(Life::Messages), "--px");
        let heartbeat = Heartbeat { life: Life::Any, ..heartbeat(1, "ping") };
        assert_eq!(looks(|silence| heartbeat.due(silence), 9, |_, _| {}), "--px");
        let falls_silent = |at, silence: &mut Silence| {
            if at < 4 {
                silence.heard();
            }
        };
        assert_eq!(looks(|silence| heartbeat.due(silence), 20, falls_silent), "--p-p-x");
    }

    #[test]
    fn websocket_ping_comes_after_an_interval_and_the_end_after_another() {
        let interval = usize::from(LOOKS);
        let told = looks(WebSocketPing::due, 99, |_, _| {});
        assert_eq!(told.find('p'), Some(interval), "{told}");
        assert_eq!(told.find('x'), Some(2 * interval), "{told}");
        assert_eq!(told.matches('p').count(), 1, "{told}");
        // One that answers is asked again and again.
        let told = looks(WebSocketPing::due, 99, |at, silence| {
            if at % (interval + 1) == 0 {
                silence.heard();
            }
        });
        assert_eq!(told.matches('p').count(), 99 / (interval + 1), "{told}");
        assert!(!told.contains('x'), "{told}");
        let ping = WebSocketPing::new(Duration::from_secs(25));
        assert_eq!(ping.every() * u32::from(LOOKS), Duration::from_secs(25));
    }
}
