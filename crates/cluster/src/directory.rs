//! The known gateways and the state of their links: a value.

use std::{net::SocketAddr, sync::Arc};

use protocol::{InstanceId, discovery};
use rustc_hash::FxHashMap;

/// Every gateway that a register has listed, in the order of discovery.
///
/// `L` is a link, cheap to clone. Invariant: `linked` holds exactly the links of connected
/// gateways.
#[derive(Clone, Debug)]
pub(crate) struct Directory<L> {
    gateways: Vec<Entry<L>>,
    linked: FxHashMap<SocketAddr, L>,
    /// Whether any register has sent a list.
    has_list: bool,
}

#[derive(Clone, Debug)]
struct Entry<L> {
    address: Arc<str>,
    /// Whether a register still lists it.
    listed: bool,
    /// Whether a register has marked it as supporting the native protocol.
    native: bool,
    /// Its instances listed by registers that report instances. A register that has not detected a
    /// restart yet lists another instance than those that have.
    instances: Vec<InstanceId>,
    state: LinkState<L>,
    /// Whether queries to all gateways skip it: it was not linked within the grace period.
    left_out: bool,
}

/// State of the link to a gateway.
#[derive(Clone, Debug)]
enum LinkState<L> {
    /// New: the first attempt to link is in progress. Commands may wait for it.
    Dialling(Option<(SocketAddr, L)>),
    /// Linked.
    Connected { gateway: SocketAddr, link: L },
    /// Disconnected, and commands wait for the next link. `link` is the last one, or one that was
    /// never established.
    Parked { gateway: SocketAddr, link: L },
    /// It could not be linked, or was given up.
    Down,
    /// It does not support the native protocol.
    Foreign,
}

/// Changes due to a new list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Gateways to which links are to be maintained.
    pub(crate) new: Vec<Arc<str>>,
    /// Gateways that support only GatewayWorker's protocol, and are not dialled.
    pub(crate) foreign: Vec<Arc<str>>,
}

impl<L> Default for Directory<L> {
    fn default() -> Self {
        Self { gateways: Vec::new(), linked: FxHashMap::default(), has_list: false }
    }
}

impl<L: Clone> Directory<L> {
    /// Whether any register has sent a list.
    pub(crate) const fn has_list(&self) -> bool {
        self.has_list
    }

    /// Applies the merged lists of all registers.
    pub(crate) fn list(&mut self, listed: &[discovery::Gateway]) -> Changes {
        self.has_list = true;
        let mut changes = Changes::default();
        // A register that marks one native gateway marks all of them; a PHP register marks none.
        let marks_native = listed.iter().any(|gateway| gateway.native);
        for entry in &mut self.gateways {
            let named = || listed.iter().filter(|gateway| *gateway.address == *entry.address);
            entry.listed = named().next().is_some();
            entry.native |= named().any(|gateway| gateway.native);
            entry.instances = named().filter_map(|gateway| gateway.instance.clone()).collect();
        }
        // Foreign gateways have no task that would remove them.
        self.gateways.retain(|entry| {
            let native = listed.iter().any(|one| one.native && *one.address == *entry.address);
            !(matches!(entry.state, LinkState::Foreign) && (native || !entry.listed))
        });
        for gateway in listed {
            if self.gateways.iter().any(|entry| *entry.address == *gateway.address) {
                continue;
            }
            let address: Arc<str> = gateway.address.as_str().into();
            let state = match marks_native && !gateway.native {
                true => {
                    changes.foreign.push(Arc::clone(&address));
                    LinkState::Foreign
                }
                false => {
                    changes.new.push(Arc::clone(&address));
                    LinkState::Dialling(None)
                }
            };
            let same = listed.iter().filter(|one| *one.address == *address);
            let instances = same.filter_map(|one| one.instance.clone()).collect();
            let native = gateway.native;
            let (listed, left_out) = (true, false);
            self.gateways.push(Entry { address, listed, native, instances, state, left_out });
        }
        changes
    }

    /// A gateway has been linked, under the address that its client ids carry.
    pub(crate) fn up(&mut self, address: &str, gateway: SocketAddr, link: L) {
        if let Some(entry) = self.entry(address) {
            entry.state = LinkState::Connected { gateway, link: link.clone() };
            entry.left_out = false;
            self.linked.insert(gateway, link);
        }
    }

    /// A gateway could not be linked, or its link has closed.
    pub(crate) fn down(&mut self, address: &str) {
        let Some(entry) = self.gateways.iter_mut().find(|entry| *entry.address == *address) else {
            return;
        };
        let state = std::mem::replace(&mut entry.state, LinkState::Down);
        entry.state = match state {
            LinkState::Connected { gateway, link } => {
                self.linked.remove(&gateway);
                LinkState::Parked { gateway, link }
            }
            LinkState::Dialling(Some((gateway, link))) | LinkState::Parked { gateway, link } => {
                LinkState::Parked { gateway, link }
            }
            LinkState::Dialling(None) | LinkState::Down | LinkState::Foreign => LinkState::Down,
        };
    }

    /// A gateway was not linked within the grace period: queries to all gateways skip it until it
    /// is.
    pub(crate) fn leave_out(&mut self, address: &str) {
        if let Some(entry) = self.entry(address) {
            entry.left_out = !matches!(entry.state, LinkState::Connected { .. });
        }
    }

    /// Lets commands wait for listed gateways that have no link to wait for yet, where `expect`
    /// creates one for the address and the instance.
    pub(crate) fn expect(
        &mut self,
        mut expect: impl FnMut(&Arc<str>, SocketAddr, &InstanceId) -> Option<L>,
    ) {
        for entry in self.gateways.iter_mut().filter(|entry| entry.listed) {
            if let LinkState::Dialling(None) | LinkState::Down = entry.state
                && let Ok(gateway) = entry.address.parse()
                && let mut instances = entry.instances.iter()
                && let Some(link) = instances.find_map(|it| expect(&entry.address, gateway, it))
            {
                entry.state = match entry.state {
                    LinkState::Dialling(_) => LinkState::Dialling(Some((gateway, link))),
                    _ => LinkState::Parked { gateway, link },
                };
            }
        }
    }

    /// Gives up disconnected gateways that registers list only as another instance, a `newer` one
    /// than that of their last link. Returns these links.
    pub(crate) fn supersede(
        &mut self,
        instance: impl Fn(&L) -> &InstanceId,
        newer: impl Fn(&InstanceId) -> bool,
    ) -> Vec<L> {
        let listed =
            self.gateways.iter().map(|entry| (Arc::clone(&entry.address), &entry.instances));
        let named: FxHashMap<_, _> = listed.map(|(address, it)| (address, it.clone())).collect();
        self.give_up(|address, link| {
            let instances = named.get(address).map_or(&[][..], Vec::as_slice);
            !instances.contains(instance(link)) && instances.iter().any(&newer)
        })
    }

    /// The instances of a gateway listed by registers that report instances.
    pub(crate) fn instances_at(&self, address: &str) -> &[InstanceId] {
        let mut gateways = self.gateways.iter();
        let entry = gateways.find(|entry| *entry.address == *address);
        entry.map_or(&[], |entry| &entry.instances)
    }

    /// Gives up the gateways that are not linked, and whose last link is `such`. Returns these
    /// links.
    pub(crate) fn give_up(&mut self, such: impl Fn(&str, &L) -> bool) -> Vec<L> {
        let mut links = Vec::new();
        for entry in &mut self.gateways {
            if let Some((_, link)) = entry.waits()
                && such(&entry.address, link)
            {
                links.push(link.clone());
                entry.state = match entry.state {
                    LinkState::Dialling(_) => LinkState::Dialling(None),
                    _ => LinkState::Down,
                };
            }
        }
        links
    }

    /// Whether a gateway is to be dialled. If not, it is removed, unless it is linked.
    pub(crate) fn keep(&mut self, address: &str) -> bool {
        self.gateways.retain(|entry| {
            entry.is_wanted()
                || *entry.address != *address
                || matches!(entry.state, LinkState::Connected { .. })
        });
        self.entry(address).is_some()
    }

    fn entry(&mut self, address: &str) -> Option<&mut Entry<L>> {
        self.gateways.iter_mut().find(|entry| *entry.address == *address)
    }

    /// Whether the directory is complete: a register has sent its list, and no first link is in
    /// progress. Until then a gateway may have clients that cannot be reached yet.
    pub(crate) fn is_settled(&self) -> bool {
        let dialling = |entry: &Entry<L>| matches!(entry.state, LinkState::Dialling(_));
        self.has_list && !self.gateways.iter().any(dialling)
    }

    /// Whether a register lists the gateway.
    pub(crate) fn names(&self, address: &str) -> bool {
        self.gateways.iter().any(|entry| entry.listed && *entry.address == *address)
    }

    /// Whether the gateway is to be dialled: a register lists it, or commands wait for it.
    pub(crate) fn wants(&self, address: &str) -> bool {
        self.gateways.iter().any(|entry| entry.is_wanted() && *entry.address == *address)
    }

    /// Whether the gateway is known to support the native protocol.
    pub(crate) fn is_native(&self, address: &str) -> bool {
        self.gateways.iter().any(|entry| entry.native && *entry.address == *address)
    }

    /// The link to the gateway with that inner address.
    pub(crate) fn link(&self, gateway: SocketAddr) -> Option<&L> {
        self.linked.get(&gateway)
    }

    /// The open links, in order.
    pub(crate) fn links(&self) -> impl Iterator<Item = &L> {
        self.gateways.iter().filter_map(|entry| match &entry.state {
            LinkState::Connected { link, .. } => Some(link),
            _ => None,
        })
    }

    /// The last links of disconnected gateways for which commands wait, in order.
    pub(crate) fn parked(&self) -> impl Iterator<Item = &L> {
        self.gateways.iter().filter_map(|entry| Some(entry.waits()?.1))
    }

    /// The last links of disconnected gateways that may still have clients: those for which commands
    /// wait, except those that queries to all gateways skip.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = &L> {
        let awaited = self.gateways.iter().filter(|entry| !entry.left_out);
        awaited.filter_map(|entry| Some(entry.waits()?.1))
    }

    /// The last link to the disconnected gateway at that address, if commands wait for it.
    pub(crate) fn parked_at(&self, address: &str) -> Option<&L> {
        let entry = self.gateways.iter().find(|entry| *entry.address == *address)?;
        Some(entry.waits()?.1)
    }

    /// The link for commands to the gateway with that inner address: the open one, or the last one
    /// if commands wait for the next.
    pub(crate) fn place(&self, of: SocketAddr) -> Option<&L> {
        self.link(of).or_else(|| {
            let mut waits = self.gateways.iter().filter_map(Entry::waits);
            waits.find_map(|(gateway, link)| (gateway == of).then_some(link))
        })
    }

    /// The number of listed gateways that are not linked and for which no commands wait.
    pub(crate) fn out_of_reach(&self) -> usize {
        let is_such = |entry: &&Entry<L>| {
            entry.listed && matches!(entry.state, LinkState::Dialling(None) | LinkState::Down)
        };
        self.gateways.iter().filter(is_such).count()
    }

    /// Listed gateways that are not linked.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Arc<str>> {
        self.gateways.iter().filter(|entry| entry.is_missing()).map(|entry| &entry.address)
    }

    /// The [missing](Self::missing) gateways without which queries to all gateways fail.
    pub(crate) fn required(&self) -> impl Iterator<Item = &Arc<str>> {
        let required = self.gateways.iter().filter(|entry| entry.is_missing() && !entry.left_out);
        required.map(|entry| &entry.address)
    }

    /// The number of [missing](Self::missing) gateways that queries to all gateways skip.
    pub(crate) fn left_out(&self) -> usize {
        self.gateways.iter().filter(|entry| entry.left_out && entry.listed).count()
    }

    /// The known gateways, to be announced to registers.
    pub(crate) fn listed(&self) -> Vec<String> {
        let listed = self.gateways.iter().filter(|entry| entry.listed);
        listed.map(|entry| entry.address.to_string()).collect()
    }
}

impl<L> Entry<L> {
    const fn is_missing(&self) -> bool {
        self.listed && !matches!(self.state, LinkState::Connected { .. } | LinkState::Foreign)
    }

    fn is_wanted(&self) -> bool {
        self.listed || self.waits().is_some()
    }

    /// Its address and the last link, if commands wait for it.
    const fn waits(&self) -> Option<(SocketAddr, &L)> {
        match &self.state {
            LinkState::Dialling(Some((gateway, link))) | LinkState::Parked { gateway, link } => {
                Some((*gateway, link))
            }
            _ => None,
        }
    }
}

/// Merges the lists of several registers: the union. A restarted register may list fewer gateways
/// than the others for a while, and none is given up because one register omits it. A register that
/// has not detected a restart of a gateway yet contributes the old instance next to the new one.
pub(crate) fn union(lists: &[Option<Vec<discovery::Gateway>>]) -> Vec<discovery::Gateway> {
    let mut union: Vec<discovery::Gateway> = Vec::new();
    for gateway in lists.iter().flatten().flatten() {
        let same = |known: &&discovery::Gateway| known.address == gateway.address;
        let native = gateway.native || union.iter().find(same).is_some_and(|known| known.native);
        union.iter_mut().filter(|known| same(&&**known)).for_each(|known| known.native = native);
        if !union.iter().filter(same).any(|known| known.instance == gateway.instance) {
            union.push(discovery::Gateway { native, ..gateway.clone() });
        }
    }
    union
}

#[cfg(test)]
mod tests;
