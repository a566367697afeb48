//! Connected clients with their groups, uids and outgoing queues.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    rc::Rc,
};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

/// All clients of a server on one thread. Never borrowed across an await.
#[derive(Debug, Default)]
pub(super) struct Room {
    clients: RefCell<HashMap<u64, Client>>,
    groups: RefCell<Sets>,
    uids: RefCell<Sets>,
}

#[derive(Debug)]
struct Client {
    mailbox: Rc<Mailbox>,
    groups: HashSet<Box<[u8]>>,
    uid: Option<Box<[u8]>>,
}

/// Clients by a name. No set is empty.
#[derive(Debug, Default)]
struct Sets(HashMap<Box<[u8]>, HashSet<u64>>);

impl Sets {
    fn insert(&mut self, name: &[u8], id: u64) {
        match self.0.get_mut(name) {
            Some(set) => set.insert(id),
            None => self.0.entry(name.into()).or_default().insert(id),
        };
    }

    fn remove(&mut self, name: &[u8], id: u64) {
        let Some(set) = self.0.get_mut(name) else { return };
        set.remove(&id);
        if set.is_empty() {
            self.0.remove(name);
        }
    }

    fn get(&self, name: &[u8]) -> impl Iterator<Item = &u64> {
        self.0.get(name).into_iter().flatten()
    }
}

impl Room {
    pub(super) fn add(&self, id: u64, mailbox: &Rc<Mailbox>) {
        let client = Client { mailbox: Rc::clone(mailbox), groups: HashSet::new(), uid: None };
        self.clients.borrow_mut().insert(id, client);
    }

    pub(super) fn remove(&self, id: u64) {
        let Some(client) = self.clients.borrow_mut().remove(&id) else { return };
        for group in &client.groups {
            self.groups.borrow_mut().remove(group, id);
        }
        if let Some(uid) = &client.uid {
            self.uids.borrow_mut().remove(uid, id);
        }
    }

    pub(super) fn join(&self, id: u64, group: &[u8]) {
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&id) else { return };
        if client.groups.insert(group.into()) {
            self.groups.borrow_mut().insert(group, id);
        }
    }

    pub(super) fn leave(&self, id: u64, group: &[u8]) {
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&id) else { return };
        if client.groups.remove(group) {
            self.groups.borrow_mut().remove(group, id);
        }
    }

    /// Binds a client to a uid, in place of the one it had.
    pub(super) fn bind(&self, id: u64, uid: &[u8]) {
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&id) else { return };
        let mut uids = self.uids.borrow_mut();
        if let Some(before) = client.uid.replace(uid.into()) {
            uids.remove(&before, id);
        }
        uids.insert(uid, id);
    }

    pub(super) fn to_all(&self, message: &Message) {
        for client in self.clients.borrow().values() {
            client.mailbox.push(message.clone());
        }
    }

    pub(super) fn to_group(&self, group: &[u8], message: &Message) {
        self.to(self.groups.borrow().get(group), message);
    }

    pub(super) fn to_uid(&self, uid: &[u8], message: &Message) {
        self.to(self.uids.borrow().get(uid), message);
    }

    fn to<'a>(&self, ids: impl Iterator<Item = &'a u64>, message: &Message) {
        let clients = self.clients.borrow();
        for client in ids.filter_map(|id| clients.get(id)) {
            client.mailbox.push(message.clone());
        }
    }
}

/// The outgoing queue of a client.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: RefCell<VecDeque<Message>>,
    filled: Notify,
}

/// Maximum length of a client's queue; further messages are dropped, since a baseline has no
/// policy.
const LONGEST_QUEUE: usize = 65_536;

impl Mailbox {
    fn push(&self, message: Message) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() < LONGEST_QUEUE {
            queue.push_back(message);
            self.filled.notify_one();
        }
    }

    pub(super) fn pop(&self) -> Option<Message> {
        self.queue.borrow_mut().pop_front()
    }

    /// Waits until there is something to send.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}
