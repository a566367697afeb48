//! Commands and queries of peers: their effect on the clients of a shard, and its part of the
//! answers.

mod answers;
mod apply;
mod targets;
mod work;

use std::collections::VecDeque;

use self::{targets::Found, work::Work};
use super::slot::SlotKey;
use crate::thread_messages::{ToShard, Token};

/// Messages from the hub that are not applied yet, in order.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) inbox: VecDeque<ToShard>,
    /// The sliced command or query in progress, before those in `inbox`.
    work: Option<Work>,
    /// Scratch buffer for the clients that a command addresses.
    found: Vec<Found<SlotKey>>,
    /// Barriers to report to the hub after the events of this pass.
    pub(super) barriers: Vec<Token>,
}
