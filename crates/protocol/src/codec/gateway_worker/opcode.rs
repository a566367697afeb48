//! The numbers of the commands.

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
    /// To a worker: a client is there.
    OnConnect = 1,
    /// To a worker: a client sent something.
    OnMessage = 3,
    /// To a worker: a client is gone.
    OnClose = 4,
    /// Sends to one client.
    SendToOne = 5,
    /// Sends to all, to some, or to all but some.
    SendToAll = 6,
    /// Closes a client, perhaps with a farewell.
    Kick = 7,
    /// Cuts a client off.
    Destroy = 8,
    /// Merges into a session.
    UpdateSession = 9,
    /// Asks for every client's session.
    GetAllClientSessions = 10,
    /// Asks whether a client is there.
    IsOnline = 11,
    /// Says whom a client speaks for.
    BindUid = 12,
    /// Takes a client's uid away.
    UnbindUid = 13,
    /// Sends to the clients of uids.
    SendToUid = 14,
    /// Asks for the clients of one uid.
    GetClientIdByUid = 15,
    /// Asks for the clients of several uids.
    BatchGetClientIdByUid = 16,
    /// Adds a client to a group.
    JoinGroup = 20,
    /// Takes a client out of a group.
    LeaveGroup = 21,
    /// Sends to the members of groups.
    SendToGroup = 22,
    /// Asks for the sessions of a group's members.
    GetClientSessionsByGroup = 23,
    /// Asks how many members a group has, or how many clients there are.
    GetClientCountByGroup = 24,
    /// Asks for chosen facts of chosen clients.
    Select = 25,
    /// Asks which groups there are.
    GetGroupIdList = 26,
    /// Takes every member out of a group.
    Ungroup = 27,
    /// Asks how many members several groups have.
    BatchGetClientCountByGroup = 28,
    /// A worker introduces itself.
    WorkerConnect = 200,
    /// Keeps a link alive.
    Ping = 201,
    /// A back end introduces itself.
    GatewayClientConnect = 202,
    /// Asks for a client's session.
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
    fn the_thirty_numbers_read_back_and_no_other() {
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
