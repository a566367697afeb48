//! `gw.group.occupied` and `gw.group.vacated`: posted, since no client waits for them.

use std::sync::Arc;

use push_suite_worker::{Notice, NoticeKind};
use runtime::clock;

use super::{JSON, Webhook};
use crate::{
    bodies,
    cloudevents::{CloudEvent, SignedHead, encode},
    engine::{HookRequest, OrderKey},
    settings::Kind,
};

impl Webhook {
    /// Posts a notice about a group to every webhook that receives it, in the order of the group.
    pub(super) fn report_occupancy(&self, notice: &Notice) {
        let (kind, name) = match notice.kind {
            NoticeKind::Occupied => (Kind::Occupied, "gw.group.occupied"),
            NoticeKind::Vacated => (Kind::Vacated, "gw.group.vacated"),
            _ => return,
        };
        let (group, number) = (notice.group.as_bytes(), notice.number);
        let body = bodies::Occupancy { group: notice.group.to_string(), number };
        let Ok(body) = serde_json::to_vec(&body) else { return };
        let plan = self.plan();
        for planned in plan.of_group(kind, &notice.group) {
            let event = CloudEvent {
                id: format!("{}-{number}", encode(group)),
                kind: name,
                source: "/groups".to_owned(),
                subject: group.to_vec(),
                unix_seconds: clock::unix_seconds(),
                number,
                uid: None,
                session: None,
                content_type: JSON,
            };
            let origin = planned.hook.origin().map(str::to_owned);
            let head = SignedHead { event, secrets: Arc::clone(&planned.secrets), origin };
            let request = HookRequest::new(head, body.clone());
            // The engine counts what is dropped.
            let endpoint = planned.endpoint(planned.hook.delivery());
            let _ = endpoint.post(&OrderKey::new(group), request);
        }
    }
}
