//! What takes longer than a thread may be held: done a slice at a time, with a look at all sockets
//! between two slices.
//!
//! Whatever the hub says meanwhile waits, so that commands and queries take effect one after the
//! other, as if each were done in one step.

use protocol::{ConnectionId, Group};

use super::{
    Shard,
    answers::Enumeration,
    fan_out::Audience,
    targets::{Found, Targets},
};
use crate::{
    exchange::{ToHub, Token},
    framing::Framed,
};

/// How many clients are looked at in one slice: some hundred microseconds of work.
pub(super) const SLICE: usize = 1024;

/// A command or a query that is under way.
#[derive(Debug)]
pub(super) enum Work {
    /// A message for many: it is framed once for each framing, and shared.
    Send { targets: Targets, framed: Framed, audience: Audience },
    /// The end of a group whose members have to be told apart from it.
    Ungroup { group: Group, members: Vec<ConnectionId> },
    /// A query about many.
    Enumerate { token: Token, enumeration: Enumeration },
}

impl Shard {
    /// Does the first slice of it, and remembers the rest.
    pub(super) fn begin(&mut self, work: Work) {
        self.work = self.go_on(work);
    }

    /// Does one slice of what is under way. Says whether anything is left of it.
    pub(super) fn work(&mut self) -> bool {
        let left = self.work.take().and_then(|work| self.go_on(work));
        self.work = left;
        self.work.is_some()
    }

    fn go_on(&mut self, work: Work) -> Option<Work> {
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
                self.host.hub.push(ToHub::Part { token, part });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
