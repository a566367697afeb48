//! Queries to the cluster.

use std::{collections::HashSet, hash::Hash};

use protocol::{
    Answer, ClientId, Fields, Filter as OnGateway, Group, Query, Session, Uid, bounded::MAX_TARGETS,
};

use crate::{
    Cluster, Error,
    error::at_most_targets,
    merge::{self, Row},
    targets::{self, names},
};

/// The clients of a [`select`](Cluster::select).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// Every client.
    All,
    /// Clients that match any of these criteria, each client once.
    Any {
        /// Members of these groups.
        groups: Vec<Group>,
        /// Clients of these uids.
        uids: Vec<Uid>,
        /// These clients.
        clients: Vec<ClientId>,
    },
}

/// Queries go to all gateways concerned concurrently, and the answers are merged. Lists are ordered
/// by gateway (first discovered first), and within each by the time of connecting, binding, or
/// joining.
///
/// A result is complete or an error: if a known gateway is not linked, or does not answer within
/// five seconds, the error names it. A client of an unknown gateway counts as disconnected.
impl Cluster {
    /// Whether this worker is the first of all workers of the cluster, for work that is to be done
    /// once, such as a timer: check it at each run. Workers agree on the first one by what the
    /// registers report, and another follows when it ends.
    ///
    /// Not exact: while workers start and end, or are cut off from a register, there may be two or
    /// none for some seconds. Always false for a back end, and with PHP registers, which do not
    /// report workers.
    pub fn is_first_worker(&self) -> bool {
        self.shared.is_first_worker()
    }

    /// Whether a client is connected.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn is_online(&self, client: ClientId) -> Result<bool, Error> {
        match self.ask(client, Query::IsOnline { client: client.connection }).await? {
            None => Ok(false),
            Some((_, Answer::Online(online))) => Ok(online),
            Some((link, _)) => Err(link.mismatch()),
        }
    }

    /// A client's session, empty if it has none; `None` when it is not connected.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn session(&self, client: ClientId) -> Result<Option<Session>, Error> {
        match self.ask(client, Query::Session { client: client.connection }).await? {
            None => Ok(None),
            Some((_, Answer::Session(session))) => Ok(session),
            Some((link, _)) => Err(link.mismatch()),
        }
    }

    /// Every client's session.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn all_sessions(&self) -> Result<Vec<(ClientId, Session)>, Error> {
        Ok(merge::sessions(self.ask_all(|_| Some(Query::Sessions { group: None })).await?)?)
    }

    /// The sessions of a group's members.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn group_sessions(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<Vec<(ClientId, Session)>, Error> {
        let group = Some(group.try_into().map_err(Into::into)?);
        let answers = self.ask_all(|_| Some(Query::Sessions { group: group.clone() })).await?;
        Ok(merge::sessions(answers)?)
    }

    /// The uid of a client; `None` also when it is not connected.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uid_of_client(&self, client: ClientId) -> Result<Option<Uid>, Error> {
        let fields = Fields { uid: true, ..Fields::default() };
        Ok(self.row_of(client, fields).await?.and_then(|row| row.uid))
    }

    /// The groups of a client, in the order in which it has joined them; none when it is not
    /// connected.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn groups_of_client(&self, client: ClientId) -> Result<Vec<Group>, Error> {
        let fields = Fields { groups: true, ..Fields::default() };
        Ok(self.row_of(client, fields).await?.map_or_else(Vec::new, |row| row.groups))
    }

    /// Fields of one client; `None` when it is not connected.
    async fn row_of(
        &self,
        client: ClientId,
        fields: Fields,
    ) -> Result<Option<protocol::Row>, Error> {
        let clients = vec![client.connection];
        let filter = OnGateway::Any { groups: vec![], uids: vec![], clients };
        match self.ask(client, Query::Select { fields, filter }).await? {
            None => Ok(None),
            Some((_, Answer::Rows(rows))) => Ok(rows.into_iter().next()),
            Some((link, _)) => Err(link.mismatch()),
        }
    }

    /// Whether a uid has any clients.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn is_uid_online(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
    ) -> Result<bool, Error> {
        Ok(!self.clients_of_uid(uid).await?.is_empty())
    }

    /// The clients of a uid.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn clients_of_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
    ) -> Result<Vec<ClientId>, Error> {
        let found = self.clients_of_uids([uid]).await?;
        Ok(found.into_iter().flat_map(|(_, clients)| clients).collect())
    }

    /// The clients of each uid. The result has every uid once, including those without clients.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn clients_of_uids(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
    ) -> Result<Vec<(Uid, Vec<ClientId>)>, Error> {
        let mut found = Vec::new();
        for uids in distinct(names::<Uid>(uids)?).chunks(MAX_TARGETS) {
            let query = || Query::ClientsOfUids { uids: uids.to_vec() };
            found.extend(merge::clients(self.ask_all(|_| Some(query())).await?)?);
        }
        Ok(found)
    }

    /// The number of clients, including pending handshakes.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn count(&self) -> Result<u64, Error> {
        Ok(merge::count(self.ask_all(|_| Some(Query::Count { group: None })).await?)?)
    }

    /// The number of members of a group.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn group_count(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<u64, Error> {
        let group = Some(group.try_into().map_err(Into::into)?);
        Ok(merge::count(self.ask_all(|_| Some(Query::Count { group: group.clone() })).await?)?)
    }

    /// The number of members of each group. The result has every group once, including empty ones.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn group_counts(
        &self,
        groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
    ) -> Result<Vec<(Group, u64)>, Error> {
        let mut counts = Vec::new();
        for groups in distinct(names::<Group>(groups)?).chunks(MAX_TARGETS) {
            let query = || Query::Counts { groups: groups.to_vec() };
            counts.extend(merge::counts(self.ask_all(|_| Some(query())).await?)?);
        }
        Ok(counts)
    }

    /// Every group that has members.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn groups(&self) -> Result<Vec<Group>, Error> {
        Ok(merge::groups(self.ask_all(|_| Some(Query::Groups)).await?)?)
    }

    /// Selected fields of selected clients.
    ///
    /// # Errors
    /// [`Error::TooMany`] for a filter of more than 10,000 groups, uids, or clients of one gateway.
    /// Also those of [queries](Error#queries).
    pub async fn select(&self, fields: Fields, filter: Filter) -> Result<Vec<Row>, Error> {
        if let Filter::Any { groups, uids, clients } = &filter {
            let longest = groups.len().max(uids.len()).max(targets::most_on_one(clients));
            at_most_targets(longest)?;
        }
        let answers = self.ask_all(|gateway| {
            let filter = match &filter {
                Filter::All => OnGateway::All,
                Filter::Any { groups, uids, clients } => {
                    let clients = targets::on(gateway, clients);
                    if groups.is_empty() && uids.is_empty() && clients.is_empty() {
                        return None;
                    }
                    OnGateway::Any { groups: groups.clone(), uids: uids.clone(), clients }
                }
            };
            Some(Query::Select { fields, filter })
        });
        Ok(merge::rows(answers.await?)?)
    }

    /// Every client.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn all_clients(&self) -> Result<Vec<ClientId>, Error> {
        let rows = self.select(Fields::default(), Filter::All).await?;
        Ok(rows.into_iter().map(|row| row.client).collect())
    }

    /// A group's members.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn clients_in_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<Vec<ClientId>, Error> {
        self.clients_in_groups([group]).await
    }

    /// The members of any of these groups, each once.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn clients_in_groups(
        &self,
        groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
    ) -> Result<Vec<ClientId>, Error> {
        let rows = self.select(Fields::default(), in_groups(groups)?).await?;
        Ok(rows.into_iter().map(|row| row.client).collect())
    }

    /// Every uid that is online, once; the length of the list is their number.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn all_uids(&self) -> Result<Vec<Uid>, Error> {
        let fields = Fields { uid: true, ..Fields::default() };
        Ok(merge::uids(self.select(fields, Filter::All).await?))
    }

    /// The uids of a group's members, each once.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uids_in_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<Vec<Uid>, Error> {
        let fields = Fields { uid: true, ..Fields::default() };
        Ok(merge::uids(self.select(fields, in_groups([group])?).await?))
    }

    /// The members of every group.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn clients_by_group(&self) -> Result<Vec<(Group, Vec<ClientId>)>, Error> {
        let fields = Fields { groups: true, ..Fields::default() };
        let rows = self.select(fields, Filter::All).await?;
        Ok(merge::by_group(rows, |row| Some(row.client)))
    }

    /// The uids of the members of every group, each once per group.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uids_by_group(&self) -> Result<Vec<(Group, Vec<Uid>)>, Error> {
        let fields = Fields { uid: true, groups: true, ..Fields::default() };
        let rows = self.select(fields, Filter::All).await?;
        Ok(merge::by_group(rows, |row| row.uid.clone()))
    }
}

/// Removes duplicates, keeping the first.
fn distinct<N: Clone + Eq + Hash>(names: Vec<N>) -> Vec<N> {
    let mut seen = HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

fn in_groups(
    groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
) -> Result<Filter, Error> {
    Ok(Filter::Any { groups: names(groups)?, uids: vec![], clients: vec![] })
}
