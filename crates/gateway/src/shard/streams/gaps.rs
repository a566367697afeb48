//! Questions to workers about streams, and their time: values.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{Position, StreamName, streaming::StreamGap};

use super::{Stream, Streams};
use crate::thread_messages::LinkId;

/// How long missing messages are awaited before a worker is asked: they are usually on their way.
const GRACE: Duration = Duration::from_millis(100);

/// How long an answer is awaited before another worker is asked.
const ANSWER: Duration = Duration::from_secs(2);

/// Number of questions without an answer that helps after which the next worker has to decide.
const TRIES: u32 = 3;

/// Streams that are looked at in one tick because messages are missing.
const AT_ONCE: usize = 512;

/// Streams in one tick that are checked for messages that nothing is known of.
const CHECKED: usize = 256;

/// The time between two such checks of a stream, at least, and up to twice as much in addition.
const CHECK: Duration = Duration::from_secs(10);

/// The time within which they begin after a worker has died: it may have appended to streams what it
/// has not sent.
const CHECK_AFTER_DEATH: Duration = Duration::from_secs(1);

/// The state of a stream of which messages are missing.
#[derive(Debug)]
pub(super) struct Asking {
    /// When the shard first looked after them; `None` until then.
    since: Option<Instant>,
    /// The worker that was asked last, and when, while its answer is awaited.
    asked: Option<(LinkId, Instant)>,
    /// Number of questions since the cursor has moved.
    tries: u32,
    /// Where the cursor was.
    at: Position,
}

/// The streams that are to be asked about.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// The workers that can be asked.
    servers: Arc<[LinkId]>,
    /// Streams of which messages are missing, in turn.
    missing: VecDeque<StreamName>,
    /// Streams that are still to be checked.
    unchecked: Vec<StreamName>,
    /// When the next check begins.
    next_check: Option<Instant>,
    /// Selects workers in turn.
    turn: usize,
}

impl Asking {
    fn new(at: Position) -> Self {
        Self { since: None, asked: None, tries: 0, at }
    }

    /// A worker has answered.
    pub(super) fn answered(&mut self, at: Position) {
        self.asked = None;
        if self.at != at {
            (self.at, self.tries) = (at, 0);
        }
    }
}

impl Gaps {
    /// A stream has changed: it is listed while messages are missing.
    pub(super) fn update(&mut self, stream: &StreamName, state: &mut Stream) {
        let cursor = state.cursor.as_ref();
        match cursor.filter(|cursor| cursor.missing().is_some()) {
            Some(cursor) if state.asking.is_none() => {
                state.asking = Some(Asking::new(cursor.at()));
                if !std::mem::replace(&mut state.is_listed, true) {
                    self.missing.push_back(stream.clone());
                }
            }
            Some(_) => {}
            // Unlisted in its turn.
            None => state.asking = None,
        }
    }

    fn server(&mut self) -> Option<LinkId> {
        self.turn = self.turn.wrapping_add(1);
        self.servers.get(self.turn % self.servers.len().max(1)).copied()
    }
}

impl Streams {
    /// The workers that can be asked have changed.
    pub(in crate::shard) fn set_servers(&mut self, servers: Arc<[LinkId]>) {
        self.gaps.servers = servers;
    }

    /// A worker has died: every stream is checked soon.
    pub(in crate::shard) fn check_soon(&mut self, now: Instant, random: f64) {
        let soon = now + CHECK_AFTER_DEATH.mul_f64(random);
        self.gaps.next_check = Some(self.gaps.next_check.map_or(soon, |next| next.min(soon)));
    }

    /// The questions of now, by worker. `is_used` is whether a stream has clients here: the state
    /// of another is removed when it is to be checked. `random` is from 0 to 1.
    pub(in crate::shard) fn questions(
        &mut self,
        now: Instant,
        is_used: impl Fn(&StreamName) -> bool,
        random: f64,
    ) -> Vec<(LinkId, Vec<StreamGap>)> {
        let mut questions = HashMap::new();
        self.ask_for_missing(now, &mut questions);
        self.check(now, is_used, random, &mut questions);
        let mut questions: Vec<_> = questions.into_iter().collect();
        questions.sort_unstable_by_key(|(link, _)| *link);
        questions
    }

    fn ask_for_missing(&mut self, now: Instant, questions: &mut HashMap<LinkId, Vec<StreamGap>>) {
        for _ in 0..self.gaps.missing.len().min(AT_ONCE) {
            let Some(stream) = self.gaps.missing.pop_front() else { return };
            let Some(state) = self.all.get_mut(&stream) else { continue };
            let (Some(cursor), Some(asking)) = (&state.cursor, &mut state.asking) else {
                state.is_listed = false;
                continue;
            };
            let since = *asking.since.get_or_insert(now);
            let is_awaited = asking
                .asked
                .is_some_and(|(link, at)| now < at + ANSWER && self.gaps.servers.contains(&link));
            if since + GRACE <= now
                && !is_awaited
                && let Some(link) = self.gaps.server()
            {
                asking.asked = Some((link, now));
                asking.tries += 1;
                questions.entry(link).or_default().push(StreamGap {
                    stream: stream.clone(),
                    after: cursor.at(),
                    known: cursor.missing(),
                    is_last: TRIES < asking.tries,
                });
            }
            self.gaps.missing.push_back(stream);
        }
    }

    fn check(
        &mut self,
        now: Instant,
        is_used: impl Fn(&StreamName) -> bool,
        random: f64,
        questions: &mut HashMap<LinkId, Vec<StreamGap>>,
    ) {
        if self.all.is_empty() {
            return;
        }
        let pause = CHECK + CHECK.mul_f64(2.0 * random);
        let next = *self.gaps.next_check.get_or_insert(now + pause);
        if next <= now {
            self.gaps.next_check = Some(now + pause);
            self.gaps.unchecked = self.all.keys().cloned().collect();
            // The same in each run of a simulation.
            self.gaps.unchecked.sort_unstable();
        }
        for _ in 0..CHECKED {
            let Some(stream) = self.gaps.unchecked.pop() else { return };
            let Some(state) = self.all.get(&stream) else { continue };
            if state.apart.is_empty() && !is_used(&stream) {
                let bytes = state.cursor.as_ref().map_or(0, super::Cursor::bytes);
                self.totals.bytes -= bytes;
                self.all.remove(&stream);
                continue;
            }
            if let (Some(cursor), None) = (&state.cursor, &state.asking) {
                let after = cursor.at();
                if let Some(link) = self.gaps.server() {
                    let gap = StreamGap { stream, after, known: None, is_last: false };
                    questions.entry(link).or_default().push(gap);
                }
            }
        }
    }
}
