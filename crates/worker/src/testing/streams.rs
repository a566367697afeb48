//! Streams on the gateway of a test: messages arrive in order, so none is ever missing.

use protocol::{
    Effect, Excluded, Message, StreamName,
    streaming::{Held, Hold, Release, Released},
};

use super::gateway::{Client, Gateway};

impl Gateway {
    /// Sends a message to the members of a stream.
    pub(super) fn publish(
        &mut self,
        stream: &StreamName,
        exclude: &Excluded,
        message: &Message,
    ) -> Effect {
        self.send(message, |id, client| {
            let is_excluded =
                exclude.clients.contains(&id) || exclude.uids.iter().any(|uid| client.has(uid));
            usize::from(!is_excluded && client.is_in(stream))
        })
    }

    pub(super) fn hold(&mut self, hold: Hold) -> Held {
        let Hold { client, stream, joins, .. } = hold;
        let join = |client: &mut Client| match stream {
            _ if !joins => {}
            StreamName::Group(group) => client.join(group),
            StreamName::Uid(uid) => client.uid = Some(uid),
        };
        match self.edit(client, join).matched {
            0 => Held::Offline,
            _ => Held::Held,
        }
    }

    pub(super) fn release(&mut self, release: Release) -> Released {
        let Release { client, messages, .. } = release;
        let messages = messages.into_iter().map(|message| message.0);
        match self.edit(client, |client| client.received.extend(messages)).matched {
            0 => Released::Ended,
            _ => Released::Done,
        }
    }
}

impl Client {
    fn is_in(&self, stream: &StreamName) -> bool {
        match stream {
            StreamName::Group(group) => self.groups.contains(group),
            StreamName::Uid(uid) => self.has(uid),
        }
    }
}
