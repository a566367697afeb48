//! The execution of each command on a cluster.

use std::time::Duration;

use axum::http::StatusCode;
use push_suite_cluster::{
    ClientId, Close as LastWords, Cluster, Error, Recipients, Report, Revocation, Sending, Session,
    SessionSwap, TokenId,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    BindUid, Close, CloseUid, Content, Membership, Outcome, RemoveSessionKeys, Revoke, Send,
    SetSession, SwapSession, To, UidMembership, UnbindUid, Ungroup, Wait, at_most,
};
use crate::{
    failure::{Code, Failure},
    name::Name,
};

/// The result of a send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivery {
    /// Clients for which the message is queued at their gateway.
    pub delivered: u64,
    /// Clients that it was for; twice for one that it was for twice.
    pub matched: u64,
    /// Clients that were too slow to receive it.
    pub dropped: u64,
    /// Inner addresses of gateways that did not answer; their clients are not counted. The message
    /// is not lost there, unless the gateway is not reached any more.
    pub unreachable: Vec<String>,
}

/// The result of a change of several clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Applied {
    /// Clients that were changed.
    pub applied: u64,
    /// Clients that it was for.
    pub matched: u64,
    /// Inner addresses of gateways that did not answer; their clients are not counted.
    pub unreachable: Vec<String>,
}

/// The result of closing clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Closed {
    /// Clients that were closed.
    pub closed: u64,
    /// Inner addresses of gateways that did not answer; their clients are not counted.
    pub unreachable: Vec<String>,
}

/// The result of the removal of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Removed {
    /// Clients that were members.
    pub removed: u64,
    /// Inner addresses of gateways that did not answer; their clients are not counted.
    pub unreachable: Vec<String>,
}

impl Send {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        self.to.check()?;
        self.exclude.check()?;
        let Self { to, exclude, data, text, base64, binary, uncompressed, wait } = self;
        let message = Content { data, text, base64, binary, uncompressed }.message()?;
        let message = message
            .ok_or_else(|| Failure::bad_request("set one of `data`, `text` and `base64`"))?;
        let sending = match to {
            To::All(_) => {
                let all = match (exclude.clients.is_empty(), exclude.uids.is_empty()) {
                    (true, true) => Recipients::All,
                    _ => Recipients::AllBut(exclude.to_exclude()?),
                };
                cluster.send_to_all(all, message)
            }
            To::Clients(mut clients) => {
                if !exclude.uids.is_empty() {
                    let message = "`exclude.uids` cannot be combined with `to.clients`";
                    return Err(Failure::bad_request(message));
                }
                clients.retain(|client| !exclude.clients.contains(client));
                cluster.send_to_all(Recipients::Only(clients), message)
            }
            To::Uids(uids) => {
                let uids = uids.iter().map(Name::uid).collect::<Result<Vec<_>, _>>()?;
                cluster.send_to_uids_except(uids, exclude.to_exclude()?, message)
            }
            To::Groups(groups) => {
                let groups = groups.iter().map(Name::group).collect::<Result<Vec<_>, _>>()?;
                cluster.send_to_groups(groups, exclude.to_exclude()?, message)
            }
        };
        if wait == Wait::Accepted {
            sending.await?;
            let body = json!({"accepted": true});
            return Ok(Outcome { status: StatusCode::ACCEPTED, body });
        }
        let Report { matched, reached, dropped, unreachable, .. } =
            sending.report_within(time).await?;
        let unreachable = unreachable.iter().map(ToString::to_string).collect();
        Ok(Outcome::ok(&Delivery { delivered: reached, matched, dropped, unreachable }))
    }
}

/// The close of a code, a reason and a last message.
fn last_words(
    code: Option<u16>,
    reason: Option<String>,
    message: Content,
) -> Result<LastWords, Failure> {
    let close = match (code, reason) {
        (None, None) => LastWords::default(),
        (code, reason) => {
            LastWords::new(code.unwrap_or(1000), reason.unwrap_or_default()).map_err(Error::from)?
        }
    };
    Ok(match message.message()? {
        Some(message) => close.with_last_message(message),
        None => close,
    })
}

/// Waits for the report of a command for one client.
///
/// # Errors
/// 404 if it is not connected, 503 if its gateway does not answer.
async fn for_one(
    cluster: &Cluster,
    client: ClientId,
    sending: Sending<'_>,
    time: Duration,
) -> Result<Report, Failure> {
    let report = match sending.report_within(time).await {
        Err(Error::Unreachable { gateway }) if !is_listed(cluster, &gateway) => {
            return Err(Failure::client_not_found());
        }
        other => other?,
    };
    match (report.matched, report.is_complete()) {
        // It is queued for the gateway. Each of these commands may be sent again.
        (_, false) => Err(Failure::unreachable(client.gateway)),
        (0, true) => Err(Failure::client_not_found()),
        _ => Ok(report),
    }
}

/// Whether a gateway that is not linked exists: otherwise its clients do not.
fn is_listed(cluster: &Cluster, gateway: &str) -> bool {
    cluster.status().missing.iter().any(|missing| missing == gateway)
}

impl Close {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let Self { client, code, reason, message, now } = self;
        let close = last_words(code, reason, message)?;
        let sending = match now {
            true => cluster.destroy_client(client),
            false => cluster.close_client(client, close),
        };
        for_one(cluster, client, sending, time).await?;
        Ok(Outcome::empty())
    }
}

impl CloseUid {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let Self { uid, code, reason, message, except } = self;
        at_most(except.len(), "clients in `except`")?;
        let close = last_words(code, reason, message)?;
        let sending = cluster.close_uid_except(uid.uid()?, &except, close);
        let Report { reached, unreachable, .. } = sending.report_within(time).await?;
        let unreachable = unreachable.iter().map(ToString::to_string).collect();
        Ok(Outcome::ok(&Closed { closed: reached, unreachable }))
    }
}

impl SetSession {
    pub(super) async fn replace(
        self,
        cluster: &Cluster,
        time: Duration,
    ) -> Result<Outcome, Failure> {
        let sending = cluster.set_session(self.client, &self.session);
        changed(for_one(cluster, self.client, sending, time).await?)
    }

    pub(super) async fn merge(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let sending = cluster.update_session(self.client, &self.session);
        changed(for_one(cluster, self.client, sending, time).await?)
    }
}

/// A client that is closing takes no changes.
fn changed(report: Report) -> Result<Outcome, Failure> {
    match report.reached {
        0 => Err(Failure::client_not_found()),
        _ => Ok(Outcome::empty()),
    }
}

impl RemoveSessionKeys {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        at_most(self.keys.len(), "keys")?;
        let sending = cluster.remove_session_keys(self.client, self.keys);
        changed(for_one(cluster, self.client, sending, time).await?)
    }
}

impl SwapSession {
    pub(super) async fn apply(self, cluster: &Cluster) -> Result<Outcome, Failure> {
        let expected = Session::encode(&self.expected).map_err(Error::from)?;
        let swap = cluster.compare_and_set_session(self.client, &expected, &self.session);
        match swap.await? {
            SessionSwap::Replaced => Ok(Outcome::empty()),
            SessionSwap::Other(session) => {
                let message = "the session is not the expected one";
                let failure = Failure::new(StatusCode::CONFLICT, Code::SessionChanged, message);
                let session = session.decode().map_or(Value::Null, Value::Object);
                Err(failure.with("session", session))
            }
        }
    }
}

impl BindUid {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let sending = cluster.bind_uid(self.client, self.uid.uid()?);
        changed(for_one(cluster, self.client, sending, time).await?)
    }
}

impl UnbindUid {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        if let Some(uid) = &self.uid {
            let uid = uid.uid()?;
            let current = cluster.uid_of_client(self.client).await?;
            if current.is_some_and(|current| current != uid) {
                let message = "the client has another uid";
                return Err(Failure::new(StatusCode::CONFLICT, Code::UidDiffers, message));
            }
        }
        for_one(cluster, self.client, cluster.unbind_uid(self.client), time).await?;
        Ok(Outcome::empty())
    }
}

impl Membership {
    pub(super) async fn join(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let sending = cluster.join_group(self.client, self.group.group()?);
        match for_one(cluster, self.client, sending, time).await?.reached {
            0 => {
                let message = "the client is in as many groups as it may join, or is closing";
                Err(Failure::new(StatusCode::CONFLICT, Code::Refused, message))
            }
            _ => Ok(Outcome::empty()),
        }
    }

    pub(super) async fn leave(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let sending = cluster.leave_group(self.client, self.group.group()?);
        for_one(cluster, self.client, sending, time).await?;
        Ok(Outcome::empty())
    }
}

impl UidMembership {
    pub(super) async fn join(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let sending = cluster.join_group_by_uid(self.uid.uid()?, self.group.group()?);
        applied(sending.report_within(time).await?)
    }

    pub(super) async fn leave(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let sending = cluster.leave_group_by_uid(self.uid.uid()?, self.group.group()?);
        applied(sending.report_within(time).await?)
    }
}

fn applied(report: Report) -> Result<Outcome, Failure> {
    let Report { matched, reached, unreachable, .. } = report;
    let unreachable = unreachable.iter().map(ToString::to_string).collect();
    Ok(Outcome::ok(&Applied { applied: reached, matched, unreachable }))
}

impl Ungroup {
    pub(super) async fn apply(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        let report = cluster.ungroup(self.group.group()?).report_within(time).await?;
        let unreachable = report.unreachable.iter().map(ToString::to_string).collect();
        Ok(Outcome::ok(&Removed { removed: report.reached, unreachable }))
    }
}

impl Revoke {
    pub(super) async fn apply(self, cluster: &Cluster) -> Result<Outcome, Failure> {
        at_most(self.jti.len(), "token ids")?;
        at_most(self.uids.len(), "uids")?;
        let ids: Vec<TokenId> = self
            .jti
            .iter()
            .map(|id| TokenId::new(&id.0).map_err(|error| Error::from(error).into()))
            .collect::<Result<_, Failure>>()?;
        let uids = self.uids.iter().map(Name::uid).collect::<Result<Vec<_>, _>>()?;
        let mut revocation = match (self.all, self.issued_before) {
            (true, Some(time)) => Revocation::all(time),
            (true, None) => {
                return Err(Failure::bad_request("`all` requires `issued_before`"));
            }
            (false, _) if ids.is_empty() && uids.is_empty() => {
                return Err(Failure::bad_request("set `jti`, `uids` or `all`"));
            }
            (false, _) => Revocation::ids(Vec::new()),
        };
        (revocation.ids, revocation.uids) = (ids, uids);
        revocation.issued_before = self.issued_before;
        if let Some(ttl) = self.ttl {
            revocation = revocation.ttl(ttl);
        }
        if !self.disconnect {
            revocation = revocation.keep_connected();
        }
        let closed = cluster.revoke(revocation).await?;
        Ok(Outcome::ok(&Closed { closed, unreachable: Vec::new() }))
    }
}
