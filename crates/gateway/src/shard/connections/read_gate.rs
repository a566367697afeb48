//! The read gate of one connection: whether its socket is read, and why it is not. A value.
//!
//! Each reason is set and cleared on its own, by the part of the shard that it belongs to: the
//! fair queue, flow control, memory pressure. The socket is read while there is none.

/// Why reads of a connection are paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Pause {
    /// It has used its quantum: the shard's fair queue resumes it.
    QuantumSpent,
    /// The worker's backlog is above its busy threshold: the client is read round-robin.
    WorkerBusy,
    /// The worker's window, the client's quota of it, or the queue of unassigned events is full; or
    /// an event of the client is held behind a suspect.
    WindowFull,
    /// Memory pressure, in the middle of a large message.
    MemoryPressure,
}

/// Reasons of which the worker of a connection is the cause.
const BY_WORKER: u8 = Pause::WorkerBusy.bit() | Pause::WindowFull.bit();

/// Whether a connection may be read. It may, when it is new.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct ReadGate {
    /// One bit for each [`Pause`].
    reasons: u8,
    /// Whether a fair queue has resumed it, and its socket was not read empty since.
    has_turn: bool,
    /// Whether it was resumed under memory pressure, to complete its message.
    may_complete: bool,
}

impl Pause {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl ReadGate {
    /// Pauses reads for one more reason.
    pub(in crate::shard) const fn pause(&mut self, reason: Pause) {
        self.reasons |= reason.bit();
    }

    /// Removes a reason. Reads resume if it was the last.
    pub(in crate::shard) const fn resume(&mut self, reason: Pause) {
        self.reasons &= !reason.bit();
    }

    /// Removes every reason of which the worker is the cause.
    pub(super) const fn resume_by_worker(&mut self) {
        self.reasons &= !BY_WORKER;
    }

    /// Removes every reason but its place in the shard's fair queue: the connection closes, and
    /// what it sends is discarded.
    pub(in crate::shard) const fn resume_for_closing(&mut self) {
        self.reasons &= Pause::QuantumSpent.bit();
        self.may_complete = false;
    }

    /// Whether the socket may be read.
    pub(in crate::shard) const fn may_read(self) -> bool {
        self.reasons == 0
    }

    /// Whether this is one of the reasons for which reads are paused.
    pub(in crate::shard) const fn is_paused_for(self, reason: Pause) -> bool {
        self.reasons & reason.bit() != 0
    }

    /// Whether reads are paused because of the worker.
    pub(in crate::shard) const fn is_paused_by_worker(self) -> bool {
        self.reasons & BY_WORKER != 0
    }

    /// A fair queue resumes it: it may read a large message to its end.
    pub(in crate::shard) const fn grant_turn(&mut self) {
        self.has_turn = true;
    }

    /// Its socket was read empty, or it joins a fair queue.
    pub(in crate::shard) const fn end_turn(&mut self) {
        self.has_turn = false;
    }

    /// Whether a fair queue has resumed it, and the turn has not ended.
    pub(in crate::shard) const fn has_turn(self) -> bool {
        self.has_turn
    }

    /// Resumes reads under memory pressure, to complete a large message: that pauses it no more.
    pub(in crate::shard) const fn resume_to_complete(&mut self) {
        self.resume(Pause::MemoryPressure);
        self.may_complete = true;
    }

    /// Memory pressure may pause it again.
    pub(in crate::shard) const fn end_completion(&mut self) {
        self.may_complete = false;
    }

    /// Whether it was resumed to complete a large message.
    pub(in crate::shard) const fn may_complete(self) -> bool {
        self.may_complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Pause; 4] =
        [Pause::QuantumSpent, Pause::WorkerBusy, Pause::WindowFull, Pause::MemoryPressure];

    #[test]
    fn new_connection_is_read() {
        let gate = ReadGate::default();
        assert!(gate.may_read() && !gate.has_turn() && !gate.may_complete());
    }

    #[test]
    fn socket_is_read_once_every_reason_is_removed() {
        let mut gate = ReadGate::default();
        for reason in ALL {
            gate.pause(reason);
            gate.pause(reason);
        }
        for reason in ALL {
            assert!(!gate.may_read() && gate.is_paused_for(reason));
            gate.resume(reason);
            assert!(!gate.is_paused_for(reason));
        }
        assert!(gate.may_read());
    }

    #[test]
    fn worker_removes_its_own_reasons_only() {
        let mut gate = ReadGate::default();
        ALL.iter().for_each(|reason| gate.pause(*reason));
        assert!(gate.is_paused_by_worker());
        gate.resume_by_worker();
        assert!(!gate.is_paused_by_worker());
        assert_eq!(ALL.map(|reason| gate.is_paused_for(reason)), [true, false, false, true]);
    }

    #[test]
    fn closing_connection_waits_in_the_fair_queue_only() {
        let mut gate = ReadGate::default();
        ALL.iter().for_each(|reason| gate.pause(*reason));
        gate.resume_for_closing();
        assert_eq!(ALL.map(|reason| gate.is_paused_for(reason)), [true, false, false, false]);
        gate.resume(Pause::QuantumSpent);
        assert!(gate.may_read());
    }

    #[test]
    fn turn_lasts_until_it_is_ended() {
        let mut gate = ReadGate::default();
        gate.grant_turn();
        gate.pause(Pause::QuantumSpent);
        gate.resume(Pause::QuantumSpent);
        assert!(gate.has_turn());
        gate.end_turn();
        assert!(!gate.has_turn());
    }

    #[test]
    fn resumed_large_message_is_marked_until_completion_ends() {
        let mut gate = ReadGate::default();
        gate.pause(Pause::MemoryPressure);
        gate.resume_to_complete();
        assert!(gate.may_read() && gate.may_complete());
        gate.end_completion();
        assert!(gate.may_read() && !gate.may_complete());
    }
}
