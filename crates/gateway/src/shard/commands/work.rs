//! Commands and queries that take too long for one pass: processed a slice at a time, with all
//! sockets polled between two slices.
//!
//! Messages from the hub wait meanwhile, so that commands and queries take effect one after the
//! other, as if each were done in one step.

use std::ops::Range;

use auth::Full;
use framing::Framed;
use protocol::{CloseFrame, ConnectionId, Group, Query, Snapshot, Swap};

use super::{
    answers::{self, Answered, Enumeration},
    inspect::Inspection,
    status::StatusSweep,
    streams::Passing,
    targets::{Found, Targets},
    trace::Push,
};
use crate::{
    closed::CloseCause,
    shard::{
        Shard,
        clients::RevokedClients,
        connections::{Audience, Pushed},
        slot::SlotKey,
    },
    thread_messages::{EffectFor, LinkId, Ordinal, PartialAnswer, Reported, ToHub, Token},
};

/// Clients processed per slice: some hundred microseconds of work.
pub(super) const SLICE: usize = 1024;

/// Clients closed per slice. Each leaves all indexes and has a last event.
const CLOSED: usize = 64;

/// A command or query in progress.
#[derive(Debug)]
pub(super) enum Work {
    /// A message for many clients: framed once for each framing, and shared.
    Send { targets: Targets, framed: Framed, audience: Audience },
    /// Closing clients, with a last message.
    Close { targets: Targets, frame: CloseFrame, farewell: Option<Framed> },
    /// Adding clients to a group, each with an ordinal of its own from those of the command.
    Join { targets: Targets, group: Group, ordinals: Range<u64> },
    /// Removing clients from a group.
    Leave { targets: Targets, group: Group },
    /// Removing the members of a removed group.
    Ungroup { group: Group, members: Vec<ConnectionId> },
    /// Joins that waited for a view, and the last snapshot that was sent.
    Welcome {
        group: Group,
        ordinals: Range<u64>,
        audience: Audience,
        last: Option<(Snapshot, Framed)>,
    },
    /// Messages of a stream that go out to its members, one after the other.
    Stream(Box<Passing>),
    /// A query about many clients.
    Enumerate { token: Token, enumeration: Enumeration },
    /// Closing clients with revoked tokens.
    Revoke { token: Token, revoked: RevokedClients },
    /// Adding up what the connections hold.
    Status { token: Token, sweep: StatusSweep },
    /// A traced push.
    Trace { token: Token, targets: Targets, push: Push, audience: Audience },
    /// A page of the details of clients.
    Inspect { token: Token, inspection: Box<Inspection> },
}

impl Shard {
    /// Answers a query, now or slice by slice.
    pub(in crate::shard) fn answer(
        &mut self,
        token: Token,
        from: LinkId,
        query: Query,
        in_php: bool,
    ) {
        let swaps = match &query {
            Query::SwapSession { client, edit, .. } => Some((*client, *edit)),
            _ => None,
        };
        let is_only = self.gateway.shards.len() == 1;
        let until = self.gateway.ordinal();
        match answers::answer(&mut self.directory, query, in_php, until, is_only) {
            Answered::Now(part) => {
                if let Some((client, edit)) = swaps
                    && part == PartialAnswer::Swap(Swap::Done)
                {
                    self.session_changed(from, self.key(client), edit);
                }
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
            }
            Answered::Slices(enumeration) => self.begin(Work::Enumerate { token, enumeration }),
            Answered::Presence { group, members } => {
                let clients = self.directory.watched_count(&group);
                // Members are listed in questions of owners, about departures.
                let part = match members.is_some() && !self.presence.is_owner(from, &group) {
                    true => PartialAnswer::NotOwner,
                    false => PartialAnswer::Presence(self.presence.answer(
                        &group,
                        members.as_deref(),
                        clients,
                    )),
                };
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
            }
            Answered::Renewal { client, token: new } => {
                let part = PartialAnswer::Renewal([self.renew_token(client, &new)]);
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
            }
            Answered::Hold(hold) => {
                let ordinal = Ordinal(hold.ordinal);
                let part = PartialAnswer::Held([self.hold_stream(from, *hold, ordinal)]);
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
            }
            Answered::Release(release) => {
                let part = PartialAnswer::Released([self.release_stream(*release)]);
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
            }
            Answered::Status => self.begin(Work::Status { token, sweep: StatusSweep::default() }),
            Answered::History(asked) => {
                let part = PartialAnswer::Events(self.history.find(&asked));
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
            }
            Answered::Inspection(inspect, until) => {
                let inspection = Box::new(Inspection::new(*inspect, until));
                self.begin(Work::Inspect { token, inspection });
            }
            Answered::Trace(trace, until) => self.begin_trace(token, *trace, until),
            Answered::Revocation(revocation) => match self.revoke(&revocation) {
                Ok(revoked) => self.begin(Work::Revoke { token, revoked }),
                Err(Full) => {
                    let part = PartialAnswer::RevocationsFull;
                    self.gateway.hub.push(ToHub::PartialAnswer { token, part });
                }
            },
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
        self.report_effect();
        self.commands.work.is_some()
    }

    /// Answers with the effect of the command in progress, if it is complete and requested.
    pub(super) fn report_effect(&mut self) {
        if self.commands.work.is_none()
            && let Some((link, effect_for)) = self.commands.reported.take()
        {
            let effect = self.commands.effect;
            match effect_for {
                EffectFor::Peer { request } => {
                    self.commands.effects.push(Reported { link, request, effect });
                }
                EffectFor::Hub(token) => {
                    let part = PartialAnswer::Effect(effect);
                    self.gateway.hub.push(ToHub::PartialAnswer { token, part });
                }
            }
        }
    }

    /// Calls `apply` with each of the next `most` clients. Returns whether there may be more.
    pub(super) fn each(
        &mut self,
        targets: &mut Targets,
        most: usize,
        mut apply: impl FnMut(&mut Self, Found<SlotKey>),
    ) -> bool {
        let mut found = std::mem::take(&mut self.commands.found);
        let more = targets.next(&self.directory, most, &mut found);
        for target in found.drain(..) {
            apply(self, target);
        }
        self.commands.found = found;
        more
    }

    fn process_slice(&mut self, work: Work) -> Option<Work> {
        match work {
            Work::Send { mut targets, mut framed, audience } => {
                let more = self.each(&mut targets, SLICE, |shard, Found { handle, .. }| {
                    let pushed = shard.send(handle, &mut framed, audience);
                    shard.commands.count_message(pushed);
                });
                more.then_some(Work::Send { targets, framed, audience })
            }
            Work::Close { mut targets, frame, mut farewell } => {
                let more = self.each(&mut targets, CLOSED, |shard, Found { handle, .. }| {
                    let pushed = farewell.as_mut().map_or(Pushed::Queued, |farewell| {
                        shard.send(handle, farewell, Audience::Few)
                    });
                    shard.close(handle, CloseCause::ByWorker(frame.clone()));
                    shard.commands.count_message(pushed);
                });
                more.then_some(Work::Close { targets, frame, farewell })
            }
            Work::Join { mut targets, group, mut ordinals } => {
                let more = self.each(&mut targets, SLICE, |shard, Found { id, .. }| {
                    if let Some(ordinal) = ordinals.next() {
                        let joined = shard.join(id, group.clone(), Ordinal(ordinal));
                        shard.commands.count(joined);
                    }
                });
                more.then_some(Work::Join { targets, group, ordinals })
            }
            Work::Leave { mut targets, group } => {
                let more = self.each(&mut targets, SLICE, |shard, Found { id, .. }| {
                    let was_member = shard.leave(id, &group);
                    shard.commands.count(was_member);
                });
                more.then_some(Work::Leave { targets, group })
            }
            Work::Ungroup { group, mut members } => {
                let slice = members.split_off(members.len().saturating_sub(SLICE));
                self.directory.take_out(&group, &slice);
                slice.iter().for_each(|_| self.commands.count(true));
                (!members.is_empty()).then_some(Work::Ungroup { group, members })
            }
            Work::Welcome { group, ordinals, audience, last } => {
                self.welcome(group, ordinals, audience, last)
            }
            Work::Stream(passing) => self.pass_on_slice(passing),
            Work::Revoke { token, mut revoked } => {
                if self.close_revoked(&mut revoked, CLOSED) {
                    return Some(Work::Revoke { token, revoked });
                }
                let part = PartialAnswer::Count([revoked.closed]);
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
                None
            }
            Work::Status { token, mut sweep } => {
                if self.sweep_status(&mut sweep, SLICE) {
                    return Some(Work::Status { token, sweep });
                }
                let part = PartialAnswer::Status(Box::new(self.status(sweep)));
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
                None
            }
            Work::Trace { token, mut targets, mut push, audience } => {
                let more = self.each(&mut targets, SLICE, |shard, Found { id, handle, .. }| {
                    shard.push_traced(token, (handle, id), &mut push, audience);
                });
                if !more {
                    self.traces.complete(token);
                    self.schedule.request();
                }
                more.then_some(Work::Trace { token, targets, push, audience })
            }
            Work::Inspect { token, mut inspection } => {
                if self.inspect(&mut inspection, SLICE) {
                    return Some(Work::Inspect { token, inspection });
                }
                let part = PartialAnswer::Details(inspection.into_page());
                self.gateway.hub.push(ToHub::PartialAnswer { token, part });
                None
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
