//! `gw.group.occupied`, `gw.group.vacated`, `gw.uid.online` and `gw.uid.offline`: posted, since no
//! client waits for them.

use std::sync::Arc;

use bytes::Bytes;
use push_suite_worker::{Notice, NoticeKind, UidNotice};
use runtime::clock;

use super::{JSON, Planned, Webhook};
use crate::{
    bodies,
    cloudevents::{CloudEvent, SignedHead, encode},
    engine::{HookRequest, OrderKey},
    settings::Kind,
};

/// A change of a group or a uid.
struct Change<'a> {
    /// The type of the event.
    name: &'static str,
    /// The kind of subject, as a path.
    source: &'static str,
    subject: &'a [u8],
    number: u64,
    body: Bytes,
}

impl Webhook {
    /// Posts a notice about a group to every webhook that receives it, in the order of the group.
    pub(super) fn report_occupancy(&self, notice: &Notice) {
        let (kind, name) = match notice.kind {
            NoticeKind::Occupied => (Kind::Occupied, "gw.group.occupied"),
            NoticeKind::Vacated => (Kind::Vacated, "gw.group.vacated"),
            _ => return,
        };
        let number = notice.number;
        let body = bodies::Occupancy { group: notice.group.to_string(), number };
        let Ok(body) = serde_json::to_vec(&body) else { return };
        let (source, subject) = ("/groups", notice.group.as_bytes());
        let change = Change { name, source, subject, number, body: body.into() };
        let plan = self.plan();
        plan.of_group(kind, &notice.group).for_each(|planned| self.post(planned, &change));
    }

    /// Posts a notice about a uid to every webhook that receives it, in the order of the uid.
    pub(super) fn report_uid(&self, notice: &UidNotice) {
        let (kind, name) = match notice.is_online {
            true => (Kind::Online, "gw.uid.online"),
            false => (Kind::Offline, "gw.uid.offline"),
        };
        let number = notice.number;
        let body = bodies::UidOccupancy { uid: notice.uid.to_string(), number };
        let Ok(body) = serde_json::to_vec(&body) else { return };
        let (source, subject) = ("/uids", notice.uid.as_bytes());
        let change = Change { name, source, subject, number, body: body.into() };
        self.plan().of_uids(kind).for_each(|planned| self.post(planned, &change));
    }

    fn post(&self, planned: &Planned, change: &Change<'_>) {
        let event = CloudEvent {
            id: format!("{}-{}{}", encode(change.subject), change.number, change.suffix()),
            kind: change.name,
            source: change.source.to_owned(),
            subject: change.subject.to_vec(),
            unix_seconds: clock::unix_seconds(),
            number: change.number,
            uid: None,
            session: None,
            content_type: JSON,
        };
        let endpoint = planned.endpoint(planned.hook.delivery());
        if let Some(batching) = &planned.batching {
            // The engine counts what is dropped.
            let _ = endpoint.post_in_batch(event.structured(&change.body), batching);
            return;
        }
        let origin = planned.hook.origin().map(str::to_owned);
        let head = SignedHead { event, secrets: Arc::clone(&planned.secrets), origin };
        let request = HookRequest::new(head, change.body.clone());
        let key = OrderKey::new([change.source.as_bytes(), change.subject].concat());
        let _ = endpoint.post(&key, request);
    }
}

impl Change<'_> {
    /// The end of its id, by which that of a uid is of no group of whatever name.
    const fn suffix(&self) -> &'static str {
        match self.source.as_bytes() {
            b"/uids" => "-uid",
            _ => "",
        }
    }
}
