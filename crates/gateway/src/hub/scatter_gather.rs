//! Merging of partial answers from several shards.

use std::collections::{BTreeMap, HashMap, HashSet, btree_map::Entry};

use bytes::Bytes;
use protocol::{
    Answer, ConnectionId, Effect, Group, LocalMember, PresenceAnswer, Query, Renewal, Swap, Uid,
    codec::gateway_worker::reply::{NoReply, Reply},
    inspect::{ClientDetails, DetailsPage, MAX_EVENTS, MAX_PAGE, MAX_PAGE_BYTES},
    link::ToPeer,
    streaming::{Held, Released},
};

use crate::{
    inspection::ShardPage,
    thread_messages::{LinkId, Ordinal, PartialAnswer},
};

/// The request of a peer that shards are answering.
#[derive(Debug)]
pub(super) enum Origin {
    /// A native peer's query.
    Native { request: u64, query: Query },
    /// A PHP peer's query, and the encoding of its reply.
    Php { reply: Reply, query: Query },
    /// A ping, answered once everything before it is processed.
    Ping { token: u64 },
    /// A native peer's command, answered with its effect.
    Effect { request: u64 },
    /// A query of the gateway itself.
    Gateway { query: Query },
}

impl Origin {
    /// The query, and whether it is from a PHP peer; `None` for a ping or a command.
    pub(super) const fn query(&self) -> Option<(&Query, bool)> {
        match self {
            Self::Native { query, .. } | Self::Gateway { query } => Some((query, false)),
            Self::Php { query, .. } => Some((query, true)),
            Self::Ping { .. } | Self::Effect { .. } => None,
        }
    }
}

/// The response to a peer.
#[derive(Debug)]
pub(super) enum Response {
    Native(ToPeer),
    /// None: the request is the gateway's own.
    None,
    /// An encoded reply, to be sent in the order of the queries.
    Php(Bytes),
    /// No reply can be sent to this query. An empty one would be indistinguishable from an answer.
    NoReply(&'static str, NoReply),
}

/// A request of a peer, and the partial answers so far.
#[derive(Debug)]
pub(super) struct ScatterGather {
    pub(super) link: LinkId,
    /// Estimated maximum size of the answer in bytes.
    pub(super) estimate: usize,
    pub(super) origin: Origin,
    missing: usize,
    parts: Vec<PartialAnswer>,
}

impl ScatterGather {
    /// Expects parts from that many shards.
    pub(super) fn new(link: LinkId, origin: Origin, estimate: usize, shards: usize) -> Self {
        Self { link, estimate, origin, missing: shards, parts: Vec::with_capacity(shards) }
    }

    /// Adds one shard's part. Returns whether the answer is complete.
    pub(super) fn add(&mut self, part: PartialAnswer) -> bool {
        self.parts.push(part);
        self.missing -= 1;
        self.missing == 0
    }

    /// Merges the parts of a [query for bindings](Query::Bindings) of the gateway itself: the uid, and
    /// its clients with the stamps of their bindings.
    pub(super) fn bindings(self) -> Option<(Uid, Vec<(ConnectionId, u64)>)> {
        let Origin::Gateway { query: Query::Bindings { uid, clock } } = self.origin else {
            return None;
        };
        match merge(Query::Bindings { uid: uid.clone(), clock }, self.parts) {
            Answer::Bindings(bindings) => Some((uid, bindings)),
            _ => None,
        }
    }

    /// Whether it is a trace.
    pub(super) const fn is_trace(&self) -> bool {
        matches!(self.origin, Origin::Native { query: Query::Trace(_), .. })
    }

    /// The parts.
    pub(super) fn into_parts(self) -> Vec<PartialAnswer> {
        self.parts
    }

    /// Merges the parts into the response.
    pub(super) fn reply(self) -> Response {
        match self.origin {
            Origin::Native { request, query } => {
                Response::Native(ToPeer::Answer { request, answer: merge(query, self.parts) })
            }
            Origin::Php { reply, query } => match reply.encode(&merge(query, self.parts)) {
                Ok(bytes) => Response::Php(bytes),
                Err(error) => Response::NoReply(reply.asks_for(), error),
            },
            Origin::Ping { token } => Response::Native(ToPeer::Pong { token }),
            Origin::Effect { request } => {
                let effects = self.parts.into_iter().filter_map(|part| match part {
                    PartialAnswer::Effect(effect) => Some(effect),
                    _ => None,
                });
                let effect = effects.fold(Effect::default(), Effect::and);
                Response::Native(ToPeer::Answer { request, answer: Answer::Effect(effect) })
            }
            Origin::Gateway { .. } => Response::None,
        }
    }
}

/// Merges the parts, with rows in the order of their ordinals over all shards.
fn merge(query: Query, parts: Vec<PartialAnswer>) -> Answer {
    macro_rules! collect {
        ($part:ident) => {{
            let rows = parts.into_iter().filter_map(|part| match part {
                PartialAnswer::$part(rows) => Some(rows),
                _ => None,
            });
            rows.flatten().collect::<Vec<_>>()
        }};
    }
    match query {
        Query::IsOnline { .. } => {
            Answer::Online(parts.iter().any(|part| *part == PartialAnswer::Online(true)))
        }
        Query::Session { .. } => Answer::Session(collect!(Session).pop()),
        Query::Sessions { .. } => {
            let mut all = collect!(Sessions);
            all.sort_by_key(|(ordinal, _, _)| *ordinal);
            Answer::Sessions(all.into_iter().map(|(_, id, session)| (id, session)).collect())
        }
        Query::ClientsOfUids { uids } => {
            let mut clients = vec![Vec::new(); uids.len()];
            for part in parts {
                if let PartialAnswer::Clients(lists) = part {
                    for (clients, list) in clients.iter_mut().zip(lists) {
                        clients.extend(list);
                    }
                }
            }
            for clients in &mut clients {
                clients.sort_unstable();
            }
            let clients =
                clients.into_iter().map(|clients| clients.into_iter().map(|(_, id)| id).collect());
            Answer::Clients(deduplicated(uids.into_iter().zip(clients)))
        }
        Query::RenewToken { .. } => {
            Answer::Renewal(collect!(Renewal).pop().unwrap_or(Renewal::NotConnected))
        }
        Query::HoldStream(_) => Answer::Held(collect!(Held).pop().unwrap_or(Held::Offline)),
        Query::ReleaseStream(_) => {
            Answer::Released(collect!(Released).pop().unwrap_or(Released::Ended))
        }
        Query::Revoke(_) if parts.contains(&PartialAnswer::RevocationsFull) => {
            Answer::RevocationsFull
        }
        Query::Revoke(_) => Answer::Count(collect!(Count).into_iter().sum()),
        Query::Bindings { .. } => {
            let mut all: Vec<_> = collect!(Clients).into_iter().flatten().collect();
            all.sort_unstable();
            Answer::Bindings(all.into_iter().map(|(since, id)| (id, since.0)).collect())
        }
        Query::Count { .. } => Answer::Count(collect!(Count).into_iter().sum()),
        Query::Counts { groups } => {
            let mut counts = vec![0; groups.len()];
            for part in parts {
                if let PartialAnswer::Counts(list) = part {
                    for (count, more) in counts.iter_mut().zip(list) {
                        *count += more;
                    }
                }
            }
            Answer::Counts(deduplicated(groups.into_iter().zip(counts)))
        }
        Query::Groups => {
            let mut all = collect!(Groups);
            all.sort_by_key(|(since, _)| *since);
            let mut seen = HashSet::new();
            let groups = all.into_iter().map(|(_, group)| group);
            Answer::Groups(groups.filter(|group| seen.insert(group.clone())).collect())
        }
        Query::Select { .. } => {
            let mut all = collect!(Rows);
            all.sort_by_key(|(at, ordinal, _)| (*at, *ordinal));
            Answer::Rows(all.into_iter().map(|(_, _, row)| row).collect())
        }
        Query::Online { clients } => Answer::Numbers(sums(parts, clients.len())),
        Query::CountsOfUids { uids } => Answer::Numbers(sums(parts, uids.len())),
        Query::CountsOfAllGroups => {
            let mut all = collect!(GroupCounts);
            all.sort_by_key(|(since, ..)| *since);
            let mut places = HashMap::new();
            let mut counts: Vec<(Group, u64)> = Vec::new();
            for (_, group, count) in all {
                let place = *places.entry(group.clone()).or_insert(counts.len());
                match counts.get_mut(place) {
                    Some((_, sum)) => *sum += count,
                    None => counts.push((group, count)),
                }
            }
            Answer::Counts(counts)
        }
        Query::UidCount { .. } => {
            let count = match parts.as_slice() {
                [PartialAnswer::Numbers(one)] => one.iter().sum(),
                _ => collect!(Uids).into_iter().map(|(_, uid)| uid).collect::<HashSet<_>>().len()
                    as u64,
            };
            Answer::Count(count)
        }
        Query::Uids { .. } => {
            let mut all = collect!(Uids);
            all.sort_by_key(|(since, _)| *since);
            let mut seen = HashSet::new();
            let uids = all.into_iter().map(|(_, uid)| uid);
            Answer::Uids(uids.filter(|uid| seen.insert(uid.clone())).collect())
        }
        // The hub answers them.
        Query::Retained { .. } => Answer::Retained(None),
        Query::Gateway
        | Query::Drain
        | Query::LogFilter { .. }
        | Query::Settings
        | Query::Trace(_)
        | Query::Certificates => Answer::Unavailable,
        Query::History(history) => {
            let mut events = collect!(Events);
            events.sort_unstable_by_key(|event| event.number);
            let limit = history.limit.min(MAX_EVENTS) as usize;
            events.drain(..events.len().saturating_sub(limit));
            Answer::History(events)
        }
        Query::Inspect(inspect) => Answer::Details(page(parts, inspect.limit)),
        Query::Presence { .. } if parts.contains(&PartialAnswer::NotOwner) => Answer::Unavailable,
        Query::Presence { .. } => {
            let mut clients = 0;
            let mut members = BTreeMap::<_, LocalMember>::new();
            for part in parts {
                let PartialAnswer::Presence(part) = part else { continue };
                clients += part.clients;
                for local in part.members {
                    match members.entry(local.member.id().clone()) {
                        Entry::Occupied(mut known) => known.get_mut().clients += local.clients,
                        Entry::Vacant(new) => drop(new.insert(local)),
                    }
                }
            }
            Answer::Presence(PresenceAnswer { clients, members: members.into_values().collect() })
        }
        Query::SwapSession { .. } => {
            let mut parts = parts.into_iter();
            let swap = parts.find_map(|part| match part {
                PartialAnswer::Swap(swap) => Some(swap),
                _ => None,
            });
            Answer::Swap(swap.unwrap_or(Swap::Offline))
        }
    }
}

/// Merges the parts of a page. A shard that has more clients ends it, since these may have connected
/// before those of others.
fn page(parts: Vec<PartialAnswer>, limit: u32) -> DetailsPage {
    let (mut all, mut end) = (Vec::new(), None::<Ordinal>);
    for part in parts {
        let PartialAnswer::Details(ShardPage { clients, more }) = part else { continue };
        let last = clients.last().map(|(since, _)| *since).filter(|_| more);
        end = match (end, last) {
            (Some(end), Some(last)) => Some(end.min(last)),
            (end, last) => end.or(last),
        };
        all.extend(clients);
    }
    all.sort_by_key(|(since, _)| *since);
    let whole = all.len();
    let limit = limit.clamp(1, MAX_PAGE) as usize;
    let (mut kept, mut bytes) = (0, 0);
    for (since, details) in &all {
        bytes += names(details);
        let is_behind = end.is_some_and(|end| end < *since);
        if is_behind || limit <= kept || (0 < kept && MAX_PAGE_BYTES < bytes) {
            break;
        }
        kept += 1;
    }
    all.truncate(kept);
    let is_last = kept == whole && end.is_none();
    let next = all.last().map(|(since, _)| since.0).filter(|_| !is_last);
    DetailsPage { clients: all.into_iter().map(|(_, details)| details).collect(), next }
}

fn names(details: &ClientDetails) -> usize {
    let groups = details.groups.iter().map(Group::weight).sum::<usize>();
    groups + details.uid.as_ref().map_or(0, Uid::weight)
}

/// The sums of the numbers at each of these places.
fn sums(parts: Vec<PartialAnswer>, length: usize) -> Vec<u64> {
    let mut sums = vec![0; length];
    for part in parts {
        if let PartialAnswer::Numbers(numbers) = part {
            sums.iter_mut().zip(numbers).for_each(|(sum, more)| *sum += more);
        }
    }
    sums
}

/// Removes duplicate names, keeping the first.
fn deduplicated<N: Clone + Eq + std::hash::Hash, T>(
    named: impl Iterator<Item = (N, T)>,
) -> Vec<(N, T)> {
    let mut seen = HashSet::new();
    named.filter(|(name, _)| seen.insert(name.clone())).collect()
}

#[cfg(test)]
mod tests;
