//! What clients and workers of a run say to each other, and who they are.

use std::fmt;

/// One connection of one client: each time it connects it is another life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Which client.
    pub client: u32,
    /// The how many-th connection of it, from 0.
    pub life: u32,
}

impl Token {
    /// As one number.
    pub const fn to_u64(self) -> u64 {
        (self.client as u64) << 32 | self.life as u64
    }

    /// From that number.
    pub const fn from_u64(number: u64) -> Self {
        Self { client: (number >> 32) as u32, life: number as u32 }
    }

    /// Whom the client speaks for, in whichever life.
    pub fn uid(self) -> String {
        format!("u{}", self.client)
    }

    /// Whom its messages of kind [`Kind::Uid`] go to.
    pub const fn partner(self) -> u32 {
        self.client ^ 1
    }

    /// The group it joins.
    pub fn group(self) -> String {
        format!("g{}", self.group_number())
    }

    /// The same as a number: that of all clients of the group.
    pub const fn group_number(self) -> u32 {
        self.client / GROUP
    }
}

/// How many clients are in a group: with three gateways, they are on all of them.
const GROUP: u32 = 4;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}.{}", self.client, self.life)
    }
}

/// Who is to hear of a message, besides its sender, who always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nobody.
    Echo,
    /// The uid of the sender's partner.
    Uid,
    /// The sender's group, and so the sender once more.
    Group,
}

impl Kind {
    /// That of a client's `number`-th message.
    pub const fn of(number: u32) -> Self {
        match number % 16 {
            3 | 11 => Self::Uid,
            7 => Self::Group,
            _ => Self::Echo,
        }
    }
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who.
    pub from: Token,
    /// Its how many-th message of this life, from 1.
    pub number: u32,
}

/// What a worker says on account of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// Whose message.
    pub from: Token,
    /// Which.
    pub number: u32,
    /// Why it comes: `Echo` is the answer to the sender.
    pub kind: Kind,
    /// Whether the worker had the message as a redelivered one.
    pub marked: bool,
}

impl Ask {
    /// As bytes.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = self.from.to_u64().to_le_bytes().to_vec();
        bytes.extend(self.number.to_le_bytes());
        bytes
    }

    /// From those bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (token, number) = bytes.split_first_chunk::<8>()?;
        let from = Token::from_u64(u64::from_le_bytes(*token));
        Some(Self { from, number: u32::from_le_bytes(number.try_into().ok()?) })
    }
}

impl Reply {
    /// As bytes.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = Ask { from: self.from, number: self.number }.encode();
        let kind = match self.kind {
            Kind::Echo => 0,
            Kind::Uid => 1,
            Kind::Group => 2,
        };
        bytes.extend([kind, u8::from(self.marked)]);
        bytes
    }

    /// From those bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (ask, &[kind, marked]) = bytes.split_last_chunk::<2>()?;
        let Ask { from, number } = Ask::decode(ask)?;
        let kind = match kind {
            0 => Kind::Echo,
            1 => Kind::Uid,
            2 => Kind::Group,
            _ => return None,
        };
        Some(Self { from, number, kind, marked: marked == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let from = Token { client: 7, life: 3 };
        let ask = Ask { from, number: 9 };
        assert_eq!(Ask::decode(&ask.encode()), Some(ask));
        for kind in [Kind::Echo, Kind::Uid, Kind::Group] {
            let reply = Reply { from, number: 9, kind, marked: true };
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
        assert_eq!(Reply::decode(&ask.encode()), None);
        assert_eq!(Ask::decode(b""), None);
    }
}
