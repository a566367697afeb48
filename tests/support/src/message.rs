//! The messages between clients and workers of a run, and the clients' identities.

use std::fmt;

/// One connection of one client: each attempt to connect has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The client.
    pub client: u32,
    /// The number of the attempt, from 0.
    pub attempt: u32,
}

impl Token {
    /// Packs the token into a number.
    pub const fn to_u64(self) -> u64 {
        (self.client as u64) << 32 | self.attempt as u64
    }

    /// Unpacks such a number.
    pub const fn from_u64(number: u64) -> Self {
        Self { client: (number >> 32) as u32, attempt: number as u32 }
    }

    /// Whether workers that decide about handshakes refuse it: some attempts of every client.
    pub const fn is_refused(self) -> bool {
        self.client.wrapping_add(self.attempt) % 5 == 2
    }

    /// The uid of the client, the same for all its connections.
    pub fn uid(self) -> String {
        format!("u{}", self.client)
    }

    /// The client that receives its messages of kind [`Kind::Uid`].
    pub const fn partner(self) -> u32 {
        self.client ^ 1
    }

    /// The group it joins.
    pub fn group(self) -> String {
        format!("g{}", self.group_number())
    }

    /// The number of that group.
    pub const fn group_number(self) -> u32 {
        self.client / GROUP
    }
}

/// Clients per group: with three gateways, the members are on all of them.
const GROUP: u32 = 4;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}.{}", self.client, self.attempt)
    }
}

/// The recipients of a message besides its sender, which always receives an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// None.
    Echo,
    /// The uid of the sender's partner.
    Uid,
    /// The sender's group, which includes the sender.
    Group,
}

impl Kind {
    /// The kind of a client's `number`-th message.
    pub const fn of(number: u32) -> Self {
        match number % 16 {
            3 | 11 => Self::Uid,
            7 => Self::Group,
            _ => Self::Echo,
        }
    }
}

/// A message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The connection of the sender.
    pub from: Token,
    /// The number of the message on this connection, from 1.
    pub number: u32,
}

/// A message of a worker in response to a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The sender of that message.
    pub from: Token,
    /// Its number.
    pub number: u32,
    /// `Echo` is the answer to the sender; the others are forwarded messages.
    pub kind: Kind,
    /// Whether the message was redelivered to the worker.
    pub marked: bool,
}

impl Request {
    /// Encodes the message.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = self.from.to_u64().to_le_bytes().to_vec();
        bytes.extend(self.number.to_le_bytes());
        bytes
    }

    /// Decodes a message; `None` if it is malformed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (token, number) = bytes.split_first_chunk::<8>()?;
        let from = Token::from_u64(u64::from_le_bytes(*token));
        Some(Self { from, number: u32::from_le_bytes(number.try_into().ok()?) })
    }
}

/// The length of a reply without padding, in bytes.
const REPLY: usize = 14;

impl Reply {
    /// Encodes the message.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = Request { from: self.from, number: self.number }.encode();
        let kind = match self.kind {
            Kind::Echo => 0,
            Kind::Uid => 1,
            Kind::Group => 2,
        };
        bytes.extend([kind, u8::from(self.marked)]);
        bytes
    }

    /// Decodes a message, with any number of zeros behind it; `None` if it is malformed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, padding) = bytes.split_at_checked(REPLY)?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let (request, &[kind, marked]) = bytes.split_last_chunk::<2>()?;
        let Request { from, number } = Request::decode(request)?;
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
    fn messages_round_trip() {
        let from = Token { client: 7, attempt: 3 };
        let request = Request { from, number: 9 };
        assert_eq!(Request::decode(&request.encode()), Some(request));
        for kind in [Kind::Echo, Kind::Uid, Kind::Group] {
            let reply = Reply { from, number: 9, kind, marked: true };
            let bytes = reply.encode();
            assert_eq!(Reply::decode(&bytes), Some(reply));
            assert_eq!(Reply::decode(&[&bytes[..], &[0; 3]].concat()), Some(reply));
            assert_eq!(Reply::decode(&[&bytes[..], &[0, 1]].concat()), None);
        }
        assert_eq!(Reply::decode(&request.encode()), None);
        assert_eq!(Request::decode(b""), None);
    }
}
