//! Merges the answers of several gateways, in the order of the gateways: pure functions.

use std::{collections::HashMap, hash::Hash, net::SocketAddr};

use protocol::{Answer, Binding, ClientId, ConnectionId, Group, Retained, Session, Uid};

/// An answer, and its gateway.
pub(crate) type From = (SocketAddr, Answer);

/// The answer of this gateway does not match the query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch(pub(crate) SocketAddr);

/// Fields of one client, see [`Cluster::select`](crate::Cluster::select). Fields that were not
/// selected are `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The client.
    pub client: ClientId,
    /// The uid that it is bound to.
    pub uid: Option<Uid>,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Its session.
    pub session: Option<Session>,
}

/// The newest of the retained messages.
pub(crate) fn retained(answers: Vec<From>) -> Result<Option<Retained>, Mismatch> {
    let mut newest: Option<Retained> = None;
    for (gateway, answer) in answers {
        let Answer::Retained(here) = answer else { return Err(Mismatch(gateway)) };
        let age = |retained: &Retained| retained.retention.age();
        newest = match (newest, here) {
            (Some(known), Some(here)) if age(&known) <= age(&here) => Some(known),
            (known, here) => here.or(known),
        };
    }
    Ok(newest)
}

/// Sums numbers.
pub(crate) fn count(answers: Vec<From>) -> Result<u64, Mismatch> {
    answers.into_iter().try_fold(0, |sum, (gateway, answer)| match answer {
        Answer::Count(count) => Ok(count.saturating_add(sum)),
        _ => Err(Mismatch(gateway)),
    })
}

/// Sums numbers per group.
pub(crate) fn counts(answers: Vec<From>) -> Result<Vec<(Group, u64)>, Mismatch> {
    let mut all = Ordered::default();
    for (gateway, answer) in answers {
        let Answer::Counts(counts) = answer else { return Err(Mismatch(gateway)) };
        for (group, count) in counts {
            let sum: &mut u64 = all.entry(group);
            *sum = sum.saturating_add(count);
        }
    }
    Ok(all.into_vec())
}

/// Concatenates the clients of each uid, by gateway; those of one gateway are ordered by binding
/// time.
pub(crate) fn clients(answers: Vec<From>) -> Result<Vec<(Uid, Vec<ClientId>)>, Mismatch> {
    let mut all = Ordered::default();
    for (gateway, answer) in answers {
        let Answer::Clients(clients) = answer else { return Err(Mismatch(gateway)) };
        for (uid, here) in clients {
            let found: &mut Vec<ClientId> = all.entry(uid);
            found.extend(here.into_iter().map(named(gateway)));
        }
    }
    Ok(all.into_vec())
}

/// Concatenates the bindings of a uid.
pub(crate) fn bindings(answers: Vec<From>) -> Result<Vec<Binding>, Mismatch> {
    let mut all = Vec::new();
    for (gateway, answer) in answers {
        let Answer::Bindings(here) = answer else { return Err(Mismatch(gateway)) };
        let name = named(gateway);
        all.extend(here.into_iter().map(|(client, since)| Binding { since, client: name(client) }));
    }
    Ok(all)
}

/// Returns each group once.
pub(crate) fn groups(answers: Vec<From>) -> Result<Vec<Group>, Mismatch> {
    let mut all = Ordered::default();
    for (gateway, answer) in answers {
        let Answer::Groups(groups) = answer else { return Err(Mismatch(gateway)) };
        for group in groups {
            let () = *all.entry(group);
        }
    }
    Ok(all.into_vec().into_iter().map(|(group, ())| group).collect())
}

/// Concatenates sessions.
pub(crate) fn sessions(answers: Vec<From>) -> Result<Vec<(ClientId, Session)>, Mismatch> {
    let mut all = Vec::new();
    for (gateway, answer) in answers {
        let Answer::Sessions(sessions) = answer else { return Err(Mismatch(gateway)) };
        let name = named(gateway);
        all.extend(sessions.into_iter().map(|(client, session)| (name(client), session)));
    }
    Ok(all)
}

/// Concatenates rows.
pub(crate) fn rows(answers: Vec<From>) -> Result<Vec<Row>, Mismatch> {
    let mut all = Vec::new();
    for (gateway, answer) in answers {
        let Answer::Rows(rows) = answer else { return Err(Mismatch(gateway)) };
        let name = named(gateway);
        all.extend(rows.into_iter().map(|row| Row {
            client: name(row.client),
            uid: row.uid,
            groups: row.groups,
            session: row.session,
        }));
    }
    Ok(all)
}

/// Sums the numbers at each place of lists of the same length.
pub(crate) fn numbers(answers: impl IntoIterator<Item = From>) -> Result<Vec<u64>, Mismatch> {
    let mut sums: Option<Vec<u64>> = None;
    for (gateway, answer) in answers {
        let Answer::Numbers(numbers) = answer else { return Err(Mismatch(gateway)) };
        match &mut sums {
            None => sums = Some(numbers),
            Some(sums) if sums.len() != numbers.len() => return Err(Mismatch(gateway)),
            Some(sums) => {
                sums.iter_mut()
                    .zip(numbers)
                    .for_each(|(sum, more)| *sum = sum.saturating_add(more));
            }
        }
    }
    Ok(sums.unwrap_or_default())
}

/// Returns each uid once.
pub(crate) fn uids(answers: Vec<From>) -> Result<Vec<Uid>, Mismatch> {
    let mut all = Ordered::default();
    for (gateway, answer) in answers {
        let Answer::Uids(uids) = answer else { return Err(Mismatch(gateway)) };
        for uid in uids {
            let () = *all.entry(uid);
        }
    }
    Ok(all.into_vec().into_iter().map(|(uid, ())| uid).collect())
}

/// Groups the result of `of` for each row, without duplicates within a group.
pub(crate) fn by_group<T: Clone + Eq + Hash>(
    rows: Vec<Row>,
    of: impl Fn(&Row) -> Option<T>,
) -> Vec<(Group, Vec<T>)> {
    let mut all = Ordered::<Group, Ordered<T, ()>>::default();
    for row in rows {
        let Some(thing) = of(&row) else { continue };
        for group in row.groups {
            let () = *all.entry(group).entry(thing.clone());
        }
    }
    let keys = |things: Ordered<T, ()>| things.into_vec().into_iter().map(|(thing, ())| thing);
    all.into_vec().into_iter().map(|(group, things)| (group, keys(things).collect())).collect()
}

fn named(gateway: SocketAddr) -> impl Fn(ConnectionId) -> ClientId {
    move |connection| ClientId::new(gateway, connection)
}

/// A map that keeps keys in insertion order.
struct Ordered<K, V> {
    places: HashMap<K, usize>,
    values: Vec<(K, V)>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { places: HashMap::new(), values: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash, V: Default> Ordered<K, V> {
    fn entry(&mut self, key: K) -> &mut V {
        let next = self.values.len();
        let place = *self.places.entry(key.clone()).or_insert(next);
        if place == next {
            self.values.push((key, V::default()));
        }
        &mut self.values[place].1
    }

    fn into_vec(self) -> Vec<(K, V)> {
        self.values
    }
}

#[cfg(test)]
mod tests;
