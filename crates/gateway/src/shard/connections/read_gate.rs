//! The read gate of one connection: whether its socket is read, and why it is not. A value.
//!
//! Each reason is set and cleared on its own, by the part of the shard that it belongs to: the
//! fair queue, flow control, memory pressure. The socket is read while there is none.

use std::time::Instant;

use protocol::inspect::ReadPause;

/// Why reads of a connection are paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Pause {
    /// It has used its quantum: the shard's fair queue resumes it.
    QuantumSpent,
    /// The worker's backlog is above its busy threshold: the client is read round-robin.
    WorkerBusy,
    /// The worker's window, the client's quota of it, or the queue of unassigned events is full;
    /// there is no room for the first events of a new client; or an event of the client is held
    /// behind a suspect.
    WindowFull,
    /// Memory pressure, in the middle of a large message.
    MemoryPressure,
    /// Its handshake awaits the answer of a worker.
    HandshakeUndecided,
    /// It has sent faster than it may (`--rate-policy pause`).
    RateLimit,
}

/// Reasons of which the worker of a connection is the cause.
const BY_WORKER: u8 = Pause::WorkerBusy.bit() | Pause::WindowFull.bit();

/// Whether a connection may be read. It may, when it is new.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct ReadGate {
    /// One bit for each [`Pause`].
    reasons: u8,
    /// Whether a fair queue has resumed it, and since then its socket was not read empty and no
    /// message was completed.
    has_turn: bool,
    /// Whether it was resumed under memory pressure, to complete its message.
    may_complete: bool,
    /// Since when its socket is empty, if that is in the middle of a large message. A pause ends
    /// this: the socket may not be empty afterwards.
    empty_since: Option<Instant>,
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
        self.empty_since = None;
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
        self.empty_since = None;
    }

    /// Whether the socket may be read.
    pub(in crate::shard) const fn may_read(self) -> bool {
        self.reasons == 0
    }

    /// Whether this is one of the reasons for which reads are paused.
    pub(in crate::shard) const fn is_paused_for(self, reason: Pause) -> bool {
        self.reasons & reason.bit() != 0
    }

    /// Whether no further message is processed, of those that were read already.
    pub(in crate::shard) const fn holds_messages(self) -> bool {
        self.reasons & (Pause::WindowFull.bit() | Pause::RateLimit.bit()) != 0
    }

    /// The reasons for which reads are paused.
    pub(in crate::shard) fn pauses(self) -> impl Iterator<Item = ReadPause> {
        let known = [
            (Pause::QuantumSpent, ReadPause::QuantumSpent),
            (Pause::WorkerBusy, ReadPause::WorkerBusy),
            (Pause::WindowFull, ReadPause::WindowFull),
            (Pause::MemoryPressure, ReadPause::MemoryPressure),
            (Pause::HandshakeUndecided, ReadPause::HandshakeUndecided),
            (Pause::RateLimit, ReadPause::RateLimit),
        ];
        known.into_iter().filter(move |(pause, _)| self.is_paused_for(*pause)).map(|(_, it)| it)
    }

    /// Whether reads are paused because of the worker.
    pub(in crate::shard) const fn is_paused_by_worker(self) -> bool {
        self.reasons & BY_WORKER != 0
    }

    /// A fair queue resumes it: it may read a large message to its end.
    pub(in crate::shard) const fn grant_turn(&mut self) {
        self.has_turn = true;
    }

    /// It joins a fair queue.
    pub(in crate::shard) const fn end_turn(&mut self) {
        self.has_turn = false;
    }

    /// Its socket was read empty, which ends its turn; at this time, if it is in the middle of a
    /// large message.
    pub(in crate::shard) fn read_empty(&mut self, in_large_message: Option<Instant>) {
        self.has_turn = false;
        self.empty_since = in_large_message.map(|now| self.empty_since.unwrap_or(now));
    }

    /// Bytes were received.
    pub(in crate::shard) const fn received(&mut self) {
        self.empty_since = None;
    }

    /// Since when it has been read and has sent nothing more of a large message.
    pub(in crate::shard) const fn empty_since(self) -> Option<Instant> {
        self.empty_since
    }

    /// Whether a fair queue has resumed it, and the turn has not ended.
    pub(in crate::shard) const fn has_turn(self) -> bool {
        self.has_turn
    }

    /// Resumes reads under memory pressure, which does not pause it again until its message is
    /// complete or the [completion ends](Self::end_completion).
    pub(in crate::shard) const fn resume_to_complete(&mut self) {
        self.resume(Pause::MemoryPressure);
        self.may_complete = true;
    }

    /// A message is complete. Being resumed was for that one: the next waits like any other.
    pub(in crate::shard) const fn message_completed(&mut self) {
        self.has_turn = false;
        self.may_complete = false;
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
    use std::time::Duration;

    use super::*;

    const ALL: [Pause; 6] = [
        Pause::QuantumSpent,
        Pause::WorkerBusy,
        Pause::WindowFull,
        Pause::MemoryPressure,
        Pause::HandshakeUndecided,
        Pause::RateLimit,
    ];

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
        assert_eq!(gate.pauses().collect::<Vec<_>>(), ReadPause::ALL, "all of them are shown");
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
        let left = ALL.map(|reason| gate.is_paused_for(reason));
        assert_eq!(left, [true, false, false, true, true, true]);
    }

    #[test]
    fn closing_connection_waits_in_the_fair_queue_only() {
        let mut gate = ReadGate::default();
        ALL.iter().for_each(|reason| gate.pause(*reason));
        gate.resume_for_closing();
        let left = ALL.map(|reason| gate.is_paused_for(reason));
        assert_eq!(left, [true, false, false, false, false, false]);
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
    fn socket_stays_empty_until_bytes_are_received_or_reads_pause() {
        let (mut gate, now) = (ReadGate::default(), Instant::now());
        gate.read_empty(None);
        assert_eq!(gate.empty_since(), None);
        let ends: [fn(&mut ReadGate); 2] = [ReadGate::received, |it| it.pause(Pause::WorkerBusy)];
        for end in ends {
            gate.read_empty(Some(now));
            gate.read_empty(Some(now + Duration::from_secs(1)));
            assert_eq!(gate.empty_since(), Some(now));
            end(&mut gate);
            assert_eq!(gate.empty_since(), None);
        }
    }

    #[test]
    fn turn_and_completion_end_with_the_message() {
        let mut gate = ReadGate::default();
        gate.grant_turn();
        gate.resume_to_complete();
        gate.message_completed();
        assert!(!gate.has_turn() && !gate.may_complete());
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
