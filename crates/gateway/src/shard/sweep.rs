//! Looks at all clients again and again, and pings or gives up those that are silent.

use bytes::Bytes;
use protocol::Message;

use super::{
    Shard,
    connection::{Connection, Hold, Key, Phase},
    fan_out::Audience,
    heartbeat::{Due, Ping, WebSocketPing},
};
use crate::{
    closed::Closed,
    framing::{Framed, Framing, websocket},
};

/// How many connections are looked at in one turn of the shard, and how many of them are pinged or closed.
/// It takes some tens of microseconds, whatever all of them take together.
const LOOKS: usize = 512;
const ACTS: usize = 32;

impl Shard {
    /// One tick of the heartbeat: begins to look at every client.
    pub(super) fn beat(&mut self) {
        self.beats.begin(self.connections.capacity());
        self.call();
    }

    /// Begins to look at every client that may be due a WebSocket ping.
    pub(super) fn look(&mut self) {
        self.pings.begin(self.connections.capacity());
        self.call();
    }

    /// Looks at the next few clients, and says whether others are left.
    pub(super) fn sweep(&mut self) -> bool {
        if self.beats.is_over() && self.pings.is_over() {
            return false;
        }
        let mut acts = 0;
        for _ in 0..LOOKS {
            let Some(at) = self.pings.next() else { break };
            acts += usize::from(self.look_at(at as Key));
            if ACTS <= acts {
                return true;
            }
        }
        self.sweep_heartbeat(ACTS - acts);
        !(self.beats.is_over() && self.pings.is_over())
    }

    /// Pings a client that was silent for long, or closes it. Says whether it did.
    fn look_at(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return false;
        };
        let speaks = connection.door.framing == Framing::WebSocket;
        if !speaks || !matches!(connection.phase, Phase::Open(_)) {
            return false;
        }
        if connection.is_unread() {
            connection.silence.heard();
            return false;
        }
        match WebSocketPing::due(&mut connection.silence) {
            Due::Nothing => return false,
            Due::Ping => self.ping(key),
            Due::GiveUp => self.end(key, Closed::Silent),
        }
        true
    }

    fn sweep_heartbeat(&mut self, most: usize) {
        let settings = std::sync::Arc::clone(&self.settings);
        let Some(heartbeat) = &settings.heartbeat else {
            return;
        };
        let data = match &heartbeat.ping {
            Ping::Data(data) => data.as_str(),
            Ping::Frame | Ping::None => "",
        };
        let data = Message { kind: settings.websocket_type.kind(), ..Message::text(data) };
        let mut data = Framed::new(data, settings.websocket_type.texts());
        let mut acts = 0;
        for _ in 0..LOOKS {
            let Some(at) = self.beats.next() else { break };
            let Some(connection) = self.connections.get_mut(at) else { continue };
            if connection.id.is_none() {
                continue;
            }
            if connection.is_unread() {
                connection.silence.heard();
                continue;
            }
            let key = at as Key;
            match (heartbeat.due(&mut connection.silence), &heartbeat.ping) {
                (Due::Nothing, _) | (Due::Ping, Ping::None) => continue,
                (Due::Ping, Ping::Data(_)) => self.send(key, &mut data, Audience::Many),
                (Due::Ping, Ping::Frame) => self.ping(key),
                (Due::GiveUp, _) => self.end(key, Closed::Silent),
            }
            acts += 1;
            if most <= acts {
                break;
            }
        }
    }

    /// Sends a ping frame, if its client speaks WebSocket. One that is behind has enough to answer.
    fn ping(&mut self, key: Key) {
        let connection = &self.connections[key as usize];
        let speaks = connection.door.framing == Framing::WebSocket;
        let takes = connection.queued() < self.settings.send_buffer;
        if speaks && takes && matches!(connection.phase, Phase::Open(_)) {
            self.tally.pings += 1;
            self.queue_for(Audience::Many, key, &Bytes::from_static(websocket::PING));
        }
    }
}

impl Connection {
    /// Whether its socket is left unread, so that nothing says whether its client is silent.
    fn is_unread(&self) -> bool {
        self.paused.is_some() || self.is_queued || self.hold == Hold::Waits
    }
}
