//! Commands and queries that take too long for one pass: processed a slice at a time, with all
//! sockets polled between two slices.
//!
//! Messages from the hub wait meanwhile, so that commands and queries take effect one after the
//! other, as if each were done in one step.

use framing::Framed;
use protocol::{ConnectionId, Group, Query};

use super::{
    answers::{self, Answered, Enumeration},
    targets::{Found, Targets},
};
use crate::{
    shard::{Shard, connections::Audience},
    thread_messages::{ToHub, Token},
};

/// Clients processed per slice: some hundred microseconds of work.
pub(super) const SLICE: usize = 1024;

/// A command or query in progress.
#[derive(Debug)]
pub(super) enum Work {
    /// A message for many clients: framed once for each framing, and shared.
    Send { targets: Targets, framed: Framed, audience: Audience },
    /// Removing the members of a removed group.
    Ungroup { group: Group, members: Vec<ConnectionId> },
    /// A query about many clients.
    Enumerate { token: Token, enumeration: Enumeration },
}

impl Shard {
    /// Answers a query, now or slice by slice.
    pub(in crate::shard) fn answer(&mut self, token: Token, query: Query, in_php: bool) {
        match answers::answer(&mut self.directory, query, in_php, self.gateway.ordinal()) {
            Answered::Now(part) => self.gateway.hub.push(ToHub::PartialAnswer { token, part }),
            Answered::Slices(enumeration) => self.begin(Work::Enumerate { token, enumeration }),
        }
    }

    /// Processes the first slice, and stores the rest.
    pub(super) fn begin(&mut self, work: Work) {
        self.commands.work = self.process_slice(work);
    }

    /// Processes one slice of the work in progress. Returns whether anything is left.
    pub(in crate::shard) fn work(&mut self) -> bool {
        let left = self.commands.work.take().and_then(|work| self.process_slice(work));
        self.commands.work = left;
        self.commands.work.is_some()
    }

    fn process_slice(&mut self, work: Work) -> Option<Work> {
        match work {
            Work::Send { mut targets, mut framed, audience } => {
                let mut found = std::mem::take(&mut self.commands.found);
                let more = targets.next(&self.directory, SLICE, &mut found);
                for Found { handle, .. } in found.drain(..) {
                    self.send(handle, &mut framed, audience);
                }
                self.commands.found = found;
                more.then_some(Work::Send { targets, framed, audience })
            }
            Work::Ungroup { group, mut members } => {
                let slice = members.split_off(members.len().saturating_sub(SLICE));
                self.directory.take_out(&group, &slice);
                (!members.is_empty()).then_some(Work::Ungroup { group, members })
            }
            Work::Enumerate { token, mut enumeration } => {
                if enumeration.next(&mut self.directory, SLICE) {
                    return Some(Work::Enumerate { token, enumeration });
                }
                let part = enumeration.into_part();
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
