//! The connections of a shard, and which of them is to be written, read or closed next.
//!
//! A part of the shard, which decides what is sent, and what an expired deadline means.

mod client_rates;
mod connection;
mod deadlines;
mod fan_out;
mod flow_control;
mod quantum;
mod read_gate;
mod slot_sweep;

use std::{
    collections::VecDeque,
    mem,
    ops::{Index, IndexMut},
    time::{Duration, Instant},
};

use bytes::Bytes;
use framing::shared_frames::SMALL;
use runtime::clock;
use slab::Slab;

use self::{deadlines::Deadlines, fan_out::FanOut};
use super::{schedule::Schedule, slot::SlotKey};

pub(super) use self::{
    client_rates::{ClientRates, Verdict},
    connection::{Connection, Page, Phase, Read},
    fan_out::Audience,
    flow_control::{Blocked, FlowControl, LIGHT, Progress, Window},
    quantum::Quantum,
    read_gate::{Pause, ReadGate},
    slot_sweep::SlotSweep,
};

/// Whether a message was queued for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It was queued.
    Queued,
    /// The write queue is full: the message was dropped, or the client is closed.
    Dropped,
    /// The client is closing, and receives no more messages.
    Closing,
}

/// Size of the read buffer, and the maximum number of bytes per socket read.
pub(super) const SCRATCH: usize = 64 * 1024;

/// All connections of a shard, each in a slot. The slot of a removed connection is used again.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Slab<Connection>,
    deadlines: Deadlines,
    /// Connections to be flushed at the end of the pass.
    dirty: Vec<SlotKey>,
    /// Bytes queued since `dirty` was last flushed.
    unwritten: usize,
    /// Connections with queued output of a fan-out message.
    fan_out: FanOut,
    /// The fair queue: connections with more input, resumed round-robin.
    fair_queue: VecDeque<SlotKey>,
    /// Read buffer, shared by all sockets.
    scratch: Box<[u8]>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            slots: Slab::new(),
            deadlines: Deadlines::default(),
            dirty: Vec::new(),
            unwritten: 0,
            fan_out: FanOut::default(),
            fair_queue: VecDeque::new(),
            scratch: vec![0; SCRATCH].into(),
        }
    }

    pub(super) fn insert(&mut self, connection: Connection) -> SlotKey {
        self.slots.insert(connection) as SlotKey
    }

    /// Removes a connection and its deadline.
    pub(super) fn remove(&mut self, key: SlotKey) -> Connection {
        let connection = self.slots.remove(key as usize);
        self.deadlines.clear(key, connection.deadline);
        connection
    }

    /// The connection of a slot, unless it was removed.
    pub(super) fn get(&self, key: SlotKey) -> Option<&Connection> {
        self.slots.get(key as usize)
    }

    /// The same.
    pub(super) fn get_mut(&mut self, key: SlotKey) -> Option<&mut Connection> {
        self.slots.get_mut(key as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotKey, &Connection)> {
        self.slots.iter().map(|(key, connection)| (key as SlotKey, connection))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SlotKey, &mut Connection)> {
        self.slots.iter_mut().map(|(key, connection)| (key as SlotKey, connection))
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of slots, with free ones: every key is below it.
    pub(super) fn slots(&self) -> usize {
        self.slots.capacity()
    }

    /// The read buffer, which is moved out while received bytes are processed. Must be
    /// [returned](Self::return_scratch).
    pub(super) fn take_scratch(&mut self) -> Box<[u8]> {
        mem::take(&mut self.scratch)
    }

    pub(super) fn return_scratch(&mut self, scratch: Box<[u8]>) {
        self.scratch = scratch;
    }
}

/// Deadlines.
impl Connections {
    /// Sets the deadline for a connection's current phase; `None` removes it.
    pub(super) fn set_deadline(&mut self, key: SlotKey, time: Option<Duration>) {
        let deadline = time.map(|time| clock::now() + time);
        let before = mem::replace(&mut self[key].deadline, deadline);
        self.deadlines.change(key, before, deadline);
    }

    /// Whether a connection has a deadline.
    pub(super) fn has_deadline(&self, key: SlotKey) -> bool {
        self[key].deadline.is_some()
    }

    /// A connection whose deadline has passed. It has none after that.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<SlotKey> {
        let key = self.deadlines.passed(now)?;
        self[key].deadline = None;
        Some(key)
    }
}

/// Output.
impl Connections {
    /// Queues output, to be written with the other output of the fan-out if `audience` is large and
    /// nothing else is queued. Returns whether it is written in this pass, for which the connection
    /// has to be flushed or [marked](Self::mark_dirty).
    pub(super) fn queue(
        &mut self,
        audience: Audience,
        key: SlotKey,
        bytes: &Bytes,
        schedule: &mut Schedule,
    ) -> bool {
        let connection = &mut self.slots[key as usize];
        connection.queue(bytes);
        let counted = bytes.len().min(SMALL);
        if audience == Audience::Few || connection.pending.is_dirty() {
            self.unwritten += counted;
            return true;
        }
        self.fan_out.count(counted);
        if !connection.pending.set_in_fan_out(true) {
            self.fan_out.add(key);
            schedule.request();
        }
        false
    }

    /// Schedules a flush of the connection at the end of the pass.
    pub(super) fn mark_dirty(&mut self, key: SlotKey, schedule: &mut Schedule) {
        let connection = &mut self.slots[key as usize];
        if !connection.pending.set_dirty(true) {
            self.dirty.push(key);
            schedule.request();
        }
    }

    /// Approximate bytes that were queued and not flushed yet.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten + self.fan_out.bytes()
    }

    /// Whether a connection is to be flushed at the end of the pass.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the connections to flush. Some of them may be closed, their slots used again.
    pub(super) fn take_dirty(&mut self) -> Vec<SlotKey> {
        mem::take(&mut self.dirty)
    }

    /// Keeps the memory of an emptied list, unless a connection was marked meanwhile.
    pub(super) fn reuse_dirty(&mut self, list: Vec<SlotKey>) {
        if self.dirty.is_empty() {
            self.dirty = list;
        }
    }

    /// All marked connections were flushed.
    pub(super) fn all_flushed(&mut self) {
        self.unwritten = 0;
    }

    /// The next connection to flush of those with only fan-out output. It may be closed, its slot
    /// used again.
    pub(super) fn next_of_fan_out(&mut self) -> Option<SlotKey> {
        let key = self.fan_out.next()?;
        if let Some(connection) = self.get_mut(key) {
            connection.pending.set_in_fan_out(false);
        }
        Some(key)
    }

    /// The connections with fan-out output.
    pub(super) fn fan_out(&self) -> &FanOut {
        &self.fan_out
    }
}

/// Reads.
impl Connections {
    /// Pauses reads of a connection until those before it in the fair queue have been read.
    pub(super) fn enqueue(&mut self, key: SlotKey) {
        self[key].gate.pause(Pause::QuantumSpent);
        self.fair_queue.push_back(key);
    }

    /// Pauses reads of a connection until other sockets have been polled.
    pub(super) fn enqueue_first(&mut self, key: SlotKey) {
        self[key].gate.pause(Pause::QuantumSpent);
        self.fair_queue.push_front(key);
    }

    /// Resumes up to `most` connections of the fair queue.
    pub(super) fn resume_fair_queue(&mut self, most: usize) {
        for key in self.fair_queue.drain(..self.fair_queue.len().min(most)) {
            if let Some(connection) = self.slots.get_mut(key as usize) {
                connection.gate.resume(Pause::QuantumSpent);
                connection.gate.grant_turn();
                connection.wake();
            }
        }
    }

    /// Whether the fair queue is not empty.
    pub(super) fn has_queued(&self) -> bool {
        !self.fair_queue.is_empty()
    }

    /// Resumes reads that were paused because of a worker. Some of these connections may be closed.
    pub(super) fn resume_by_worker(&mut self, keys: impl IntoIterator<Item = SlotKey>) {
        for key in keys {
            if let Some(connection) = self.get_mut(key) {
                connection.gate.resume_by_worker();
                connection.flow_control.resumed();
                connection.wake();
            }
        }
    }

    /// The connections with reads that are paused because of a worker.
    pub(super) fn paused_by_worker(&self) -> Vec<SlotKey> {
        let paused = self.iter().filter(|(_, it)| it.gate.is_paused_by_worker());
        paused.map(|(key, _)| key).collect()
    }
}

impl Index<SlotKey> for Connections {
    type Output = Connection;

    fn index(&self, key: SlotKey) -> &Connection {
        &self.slots[key as usize]
    }
}

impl IndexMut<SlotKey> for Connections {
    fn index_mut(&mut self, key: SlotKey) -> &mut Connection {
        &mut self.slots[key as usize]
    }
}
