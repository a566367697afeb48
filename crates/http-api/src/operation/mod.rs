//! The commands of the API: the objects of `POST /v1/batch`, which each other path is made of too.

mod apply;
mod content;
mod rights;

use std::time::Duration;

use axum::http::StatusCode;
use push_suite_cluster::{ClientId, Cluster};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use apply::{Applied, Closed, Delivery, Removed};
pub(crate) use content::at_most;
pub use content::{Content, Exclusion, To, Yes};

use crate::{failure::Failure, limits::REPORT_TIME, name::Name, schema::ClientIdText};

/// A command: what one object of `POST /v1/batch` does.
///
/// ```
/// let command: http_api::Operation = serde_json::from_value(serde_json::json!({
///     "op": "send", "to": {"groups": ["lobby"]}, "data": {"event": "order", "id": 42}
/// }))?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// Sends a message.
    Send(Send),
    /// Closes a client.
    Close(Close),
    /// Closes the clients of a uid.
    CloseUid(CloseUid),
    /// Replaces a session.
    SetSession(SetSession),
    /// Merges a session with an object.
    UpdateSession(SetSession),
    /// Removes keys of a session.
    RemoveSessionKeys(RemoveSessionKeys),
    /// Replaces a session if it is the expected one.
    SwapSession(SwapSession),
    /// Binds a client to a uid, instead of its current one.
    BindUid(BindUid),
    /// Removes the uid of a client.
    UnbindUid(UnbindUid),
    /// Adds a client to a group.
    Join(Membership),
    /// Removes a client from a group.
    Leave(Membership),
    /// Adds the clients of a uid to a group.
    JoinUid(UidMembership),
    /// Removes the clients of a uid from a group.
    LeaveUid(UidMembership),
    /// Removes every client from a group.
    Ungroup(Ungroup),
    /// Revokes tokens.
    Revoke(Revoke),
}

/// Sends a message to clients. It has one of `data`, `text` and `base64`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The recipients.
    pub to: To,
    /// Those that do not receive it.
    #[serde(default)]
    pub exclude: Exclusion,
    /// Any value; the message is its JSON.
    #[serde(default, deserialize_with = "content::present")]
    pub data: Option<Value>,
    /// The message as text.
    #[serde(default)]
    pub text: Option<String>,
    /// The message in Base64. It is binary unless `binary` is false.
    #[serde(default)]
    pub base64: Option<String>,
    /// Whether it is sent as a binary message.
    #[serde(default)]
    pub binary: Option<bool>,
    /// Whether it is never compressed: for a message with both a secret and text of another origin.
    #[serde(default)]
    pub uncompressed: bool,
    /// When the answer comes.
    #[serde(default)]
    pub wait: Wait,
}

/// When a send is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// When the gateways have queued it for their clients, with numbers.
    #[default]
    Applied,
    /// When it is queued for the gateways, without numbers.
    Accepted,
}

/// Closes a client.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
    /// The close code: 1000, or 3000 to 4999.
    #[serde(default)]
    pub code: Option<u16>,
    /// The reason, at most 123 bytes.
    #[serde(default)]
    pub reason: Option<String>,
    /// The last message.
    #[serde(default)]
    pub message: Content,
    /// Whether to close at once, without writing what is queued, a code or a last message.
    #[serde(default)]
    pub now: bool,
}

/// Closes the clients of a uid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseUid {
    /// The uid.
    pub uid: Name,
    /// The close code: 1000, or 3000 to 4999.
    #[serde(default)]
    pub code: Option<u16>,
    /// The reason, at most 123 bytes.
    #[serde(default)]
    pub reason: Option<String>,
    /// The last message.
    #[serde(default)]
    pub message: Content,
    /// Clients that stay connected.
    #[serde(default)]
    #[schema(value_type = Vec<ClientIdText>, max_items = 1000)]
    pub except: Vec<ClientId>,
}

/// A session for a client.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSession {
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
    /// The session, or its changes.
    pub session: Map<String, Value>,
}

/// Keys of the session of a client.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveSessionKeys {
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
    /// The keys; those that do not occur are ignored.
    #[schema(max_items = 1000)]
    pub keys: Vec<String>,
}

/// Replaces a session if it is the expected one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapSession {
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
    /// The session as it was read; `{}` for none.
    pub expected: Map<String, Value>,
    /// The new session.
    pub session: Map<String, Value>,
}

/// A client and a uid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BindUid {
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
    /// The uid.
    pub uid: Name,
}

/// A client, with its uid if only that is to be removed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnbindUid {
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
    /// Nothing changes if the client has another uid.
    #[serde(default)]
    pub uid: Option<Name>,
}

/// A group and a client.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The group.
    pub group: Name,
    /// The client.
    #[schema(value_type = ClientIdText)]
    pub client: ClientId,
}

/// A group and a uid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UidMembership {
    /// The group.
    pub group: Name,
    /// The uid.
    pub uid: Name,
}

/// A group.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ungroup {
    /// The group.
    pub group: Name,
}

/// Tokens that are no longer accepted: those with an id, and those of users. It has ids, uids, or
/// `all` with `issued_before`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Ids of tokens (`jti`).
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub jti: Vec<Name>,
    /// Users (`sub`).
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub uids: Vec<Name>,
    /// The tokens of every user that were issued before `issued_before`.
    #[serde(default)]
    pub all: bool,
    /// Of the tokens of users, only those that were issued before this time, in seconds since 1970.
    #[serde(default)]
    pub issued_before: Option<u64>,
    /// For how long it is remembered, in seconds. By default a day and a minute.
    #[serde(default)]
    pub ttl: Option<u32>,
    /// Whether clients that are connected with such a token are closed, with 4403.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub disconnect: bool,
}

const fn yes() -> bool {
    true
}

/// The answer to a command: a status of 200 to 299 and a body, which is `null` for 204.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// 200, 202 or 204.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Outcome {
    /// 204.
    #[must_use]
    pub const fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Value::Null }
    }

    /// 200 with a body.
    #[must_use]
    pub fn ok(body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).unwrap_or_default();
        Self { status: StatusCode::OK, body }
    }
}

impl Operation {
    /// Executes the command, and waits up to [`REPORT_TIME`] for the gateways concerned. A gateway
    /// that does not answer is listed in the outcome and is no error: the command still takes
    /// effect there, once, unless the gateway is declared dead.
    ///
    /// # Errors
    /// When the command is invalid, its only client is not connected, or no gateway is linked.
    pub async fn apply(self, cluster: &Cluster) -> Result<Outcome, Failure> {
        self.apply_within(cluster, REPORT_TIME).await
    }

    /// The same with another time to wait for reports.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn apply_within(self, cluster: &Cluster, time: Duration) -> Result<Outcome, Failure> {
        match self {
            Self::Send(send) => send.apply(cluster, time).await,
            Self::Close(close) => close.apply(cluster, time).await,
            Self::CloseUid(close) => close.apply(cluster, time).await,
            Self::SetSession(set) => set.replace(cluster, time).await,
            Self::UpdateSession(set) => set.merge(cluster, time).await,
            Self::RemoveSessionKeys(remove) => remove.apply(cluster, time).await,
            Self::SwapSession(swap) => swap.apply(cluster).await,
            Self::BindUid(bind) => bind.apply(cluster, time).await,
            Self::UnbindUid(unbind) => unbind.apply(cluster, time).await,
            Self::Join(membership) => membership.join(cluster, time).await,
            Self::Leave(membership) => membership.leave(cluster, time).await,
            Self::JoinUid(membership) => membership.join(cluster, time).await,
            Self::LeaveUid(membership) => membership.leave(cluster, time).await,
            Self::Ungroup(ungroup) => ungroup.apply(cluster, time).await,
            Self::Revoke(revoke) => revoke.apply(cluster).await,
        }
    }
}

#[cfg(test)]
mod tests;
