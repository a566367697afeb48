//! Messages of a closed fan-out loop that not all have received yet.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{Notify, mpsc};

use crate::plan::Plan;

/// One place for each message of each sender that may be in flight. A message has landed in a
/// process when all of that process' clients that are to receive it have it; where the sender is,
/// it has arrived when it has landed in all processes.
#[derive(Debug)]
pub(super) struct Flights {
    window: u32,
    senders: Vec<Sender>,
    places: Vec<Place>,
    /// Receives notifications for messages that other processes sent.
    elsewhere: Option<mpsc::Sender<Landing>>,
}

/// A message has landed here, and its sender is in another process.
pub(super) type Landing = (usize, u32);

#[derive(Debug)]
struct Sender {
    is_here: bool,
    /// Clients of this process that receive each of its messages.
    receivers: u32,
    /// Processes that have such clients.
    processes: u32,
    landed: Notify,
}

#[derive(Debug, Default)]
struct Place {
    /// How many of this process' clients have the message.
    received: AtomicU32,
    /// Processes where it has not landed; the place is free when there is none.
    left: AtomicU32,
}

impl Flights {
    pub(super) fn new(plan: &Plan, elsewhere: Option<mpsc::Sender<Landing>>) -> Self {
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
                landed: Notify::new(),
            }
        };
        Self {
            window: plan.window,
            senders: (0..senders).map(sender).collect(),
            places: (0..senders * plan.window as usize).map(|_| Place::default()).collect(),
            elsewhere,
        }
    }

    fn find(&self, sender: usize, number: u32) -> Option<(&Sender, &Place)> {
        let place = sender * self.window as usize + (number % self.window) as usize;
        self.senders.get(sender).zip(self.places.get(place))
    }

    /// Takes the place of a message, if the previous one has reached all recipients.
    pub(super) fn take_off(&self, sender: usize, number: u32) -> bool {
        let Some((sender, place)) = self.find(sender, number) else { return false };
        place.left.compare_exchange(0, sender.processes, Relaxed, Relaxed).is_ok()
    }

    /// One of this process' clients has received a message.
    pub(super) fn arrives(&self, sender: usize, number: u32) {
        let Some((from, place)) = self.find(sender, number) else { return };
        if place.received.fetch_add(1, Relaxed) + 1 < from.receivers {
            return;
        }
        // No client counts for the next message in this place before this one has landed.
        place.received.store(0, Relaxed);
        if from.is_here {
            self.lands(sender, number);
        } else if let Some(elsewhere) = &self.elsewhere {
            // The channel has room for every message that may be in flight.
            let _ = elsewhere.try_send((sender, number));
        }
    }

    /// A message has landed in one more process.
    pub(super) fn lands(&self, sender: usize, number: u32) {
        let Some((sender, place)) = self.find(sender, number) else { return };
        let before = place.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if before == Ok(1) {
            sender.landed.notify_one();
        }
    }

    /// Waits until one of a sender's messages has reached all recipients.
    pub(super) async fn landed(&self, sender: usize) {
        if let Some(sender) = self.senders.get(sender) {
            sender.landed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Mode, tests::example};

    #[test]
    fn place_is_free_when_all_recipients_have_the_message() {
        let plan = Plan { connections: 5, devices: 5, generators: 2, ..example(Mode::Fanout) };
        let (told, mut landings) = mpsc::channel(1);
        let here = Flights::new(&plan, None);
        let there = Flights::new(&Plan { generator: 1, ..plan }, Some(told));
        assert!(here.take_off(0, 0));
        for _ in 0..2 {
            here.arrives(0, 0);
            there.arrives(0, 0);
        }
        assert_eq!(landings.try_recv(), Ok((0, 0)));
        here.lands(0, 0);
        assert!(!here.take_off(0, 1), "one client here does not have it");
        here.arrives(0, 0);
        assert!(here.take_off(0, 1));
    }
}
