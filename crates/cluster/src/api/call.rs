//! A call that consists of commands, as a value: the command for each gateway.

use std::{net::SocketAddr, time::Duration};

use protocol::{
    ClientId, CloseFrame, Command, Excluded, Group, Message, Position, Retention, StreamName,
    Target, Uid, bounded::MAX_TARGETS,
};

use crate::targets::{self, Exclude, Recipients};

/// A call, of which each gateway concerned receives one command, or several if a list is too long
/// for one.
#[derive(Debug)]
pub(super) enum Call {
    /// A command about one client.
    Client(ClientId, Command),
    /// A message for clients.
    Message(Recipients, Message),
    /// A message for the clients of uids.
    ToUids(Vec<Uid>, Exclude, Message),
    /// A message for the members of groups.
    ToGroups(Vec<Group>, Exclude, Message),
    /// Closing the clients of a uid, except some.
    CloseUid { uid: Uid, exclude: Vec<ClientId>, frame: CloseFrame, farewell: Option<Message> },
    /// A message for the members of a group, which is retained for a time.
    Retain(Group, Exclude, Message, Duration),
    /// A message of a stream, except for some clients.
    Publish { stream: StreamName, position: Position, exclude: Vec<ClientId>, message: Message },
    /// The same command for every gateway.
    Same(Command),
}

impl Call {
    /// The number of its targets that are in a list which may be split.
    fn targets(&self) -> usize {
        match self {
            Self::Message(Recipients::Only(clients), _) => clients.len(),
            Self::ToUids(uids, ..) => uids.len(),
            Self::ToGroups(groups, ..) => groups.len(),
            _ => 1,
        }
    }

    /// Whether one command for each gateway is enough.
    pub(super) fn is_single(&self) -> bool {
        (1..=MAX_TARGETS).contains(&self.targets())
    }

    /// Calls of which each is [single](Self::is_single); none for an empty list of targets.
    pub(super) fn split(self) -> Vec<Self> {
        if self.is_single() {
            return vec![self];
        }
        match self {
            Self::Message(Recipients::Only(clients), message) => {
                let some = |some: &[ClientId]| Recipients::Only(some.to_vec());
                let chunks = clients.chunks(MAX_TARGETS);
                chunks.map(|clients| Self::Message(some(clients), message.clone())).collect()
            }
            Self::ToUids(uids, exclude, message) => {
                let chunks = uids.chunks(MAX_TARGETS);
                let some =
                    |some: &[Uid]| Self::ToUids(some.to_vec(), exclude.clone(), message.clone());
                chunks.map(some).collect()
            }
            Self::ToGroups(groups, exclude, message) => {
                let chunks = groups.chunks(MAX_TARGETS);
                let some = |some: &[Group]| {
                    Self::ToGroups(some.to_vec(), exclude.clone(), message.clone())
                };
                chunks.map(some).collect()
            }
            whole => vec![whole],
        }
    }

    /// The command for one gateway; `None` if it has none of the targets.
    pub(super) fn on(&self, gateway: SocketAddr) -> Option<Command> {
        match self {
            Self::Client(client, command) => (client.gateway == gateway).then(|| command.clone()),
            Self::Message(to, message) => targets::send(gateway, to, message),
            Self::ToUids(uids, exclude, message) => {
                let (uids, message) = (uids.clone(), message.clone());
                let exclude = exclude.on(gateway);
                Some(match exclude.clients.is_empty() && exclude.uids.is_empty() {
                    true => Command::SendToUids { uids, message },
                    false => Command::SendExcept { to: Target::Uids(uids), exclude, message },
                })
            }
            Self::ToGroups(groups, exclude, message) => {
                let (groups, message) = (groups.clone(), message.clone());
                let exclude = exclude.on(gateway);
                Some(match exclude.uids.is_empty() {
                    true => Command::SendToGroups { groups, exclude: exclude.clients, message },
                    false => Command::SendExcept { to: Target::Groups(groups), exclude, message },
                })
            }
            Self::CloseUid { uid, exclude, frame, farewell } => Some(Command::CloseUid {
                uid: uid.clone(),
                exclude: targets::on(gateway, exclude),
                frame: frame.clone(),
                farewell: farewell.clone(),
            }),
            Self::Retain(group, exclude, message, time) => Some(Command::SendAndRetain {
                group: group.clone(),
                exclude: exclude.on(gateway),
                retention: Retention::new(Duration::ZERO, *time),
                message: message.clone(),
            }),
            Self::Publish { stream, position, exclude, message } => Some(Command::Publish {
                stream: stream.clone(),
                position: *position,
                exclude: Excluded { clients: targets::on(gateway, exclude), uids: Vec::new() },
                shard: None,
                message: message.clone(),
            }),
            Self::Same(command) => Some(command.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ConnectionId;

    use super::*;

    #[test]
    fn long_lists_are_split_and_empty_ones_are_no_call() {
        let uids = |count| Call::ToUids(vec![Uid::from(1); count], Exclude::default(), "".into());
        let parts = |call: Call| -> Vec<usize> { call.split().iter().map(Call::targets).collect() };
        assert!(parts(uids(0)).is_empty());
        assert_eq!(parts(uids(MAX_TARGETS)), [MAX_TARGETS]);
        assert_eq!(parts(uids(2 * MAX_TARGETS + 3)), [MAX_TARGETS, MAX_TARGETS, 3]);
        let client = ClientId::new("127.0.0.1:2900".parse().unwrap(), ConnectionId(1));
        let only = |count| Call::Message(Recipients::Only(vec![client; count]), "".into());
        assert!(parts(only(0)).is_empty());
        assert_eq!(parts(only(MAX_TARGETS + 1)), [MAX_TARGETS, 1]);
        let groups = vec![Group::from(1); MAX_TARGETS + 1];
        let groups = Call::ToGroups(groups, Exclude::default(), "".into());
        assert!(!groups.is_single());
        assert_eq!(parts(groups), [MAX_TARGETS, 1]);
        assert!(Call::Message(Recipients::All, "".into()).is_single());
    }
}
