//! Peers that shards ask for messages of streams.

use std::sync::Arc;

use protocol::link::ToPeer;

use super::Hub;
use crate::thread_messages::{LinkId, ToShard};

/// Most unread bytes of a link, events apart, at which it is asked. Questions are dropped above: the
/// shard asks another peer.
const MAX_UNREAD: usize = 1024 * 1024;

impl Hub {
    /// A peer can be asked for messages of streams, or not any more.
    pub(super) fn serve_streams(&mut self, link: LinkId, serves: bool) {
        if self.stream_servers.contains(&link) == serves {
            return;
        }
        match serves {
            true => self.stream_servers.push(link),
            false => self.stream_servers.retain(|server| *server != link),
        }
        let servers: Arc<[LinkId]> = self.stream_servers.as_slice().into();
        self.send_to_shards(None, || ToShard::StreamServers(Arc::clone(&servers)));
        self.schedule_run();
    }

    /// Asks a peer for messages of streams.
    pub(super) fn ask_for_stream(&mut self, id: LinkId, message: &ToPeer) {
        if self.links.get(&id).is_some_and(|link| link.queued_answers() <= MAX_UNREAD) {
            self.send(id, message);
        }
    }
}
