//! The commands of an owner, to each gateway in order.
//!
//! They live as long as the link: each new one begins with full reports. A gateway that reads too
//! slowly for them is to report everything again once there is space, instead of what it has missed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use protocol::{Command, Group, InstanceId, link::ToGateway};

use super::events::Event;
use crate::{
    link::{Link, Offer},
    shared::Shared,
};

/// Bytes of commands that wait for space in the queue of one link, beyond which they are dropped,
/// approximately.
const BACKLOG: usize = 4 * 1024 * 1024;

/// One linked gateway.
#[derive(Debug)]
struct Sender {
    link: Arc<Link>,
    /// Messages that wait for space.
    backlog: VecDeque<ToGateway>,
    bytes: usize,
    /// Whether commands were dropped.
    is_incomplete: bool,
    /// Whether a task waits for space.
    is_waiting: bool,
}

/// The links on which this worker watches.
#[derive(Debug, Default)]
pub(super) struct Senders(BTreeMap<InstanceId, Sender>);

impl Senders {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn linked(&mut self, shared: &Arc<Shared>, link: Arc<Link>, prefixes: &[Group]) {
        let instance = link.instance().clone();
        let mut sender = Sender {
            link,
            backlog: VecDeque::new(),
            bytes: 0,
            is_incomplete: false,
            is_waiting: false,
        };
        sender.send(shared, ToGateway::Watch { prefixes: prefixes.to_vec() });
        self.0.insert(instance, sender);
    }

    pub(super) fn unlinked(&mut self, link: &Arc<Link>) {
        if self.is_present(link) {
            self.0.remove(link.instance());
        }
    }

    /// Whether it is the present link to its gateway.
    pub(super) fn is_present(&self, link: &Arc<Link>) -> bool {
        self.0.get(link.instance()).is_some_and(|sender| Arc::ptr_eq(&sender.link, link))
    }

    /// Sends a command to one gateway, if it is linked.
    pub(super) fn send(&mut self, shared: &Arc<Shared>, gateway: &InstanceId, command: Command) {
        if let Some(sender) = self.0.get_mut(gateway) {
            sender.send(shared, ToGateway::Command { seq: 0, command });
        }
    }

    /// Sends a command to every gateway that is linked.
    pub(super) fn send_to_all(&mut self, shared: &Arc<Shared>, command: &Command) {
        for sender in self.0.values_mut() {
            sender.send(shared, ToGateway::Command { seq: 0, command: command.clone() });
        }
    }

    /// All gateways are to report everything again.
    pub(super) fn restart_all(&mut self, shared: &Arc<Shared>, prefixes: &[Group]) {
        for sender in self.0.values_mut() {
            sender.restart(shared, prefixes);
        }
    }

    /// There is space for what waits. Returns whether the gateway reports everything again.
    pub(super) fn room(&mut self, shared: &Arc<Shared>, link: &Link, prefixes: &[Group]) -> bool {
        let sender = self.0.get_mut(link.instance());
        let Some(sender) = sender.filter(|it| std::ptr::eq(&*it.link, link)) else { return false };
        sender.is_waiting = false;
        let backlog = std::mem::take(&mut sender.backlog);
        sender.bytes = 0;
        backlog.into_iter().for_each(|message| sender.send(shared, message));
        let restarts = sender.is_incomplete && sender.backlog.is_empty();
        if restarts {
            sender.is_incomplete = false;
            sender.restart(shared, prefixes);
        }
        restarts
    }
}

impl Sender {
    fn restart(&mut self, shared: &Arc<Shared>, prefixes: &[Group]) {
        self.send(shared, ToGateway::Watch { prefixes: Vec::new() });
        self.send(shared, ToGateway::Watch { prefixes: prefixes.to_vec() });
    }

    fn send(&mut self, shared: &Arc<Shared>, mut message: ToGateway) {
        if self.is_incomplete {
            return;
        }
        if self.backlog.is_empty() {
            match self.link.offer(&mut message) {
                Ok(Offer::Queued(_)) => return,
                Ok(Offer::Full(full)) => {
                    if !std::mem::replace(&mut self.is_waiting, true) {
                        let (link, owner) = (Arc::clone(&self.link), shared.presence().cloned());
                        shared.spawn_supervised(async move {
                            tokio::select! {
                                () = link.room(full) => {}
                                () = link.gone() => {}
                            }
                            if let Some(owner) = owner {
                                owner.events.push(Event::Room(link));
                            }
                        });
                    }
                }
                // Closed, of which the next event tells; or larger than a frame, which no part of
                // a view and no change is.
                Err(error) => {
                    tracing::debug!(%error, "presence command not sent");
                    return;
                }
            }
        }
        self.bytes += message.command().map_or(0, Command::weight) + size_of::<ToGateway>();
        self.backlog.push_back(message);
        if BACKLOG < self.bytes {
            (self.is_incomplete, self.bytes) = (true, 0);
            self.backlog.clear();
            shared.metrics.presence.restarts.inc();
            tracing::warn!(
                gateway = %self.link.gateway(),
                "gateway is too slow for presence commands; it reports everything again later"
            );
        }
    }
}
