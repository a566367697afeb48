//! A cursor against a model of everything that happens to messages on their way: a store whose log
//! is trimmed and renewed, publishers that die between append and send, messages that are repeated,
//! reordered and lost, and workers that answer late.

use std::collections::HashMap;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::*;

/// The log of a stream.
struct Store {
    epoch: Epoch,
    /// The offset before the first message that is kept.
    before: u64,
    top: u64,
}

impl Store {
    fn top(&self) -> Position {
        Position::new(self.epoch, self.top)
    }
}

/// On their way to the shard, in any order.
enum Message {
    Published(Position),
    Read { asked: Option<Position>, top: Position },
    Reset { after: Position, to: Position },
}

struct Model {
    rng: SmallRng,
    store: Store,
    epochs: u64,
    on_the_way: Vec<Message>,
    cursor: Cursor<Position>,
    /// The last that members have received, and whether it was a reset.
    seen: Position,
    /// How many resets each message that they have not received was skipped by.
    received: HashMap<u64, Vec<u64>>,
    resets: u32,
}

impl Model {
    fn new(seed: u64) -> Self {
        let store = Store { epoch: Epoch::from_bits(0), before: 0, top: 0 };
        let start = store.top();
        Self {
            rng: SmallRng::seed_from_u64(seed),
            store,
            epochs: 0,
            on_the_way: Vec::new(),
            cursor: Cursor::new(start),
            seen: start,
            received: HashMap::new(),
            resets: 0,
        }
    }

    fn append(&mut self) {
        self.store.top += 1;
        let position = self.store.top();
        // A publisher that dies sends nothing, and a repeated handler sends again.
        for _ in 0..[1, 1, 1, 1, 0, 2][self.rng.random_range(0..6)] {
            self.on_the_way.push(Message::Published(position));
        }
    }

    /// A worker answers a shard that has passed on messages up to `after`.
    fn answer(&mut self, after: Position) {
        let top = self.store.top();
        let is_there = after.epoch == top.epoch && self.store.before <= after.offset;
        if !is_there || top.offset < after.offset {
            self.on_the_way.push(Message::Reset { after, to: top });
            return;
        }
        let most = self.rng.random_range(1..20);
        let last = top.offset.min(after.offset + most);
        for offset in after.offset + 1..=last {
            self.on_the_way.push(Message::Published(Position::new(top.epoch, offset)));
        }
        self.on_the_way.push(Message::Read { asked: self.cursor.missing(), top });
    }

    fn goes_out(&mut self, position: Position) {
        assert_eq!(position, self.seen.next(), "in order, each once");
        self.seen = position;
        let epoch = self.received.entry(position.epoch.to_bits()).or_default();
        assert!(!epoch.contains(&position.offset));
        epoch.push(position.offset);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Published(position) => {
                let arrival = self.cursor.arrive(position, position, |message| (message, 1));
                if let Arrival::Next(passed) = arrival {
                    assert_eq!(passed, position);
                    self.goes_out(passed);
                }
            }
            Message::Read { asked, top } => self.cursor.answered(asked, top),
            Message::Reset { after, to } => {
                if let Some(to) = self.cursor.reset(after, to) {
                    let ahead = to.epoch == self.seen.epoch && self.seen.offset < to.offset;
                    assert!(ahead || !self.received.contains_key(&to.epoch.to_bits()));
                    (self.seen, self.resets) = (to, self.resets + 1);
                }
            }
        }
        while let Some((position, passed)) = self.cursor.take_next() {
            assert_eq!(passed, position);
            self.goes_out(passed);
        }
        assert_eq!(self.cursor.at(), self.seen);
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => self.append(),
            40 => self.store.before = self.rng.random_range(self.store.before..=self.store.top),
            41 => {
                self.epochs += 1;
                self.store = Store { epoch: Epoch::from_bits(self.epochs), before: 0, top: 0 };
                self.append();
            }
            42..50 if self.cursor.missing().is_some() => self.answer(self.cursor.at()),
            // From time to time.
            50 => self.answer(self.cursor.at()),
            _ if !self.on_the_way.is_empty() => {
                // Usually about the oldest.
                let late = self.rng.random_range(0..self.on_the_way.len().min(6));
                let message = self.on_the_way.remove(late);
                self.deliver(message);
            }
            _ => {}
        }
    }

    /// Everything on its way arrives, and questions are answered: members have everything then.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.on_the_way.is_empty() {
                let message = self.on_the_way.remove(0);
                self.deliver(message);
            }
            // The last message may be missing without a trace: shards ask from time to time.
            self.answer(self.cursor.at());
        }
        assert_eq!(self.cursor.at(), self.store.top(), "the shard has caught up");
        assert_eq!((self.cursor.missing(), self.cursor.bytes()), (None, 0));
    }
}

#[test]
fn members_receive_each_message_once_in_order_or_a_reset() {
    let (mut resets, mut received) = (0, 0);
    for seed in 0..3000 {
        let mut model = Model::new(seed);
        for _ in 0..300 {
            model.step();
        }
        model.settle();
        resets += model.resets;
        received += model.received.values().map(Vec::len).sum::<usize>();
    }
    // Neither is rare, so both are tested.
    assert!(3000 < resets && 100_000 < received, "{resets} resets, {received} messages");
}

#[test]
fn without_trims_and_renewals_nothing_is_ever_skipped() {
    for seed in 0..1000 {
        let mut model = Model::new(seed);
        for _ in 0..300 {
            match model.rng.random_range(0..3) {
                0 => model.append(),
                1 if model.cursor.missing().is_some() => {
                    model.answer(model.cursor.at());
                }
                _ if !model.on_the_way.is_empty() => {
                    let any = model.rng.random_range(0..model.on_the_way.len());
                    let message = model.on_the_way.remove(any);
                    model.deliver(message);
                }
                _ => {}
            }
        }
        model.settle();
        assert_eq!(model.resets, 0);
        let all: Vec<u64> = (1..=model.store.top).collect();
        assert_eq!(model.received.remove(&0).unwrap_or_default(), all);
    }
}
