//! Commands and queries of peers: their effect on the clients of a shard, and its part of the
//! answers.

mod answers;
mod apply;
mod bindings;
mod inspect;
mod presence;
mod status;
mod streams;
mod targets;
mod trace;
mod work;

use std::{collections::VecDeque, time::Instant};

use protocol::Effect;

use self::{targets::Found, work::Work};
use super::{connections::Pushed, slot::SlotKey};
use crate::thread_messages::{EffectFor, LinkId, Reported, ToShard, Token};

/// Messages from the hub that are not applied yet, in order.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) inbox: VecDeque<ToShard>,
    /// The sliced command or query in progress, before those in `inbox`.
    work: Option<Work>,
    /// The link of the command in progress, or of the last one.
    from: Option<LinkId>,
    /// The effect so far of the command in progress, or of the last one.
    effect: Effect,
    /// The command in progress, if its effect is to be reported to that link.
    reported: Option<(LinkId, EffectFor)>,
    /// Effects to report to the hub after the events of this pass.
    pub(super) effects: Vec<Reported>,
    /// Scratch buffer for the clients that a command addresses.
    found: Vec<Found<SlotKey>>,
    /// Barriers to report to the hub after the events of this pass.
    pub(super) barriers: Vec<Token>,
    /// When a measured command arrived, and how far fan-outs are written once its messages are.
    pub(super) measured: Option<(Instant, u64)>,
}

impl Commands {
    /// The link of the command in progress, or of the last one.
    pub(super) fn from(&self) -> Option<LinkId> {
        self.from
    }

    /// Counts a client that the command applied to, and whether it took effect.
    fn count(&mut self, took_effect: bool) {
        self.effect.matched += 1;
        self.effect.reached += u64::from(took_effect);
    }

    /// Counts a client that a message was for.
    fn count_message(&mut self, pushed: Pushed) {
        self.effect.matched += 1;
        match pushed {
            Pushed::Queued => self.effect.reached += 1,
            Pushed::Dropped => self.effect.dropped += 1,
            Pushed::Closing => {}
        }
    }
}
