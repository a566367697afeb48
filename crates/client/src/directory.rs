//! Which gateways there are, and how each stands: a value.

use std::{net::SocketAddr, sync::Arc};

use protocol::{Instance, discovery};
use rustc_hash::FxHashMap;

/// Every gateway that a register has named, in the order in which we first heard of them.
///
/// `L` is a link, cheap to clone. Invariant: `linked` holds exactly the links of those that are up.
#[derive(Clone, Debug)]
pub(crate) struct Directory<L> {
    gateways: Vec<Entry<L>>,
    linked: FxHashMap<SocketAddr, L>,
    /// Whether a register has told us anything at all.
    heard: bool,
}

#[derive(Clone, Debug)]
struct Entry<L> {
    address: Arc<str>,
    /// Whether a register still names it.
    listed: bool,
    /// Whether a register has said that it speaks the native wire.
    native: bool,
    /// Which lives of it registers name, those that tell lives apart. One that has not noticed yet
    /// that the last is over names another than those that have.
    instances: Vec<Instance>,
    standing: Standing<L>,
    /// Whether questions to all gateways do without it: it was not linked within the grace.
    left_out: bool,
}

/// How we stand with a gateway.
#[derive(Clone, Debug)]
enum Standing<L> {
    /// New to us: the first attempt to link is under way. What is sent meanwhile may wait for it.
    Dialling(Option<(SocketAddr, L)>),
    /// Linked.
    Up { gateway: SocketAddr, link: L },
    /// It may be linked (again), and is to have then what is sent meanwhile. `link` is the last, or
    /// one that has never been up.
    Parked { gateway: SocketAddr, link: L },
    /// It could not be linked, or is gone.
    Down,
    /// It does not speak the native wire.
    Foreign,
}

/// What a new list asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Somebody must begin to look after these.
    pub(crate) new: Vec<Arc<str>>,
    /// These speak only the other language, and are left alone.
    pub(crate) foreign: Vec<Arc<str>>,
}

impl<L> Default for Directory<L> {
    fn default() -> Self {
        Self { gateways: Vec::new(), linked: FxHashMap::default(), heard: false }
    }
}

impl<L: Clone> Directory<L> {
    /// Takes what registers now say, all of them together.
    pub(crate) fn list(&mut self, listed: &[discovery::Gateway]) -> Changes {
        self.heard = true;
        let mut changes = Changes::default();
        // A register that knows one native gateway tells us of all of them; a PHP register does
        // not know the difference.
        let tells = listed.iter().any(|gateway| gateway.native);
        for entry in &mut self.gateways {
            let named = || listed.iter().filter(|gateway| *gateway.address == *entry.address);
            entry.listed = named().next().is_some();
            entry.native |= named().any(|gateway| gateway.native);
            entry.instances = named().filter_map(|gateway| gateway.instance.clone()).collect();
        }
        // Nobody looks after foreign ones, so nobody else would take them out.
        self.gateways.retain(|entry| {
            let native = listed.iter().any(|one| one.native && *one.address == *entry.address);
            !(matches!(entry.standing, Standing::Foreign) && (native || !entry.listed))
        });
        for gateway in listed {
            if self.gateways.iter().any(|entry| *entry.address == *gateway.address) {
                continue;
            }
            let address: Arc<str> = gateway.address.as_str().into();
            let standing = match tells && !gateway.native {
                true => {
                    changes.foreign.push(Arc::clone(&address));
                    Standing::Foreign
                }
                false => {
                    changes.new.push(Arc::clone(&address));
                    Standing::Dialling(None)
                }
            };
            let same = listed.iter().filter(|one| *one.address == *address);
            let instances = same.filter_map(|one| one.instance.clone()).collect();
            let native = gateway.native;
            let (listed, left_out) = (true, false);
            self.gateways.push(Entry { address, listed, native, instances, standing, left_out });
        }
        changes
    }

    /// A gateway is linked, under the address that its client ids carry.
    pub(crate) fn up(&mut self, address: &str, gateway: SocketAddr, link: L) {
        if let Some(entry) = self.entry(address) {
            entry.standing = Standing::Up { gateway, link: link.clone() };
            entry.left_out = false;
            self.linked.insert(gateway, link);
        }
    }

    /// A gateway could not be linked, or is not any more.
    pub(crate) fn down(&mut self, address: &str) {
        let Some(entry) = self.gateways.iter_mut().find(|entry| *entry.address == *address) else {
            return;
        };
        let standing = std::mem::replace(&mut entry.standing, Standing::Down);
        entry.standing = match standing {
            Standing::Up { gateway, link } => {
                self.linked.remove(&gateway);
                Standing::Parked { gateway, link }
            }
            Standing::Dialling(Some((gateway, link))) | Standing::Parked { gateway, link } => {
                Standing::Parked { gateway, link }
            }
            Standing::Dialling(None) | Standing::Down | Standing::Foreign => Standing::Down,
        };
    }

    /// A gateway was not linked within the grace: questions to all gateways do without it until it is.
    pub(crate) fn leave_out(&mut self, address: &str) {
        if let Some(entry) = self.entry(address) {
            entry.left_out = !matches!(entry.standing, Standing::Up { .. });
        }
    }

    /// Has what is sent wait for gateways that registers name and that nothing waits for yet, where
    /// `expect` makes a link for that out of the address and the life.
    pub(crate) fn expect(
        &mut self,
        mut expect: impl FnMut(&Arc<str>, SocketAddr, &Instance) -> Option<L>,
    ) {
        for entry in self.gateways.iter_mut().filter(|entry| entry.listed) {
            if let Standing::Dialling(None) | Standing::Down = entry.standing
                && let Ok(gateway) = entry.address.parse()
                && let mut instances = entry.instances.iter()
                && let Some(link) = instances.find_map(|it| expect(&entry.address, gateway, it))
            {
                entry.standing = match entry.standing {
                    Standing::Dialling(_) => Standing::Dialling(Some((gateway, link))),
                    _ => Standing::Parked { gateway, link },
                };
            }
        }
    }

    /// Nothing waits any more for gateways that registers name as another life only, a `newer` one
    /// than that of their last link. Returns these links.
    pub(crate) fn supersede(
        &mut self,
        instance: impl Fn(&L) -> &Instance,
        newer: impl Fn(&Instance) -> bool,
    ) -> Vec<L> {
        let lives =
            self.gateways.iter().map(|entry| (Arc::clone(&entry.address), &entry.instances));
        let named: FxHashMap<_, _> = lives.map(|(address, it)| (address, it.clone())).collect();
        self.give_up(|address, link| {
            let instances = named.get(address).map_or(&[][..], Vec::as_slice);
            !instances.contains(instance(link)) && instances.iter().any(&newer)
        })
    }

    /// Which lives of a gateway registers name, those that tell lives apart.
    pub(crate) fn lives(&self, address: &str) -> &[Instance] {
        let mut gateways = self.gateways.iter();
        let entry = gateways.find(|entry| *entry.address == *address);
        entry.map_or(&[], |entry| &entry.instances)
    }

    /// Nothing waits any more for the gateways that are not linked, and whose last link is `such`.
    /// Returns these links.
    pub(crate) fn give_up(&mut self, such: impl Fn(&str, &L) -> bool) -> Vec<L> {
        let mut links = Vec::new();
        for entry in &mut self.gateways {
            if let Some((_, link)) = entry.waits()
                && such(&entry.address, link)
            {
                links.push(link.clone());
                entry.standing = match entry.standing {
                    Standing::Dialling(_) => Standing::Dialling(None),
                    _ => Standing::Down,
                };
            }
        }
        links
    }

    /// Whether a gateway is to be called. If not, it is forgotten, unless it is linked.
    pub(crate) fn keep(&mut self, address: &str) -> bool {
        self.gateways.retain(|entry| {
            entry.is_wanted()
                || *entry.address != *address
                || matches!(entry.standing, Standing::Up { .. })
        });
        self.entry(address).is_some()
    }

    fn entry(&mut self, address: &str) -> Option<&mut Entry<L>> {
        self.gateways.iter_mut().find(|entry| *entry.address == *address)
    }

    /// Whether we know enough: a register has spoken, and nobody is being linked for the first
    /// time. Until then a gateway may have clients that we cannot reach yet.
    pub(crate) fn is_settled(&self) -> bool {
        let dialling = |entry: &Entry<L>| matches!(entry.standing, Standing::Dialling(_));
        self.heard && !self.gateways.iter().any(dialling)
    }

    /// Whether a register names the gateway.
    pub(crate) fn names(&self, address: &str) -> bool {
        self.gateways.iter().any(|entry| entry.listed && *entry.address == *address)
    }

    /// Whether the gateway is to be called: a register names it, or something waits for it.
    pub(crate) fn wants(&self, address: &str) -> bool {
        self.gateways.iter().any(|entry| entry.is_wanted() && *entry.address == *address)
    }

    /// Whether the gateway is known to speak the native wire.
    pub(crate) fn is_native(&self, address: &str) -> bool {
        self.gateways.iter().any(|entry| entry.native && *entry.address == *address)
    }

    /// The link to the gateway of that inner address.
    pub(crate) fn link(&self, gateway: SocketAddr) -> Option<&L> {
        self.linked.get(&gateway)
    }

    /// The links that stand, in order.
    pub(crate) fn links(&self) -> impl Iterator<Item = &L> {
        self.gateways.iter().filter_map(|entry| match &entry.standing {
            Standing::Up { link, .. } => Some(link),
            _ => None,
        })
    }

    /// The last links of gateways that something waits for until they are linked again, in order.
    pub(crate) fn parked(&self) -> impl Iterator<Item = &L> {
        self.gateways.iter().filter_map(|entry| Some(entry.waits()?.1))
    }

    /// The last link to the gateway at that address, if something waits for that.
    pub(crate) fn parked_at(&self, address: &str) -> Option<&L> {
        let entry = self.gateways.iter().find(|entry| *entry.address == *address)?;
        Some(entry.waits()?.1)
    }

    /// Where to send what is for the gateway of that inner address: its link, or its last one if
    /// something waits for it to be linked again.
    pub(crate) fn place(&self, of: SocketAddr) -> Option<&L> {
        self.link(of).or_else(|| {
            let mut waits = self.gateways.iter().filter_map(Entry::waits);
            waits.find_map(|(gateway, link)| (gateway == of).then_some(link))
        })
    }

    /// How many gateways should be linked, are not, and have nothing wait for them.
    pub(crate) fn out_of_reach(&self) -> usize {
        let is_such = |entry: &&Entry<L>| {
            entry.listed && matches!(entry.standing, Standing::Dialling(None) | Standing::Down)
        };
        self.gateways.iter().filter(is_such).count()
    }

    /// Gateways that should be linked and are not.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &Arc<str>> {
        self.gateways.iter().filter_map(|entry| match &entry.standing {
            Standing::Dialling(_) | Standing::Parked { .. } | Standing::Down if entry.listed => {
                Some(&entry.address)
            }
            _ => None,
        })
    }

    /// Those of the [missing](Self::missing) without which a question to all gateways has no answer.
    pub(crate) fn required(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_left_out = |address: &Arc<str>| {
            self.gateways.iter().any(|entry| entry.left_out && entry.address == *address)
        };
        self.missing().filter(move |address| !is_left_out(address))
    }

    /// How many of the [missing](Self::missing) questions to all gateways do without.
    pub(crate) fn left_out(&self) -> usize {
        self.gateways.iter().filter(|entry| entry.left_out && entry.listed).count()
    }

    /// What to tell a register that we know.
    pub(crate) fn listed(&self) -> Vec<String> {
        let listed = self.gateways.iter().filter(|entry| entry.listed);
        listed.map(|entry| entry.address.to_string()).collect()
    }
}

impl<L> Entry<L> {
    fn is_wanted(&self) -> bool {
        self.listed || self.waits().is_some()
    }

    /// Its address and the last link, if something waits for it.
    const fn waits(&self) -> Option<(SocketAddr, &L)> {
        match &self.standing {
            Standing::Dialling(Some((gateway, link))) | Standing::Parked { gateway, link } => {
                Some((*gateway, link))
            }
            _ => None,
        }
    }
}

/// What several registers say together: whatever any of them names. One that was restarted may
/// know less than the others for a while, and nobody is taken for gone on its word alone; and one
/// that has not noticed the end of a gateway's life yet names that beside the next.
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
