//! Sweeps over all clients, pinging or closing silent ones.

use framing::{Framed, Framing, websocket};
use protocol::Message;
use runtime::clock;

use crate::{
    closed::CloseCause,
    heartbeat::{Due, Ping},
    shard::{
        Shard,
        connections::{Audience, Phase, SlotSweep},
        slot::SlotKey,
    },
};

/// Connections checked per pass, and how many of them are pinged or closed. A pass takes some tens
/// of microseconds, however many connections there are.
const CHECKS_PER_PASS: usize = 512;
const ACTIONS_PER_PASS: usize = 32;

/// Progress of the sweeps over the clients of a shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct Sweeps {
    heartbeats: SlotSweep,
    pings: SlotSweep,
}

impl Shard {
    /// One heartbeat tick: starts a sweep over every client.
    pub(in crate::shard) fn send_heartbeats(&mut self) {
        self.sweeps.heartbeats.begin(self.connections.slots());
        self.schedule.request();
    }

    /// Starts a sweep over every client that may be due a WebSocket ping.
    pub(in crate::shard) fn start_ping_sweep(&mut self) {
        self.sweeps.pings.begin(self.connections.slots());
        self.schedule.request();
    }

    /// Checks the next few clients. Returns whether the sweep continues.
    pub(in crate::shard) fn sweep(&mut self) -> bool {
        if self.sweeps.heartbeats.is_over() && self.sweeps.pings.is_over() {
            return false;
        }
        let mut actions = 0;
        for _ in 0..CHECKS_PER_PASS {
            let Some(at) = self.sweeps.pings.next() else { break };
            actions += usize::from(self.ping_or_close(at as SlotKey));
            if ACTIONS_PER_PASS <= actions {
                return true;
            }
        }
        self.sweep_heartbeat(ACTIONS_PER_PASS - actions);
        !(self.sweeps.heartbeats.is_over() && self.sweeps.pings.is_over())
    }

    /// Pings a client that was silent for long, or closes it. Returns whether it did either.
    fn ping_or_close(&mut self, key: SlotKey) -> bool {
        let Some(ping) = self.settings.websocket_ping else {
            return false;
        };
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let is_websocket = connection.listener.framing == Framing::WebSocket;
        if !is_websocket || !matches!(connection.phase, Phase::Open(_)) {
            return false;
        }
        if !connection.gate.may_read() {
            // Its silence means nothing.
            connection.silence.received();
            return false;
        }
        match ping.due(&mut connection.silence) {
            Due::Nothing => return false,
            Due::Ping => self.ping(key),
            Due::Close => self.close(key, CloseCause::Silent),
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
        let mut actions = 0;
        for _ in 0..CHECKS_PER_PASS {
            let Some(at) = self.sweeps.heartbeats.next() else { break };
            let Some(connection) = self.connections.get_mut(at as SlotKey) else { continue };
            if connection.id.is_none() {
                continue;
            }
            if !connection.gate.may_read() {
                connection.silence.received();
                continue;
            }
            let key = at as SlotKey;
            match (heartbeat.due(&mut connection.silence), &heartbeat.ping) {
                (Due::Nothing, _) | (Due::Ping, Ping::None) => continue,
                (Due::Ping, Ping::Data(_)) => {
                    self.send(key, &mut data, Audience::Many);
                }
                (Due::Ping, Ping::Frame) => self.ping(key),
                (Due::Close, _) => self.close(key, CloseCause::Silent),
            }
            actions += 1;
            if most <= actions {
                break;
            }
        }
    }

    /// Sends a ping frame to a WebSocket client. One with a full write queue gets none.
    fn ping(&mut self, key: SlotKey) {
        let connection = &self.connections[key];
        let is_websocket = connection.listener.framing == Framing::WebSocket;
        let has_room = connection.queued() < self.settings.send_buffer;
        if is_websocket && has_room && matches!(connection.phase, Phase::Open(_)) {
            self.tally.pings += 1;
            let ping = websocket::ping_frame(&self.ping_clock.stamp(clock::now()));
            self.queue_for(Audience::Many, key, &ping);
        }
    }
}
