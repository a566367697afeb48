//! The command numbers.

use thiserror::Error;

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// A command's number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Opcode {
            $($(#[$doc])* $name = $number,)+
        }

        impl Opcode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }

        impl TryFrom<u8> for Opcode {
            type Error = UnknownOpcode;

            fn try_from(number: u8) -> Result<Self, UnknownOpcode> {
                match number {
                    $($number => Ok(Self::$name),)+
                    other => Err(UnknownOpcode(other)),
                }
            }
        }
    };
}

opcodes! {
    /// To a worker: a client connected.
    OnConnect = 1,
    /// To a worker: a client sent a message.
    OnMessage = 3,
    /// To a worker: a client disconnected.
    OnClose = 4,
    /// Sends to one client.
    SendToOne = 5,
    /// Sends to all, to some, or to all but some.
    SendToAll = 6,
    /// Closes a client, optionally with a last message.
    Kick = 7,
    /// Aborts a client's connection.
    Destroy = 8,
    /// Merges into a session.
    UpdateSession = 9,
    /// Queries every client's session.
    GetAllClientSessions = 10,
    /// Queries whether a client is connected.
    IsOnline = 11,
    /// Binds a client to a uid.
    BindUid = 12,
    /// Removes a client's uid.
    UnbindUid = 13,
    /// Sends to the clients of uids.
    SendToUid = 14,
    /// Queries the clients of one uid.
    GetClientIdByUid = 15,
    /// Queries the clients of several uids.
    BatchGetClientIdByUid = 16,
    /// Adds a client to a group.
    JoinGroup = 20,
    /// Removes a client from a group.
    LeaveGroup = 21,
    /// Sends to the members of groups.
    SendToGroup = 22,
    /// Queries the sessions of a group's members.
    GetClientSessionsByGroup = 23,
    /// Queries the number of members of a group, or of all clients.
    GetClientCountByGroup = 24,
    /// Queries selected fields of selected clients.
    Select = 25,
    /// Queries the groups that exist.
    GetGroupIdList = 26,
    /// Removes every member from a group.
    Ungroup = 27,
    /// Queries the numbers of members of several groups.
    BatchGetClientCountByGroup = 28,
    /// Handshake of a worker.
    WorkerConnect = 200,
    /// Keeps a link alive.
    Ping = 201,
    /// Handshake of a back end.
    GatewayClientConnect = 202,
    /// Queries a client's session.
    GetSessionByClientId = 203,
    /// Replaces a client's session.
    SetSession = 204,
    /// To a worker: a WebSocket handshake.
    OnWebsocketConnect = 205,
}

/// No command has this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no command has the number {0}")]
pub struct UnknownOpcode(pub u8);

impl From<Opcode> for u8 {
    fn from(opcode: Opcode) -> Self {
        opcode as Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcode_round_trips_for_the_thirty_known_numbers_only() {
        assert_eq!(Opcode::ALL.len(), 30);
        for number in 0..=u8::MAX {
            match Opcode::try_from(number) {
                Ok(opcode) => assert_eq!(u8::from(opcode), number),
                Err(error) => assert_eq!(error, UnknownOpcode(number)),
            }
        }
        let known = (0..=u8::MAX).filter(|number| Opcode::try_from(*number).is_ok());
        assert_eq!(known.count(), Opcode::ALL.len());
    }
}
