//! The last message of a group, for clients that join later.

use std::time::Duration;

use protocol::{ClientId, Command, Group, Message, Query, Retained, Retention};

use super::{call::Call, sending::Sending};
use crate::{Cluster, Error, merge, targets::Exclude};

/// A gateway can retain the last message of a group for clients that join later. Each gateway has
/// its own copies, in memory only, within `--retained-message-budget`: they are lost with it, and a
/// gateway that is started later has none.
///
/// For a client that joins, in a handler:
///
/// ```no_run
/// # use push_suite_cluster::{Cluster, Error};
/// # async fn example(cluster: &Cluster, client: push_suite_cluster::ClientId) -> Result<(), Error> {
/// cluster.join_group(client, "prices").await?;
/// match cluster.retained("prices").await? {
///     // Also sends it to clients of gateways that have none, and fills those.
///     Some(found) => cluster.send_retained_or_found(client, "prices", found).await?,
///     None => cluster.send_retained(client, "prices", "no price yet").await?,
/// }
/// # Ok(())
/// # }
/// ```
///
/// The client receives the last message once: from the group if it was sent behind the join, else
/// by the second call, even if a message is sent to the group between the calls.
impl Cluster {
    /// Sends to every member of a group except the excluded clients, and has every gateway retain
    /// the message as the last one of the group, in place of the one before: for this time, at most
    /// 49 days, or until there is no space. With no time, the one before is forgotten and no other
    /// retained.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids.
    /// Also those of [commands](Error#commands).
    pub fn send_and_retain(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
        exclude: impl Into<Exclude>,
        message: impl Into<Message>,
        time: Duration,
    ) -> Sending<'_> {
        let call = || {
            let (group, exclude) = (group.try_into().map_err(Into::into)?, exclude.into());
            exclude.check()?;
            Ok(Call::Retain(group, exclude, message.into(), time))
        };
        Sending::new(self, call())
    }

    /// Sends a client the message that its gateway retains for a group, or `otherwise` if that
    /// retains none. It sends nothing to a client that was a member when the retained message was
    /// sent, since that has received it. In order with other commands: what is sent to the group
    /// before this call is not sent behind it.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn send_retained(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
        otherwise: impl Into<Message>,
    ) -> Sending<'_> {
        self.send_last(client, group, otherwise.into(), None)
    }

    /// As [`send_retained`](Self::send_retained) with the message that [`retained`](Self::retained)
    /// has found on any gateway. If the client's gateway retains none, it retains that one from here
    /// on, for the rest of its time.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn send_retained_or_found(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
        found: Retained,
    ) -> Sending<'_> {
        self.send_last(client, group, found.message, Some(found.retention))
    }

    fn send_last(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
        message: Message,
        found: Option<Retention>,
    ) -> Sending<'_> {
        let connection = client.connection;
        let command = |group| Command::SendRetained { client: connection, group, found, message };
        let group = group.try_into().map_err(Into::into);
        Sending::new(self, group.map(|group| Call::Client(client, command(group))))
    }

    /// The newest message that a gateway retains for a group, and since when.
    ///
    /// # Errors
    /// Those of [queries](Error#queries).
    pub async fn retained(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<Option<Retained>, Error> {
        let group = group.try_into().map_err(Into::into)?;
        let query = || Query::Retained { group: group.clone() };
        Ok(merge::retained(self.ask_all(|_| Some(query())).await?)?)
    }
}
