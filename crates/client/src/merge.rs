//! Many answers become one, in the order of the gateways: functions of the answers alone.

use std::{collections::HashMap, hash::Hash, net::SocketAddr};

use protocol::{Answer, ClientId, ConnectionId, Group, Session, Uid};

/// An answer, and the gateway that gave it.
pub(crate) type From = (SocketAddr, Answer);

/// A gateway answered another question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch(pub(crate) SocketAddr);

/// One client's facts, see [`Cluster::select`](crate::Cluster::select). What was not asked for is
/// `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which client.
    pub client: ClientId,
    /// Whom it speaks for.
    pub uid: Option<Uid>,
    /// The groups it is in.
    pub groups: Vec<Group>,
    /// Its session.
    pub session: Option<Session>,
}

/// Numbers are summed.
pub(crate) fn count(answers: Vec<From>) -> Result<u64, Mismatch> {
    answers.into_iter().try_fold(0, |sum, (gateway, answer)| match answer {
        Answer::Count(count) => Ok(count.saturating_add(sum)),
        _ => Err(Mismatch(gateway)),
    })
}

/// Numbers are summed group by group.
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

/// A uid's clients are joined: first those of the first gateway, each gateway's by when they
/// were bound.
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

/// Groups are named once, wherever their members are.
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

/// Sessions are listed one after the other.
pub(crate) fn sessions(answers: Vec<From>) -> Result<Vec<(ClientId, Session)>, Mismatch> {
    let mut all = Vec::new();
    for (gateway, answer) in answers {
        let Answer::Sessions(sessions) = answer else { return Err(Mismatch(gateway)) };
        let name = named(gateway);
        all.extend(sessions.into_iter().map(|(client, session)| (name(client), session)));
    }
    Ok(all)
}

/// Rows are listed one after the other.
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

/// The uids of rows, each once.
pub(crate) fn uids(rows: Vec<Row>) -> Vec<Uid> {
    let mut all = Ordered::default();
    for uid in rows.into_iter().filter_map(|row| row.uid) {
        let () = *all.entry(uid);
    }
    all.into_vec().into_iter().map(|(uid, ())| uid).collect()
}

/// What each group's members are, by whatever `of` makes of a row; each thing once in a group.
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

/// A map that remembers the order in which keys came.
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
