//! `gw.group.occupied`, `gw.group.vacated`, `gw.uid.online` and `gw.uid.offline`: posted, since no
//! client waits for them. A notice is handled once its requests are accepted, so that the next owner
//! posts them again if this process is killed before; but after a while it is handled in any case.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use push_suite_worker::{Notice, NoticeKind, UidNotice};
use runtime::clock;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{JSON, Planned, Webhook};
use crate::{
    bodies,
    cloudevents::{CloudEvent, SignedHead, encode},
    engine::{HookRequest, OrderKey},
    settings::Kind,
};

/// How long a notice waits for its requests: a receiver that is away must not hold up the notices
/// for others. Later, the requests are sent as long as this process lives.
const WAIT: Duration = Duration::from_secs(15);

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
    pub(super) async fn report_occupancy(&self, notice: &Notice) {
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
        let posted: Vec<_> =
            plan.of_group(kind, &notice.group).map(|planned| self.post(planned, &change)).collect();
        drop(plan);
        settled(posted).await;
    }

    /// Posts a notice about a uid to every webhook that receives it, in the order of the uid.
    pub(super) async fn report_uid(&self, notice: &UidNotice) {
        let (kind, name) = match notice.is_online {
            true => (Kind::Online, "gw.uid.online"),
            false => (Kind::Offline, "gw.uid.offline"),
        };
        let number = notice.number;
        let body = bodies::UidOccupancy { uid: notice.uid.to_string(), number };
        let Ok(body) = serde_json::to_vec(&body) else { return };
        let (source, subject) = ("/uids", notice.uid.as_bytes());
        let change = Change { name, source, subject, number, body: body.into() };
        let posted: Vec<_> =
            self.plan().of_uids(kind).map(|planned| self.post(planned, &change)).collect();
        settled(posted).await;
    }

    /// `None` if it is dropped.
    fn post(&self, planned: &Planned, change: &Change<'_>) -> Option<CancellationToken> {
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
            return endpoint.post_in_batch_settled(event.structured(&change.body), batching).ok();
        }
        let origin = planned.hook.origin().map(str::to_owned);
        let head = SignedHead { event, secrets: Arc::clone(&planned.secrets), origin };
        let request = HookRequest::new(head, change.body.clone());
        let key = OrderKey::new([change.source.as_bytes(), change.subject].concat());
        endpoint.post_settled(&key, request).ok()
    }
}

/// Waits until requests are accepted or given up, for a while.
async fn settled(posted: Vec<Option<CancellationToken>>) {
    let all = async {
        for token in posted.iter().flatten() {
            token.cancelled().await;
        }
    };
    let _ = timeout(WAIT, all).await;
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
