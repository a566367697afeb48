//! Commands and queries that take too long for one pass: processed a slice at a time, with all
//! sockets polled between two slices.
//!
//! Messages from the hub wait meanwhile, so that commands and queries take effect one after the
//! other, as if each were done in one step.

use framing::Framed;
use protocol::{ConnectionId, Group};

use super::{
    Shard,
    answers::Enumeration,
    fan_out::Audience,
    targets::{Found, Targets},
};
use crate::thread_messages::{ToHub, Token};

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
    /// Processes the first slice, and stores the rest.
    pub(super) fn begin(&mut self, work: Work) {
        self.work = self.process_slice(work);
    }

    /// Processes one slice of the work in progress. Returns whether anything is left.
    pub(super) fn work(&mut self) -> bool {
        let left = self.work.take().and_then(|work| self.process_slice(work));
        self.work = left;
        self.work.is_some()
    }

    fn process_slice(&mut self, work: Work) -> Option<Work> {
        match work {
            Work::Send { mut targets, mut framed, audience } => {
                let mut found = std::mem::take(&mut self.found);
                let more = targets.next(&self.directory, SLICE, &mut found);
                for Found { handle, .. } in found.drain(..) {
                    self.send(handle, &mut framed, audience);
                }
                self.found = found;
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
