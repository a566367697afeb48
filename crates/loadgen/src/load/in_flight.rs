//! Messages in flight of a closed fan-out loop: some recipients lack them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{Notify, mpsc};

use crate::plan::Plan;

/// One slot for each message of each sender that may be in flight. A message has completed in a
/// process when all of that process' clients that are to receive it have it; where the sender is,
/// it has arrived when it has completed in all processes.
#[derive(Debug)]
pub(super) struct InFlight {
    window: u32,
    senders: Vec<Sender>,
    slots: Vec<Slot>,
    /// Receives notifications for messages that other processes sent.
    other_processes: Option<mpsc::Sender<Completion>>,
}

/// Sender and number of a message that all clients of this process have received.
pub(super) type Completion = (usize, u32);

#[derive(Debug)]
struct Sender {
    is_here: bool,
    /// Clients of this process that receive each of its messages.
    receivers: u32,
    /// Processes that have such clients.
    processes: u32,
    completed: Notify,
}

#[derive(Debug, Default)]
struct Slot {
    /// How many of this process' clients have the message.
    received: AtomicU32,
    /// Processes where it has not completed; the slot is free when there is none.
    left: AtomicU32,
}

impl InFlight {
    pub(super) fn new(plan: &Plan, other_processes: Option<mpsc::Sender<Completion>>) -> Self {
        // An open loop waits for nothing.
        let closed_loop = plan.is_fanout() && plan.rate.is_none();
        let senders = if closed_loop { plan.senders } else { 0 };
        let sender = |sender| {
            let receivers = |generator| plan.receivers_of(generator, sender);
            let processes = (0..plan.generators).filter(|generator| 0 < receivers(*generator));
            Sender {
                is_here: sender % plan.generators == plan.generator,
                receivers: u32::try_from(receivers(plan.generator)).unwrap_or(u32::MAX),
                processes: u32::try_from(processes.count()).unwrap_or(u32::MAX),
                completed: Notify::new(),
            }
        };
        Self {
            window: plan.window,
            senders: (0..senders).map(sender).collect(),
            slots: (0..senders * plan.window as usize).map(|_| Slot::default()).collect(),
            other_processes,
        }
    }

    fn find(&self, sender: usize, number: u32) -> Option<(&Sender, &Slot)> {
        let slot = sender * self.window as usize + (number % self.window) as usize;
        self.senders.get(sender).zip(self.slots.get(slot))
    }

    /// Takes the slot of a message, if the previous one has reached all recipients.
    pub(super) fn reserve(&self, sender: usize, number: u32) -> bool {
        let Some((sender, slot)) = self.find(sender, number) else { return false };
        slot.left.compare_exchange(0, sender.processes, Relaxed, Relaxed).is_ok()
    }

    /// One of this process' clients has received a message.
    pub(super) fn receive(&self, sender: usize, number: u32) {
        let Some((from, slot)) = self.find(sender, number) else { return };
        if slot.received.fetch_add(1, Relaxed) + 1 < from.receivers {
            return;
        }
        // No client counts for the next message in this slot before this one has completed.
        slot.received.store(0, Relaxed);
        if from.is_here {
            self.complete(sender, number);
        } else if let Some(other_processes) = &self.other_processes {
            // The channel has room for every message that may be in flight.
            let _ = other_processes.try_send((sender, number));
        }
    }

    /// A message has completed in one more process.
    pub(super) fn complete(&self, sender: usize, number: u32) {
        let Some((sender, slot)) = self.find(sender, number) else { return };
        let before = slot.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if before == Ok(1) {
            sender.completed.notify_one();
        }
    }

    /// Waits until one of a sender's messages has reached all recipients.
    pub(super) async fn completed(&self, sender: usize) {
        if let Some(sender) = self.senders.get(sender) {
            sender.completed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Mode, tests::example};

    #[test]
    fn slot_is_free_when_all_recipients_have_the_message() {
        let plan = Plan { connections: 5, devices: 5, generators: 2, ..example(Mode::Fanout) };
        let (completed, mut completions) = mpsc::channel(1);
        let here = InFlight::new(&plan, None);
        let there = InFlight::new(&Plan { generator: 1, ..plan }, Some(completed));
        assert!(here.reserve(0, 0));
        for _ in 0..2 {
            here.receive(0, 0);
            there.receive(0, 0);
        }
        assert_eq!(completions.try_recv(), Ok((0, 0)));
        here.complete(0, 0);
        assert!(!here.reserve(0, 1), "one client here does not have it");
        here.receive(0, 0);
        assert!(here.reserve(0, 1));
    }
}
