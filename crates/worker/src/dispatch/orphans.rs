//! Clients of closed links. Their gateway may reconnect, or they must be closed on its behalf.

use std::{collections::HashMap, sync::Arc};

use protocol::{
    ClientId, ConnectionId, InstanceId,
    standby::{HandedOver, Handover, StandbyClient},
};
use runtime::sync::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;

use super::{
    client_state::{ClientState, LinkContext},
    standby::{self, StandbyClients},
};

/// The clients of one link, or of several successive links to the same instance of a gateway.
pub(super) struct Orphans {
    pub(super) link_context: Arc<LinkContext>,
    pub(super) states: FxHashMap<ConnectionId, Arc<ClientState>>,
    /// Clients whose last event has been received and may not be handled yet.
    pub(super) ending: Vec<Arc<ClientState>>,
    pub(super) standby: StandbyClients,
}

impl Orphans {
    /// Without any clients.
    pub(super) fn new(link_context: Arc<LinkContext>) -> Self {
        let (states, standby) = (FxHashMap::default(), StandbyClients::default());
        Self { link_context, states, ending: Vec::new(), standby }
    }

    /// Merges the state of a later link, which takes precedence.
    fn absorb(&mut self, later: Self) {
        let own: Vec<_> = later.states.keys().copied().collect();
        self.standby.remove(&own);
        // The later link may have ended before it had the complete state: a close that only an
        // earlier one has received stays to be handled.
        self.ending
            .retain(|state| !later.states.contains_key(&state.id().connection) && !state.is_over());
        self.ending.extend(later.ending);
        self.states.extend(later.states);
        self.standby.absorb(later.standby);
        self.link_context = later.link_context;
    }

    /// The last event of a client has arrived on a later link, which closes it from here on.
    fn ended(&mut self, client: ConnectionId) {
        self.states.remove(&client);
        self.ending.retain(|state| state.id().connection != client);
        self.standby.remove(&[client]);
    }

    /// Removes the clients with these holders for which this worker is a standby. Returns the
    /// clients to close: all, or those that the owner may not know.
    fn resolve(&mut self, holders: &[InstanceId], all: bool) -> Vec<Arc<ClientState>> {
        let closed = self.standby.resolve(holders, all).into_iter();
        let state = |(client, context)| {
            let id = ClientId::new(self.link_context.link.gateway(), client);
            ClientState::new(id, Arc::clone(&self.link_context), context)
        };
        closed.map(state).collect()
    }
}

/// All orphaned clients, by gateway instance.
#[derive(Default)]
pub(super) struct OrphanedClients(Mutex<HashMap<InstanceId, Orphans>>);

impl OrphanedClients {
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, Orphans>> {
        self.0.lock()
    }

    /// Adds the clients of a closed link.
    pub(super) fn add(&self, gateway: InstanceId, orphans: Orphans) {
        match self.lock().entry(gateway) {
            std::collections::hash_map::Entry::Occupied(mut earlier) => {
                earlier.get_mut().absorb(orphans);
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(orphans);
            }
        }
    }

    /// The last event of a client has arrived on the present link of its gateway.
    pub(super) fn ended(&self, gateway: &InstanceId, client: ConnectionId) {
        if let Some(orphans) = self.lock().get_mut(gateway) {
            orphans.ended(client);
        }
    }

    /// Takes the clients that this worker owned, and returns the holders of its standby clients.
    pub(super) fn take_owned(
        &self,
        gateway: &InstanceId,
    ) -> (Vec<Arc<ClientState>>, Vec<Vec<InstanceId>>) {
        let mut gateways = self.lock();
        let Some(orphans) = gateways.get_mut(gateway) else {
            return (Vec::new(), Vec::new());
        };
        let states = std::mem::take(&mut orphans.states).into_values();
        let states = states.chain(std::mem::take(&mut orphans.ending)).collect();
        let groups = orphans.standby.groups();
        if groups.is_empty() {
            gateways.remove(gateway);
        }
        (states, groups)
    }

    /// The digest of the standby clients with these holders.
    pub(super) fn digest(&self, gateway: &InstanceId, holders: &[InstanceId]) -> u64 {
        self.lock().get(gateway).map_or(0, |orphans| orphans.standby.digest(holders))
    }

    /// Removes the standby clients with these holders, and returns those to close: all, or those
    /// that the owner may not know.
    pub(super) fn resolve(
        &self,
        gateway: &InstanceId,
        holders: &[InstanceId],
        all: bool,
    ) -> Vec<Arc<ClientState>> {
        let mut gateways = self.lock();
        let Some(orphans) = gateways.get_mut(gateway) else {
            return Vec::new();
        };
        let states = orphans.resolve(holders, all);
        if orphans.standby.is_empty() && orphans.states.is_empty() && orphans.ending.is_empty() {
            gateways.remove(gateway);
        }
        states
    }

    /// The handover records of a gateway's clients, both owned and standby, by holders.
    pub(super) fn hand_over(
        &self,
        gateway: &InstanceId,
        us: &InstanceId,
    ) -> Vec<(Vec<InstanceId>, Vec<HandedOver>)> {
        let gateways = self.lock();
        let Some(orphans) = gateways.get(gateway) else {
            return Vec::new();
        };
        let mut groups = orphans.standby.hand_over();
        let ours = orphans.states.values().chain(&orphans.ending);
        let mut ours: Vec<_> = ours.map(|state| handed_over(state)).collect();
        ours.sort_unstable_by_key(|client| client.client.client);
        groups.push((vec![us.clone()], ours));
        groups
    }

    /// Adds clients handed over by another worker. `link_context` is used if the gateway is not
    /// known yet. Returns the holders of all standby clients on that gateway.
    pub(super) fn accept_handover(
        &self,
        link_context: &Arc<LinkContext>,
        handover: Handover,
    ) -> Vec<Vec<InstanceId>> {
        let Handover { gateway, holders, clients, .. } = handover;
        let mut gateways = self.lock();
        let orphans =
            gateways.entry(gateway).or_insert_with(|| Orphans::new(Arc::clone(link_context)));
        let is_other = |it: &HandedOver| !orphans.states.contains_key(&it.client.client);
        let clients = clients.into_iter().filter(is_other).collect();
        orphans.standby.accept_handover(holders, clients);
        orphans.standby.groups()
    }

    /// The gateway is alive and has resent its complete state.
    pub(super) fn forget(&self, gateway: &InstanceId) {
        self.lock().remove(gateway);
    }
}

fn handed_over(state: &ClientState) -> HandedOver {
    let client = StandbyClient {
        client: state.id().connection,
        remote: state.remote(),
        listener_port: state.listener_port(),
    };
    let cache = state.session_cache();
    let session = Some(cache.session()).filter(|session| standby::is_short(session));
    HandedOver { client, confirmed: true, session: session.cloned().unwrap_or_default() }
}
