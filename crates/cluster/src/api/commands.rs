//! Commands to the cluster.

use protocol::{
    ClientId, Close, Command, Group, Message, Session, Target, Uid, bounded::MAX_TARGETS,
};
use serde::Serialize;

use crate::{
    Cluster, Error,
    error::at_most_targets,
    targets::{self, Exclude, Recipients, names},
};

/// Commands are sent without waiting for a response: `Ok` means that they are queued for the
/// gateways.
///
/// Commands for many clients go to every known gateway; a gateway that was never linked is only
/// counted in the metrics.
///
/// While a gateway is disconnected, commands for it are queued, together with those it has not
/// acknowledged. They are delivered once and in order when it reconnects, and dropped if it is
/// declared dead, since its clients are disconnected then. Commands on behalf of an event of that
/// same gateway are not kept: the event is redelivered.
///
/// Commands of one task to one gateway take effect in order. Calls wait while 16 MiB are queued or
/// unacknowledged for a gateway.
impl Cluster {
    /// Sends to one client.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_client(
        &self,
        client: ClientId,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (to, message) = (client.connection, message.into());
        self.command(client, Command::SendToClient { to, message }).await
    }

    /// Sends to all clients, to some, or to all but some.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids. The number of recipients is not limited.
    /// Also those of [commands](Error#commands).
    pub async fn send_to_all(
        &self,
        to: Recipients,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let message = message.into();
        match &to {
            Recipients::Only(clients) => {
                for some in clients.chunks(MAX_TARGETS) {
                    let some = Recipients::Only(some.to_vec());
                    self.command_all(|gateway| targets::send(gateway, &some, &message)).await?;
                }
                return Ok(());
            }
            Recipients::All => {}
            Recipients::Except(clients) => at_most_targets(targets::most_on_one(clients))?,
            Recipients::ExceptUids(uids) => at_most_targets(uids.len())?,
        }
        self.command_all(|gateway| targets::send(gateway, &to, &message)).await
    }

    /// Sends to every client of a uid.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        self.send_to_uids([uid], message).await
    }

    /// Sends to every client of each uid; twice where a uid is listed twice.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_uids(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (uids, message): (Vec<Uid>, _) = (names(uids)?, message.into());
        for uids in uids.chunks(MAX_TARGETS) {
            self.command_all(|_| {
                Some(Command::SendToUids { uids: uids.to_vec(), message: message.clone() })
            })
            .await?;
        }
        Ok(())
    }

    /// Sends to every client of each uid except the excluded clients, such as the other devices of
    /// a user; twice where a uid is listed twice.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids.
    /// Also those of [commands](Error#commands).
    pub async fn send_to_uids_except(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
        exclude: impl Into<Exclude>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (uids, message): (Vec<Uid>, _) = (names(uids)?, message.into());
        let exclude = exclude.into();
        exclude.check()?;
        for uids in uids.chunks(MAX_TARGETS) {
            self.command_all(|gateway| {
                Some(Command::SendExcept {
                    to: Target::Uids(uids.to_vec()),
                    exclude: exclude.on(gateway),
                    message: message.clone(),
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Sends to every member of a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn send_to_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        self.send_to_groups([group], &[], message).await
    }

    /// Sends to every member of each group except the excluded clients; a client in two of the
    /// groups receives it twice.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids.
    /// Also those of [commands](Error#commands).
    pub async fn send_to_groups(
        &self,
        groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
        exclude: impl Into<Exclude>,
        message: impl Into<Message>,
    ) -> Result<(), Error> {
        let (groups, message): (Vec<Group>, _) = (names(groups)?, message.into());
        let exclude = exclude.into();
        exclude.check()?;
        for groups in groups.chunks(MAX_TARGETS) {
            self.command_all(|gateway| {
                let (groups, message) = (groups.to_vec(), message.clone());
                let exclude = exclude.on(gateway);
                Some(match exclude.uids.is_empty() {
                    true => Command::SendToGroups { groups, exclude: exclude.clients, message },
                    false => Command::SendExcept { to: Target::Groups(groups), exclude, message },
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Closes a client once its send queue is written: `"bye"` is the last message, with close code
    /// 1000; `None` is no last message; `(4403, "banned")` is a close code and a reason, and
    /// [`Close`] all three. docs/close-codes.md lists what clients make of each code.
    ///
    /// Only a WebSocket client receives the code and the reason, and not with `--compat strict`.
    ///
    /// # Errors
    /// [`Error::Close`] for a code that an application may not send, or a reason over 123 bytes.
    /// Also those of [commands](Error#commands).
    pub async fn close_client(
        &self,
        client: ClientId,
        close: impl TryInto<Close, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let close = close.try_into().map_err(Into::into)?;
        self.command(client, close.of_client(client.connection)).await
    }

    /// Closes every client of a uid, as [`close_client`](Self::close_client) does: those that are
    /// bound to it when the command arrives at their gateway. One that is bound later is not
    /// closed, so that a user who is to stay out has to be refused at login as well.
    ///
    /// The client of an event is no exception, but its later events are still handled, unlike those
    /// of one that its handler has closed by [`close_client`](Self::close_client).
    ///
    /// # Errors
    /// Those of [`close_client`](Self::close_client).
    pub async fn close_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        close: impl TryInto<Close, Error: Into<Error>>,
    ) -> Result<(), Error> {
        self.close_uid_except(uid, &[], close).await
    }

    /// As [`close_uid`](Self::close_uid), but for these clients: closes the other devices of a user.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway.
    /// Also those of [`close_client`](Self::close_client).
    pub async fn close_uid_except(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        exclude: &[ClientId],
        close: impl TryInto<Close, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        let Close { frame, last_message } = close.try_into().map_err(Into::into)?;
        at_most_targets(targets::most_on_one(exclude))?;
        self.command_all(|gateway| {
            Some(Command::CloseUid {
                uid: uid.clone(),
                exclude: targets::on(gateway, exclude),
                frame: frame.clone(),
                farewell: last_message.clone(),
            })
        })
        .await
    }

    /// Closes a client at once; its send queue is discarded.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn destroy_client(&self, client: ClientId) -> Result<(), Error> {
        self.command(client, Command::Destroy { client: client.connection }).await
    }

    /// Binds a client to a uid, replacing its current one.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn bind_uid(
        &self,
        client: ClientId,
        uid: impl TryInto<Uid, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        self.command(client, Command::BindUid { client: client.connection, uid }).await
    }

    /// Removes the uid of a client.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn unbind_uid(&self, client: ClientId) -> Result<(), Error> {
        self.command(client, Command::UnbindUid { client: client.connection }).await
    }

    /// Adds a client to a group. It leaves automatically when it disconnects.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn join_group(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.command(client, Command::JoinGroup { client: client.connection, group }).await
    }

    /// Removes a client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn leave_group(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.command(client, Command::LeaveGroup { client: client.connection, group }).await
    }

    /// Adds every client of a uid to a group: those that are bound to it when the command arrives at
    /// their gateway, of which each leaves when it disconnects. One that is bound later is not
    /// added.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn join_group_by_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        let group = group.try_into().map_err(Into::into)?;
        let join = || Command::JoinGroupByUid { uid: uid.clone(), group: group.clone() };
        self.command_all(|_| Some(join())).await
    }

    /// Removes every client of a uid from a group; those that are bound to it when the command
    /// arrives at their gateway.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn leave_group_by_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let uid = uid.try_into().map_err(Into::into)?;
        let group = group.try_into().map_err(Into::into)?;
        let leave = || Command::LeaveGroupByUid { uid: uid.clone(), group: group.clone() };
        self.command_all(|_| Some(leave())).await
    }

    /// Removes every client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn ungroup(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let group = group.try_into().map_err(Into::into)?;
        self.command_all(|_| Some(Command::Ungroup { group: group.clone() })).await
    }

    /// Replaces a client's session by a value that serializes as a JSON object: a struct or a map.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn set_session(
        &self,
        client: ClientId,
        session: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let session = Session::encode(session)?;
        let (id, edit) = (client.connection, 0);
        self.command(client, Command::SetSession { client: id, edit, session }).await
    }

    /// Changes part of a client's session, by a value that serializes as a JSON object; see
    /// [`Session::merge`].
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub async fn update_session(
        &self,
        client: ClientId,
        changes: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let changes = Session::encode(changes)?;
        let (id, edit) = (client.connection, 0);
        self.command(client, Command::UpdateSession { client: id, edit, changes }).await
    }
}
