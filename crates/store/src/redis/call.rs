//! One call of a script, and the bytes that ask for it.

use bytes::{Bytes, BytesMut};
use protocol::{Epoch, StreamName};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    resp::{self, Value},
    seen::Known,
};
use crate::StoreError;

/// The time for which a stream is remembered while it has no message, in milliseconds.
const UNUSED_MS: &str = "3600000";

/// The scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Append,
    Read,
    Top,
    Delete,
}

impl Script {
    pub(super) const ALL: [Self; 4] = [Self::Append, Self::Read, Self::Top, Self::Delete];

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Append => {
                concat!(include_str!("scripts/stream.lua"), include_str!("scripts/append.lua"))
            }
            Self::Read => {
                concat!(include_str!("scripts/stream.lua"), include_str!("scripts/read.lua"))
            }
            Self::Top => {
                concat!(include_str!("scripts/stream.lua"), include_str!("scripts/top.lua"))
            }
            Self::Delete => {
                concat!(include_str!("scripts/stream.lua"), include_str!("scripts/delete.lua"))
            }
        }
    }
}

/// A call whose answer is awaited.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) script: Script,
    pub(super) stream: StreamName,
    pub(super) known: Option<Known>,
    /// The arguments behind those that all scripts have.
    pub(super) arguments: Vec<Bytes>,
    pub(super) reply: oneshot::Sender<Result<Value, StoreError>>,
    /// The bytes that it may occupy until it is answered.
    pub(super) _admitted: OwnedSemaphorePermit,
}

/// The arguments of a call that are known when it is sent.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    /// The server, see `Identity`.
    pub(super) server: &'a str,
    /// The time on the server's clock after which the script does nothing.
    pub(super) deadline_ms: u64,
    pub(super) fresh: Epoch,
}

impl Call {
    /// Appends the request: by the script's hash, or else with its text.
    pub(super) fn encode(&self, hash: Option<&[u8]>, moment: &Moment<'_>, out: &mut BytesMut) {
        let stream = self.stream.to_key();
        // The braces have a cluster keep all keys of a stream in one place.
        let key = |kind: u8| [b"gw:", &[kind][..], b":{", &stream, b"}"].concat();
        let keys = [key(b'm'), key(b'x'), key(b'0'), key(b'1')];
        let (top, retired) = match &self.known {
            Some(known) => {
                let retired: Vec<String> = known.retired.iter().map(Epoch::to_string).collect();
                (known.top, retired.join(","))
            }
            None => (protocol::Position::start(moment.fresh), String::new()),
        };
        let common = [
            moment.server.to_owned(),
            moment.deadline_ms.to_string(),
            moment.fresh.to_string(),
            top.epoch.to_string(),
            top.offset.to_string(),
            retired,
            UNUSED_MS.to_owned(),
        ];
        let script: [&[u8]; 2] = match hash {
            Some(hash) => [b"EVALSHA", hash],
            None => [b"EVAL", self.script.text().as_bytes()],
        };
        let mut arguments = script.to_vec();
        arguments.push(b"4");
        arguments.extend(keys.iter().map(Vec::as_slice));
        arguments.extend(common.iter().map(String::as_bytes));
        arguments.extend(self.arguments.iter().map(|argument| &argument[..]));
        resp::encode(arguments.into_iter(), out);
    }

    /// Answers the call. Whether the answer is still awaited does not matter.
    pub(super) fn answer(self, outcome: Result<Value, StoreError>) {
        let _ = self.reply.send(outcome);
    }
}
