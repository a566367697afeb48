//! One stream in memory. Pure: the time and random numbers are arguments.

use std::collections::{HashMap, VecDeque};

use protocol::{Epoch, Position};

use crate::{
    Append, Appended, Limit, Range, Rule,
    append::{KEY_LIFETIME, Key},
    plan::{Extent, plan},
    read::{Item, Reading},
};

/// The messages of a stream, and the keys with which they were appended.
///
/// Invariant: the items have the offsets up to `top` without a gap, and `bytes` is their weight.
#[derive(Debug)]
pub(crate) struct Log {
    top: Position,
    items: VecDeque<Item>,
    bytes: u64,
    rule: Rule,
    last_ms: u64,
    /// Offset and time of the append of each key.
    keys: HashMap<Key, (u64, u64)>,
    /// The same in the order of time.
    keys_by_age: VecDeque<(u64, Key)>,
}

impl Log {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            top: Position::start(epoch),
            items: VecDeque::new(),
            bytes: 0,
            rule: Rule::default(),
            last_ms: 0,
            keys: HashMap::new(),
            keys_by_age: VecDeque::new(),
        }
    }

    /// Appends a message that was [checked](Append::check). `fresh` is the epoch that the stream gets
    /// if the append asks for one.
    pub(crate) fn append(&mut self, append: Append, now_ms: u64, fresh: Epoch) -> Appended {
        let now = self.last_ms.max(now_ms);
        self.forget_keys(now);
        if let Some((offset, _)) = self.keys.get(&append.key) {
            let position = Position::new(self.top.epoch, *offset);
            return Appended { position, repeated: true };
        }
        if append.renew {
            self.top.epoch = fresh;
        }
        self.top = self.top.next();
        (self.last_ms, self.rule) = (now, append.rule);
        self.keys.insert(append.key.clone(), (self.top.offset, now));
        self.keys_by_age.push_back((now, append.key));
        let (payload, metadata) = (append.payload, append.metadata);
        let item = Item { offset: self.top.offset, appended_ms: now, payload, metadata };
        self.bytes += item.weight();
        self.items.push_back(item);
        self.trim(now);
        Appended { position: self.top, repeated: false }
    }

    fn trim(&mut self, now: u64) {
        while 1 < self.items.len()
            && ((self.rule.size() as usize) < self.items.len()
                || self.rule.max_bytes() < self.bytes)
        {
            self.remove_oldest();
        }
        while self.items.front().is_some_and(|oldest| self.is_expired(oldest, now)) {
            self.remove_oldest();
        }
    }

    const fn is_expired(&self, item: &Item, now: u64) -> bool {
        item.appended_ms.saturating_add(self.rule.ttl_ms()) <= now
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.items.pop_front() {
            self.bytes -= oldest.weight();
        }
    }

    fn forget_keys(&mut self, now: u64) {
        let lifetime = KEY_LIFETIME.as_millis() as u64;
        while let Some((since, key)) = self.keys_by_age.front()
            && since.saturating_add(lifetime) < now
        {
            self.keys.remove(key);
            self.keys_by_age.pop_front();
        }
    }

    pub(crate) const fn top(&self) -> Position {
        self.top
    }

    pub(crate) fn read(&mut self, range: Range, limit: Limit, now_ms: u64) -> Reading {
        self.trim(self.last_ms.max(now_ms));
        let first = self.items.front().map_or(self.top.offset + 1, |oldest| oldest.offset);
        let mut plan = match plan(range, limit, Extent { first, top: self.top }) {
            Ok(plan) => plan,
            Err(refused) => return refused,
        };
        let mut at = if plan.backwards { plan.to } else { plan.from };
        while plan.wants_more() {
            let item = self.items[(at - first) as usize].clone();
            plan.take(item).expect("items have no gap between them");
            at = if plan.backwards { at - 1 } else { at + 1 };
        }
        plan.finish().expect("all items of the range are there")
    }

    /// Removes all messages, and returns the newest position.
    pub(crate) fn clear(&mut self) -> Position {
        self.items.clear();
        self.bytes = 0;
        self.top
    }
}

#[cfg(test)]
mod tests;
