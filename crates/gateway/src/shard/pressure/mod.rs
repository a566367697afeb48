//! Memory pressure: what the connections of a shard hold, which of them are read meanwhile, and
//! which are closed.

mod budget;
mod load_shedding;

use std::{collections::VecDeque, mem};

use super::{
    connections::{Connection, Connections, Pause, ReadGate},
    slot::SlotKey,
};

pub(super) use self::{budget::Budget, load_shedding::retry_after};

/// The memory budget of a shard, and the connections that memory pressure pauses.
#[derive(Debug)]
pub(super) struct Pressure {
    pub(super) budget: Budget,
    /// Connections whose reads are paused.
    held_back: VecDeque<SlotKey>,
    /// Connections that were resumed to complete their message; all that may be completing one are
    /// among them.
    resumed: Vec<SlotKey>,
    /// Whether the shard was under pressure when that was last reported.
    reported: bool,
}

impl Pressure {
    /// `share` is the shard's part of the memory budget, in bytes.
    pub(super) fn new(share: Option<usize>) -> Self {
        Self {
            budget: Budget::new(share),
            held_back: VecDeque::new(),
            resumed: Vec::new(),
            reported: false,
        }
    }

    /// Updates the bytes that a connection holds for itself. Returns whether they have changed and
    /// the shard is under pressure.
    pub(super) fn account(&mut self, connection: &mut Connection) -> bool {
        let (before, after) = (connection.accounted, connection.own());
        if before == after {
            return false;
        }
        connection.accounted = after;
        self.budget.change(before, after);
        self.budget.is_pressed()
    }

    /// A connection was removed.
    pub(super) fn forget(&mut self, connection: &Connection) {
        self.budget.change(connection.accounted, 0);
    }

    /// Pauses reads of a connection in the middle of a large message.
    pub(super) fn hold_back(&mut self, key: SlotKey, connection: &mut Connection) {
        connection.gate.pause(Pause::MemoryPressure);
        self.held_back.push_back(key);
    }

    /// Ends the completion of every resumed connection, so that memory pressure may pause it again.
    pub(super) fn end_completions(&mut self, connections: &mut Connections) {
        for key in mem::take(&mut self.resumed) {
            if let Some(connection) = connections.get_mut(key) {
                connection.gate.end_completion();
            }
        }
    }

    /// Resumes a few paused connections, so that messages of up to `max_message_size` bytes that
    /// can be completed are.
    pub(super) fn resume_some(&mut self, connections: &mut Connections, max_message_size: usize) {
        let most = self.budget.room_for(max_message_size);
        self.resumed.retain(|key| connections.get(*key).is_some_and(|it| it.gate.may_complete()));
        while self.resumed.len() < most
            && let Some(key) = self.held_back.pop_front()
        {
            if resume(connections, key, ReadGate::resume_to_complete) {
                self.resumed.push(key);
            }
        }
    }

    /// Resumes all paused connections.
    pub(super) fn resume_all(&mut self, connections: &mut Connections) {
        self.end_completions(connections);
        for key in mem::take(&mut self.held_back) {
            resume(connections, key, |gate| gate.resume(Pause::MemoryPressure));
        }
    }

    /// Whether the policy is to be applied: the shard is under pressure, or was when reads of a
    /// connection were paused.
    pub(super) fn is_due(&self) -> bool {
        self.budget.is_pressed() || !self.held_back.is_empty()
    }

    /// Whether the shard is under pressure, if that has changed since it was last reported.
    pub(super) fn take_change(&mut self) -> Option<bool> {
        let is_pressed = self.budget.is_pressed();
        let before = mem::replace(&mut self.reported, is_pressed);
        (before != is_pressed).then_some(is_pressed)
    }
}

/// Resumes a connection. Returns whether it was paused: it may be closed, and its slot used again.
fn resume(connections: &mut Connections, key: SlotKey, resume: impl FnOnce(&mut ReadGate)) -> bool {
    let connection = connections.get_mut(key);
    let paused = connection.filter(|it| it.gate.is_paused_for(Pause::MemoryPressure));
    paused
        .map(|connection| {
            resume(&mut connection.gate);
            connection.wake();
        })
        .is_some()
}
