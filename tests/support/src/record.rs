//! The record that a worker writes for each event before it handles it, with a fixed length.

use protocol::CloseReason;

/// One call of one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds by the clock of the run, which all processes share.
    pub at: u64,
    /// The client of the event.
    pub client: Client,
    /// The sequence number of the event within the client.
    pub number: u64,
    /// Whether it was marked as redelivered.
    pub marked: bool,
    /// The event.
    pub event: RecordedEvent,
}

/// A client id, unique on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// The inner port of its gateway.
    pub gateway: u16,
    /// Its connection there.
    pub connection: u32,
}

/// The event that a handler received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedEvent {
    /// A connection was accepted.
    Connect,
    /// Its handshake carried this token.
    Open(u64),
    /// The client sent its message with this number.
    Message(u32),
    /// The connection was closed.
    Close(CloseReason),
    /// An event that no client of the run caused.
    Unexpected,
}

/// The length of a record, in bytes.
pub const LENGTH: usize = 32;

const REASONS: [CloseReason; 11] = [
    CloseReason::Client,
    CloseReason::Worker,
    CloseReason::Timeout,
    CloseReason::Slow,
    CloseReason::Protocol,
    CloseReason::Handshake,
    CloseReason::NoWorker,
    CloseReason::Shutdown,
    CloseReason::GatewayLost,
    CloseReason::Undeliverable,
    CloseReason::Unauthenticated,
];

impl Record {
    /// Encodes the record.
    pub fn encode(&self) -> [u8; LENGTH] {
        let (kind, value) = match self.event {
            RecordedEvent::Connect => (0, 0),
            RecordedEvent::Open(token) => (1, token),
            RecordedEvent::Message(number) => (2, u64::from(number)),
            RecordedEvent::Close(reason) => {
                let at = REASONS.iter().position(|known| *known == reason);
                (3, at.map_or(u64::MAX, |at| at as u64))
            }
            RecordedEvent::Unexpected => (4, 0),
        };
        let mut bytes = [0; LENGTH];
        let mut rest = &mut bytes[..];
        for part in [
            &self.at.to_le_bytes()[..],
            &self.number.to_le_bytes(),
            &value.to_le_bytes(),
            &self.client.connection.to_le_bytes(),
            &self.client.gateway.to_le_bytes(),
            &[kind, u8::from(self.marked)],
        ] {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    /// Decodes a record; `None` if it is malformed.
    pub fn decode(bytes: &[u8; LENGTH]) -> Option<Self> {
        let long = |at| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let (value, connection) = (long(16)?, u32::from_le_bytes(*bytes[24..].first_chunk()?));
        let client = Client { gateway: u16::from_le_bytes([bytes[28], bytes[29]]), connection };
        let event = match bytes[30] {
            0 => RecordedEvent::Connect,
            1 => RecordedEvent::Open(value),
            2 => RecordedEvent::Message(value as u32),
            3 => RecordedEvent::Close(*REASONS.get(value as usize)?),
            4 => RecordedEvent::Unexpected,
            _ => return None,
        };
        Some(Self { at: long(0)?, client, number: long(8)?, marked: bytes[31] == 1, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_round_trips() {
        let client = Client { gateway: 65_000, connection: u32::MAX - 1 };
        let event = [
            RecordedEvent::Connect,
            RecordedEvent::Open(u64::MAX),
            RecordedEvent::Message(3),
            RecordedEvent::Unexpected,
        ];
        let closes = REASONS.map(RecordedEvent::Close);
        for (at, event) in event.into_iter().chain(closes).enumerate() {
            let record =
                Record { at: 1 << 60, client, number: at as u64, marked: at % 2 == 0, event };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode(&[255; LENGTH]), None);
    }
}
