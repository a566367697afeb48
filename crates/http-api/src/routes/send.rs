//! Sends, batches and revocations.

use std::time::Duration;

use axum::{Extension, body::Bytes, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{Answer, Segments, execute};
use crate::{
    Caller, Operation,
    api::Api,
    body::json,
    failure::{Code, Failure},
    limits::{COMMANDS_TIME, MAX_COMMANDS, report_time},
    operation::{Closed, Delivery, Outcome, Revoke, Send},
};

/// Sends a message to all clients, or to some clients, uids or groups. Scope `push`.
#[utoipa::path(
    post,
    path = "/v1/send",
    request_body = Send,
    responses(
        (status = 200, description = "Queued for the clients at their gateways", body = Delivery),
        (status = 202, description = "Queued for the gateways (`wait` is `accepted`)", body = Accepted)
    )
)]
pub(super) async fn send(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    segments.no_query()?;
    execute(&api, &caller, Operation::Send(json(&body)?)).await
}

/// The answer to a send that waits for no gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    accepted: bool,
}

/// Counts what a send has reached.
pub(super) fn count(api: &Api, outcome: &Outcome) {
    let metrics = &api.shared.metrics;
    if let Some(delivered) = outcome.body.get("delivered").and_then(Value::as_u64) {
        metrics.delivered.inc_by(delivered);
    }
    if let Some(unreachable) = outcome.body.get("unreachable").and_then(Value::as_array) {
        metrics.unreachable.inc_by(unreachable.len() as u64);
    }
}

/// Commands to execute in their order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// At most 1,000.
    #[schema(value_type = Vec<Operation>, max_items = 1000)]
    commands: Vec<Value>,
    /// Whether the commands behind one that fails are not executed.
    #[serde(default)]
    stop_on_error: bool,
}

/// The results of a batch, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Results {
    results: Vec<CommandResult>,
}

/// The answer that the command alone would have had.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CommandResult {
    /// The HTTP status.
    status: u16,
    /// The body; null for 204.
    body: Value,
}

/// Executes commands in their order. A command that fails does not affect the others, unless
/// `stop_on_error` is set. Each needs the scope of its own path.
#[utoipa::path(
    post,
    path = "/v1/batch",
    request_body = Batch,
    responses((status = 200, description = "One result for each command", body = Results))
)]
pub(super) async fn batch(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    segments.no_query()?;
    let Batch { commands, stop_on_error } = json(&body)?;
    if MAX_COMMANDS < commands.len() {
        return Err(Failure::too_large("commands", MAX_COMMANDS));
    }
    let start = Instant::now();
    let mut results: Vec<CommandResult> = Vec::with_capacity(commands.len());
    let mut has_failed = false;
    for command in commands {
        let answer = if stop_on_error && has_failed {
            let message = "an earlier command has failed";
            Err(Failure::unavailable(Code::NotExecuted, message))
        } else if COMMANDS_TIME < start.elapsed() {
            Err(Failure::unavailable(Code::NotExecuted, "the batch took too long"))
        } else {
            one(&api, &caller, command, report_time(start.elapsed())).await
        };
        has_failed |= answer.is_err();
        results.push(match answer {
            Ok(Outcome { status, body }) => CommandResult { status: status.as_u16(), body },
            Err(failure) => {
                CommandResult { status: failure.status.as_u16(), body: failure.body(None) }
            }
        });
    }
    Ok(Outcome::ok(&Results { results }))
}

async fn one(api: &Api, caller: &Caller, command: Value, time: Duration) -> Answer {
    let command: Operation = serde_json::from_value(command)
        .map_err(|error| Failure::bad_request(format!("command: {error}")))?;
    command.check(caller)?;
    let outcome = command.apply_within(api.cluster(), time).await?;
    count(api, &outcome);
    Ok(outcome)
}

/// Revokes tokens of clients on every gateway (`--handshake-auth jwt`). Scope `admin`.
#[utoipa::path(
    post,
    path = "/v1/revocations",
    request_body = Revoke,
    responses((status = 200, description = "In effect on every gateway", body = Closed))
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    segments: Segments,
    body: Bytes,
) -> Answer {
    segments.no_query()?;
    execute(&api, &caller, Operation::Revoke(json(&body)?)).await
}
