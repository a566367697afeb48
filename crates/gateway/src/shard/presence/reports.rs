//! Reports of watched groups to their owners: a value.

use protocol::{Group, LocalMember, MemberId, PresenceNotified, PresenceReport, link::ToPeer};

use super::{Presence, watched::Watched};
use crate::thread_messages::LinkId;

/// Approximate maximum bytes of one part of a full report.
const PART: usize = 256 * 1024;

/// Maximum number of members, and of ids of the view, in one part.
const ITEMS: usize = 4096;

impl Presence {
    /// The next messages for an owner: the report of one group, or that it is lost. `clients` is the
    /// number of clients in a group.
    pub(in crate::shard) fn next_report(
        &mut self,
        shard: u16,
        clients: impl Fn(&Group) -> usize,
    ) -> Option<(LinkId, Vec<ToPeer>)> {
        loop {
            let (link, queue) = self.owners.next_due()?;
            if let Some(group) = queue.lost.pop_front() {
                return Some((link, vec![ToPeer::PresenceLost { group, shard }]));
            }
            let Some(group) = queue.dirty.pop_front() else { continue };
            let Some(watched) = self.groups.get_mut(&group) else { continue };
            // It may have got another owner since.
            if watched.owner().is_none_or(|owner| owner.link != link) {
                continue;
            }
            watched.clear_dirty();
            let inside = clients(&group);
            let messages = watched.report(&group, shard, self.number + 1, inside);
            if watched.is_forgettable() && inside == 0 {
                self.remove(&group);
            }
            if !messages.is_empty() {
                self.number += 1;
                self.counts.reports += 1;
                return Some((link, messages));
            }
        }
    }

    /// Whether something can be sent to an owner now.
    pub(in crate::shard) fn is_due(&mut self) -> bool {
        self.owners.next_due().is_some()
    }

    /// So many bytes were passed on for an owner, whose link confirms them once they are
    /// [written](Self::written).
    pub(in crate::shard) fn sent(&mut self, link: LinkId, bytes: usize) {
        self.owners.sent(link, bytes);
    }

    /// So many bytes are written to the link of an owner.
    pub(in crate::shard) fn written(&mut self, link: LinkId, bytes: usize) {
        self.owners.written(link, bytes);
    }
}

impl Watched {
    /// The report of the group with that number, in parts; empty if the owner knows its state.
    fn report(&mut self, group: &Group, shard: u16, number: u64, inside: usize) -> Vec<ToPeer> {
        let clients = (inside + self.members.waiting_outside()) as u64;
        let wants_view = self.members.is_waiting() && !self.members.has_view();
        let full = std::mem::take(&mut self.needs_full);
        let asks = wants_view && !std::mem::replace(&mut self.has_asked, wants_view);
        // Nothing that an owner knows, and nothing to know.
        if full && clients == 0 && !self.is_known && self.members.here.is_empty() {
            (self.full_in, self.needs_full) = (u64::MAX, true);
            return Vec::new();
        }
        let reported = match full {
            true => self.members.here.keys().cloned().collect(),
            false => std::mem::take(&mut self.members.changed).into_iter().collect::<Vec<_>>(),
        };
        let mut members = Vec::new();
        for id in reported {
            let Some(here) = self.members.here.get_mut(&id) else { continue };
            let now = here.clients.len();
            if full || here.reported != now {
                let clients = u32::try_from(now).unwrap_or(u32::MAX);
                members.push(LocalMember { member: here.member.clone(), clients });
            }
            match now {
                0 if full || here.reported != 0 => here.left_in = number,
                0 => {}
                _ => (here.is_known, here.left_in) = (true, u64::MAX),
            }
            let before = std::mem::replace(&mut here.reported, now);
            if now != 0 && (full || before == 0) {
                self.members.appears(&id, number);
            }
        }
        self.members.changed.clear();
        let unchanged = members.is_empty() && self.reported == clients && !asks;
        if !full && unchanged {
            return Vec::new();
        }
        self.set_reported(clients, number);
        let mut view = None;
        if full {
            self.full_in = number;
            view = self.members.view.as_ref().map(|view| view.keys().cloned().collect());
        }
        let report = PresenceReport {
            group: group.clone(),
            shard,
            number,
            full,
            more: false,
            clients,
            members: Vec::new(),
            view: None,
            wants_view: asks,
        };
        let parts = parts(&report, members, view);
        match full {
            true => parts.into_iter().flat_map(|part| self.with_notified(part)).collect(),
            false => parts.into_iter().map(to_peer).collect(),
        }
    }

    /// A part of a full report, behind of which of it an application was notified.
    fn with_notified(&self, part: PresenceReport) -> impl Iterator<Item = ToPeer> {
        let here = |id: &MemberId| self.members.here.get(id).is_some_and(|it| it.is_notified);
        let ids = part.members.iter().map(|local| local.member.id());
        let notified = PresenceNotified {
            group: part.group.clone(),
            shard: part.shard,
            number: part.number,
            occupied: self.is_notified,
            members: ids.filter(|id| here(id)).cloned().collect(),
        };
        let is_any = notified.occupied || !notified.members.is_empty();
        let notified = is_any.then(|| ToPeer::PresenceNotified(Box::new(notified)));
        notified.into_iter().chain([to_peer(part)])
    }
}

fn to_peer(report: PresenceReport) -> ToPeer {
    ToPeer::Presence(Box::new(report))
}

/// Splits a report, so that no part is large.
fn parts(
    report: &PresenceReport,
    members: Vec<LocalMember>,
    view: Option<Vec<MemberId>>,
) -> Vec<PresenceReport> {
    let members = chunks(members, |local| local.member.weight());
    let has_view = view.is_some();
    let views = chunks(view.unwrap_or_default(), MemberId::weight);
    let count = members.len().max(views.len()).max(1);
    let (mut members, mut views) = (members.into_iter(), views.into_iter());
    let part = |at| PresenceReport {
        more: at + 1 < count,
        // Answered once, with the members of all parts.
        wants_view: report.wants_view && at + 1 == count,
        members: members.next().unwrap_or_default(),
        view: has_view.then(|| views.next().unwrap_or_default()),
        ..report.clone()
    };
    (0..count).map(part).collect()
}

fn chunks<T>(items: Vec<T>, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut chunks, mut bytes) = (vec![Vec::new()], 0);
    for item in items {
        bytes += weight(&item);
        if let Some(last) = chunks.last_mut()
            && (last.is_empty() || bytes <= PART && last.len() < ITEMS)
        {
            last.push(item);
        } else {
            bytes = weight(&item);
            chunks.push(vec![item]);
        }
    }
    chunks
}
