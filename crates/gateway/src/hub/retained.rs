//! The last message of each group that has one: a value.
//!
//! The hub keeps them, once for the gateway: it puts all commands into one order, so that a message
//! is retained, and read, between the same two commands on every shard.

mod gone;

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use bytes::Bytes;
use protocol::{Group, Message, Retained, Retention};

pub(super) use self::gone::Former;
use self::gone::Gone;
use crate::thread_messages::Ordinal;

/// Approximate memory of an entry besides its name and its message.
const ENTRY: usize = 256;

/// Retained messages, bounded in bytes. Without space, the oldest goes first.
#[derive(Debug)]
pub(super) struct RetainedMessages {
    most: usize,
    bytes: usize,
    // Group names are untrusted input, so the hash is keyed.
    by_group: HashMap<Group, Entry>,
    by_age: BTreeMap<u64, Group>,
    by_end: BTreeMap<(Instant, u64), Group>,
    gone: Gone,
    /// The number of the last entry.
    last: u64,
    /// Messages dropped for lack of space, until they are taken.
    dropped: u64,
}

/// A retained message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    /// The command that sent it to the group: members that had joined before have received it. 0 if
    /// this gateway has it from another one.
    pub(super) sent: Ordinal,
    since: Instant,
    until: Instant,
    number: u64,
}

impl RetainedMessages {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            by_group: HashMap::new(),
            by_age: BTreeMap::new(),
            by_end: BTreeMap::new(),
            gone: Gone::default(),
            last: 0,
            dropped: 0,
        }
    }

    /// Number of messages, including those that have expired and are not removed yet.
    pub(super) fn len(&self) -> usize {
        self.by_group.len()
    }

    /// Approximate memory that they occupy.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of messages dropped for lack of space since the last call.
    pub(super) const fn take_dropped(&mut self) -> u64 {
        std::mem::replace(&mut self.dropped, 0)
    }

    /// Retains the message that a command has sent to a group, in place of the one before.
    pub(super) fn retain(
        &mut self,
        group: &Group,
        message: &Message,
        retention: Retention,
        sent: Ordinal,
        now: Instant,
    ) {
        self.remove(group);
        let since = now.checked_sub(retention.age()).unwrap_or(now);
        let until = now.checked_add(retention.left()).unwrap_or(now);
        let size = size(group, message);
        if until <= now || self.most < size {
            self.dropped += u64::from(now < until);
            if 0 < self.most {
                self.gone.add(group, Former { sent, since }, now);
            }
            return;
        }
        while self.most < self.bytes + size
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            let has_expired = self.end(&oldest, now).is_some_and(|entry| entry.until <= now);
            self.dropped += u64::from(!has_expired);
        }
        self.last += 1;
        let number = self.last;
        self.bytes += size;
        self.by_age.insert(number, group.clone());
        self.by_end.insert((until, number), group.clone());
        // The message is a slice of a link's read buffer, which it would keep alive.
        let message = Message { body: Bytes::copy_from_slice(&message.body), ..message.clone() };
        self.gone.remove(group);
        self.by_group.insert(group.clone(), Entry { message, sent, since, until, number });
    }

    /// The message of a group.
    pub(super) fn get(&self, group: &Group, now: Instant) -> Option<&Entry> {
        self.by_group.get(group).filter(|entry| now < entry.until)
    }

    /// The last message of a group that has lost it lately.
    pub(super) fn former(&self, group: &Group, now: Instant) -> Option<Former> {
        match self.by_group.get(group) {
            Some(entry) if now < entry.until => None,
            Some(entry) => Some(Former { sent: entry.sent, since: entry.since }),
            None => self.gone.get(group),
        }
    }

    /// Whether there is nothing to be removed once its time is over.
    pub(super) fn is_idle(&self) -> bool {
        self.by_group.is_empty() && self.gone.is_empty()
    }

    /// The message of a group, for a peer.
    pub(super) fn answer(&self, group: &Group, now: Instant) -> Option<Retained> {
        self.get(group, now).map(|entry| Retained {
            message: entry.message.clone(),
            retention: Retention::new(
                now.saturating_duration_since(entry.since),
                entry.until.saturating_duration_since(now),
            ),
        })
    }

    /// Size of the message of a group in bytes.
    pub(super) fn size_of(&self, group: &Group) -> usize {
        self.by_group.get(group).map_or(0, |entry| entry.message.body.len())
    }

    /// Removes up to `most` messages that have expired, and forgets as many that have gone.
    pub(super) fn remove_expired(&mut self, now: Instant, most: usize) {
        self.gone.forget(now, most);
        for _ in 0..most {
            let first = self.by_end.first_key_value();
            let Some((_, group)) = first.filter(|((until, _), _)| *until <= now) else {
                return;
            };
            let group = group.clone();
            self.end(&group, now);
        }
    }

    /// Removes the last message of a group, and remembers that there was one.
    fn end(&mut self, group: &Group, now: Instant) -> Option<Entry> {
        let entry = self.remove(group)?;
        let former = Former { sent: entry.sent, since: entry.since };
        self.gone.add(group, former, now);
        Some(entry)
    }

    fn remove(&mut self, group: &Group) -> Option<Entry> {
        let entry = self.by_group.remove(group)?;
        self.by_age.remove(&entry.number);
        self.by_end.remove(&(entry.until, entry.number));
        self.bytes -= size(group, &entry.message);
        Some(entry)
    }
}

/// Approximate memory of an entry: its name is in three maps, which share its bytes.
fn size(group: &Group, message: &Message) -> usize {
    ENTRY + group.weight() + message.body.len()
}

#[cfg(test)]
mod tests;
