//! Commands to the cluster.

use protocol::{ClientId, Close, Command, Group, Message, Uid};

use super::{call::Call, sending::Sending};
use crate::{
    Cluster, Error,
    error::at_most_targets,
    targets::{self, Exclude, Recipients, names},
};

/// Commands are sent without waiting for a response: `Ok` means that they are queued for the
/// gateways. [`Sending::report`] waits for one: how many clients the call matched and reached.
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
    pub fn send_to_client(&self, client: ClientId, message: impl Into<Message>) -> Sending<'_> {
        let command = Command::SendToClient { to: client.connection, message: message.into() };
        Sending::new(self, Ok(Call::Client(client, command)))
    }

    /// Sends to all clients, to some, or to all but some.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids. The number of recipients is not limited.
    /// Also those of [commands](Error#commands).
    pub fn send_to_all(&self, to: Recipients, message: impl Into<Message>) -> Sending<'_> {
        let checked = match &to {
            Recipients::All | Recipients::Only(_) => Ok(()),
            Recipients::Except(clients) => at_most_targets(targets::most_on_one(clients)),
            Recipients::ExceptUids(uids) => at_most_targets(uids.len()),
            Recipients::AllBut(exclude) => exclude.check(),
        };
        Sending::new(self, checked.map(|()| Call::Message(to, message.into())))
    }

    /// Sends to every client of a uid.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn send_to_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        message: impl Into<Message>,
    ) -> Sending<'_> {
        self.send_to_uids([uid], message)
    }

    /// Sends to every client of each uid; twice where a uid is listed twice.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn send_to_uids(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
        message: impl Into<Message>,
    ) -> Sending<'_> {
        self.send_to_uids_except(uids, &[], message)
    }

    /// Sends to every client of each uid except the excluded clients, such as the other devices of
    /// a user; twice where a uid is listed twice.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids.
    /// Also those of [commands](Error#commands).
    pub fn send_to_uids_except(
        &self,
        uids: impl IntoIterator<Item: TryInto<Uid, Error: Into<Error>>>,
        exclude: impl Into<Exclude>,
        message: impl Into<Message>,
    ) -> Sending<'_> {
        let call = || {
            let (uids, exclude) = (names(uids)?, exclude.into());
            exclude.check()?;
            Ok(Call::ToUids(uids, exclude, message.into()))
        };
        Sending::new(self, call())
    }

    /// Sends to every member of a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn send_to_group(
        &self,
        group: impl TryInto<Group, Error: Into<Error>>,
        message: impl Into<Message>,
    ) -> Sending<'_> {
        self.send_to_groups([group], &[], message)
    }

    /// Sends to every member of each group except the excluded clients; a client in two of the
    /// groups receives it twice.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway, or as many excluded
    /// uids.
    /// Also those of [commands](Error#commands).
    pub fn send_to_groups(
        &self,
        groups: impl IntoIterator<Item: TryInto<Group, Error: Into<Error>>>,
        exclude: impl Into<Exclude>,
        message: impl Into<Message>,
    ) -> Sending<'_> {
        let call = || {
            let (groups, exclude) = (names(groups)?, exclude.into());
            exclude.check()?;
            Ok(Call::ToGroups(groups, exclude, message.into()))
        };
        Sending::new(self, call())
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
    pub fn close_client(
        &self,
        client: ClientId,
        close: impl TryInto<Close, Error: Into<Error>>,
    ) -> Sending<'_> {
        let close = close.try_into().map_err(Into::into);
        let call = close.map(|close| Call::Client(client, close.of_client(client.connection)));
        Sending::new(self, call)
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
    pub fn close_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        close: impl TryInto<Close, Error: Into<Error>>,
    ) -> Sending<'_> {
        self.close_uid_except(uid, &[], close)
    }

    /// As [`close_uid`](Self::close_uid), but for these clients: closes the other devices of a user.
    ///
    /// # Errors
    /// [`Error::TooMany`] for more than 10,000 excluded clients on one gateway.
    /// Also those of [`close_client`](Self::close_client).
    pub fn close_uid_except(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        exclude: &[ClientId],
        close: impl TryInto<Close, Error: Into<Error>>,
    ) -> Sending<'_> {
        let call = || {
            let uid = uid.try_into().map_err(Into::into)?;
            let Close { frame, last_message } = close.try_into().map_err(Into::into)?;
            at_most_targets(targets::most_on_one(exclude))?;
            let (exclude, farewell) = (exclude.to_vec(), last_message);
            Ok(Call::CloseUid { uid, exclude, frame, farewell })
        };
        Sending::new(self, call())
    }

    /// Closes a client at once; its send queue is discarded.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn destroy_client(&self, client: ClientId) -> Sending<'_> {
        let command = Command::Destroy { client: client.connection };
        Sending::new(self, Ok(Call::Client(client, command)))
    }

    /// Binds a client to a uid, replacing its current one.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn bind_uid(
        &self,
        client: ClientId,
        uid: impl TryInto<Uid, Error: Into<Error>>,
    ) -> Sending<'_> {
        let uid = uid.try_into().map_err(Into::into);
        let command = |uid| Command::BindUid { client: client.connection, uid };
        Sending::new(self, uid.map(|uid| Call::Client(client, command(uid))))
    }

    /// Removes the uid of a client.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn unbind_uid(&self, client: ClientId) -> Sending<'_> {
        let command = Command::UnbindUid { client: client.connection };
        Sending::new(self, Ok(Call::Client(client, command)))
    }

    /// Adds a client to a group. It leaves automatically when it disconnects. A gateway with
    /// `--max-groups-per-client` may refuse it, which only a [report](Sending::report) shows.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn join_group(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Sending<'_> {
        let group = group.try_into().map_err(Into::into);
        let command = |group| Command::JoinGroup { client: client.connection, group };
        Sending::new(self, group.map(|group| Call::Client(client, command(group))))
    }

    /// Removes a client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn leave_group(
        &self,
        client: ClientId,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Sending<'_> {
        let group = group.try_into().map_err(Into::into);
        let command = |group| Command::LeaveGroup { client: client.connection, group };
        Sending::new(self, group.map(|group| Call::Client(client, command(group))))
    }

    /// Adds every client of a uid to a group: those that are bound to it when the command arrives at
    /// their gateway, of which each leaves when it disconnects. One that is bound later is not
    /// added.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn join_group_by_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Sending<'_> {
        let call = || {
            let uid = uid.try_into().map_err(Into::into)?;
            let group = group.try_into().map_err(Into::into)?;
            Ok(Call::Same(Command::JoinGroupByUid { uid, group }))
        };
        Sending::new(self, call())
    }

    /// Removes every client of a uid from a group; those that are bound to it when the command
    /// arrives at their gateway.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn leave_group_by_uid(
        &self,
        uid: impl TryInto<Uid, Error: Into<Error>>,
        group: impl TryInto<Group, Error: Into<Error>>,
    ) -> Sending<'_> {
        let call = || {
            let uid = uid.try_into().map_err(Into::into)?;
            let group = group.try_into().map_err(Into::into)?;
            Ok(Call::Same(Command::LeaveGroupByUid { uid, group }))
        };
        Sending::new(self, call())
    }

    /// Removes every client from a group.
    ///
    /// # Errors
    /// Those of [commands](Error#commands).
    pub fn ungroup(&self, group: impl TryInto<Group, Error: Into<Error>>) -> Sending<'_> {
        let group = group.try_into().map_err(Into::into);
        Sending::new(self, group.map(|group| Call::Same(Command::Ungroup { group })))
    }
}
