//! Hands over the records of the clients of a dead or unreachable gateway to workers that were
//! started later, relayed by gateways that both workers are linked to: the other workers that hold
//! the records may have terminated.

use std::{mem, sync::Arc, time::Duration};

use protocol::{
    InstanceId,
    discovery::MAX_HOLDERS,
    link::ToGateway,
    standby::{HandedOver, Handover, WorkerMessage},
};
use runtime::clock;
use tokio::time::timeout;

use crate::{
    failure_detector::HandOver,
    link::{Link, Ticket},
    shared::Shared,
};

/// How long an answer may take before the message is sent again, at first and at most. The
/// recipient may not be linked to the relaying gateway yet.
const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(2);

/// How many clients, and about how many bytes of their sessions, one message carries.
const CLIENTS: usize = 500;
const BYTES: usize = 64 * 1024;

/// Hands over the clients of a gateway to the last of `to`, the others having received them before;
/// until it has acknowledged them, or the handover is not needed any more.
pub(crate) async fn run(shared: Arc<Shared>, handover: HandOver) {
    let HandOver { gateway, address, to } = handover;
    let (Some(worker), Some(self_id)) = (to.last(), shared.identity.worker()) else {
        return;
    };
    let groups = shared.consumer().map(|consumer| consumer.hand_over(&gateway, self_id));
    let groups = groups.unwrap_or_default();
    let count: usize = groups.iter().map(|(_, clients)| clients.len()).sum();
    if count == 0 {
        return;
    }
    tracing::info!(instance = %gateway, %worker, clients = count, "handing over clients");
    for (mut holders, clients) in groups {
        holders.extend(to.iter().filter(|it| !holders.contains(it)).cloned().collect::<Vec<_>>());
        // The first of so many holders have long terminated.
        holders.drain(..holders.len().saturating_sub(MAX_HOLDERS));
        for clients in pieces(clients) {
            let Ok(mut answer) = shared.handovers.ticket() else { return };
            let (gateway, holders, number) = (gateway.clone(), holders.clone(), answer.number);
            let handover = Handover { number, address, gateway, holders, clients };
            if !hand_over(&shared, worker, handover, &mut answer).await {
                return;
            }
        }
    }
}

/// Splits clients into batches of one message each.
fn pieces(clients: Vec<HandedOver>) -> Vec<Vec<HandedOver>> {
    let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
    for client in clients {
        bytes += client.session.as_encoded().len();
        piece.push(client);
        if CLIENTS <= piece.len() || BYTES <= bytes {
            pieces.push(mem::take(&mut piece));
            bytes = 0;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Sends one message until it is acknowledged. Returns `false` if it is not needed any more.
async fn hand_over(
    shared: &Shared,
    to: &InstanceId,
    handover: Handover,
    answer: &mut Ticket<'_, ()>,
) -> bool {
    let (mut pause, mut attempt) = (FIRST, 0);
    while shared.failure_detector().hands_over(&handover.gateway, to) {
        let links: Vec<Arc<Link>> = shared.directory().links().cloned().collect();
        // Not every gateway is linked to the recipient, and gateways relay nothing for a passive
        // worker.
        let link = links.get(attempt % links.len().max(1)).filter(|_| !shared.is_passive());
        if let Some(link) = link {
            let message = WorkerMessage::Handover(handover.clone());
            let _ = link.offer(&mut ToGateway::Relay { to: to.clone(), message });
        }
        attempt += 1;
        if timeout(pause, answer.wait()).await.is_ok() {
            return true;
        }
        pause = (pause * 3 / 2).min(LAST);
    }
    false
}

impl Shared {
    /// Handles a message of another worker, relayed by a gateway.
    pub(crate) fn relayed(self: &Arc<Self>, link: &Link, from: InstanceId, message: WorkerMessage) {
        match message {
            WorkerMessage::Handover(handover) => {
                let message = WorkerMessage::HandoverTaken { number: handover.number };
                self.take_over_from(handover);
                // Without an acknowledgement the other worker retransmits.
                let _ = link.offer(&mut ToGateway::Relay { to: from, message });
            }
            WorkerMessage::HandoverTaken { number } => self.handovers.resolve(number, ()),
        }
    }

    fn take_over_from(self: &Arc<Self>, handover: Handover) {
        let gateway = handover.gateway.clone();
        // A linked gateway has sent its complete state itself.
        let is_linked = self.directory().links().any(|link| *link.instance() == gateway);
        let Some(consumer) = self.consumer().filter(|_| !is_linked) else { return };
        let address = handover.address;
        let link = self.out_of_reach(address, gateway.clone());
        let groups = consumer.handed_over(&link, handover);
        self.failure_detector().handed_over(address, &gateway, groups, clock::now());
        self.wake_detector.notify_one();
    }
}
