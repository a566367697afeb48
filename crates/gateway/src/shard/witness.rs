//! Each client of a native worker has a witness: another worker that is told of the client, so that
//! somebody can say that it is gone even if its worker and this gateway die together.
//!
//! A witness is told before the client's worker is, and forgets the client only once its worker is
//! done with the end of it. See `docs/guarantees.md`.

use bytes::{Bytes, BytesMut};
use protocol::{ConnectionId, Context, codec::native, link::ToPeer};

use super::{Shard, connection::Key, events::context};
use crate::exchange::LinkId;

impl Shard {
    /// Has a client witnessed: after it got its worker, and whenever what a witness must know has
    /// changed.
    pub(super) fn witness(&mut self, key: Key) {
        let connection = &self.connections[key as usize];
        let (Some(id), before) = (connection.id, connection.witness) else {
            return;
        };
        let owner = connection.route;
        let named = owner.and_then(|owner| Some((owner, self.workers.instance(owner)?)));
        let Some((owner, instance)) = named else {
            return self.release(key);
        };
        let kept = before.filter(|link| *link != owner && self.workers.may_witness(*link));
        let witness = kept.or_else(|| self.workers.choose_witness(owner));
        if witness != before {
            self.release(key);
        }
        let connection = &mut self.connections[key as usize];
        connection.witness = witness;
        let Some(witness) = witness else {
            return;
        };
        let context: Box<Context> = context(connection, self.directory.session(id));
        self.note(witness, &ToPeer::Witness { client: id, owner: instance, context });
    }

    /// A client needs its witness no more.
    fn release(&mut self, key: Key) {
        let connection = &mut self.connections[key as usize];
        if let (Some(client), Some(witness)) = (connection.id, connection.witness.take()) {
            self.workers.release(witness, client);
            self.call();
        }
    }

    /// Takes the witness of a client that is gone: it is kept until a worker is done with that.
    pub(super) fn keep_witness(&mut self, client: ConnectionId, witness: Option<LinkId>) {
        if let Some(witness) = witness {
            self.departed.insert(client, witness);
        }
    }

    /// A worker is done with the end of these clients. Their witnesses are told with the next turn.
    pub(super) fn release_departed(&mut self, clients: impl IntoIterator<Item = ConnectionId>) {
        for client in clients {
            if let Some(witness) = self.departed.remove(&client) {
                self.workers.release(witness, client);
            }
        }
    }

    /// Has those clients witnessed by somebody else that this worker was the witness of, and that
    /// had none.
    pub(super) fn witness_again(&mut self, gone: Option<LinkId>) {
        self.departed.retain(|_, witness| Some(*witness) != gone);
        let lacks = |witness: Option<LinkId>| witness.is_none() || witness == gone;
        let keys = self.connections.iter().filter(|(_, it)| it.id.is_some() && lacks(it.witness));
        for key in keys.map(|(key, _)| key as Key).collect::<Vec<_>>() {
            self.witness(key);
        }
    }

    fn note(&mut self, to: LinkId, message: &ToPeer) {
        if let Some(notes) = self.workers.notes(to) {
            // A session and an address are far below the limit of a frame.
            let added = native::encode(message, notes);
            debug_assert!(added.is_ok());
            self.call();
        }
    }
}

/// What a worker is to be told as a witness.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) frames: BytesMut,
    released: Vec<ConnectionId>,
}

impl Notes {
    pub(super) fn release(&mut self, client: ConnectionId) {
        self.released.push(client);
        if MANY <= self.released.len() {
            self.end_releases();
        }
    }

    fn end_releases(&mut self) {
        if !self.released.is_empty() {
            let clients = std::mem::take(&mut self.released);
            let added = native::encode(&ToPeer::Release { clients }, &mut self.frames);
            debug_assert!(added.is_ok());
        }
    }

    /// Takes what has not gone out yet.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.end_releases();
        (!self.frames.is_empty()).then(|| self.frames.split().freeze())
    }
}

/// How many clients are released with one message.
const MANY: usize = 4096;
