//! Queries to the cluster.

use std::{collections::HashSet, hash::Hash, net::SocketAddr};

use futures_util::future::try_join_all;
use protocol::{
    Answer, ClientId, Fields, Filter as OnGateway, Group, Query, Session, Uid, bounded::MAX_TARGETS,
};
use rustc_hash::FxHashMap;

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

    /// For each of these clients, whether it is connected.
    ///
    /// # Errors
    /// Those of [queries](Error#queries), of the gateways of these clients.
    pub async fn are_online(&self, clients: &[ClientId]) -> Result<Vec<bool>, Error> {
        let mut by_gateway = FxHashMap::<SocketAddr, Vec<(usize, ClientId)>>::default();
        for (place, client) in clients.iter().enumerate() {
            by_gateway.entry(client.gateway).or_default().push((place, *client));
        }
        let asked = by_gateway.values().flat_map(|these| these.chunks(MAX_TARGETS)).map(
            async |these: &[(usize, ClientId)]| {
                let clients = these.iter().map(|(_, client)| client.connection).collect();
                let numbers = match self.ask(these[0].1, Query::Online { clients }).await? {
                    None => vec![0; these.len()],
                    Some((link, answer)) => match merge::numbers([(link.gateway(), answer)])? {
                        numbers if numbers.len() == these.len() => numbers,
                        _ => return Err(link.mismatch()),
                    },
                };
                Ok::<_, Error>(these.iter().map(|(place, _)| *place).zip(numbers))
            },
        );
        let mut online = vec![false; clients.len()];
        for answer in try_join_all(asked).await? {
            answer.for_each(|(place, number)| online[place] = number != 0);
        }
        Ok(online)
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
        Ok(self.uid_client_count(uid).await? != 0)
    }

    /// For each of these uids, whether it has any clients.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn are_uids_online(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
    ) -> Result<Vec<bool>, Error> {
        let counts = self.uid_client_counts(uids).await?;
        Ok(counts.into_iter().map(|count| count != 0).collect())
    }

    /// The number of clients of a uid, over all gateways.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uid_client_count(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
    ) -> Result<u64, Error> {
        Ok(self.uid_client_counts([uid]).await?.into_iter().sum())
    }

    /// The number of clients of each of these uids, in their order. A gateway answers with numbers,
    /// not with a list of clients.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uid_client_counts(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
    ) -> Result<Vec<u64>, Error> {
        let mut counts = Vec::new();
        for uids in names::<Uid>(uids)?.chunks(MAX_TARGETS) {
            let query = || Query::CountsOfUids { uids: uids.to_vec() };
            let answers = self.ask_all(|_| Some(query())).await?;
            let gateway = answers.first().map(|(gateway, _)| *gateway);
            let numbers = merge::numbers(answers)?;
            if let Some(gateway) = gateway.filter(|_| numbers.len() != uids.len()) {
                return Err(merge::Mismatch(gateway).into());
            }
            counts.extend(numbers);
        }
        Ok(counts)
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

    /// The number of members of every group that has members.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn counts_by_group(&self) -> Result<Vec<(Group, u64)>, Error> {
        Ok(merge::counts(self.ask_all(|_| Some(Query::CountsOfAllGroups)).await?)?)
    }

    /// The number of different uids of all clients. A uid with clients on several gateways counts
    /// once: therefore each gateway sends a list of its uids, once each, unless there is only one,
    /// which sends the number.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uid_count(&self) -> Result<u64, Error> {
        self.count_uids(None).await
    }

    /// The number of different uids of a group's members, counted as [`uid_count`](Self::uid_count)
    /// does; members without a uid do not count.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn group_uid_count(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<u64, Error> {
        self.count_uids(Some(group.try_into().map_err(Into::into)?)).await
    }

    async fn count_uids(&self, group: Option<Group>) -> Result<u64, Error> {
        if self.settled().await.links().nth(1).is_none() {
            let query = || Query::UidCount { group: group.clone() };
            let answers = self.ask_all(|_| Some(query())).await?;
            // Another gateway may have been linked meanwhile.
            if answers.len() == 1 {
                return Ok(merge::count(answers)?);
            }
        }
        Ok(self.list_uids(group).await?.len() as u64)
    }

    async fn list_uids(&self, group: Option<Group>) -> Result<Vec<Uid>, Error> {
        let answers = self.ask_all(|_| Some(Query::Uids { group: group.clone() })).await?;
        Ok(merge::uids(answers)?)
    }

    /// The number of different uids of the members of every group that has a member with a uid. A
    /// uid with clients on several gateways counts once: therefore each gateway sends the uid and
    /// the groups of each of its clients, as for [`uids_by_group`](Self::uids_by_group).
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uid_counts_by_group(&self) -> Result<Vec<(Group, u64)>, Error> {
        let uids = self.uids_by_group().await?;
        Ok(uids.into_iter().map(|(group, uids)| (group, uids.len() as u64)).collect())
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

    /// Every uid that is online, once.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn all_uids(&self) -> Result<Vec<Uid>, Error> {
        self.list_uids(None).await
    }

    /// The uids of a group's members, each once.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn uids_in_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<Vec<Uid>, Error> {
        self.list_uids(Some(group.try_into().map_err(Into::into)?)).await
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
