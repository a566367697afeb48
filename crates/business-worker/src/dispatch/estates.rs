//! What is left of links that are gone: clients whose gateway may come back, or must be closed on
//! its behalf.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{
    ClientId, ConnectionId, Instance,
    standby::{HandedOver, Handover, StandbyClient},
};
use rustc_hash::FxHashMap;

use super::{
    slot::{Home, Slot},
    standby::{self, StandbyClients},
};

/// What one link, or several in a row to the same life of a gateway, have left.
pub(super) struct Estate {
    pub(super) home: Arc<Home>,
    pub(super) slots: FxHashMap<ConnectionId, Arc<Slot>>,
    /// Clients whose last event has come, and may wait for its turn still.
    pub(super) ending: Vec<Arc<Slot>>,
    pub(super) standby: StandbyClients,
}

impl Estate {
    /// One of which nothing is known.
    pub(super) fn new(home: Arc<Home>) -> Self {
        let (slots, standby) = (FxHashMap::default(), StandbyClients::default());
        Self { home, slots, ending: Vec::new(), standby }
    }

    /// What a later link says counts more.
    fn absorb(&mut self, later: Self) {
        let own: Vec<_> = later.slots.keys().copied().collect();
        self.standby.remove(&own);
        self.slots.extend(later.slots);
        // What they wait for comes again by the later link.
        self.ending = later.ending;
        self.standby.absorb(later.standby);
        self.home = later.home;
    }

    /// Removes the clients with these holders that we stand by for. Returns those to be closed: all, or
    /// those that the owner may not know of.
    fn resolve(&mut self, holders: &[Instance], all: bool) -> Vec<Arc<Slot>> {
        let closed = self.standby.resolve(holders, all).into_iter();
        let slot = |(client, context)| {
            let id = ClientId::new(self.home.link.gateway(), client);
            Slot::new(id, Arc::clone(&self.home), context)
        };
        closed.map(slot).collect()
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

    /// Takes the clients that were ours, and returns the holders of those that we stand by for.
    pub(super) fn open(&self, gateway: &Instance) -> (Vec<Arc<Slot>>, Vec<Vec<Instance>>) {
        let mut estates = self.lock();
        let Some(estate) = estates.get_mut(gateway) else {
            return (Vec::new(), Vec::new());
        };
        let slots = std::mem::take(&mut estate.slots).into_values();
        let slots = slots.chain(std::mem::take(&mut estate.ending)).collect();
        let groups = estate.standby.groups();
        if groups.is_empty() {
            estates.remove(gateway);
        }
        (slots, groups)
    }

    /// The digest of the clients with these holders that we stand by for.
    pub(super) fn digest(&self, gateway: &Instance, holders: &[Instance]) -> u64 {
        self.lock().get(gateway).map_or(0, |estate| estate.standby.digest(holders))
    }

    /// Forgets the clients with these holders that we stood by for, and returns those to be closed: all,
    /// or those that the owner may not know of.
    pub(super) fn resolve(
        &self,
        gateway: &Instance,
        holders: &[Instance],
        all: bool,
    ) -> Vec<Arc<Slot>> {
        let mut estates = self.lock();
        let Some(estate) = estates.get_mut(gateway) else {
            return Vec::new();
        };
        let slots = estate.resolve(holders, all);
        if estate.standby.is_empty() && estate.slots.is_empty() && estate.ending.is_empty() {
            estates.remove(gateway);
        }
        slots
    }

    /// What is handed over of the clients of a gateway, ours and those that we stand by for.
    pub(super) fn hand_over(
        &self,
        gateway: &Instance,
        us: &Instance,
    ) -> Vec<(Vec<Instance>, Vec<HandedOver>)> {
        let estates = self.lock();
        let Some(estate) = estates.get(gateway) else {
            return Vec::new();
        };
        let mut groups = estate.standby.hand_over();
        let ours = estate.slots.values().chain(&estate.ending);
        let mut ours: Vec<_> = ours.map(|slot| handed_over(slot)).collect();
        ours.sort_unstable_by_key(|client| client.client.client);
        groups.push((vec![us.clone()], ours));
        groups
    }

    /// Takes clients that another worker has handed over, where `home` is for a gateway that we have not
    /// met. Returns the holders of all that we stand by for on that gateway.
    pub(super) fn take(&self, home: &Arc<Home>, handover: Handover) -> Vec<Vec<Instance>> {
        let Handover { gateway, holders, clients, .. } = handover;
        let mut estates = self.lock();
        let estate = estates.entry(gateway).or_insert_with(|| Estate::new(Arc::clone(home)));
        let is_other = |it: &HandedOver| !estate.slots.contains_key(&it.client.client);
        let clients = clients.into_iter().filter(is_other).collect();
        estate.standby.take(holders, clients);
        estate.standby.groups()
    }

    /// The gateway lives, and has told everything again.
    pub(super) fn forget(&self, gateway: &Instance) {
        self.lock().remove(gateway);
    }
}

fn handed_over(slot: &Slot) -> HandedOver {
    let client = StandbyClient {
        client: slot.id().connection,
        remote: slot.remote(),
        listener_port: slot.listener_port(),
    };
    let memory = slot.memory();
    let session = Some(memory.session()).filter(|session| standby::is_short(session));
    HandedOver { client, confirmed: true, session: session.cloned().unwrap_or_default() }
}
