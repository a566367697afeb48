//! Members of groups.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use protocol::{Answer, ClientId, Command, Group, LocalMember, Member, MemberId, Query, Snapshot};

use crate::{Cluster, Error, merge::Mismatch, targets::names};

/// Queries about groups that are asked at the same time.
const AT_ONCE: usize = 64;

/// The numbers of a group, over all gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceCounts {
    /// Its clients, with those that wait for the list of members.
    pub clients: u64,
    /// Its members: clients that joined under the same id count once.
    pub members: u64,
}

impl Cluster {
    /// Adds a client to a group as a member, and sends it `snapshot`, which lists the members that
    /// it sees from then on. A worker has to [watch](crate::Notice) the group. If the client's
    /// gateway does not have the list of members yet, the client joins as soon as it has it, and
    /// receives nothing of the group before that. A client that is a member already receives the
    /// snapshot, and remains the member that it is. It leaves as it leaves any group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn join_presence(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
        member: Member,
        snapshot: Snapshot,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        let (member, snapshot) = (Box::new(member), Box::new(snapshot));
        let id = client.connection;
        self.command(client, Command::JoinPresence { client: id, group, member, snapshot }).await
    }

    /// The members of a group, each once, with the number of their clients over all gateways, in
    /// the order of their ids. Members that have just left are not among them, although others are
    /// notified of that after `--presence-grace` only.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn presence(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<Vec<LocalMember>, Error> {
        let group = group.try_into().map_err(Into::into)?;
        Ok(self.members_of(&group).await?.1)
    }

    /// The numbers of clients and members of each of these groups, in their order. Gateways send
    /// their lists of members for it; for clients alone, [`group_counts`](Self::group_counts) costs
    /// less.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn presence_counts(
        &self,
        groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
    ) -> Result<Vec<(Group, PresenceCounts)>, Error> {
        let counted = names::<Group>(groups)?.into_iter().map(|group| async {
            let (clients, members) = self.members_of(&group).await?;
            Ok((group, PresenceCounts { clients, members: members.len() as u64 }))
        });
        stream::iter(counted).buffered(AT_ONCE).try_collect().await
    }

    async fn members_of(&self, group: &Group) -> Result<(u64, Vec<LocalMember>), Error> {
        let query = || Query::Presence { group: group.clone(), members: None };
        let mut clients = 0_u64;
        let mut members = BTreeMap::<MemberId, LocalMember>::new();
        for (gateway, answer) in self.ask_all(|_| Some(query())).await? {
            let Answer::Presence(here) = answer else { return Err(Mismatch(gateway).into()) };
            clients = clients.saturating_add(here.clients);
            for LocalMember { member, clients } in here.members {
                let id = member.id().clone();
                let sum = members.entry(id).or_insert(LocalMember { member, clients: 0 });
                sum.clients = sum.clients.saturating_add(clients);
            }
        }
        Ok((clients, members.into_values().collect()))
    }
}
