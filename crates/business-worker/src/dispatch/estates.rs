//! What is left of links that are gone: clients whose gateway may come back, or must be closed on
//! its behalf.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{ClientId, ConnectionId, Context, Instance};
use rustc_hash::FxHashMap;

use super::slot::{Home, Slot};

/// The clients of other workers that one worker is the witness of, on one gateway.
#[derive(Default)]
pub(super) struct Witnessed(FxHashMap<ConnectionId, (Instance, Box<Context>)>);

impl Witnessed {
    pub(super) fn add(&mut self, client: ConnectionId, owner: Instance, context: Context) {
        self.0.insert(client, (owner, Box::new(context)));
    }

    pub(super) fn remove(&mut self, clients: &[ConnectionId]) {
        for client in clients {
            self.0.remove(client);
        }
    }
}

/// What one link, or several in a row to the same life of a gateway, have left.
pub(super) struct Estate {
    pub(super) home: Arc<Home>,
    pub(super) slots: FxHashMap<ConnectionId, Arc<Slot>>,
    /// Clients whose last event has come, and may wait for its turn still.
    pub(super) ending: Vec<Arc<Slot>>,
    pub(super) witnessed: Witnessed,
}

impl Estate {
    /// What a later link says counts more.
    fn absorb(&mut self, later: Self) {
        self.slots.extend(later.slots);
        // What they wait for comes again by the later link.
        self.ending = later.ending;
        self.witnessed.0.extend(later.witnessed.0);
        self.home = later.home;
    }

    /// Whose clients are witnessed here.
    pub(super) fn owners(&self) -> Vec<Instance> {
        let mut owners: Vec<_> =
            self.witnessed.0.values().map(|(owner, _)| owner.clone()).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Takes the clients of one owner.
    fn take_witnessed(&mut self, owner: &Instance) -> Vec<Arc<Slot>> {
        let of_owner = self.witnessed.0.extract_if(|_, (of, _)| of == owner);
        let slot = |(client, (_, context)): (ConnectionId, (Instance, Box<Context>))| {
            let id = ClientId::new(self.home.link.gateway(), client);
            Slot::new(id, Arc::clone(&self.home), *context)
        };
        of_owner.map(slot).collect()
    }
}

/// All of them, by the life of the gateway.
#[derive(Default)]
pub(super) struct Estates(Mutex<HashMap<Instance, Estate>>);

impl Estates {
    fn lock(&self) -> MutexGuard<'_, HashMap<Instance, Estate>> {
        // Every change is one step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link is gone.
    pub(super) fn leave(&self, gateway: Instance, estate: Estate) {
        match self.lock().entry(gateway) {
            std::collections::hash_map::Entry::Occupied(mut earlier) => {
                earlier.get_mut().absorb(estate);
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(estate);
            }
        }
    }

    /// Takes the clients that were ours, and says whose others are witnessed.
    pub(super) fn open(&self, gateway: &Instance) -> (Vec<Arc<Slot>>, Vec<Instance>) {
        let mut estates = self.lock();
        let Some(estate) = estates.get_mut(gateway) else {
            return (Vec::new(), Vec::new());
        };
        let slots = std::mem::take(&mut estate.slots).into_values();
        let slots = slots.chain(std::mem::take(&mut estate.ending)).collect();
        let owners = estate.owners();
        if owners.is_empty() {
            estates.remove(gateway);
        }
        (slots, owners)
    }

    /// Takes the clients of another worker that were witnessed.
    pub(super) fn inherit(&self, gateway: &Instance, owner: &Instance) -> Vec<Arc<Slot>> {
        let mut estates = self.lock();
        let Some(estate) = estates.get_mut(gateway) else {
            return Vec::new();
        };
        let slots = estate.take_witnessed(owner);
        if estate.witnessed.0.is_empty() {
            estates.remove(gateway);
        }
        slots
    }

    /// The gateway lives, and has told everything again.
    pub(super) fn forget(&self, gateway: &Instance) {
        self.lock().remove(gateway);
    }
}
