//! `gw.connect`: the answer accepts or refuses a client.

use std::time::Duration;

use push_suite_worker::{Client, Close, Error, Handshake, InvalidAnswer, Refusal};
use runtime::{clock, random};
use serde_json::Map;
use tokio::time::sleep;

use super::{JSON, Planned, REFUSED, UNAVAILABLE, Webhook, request_as};
use crate::{
    answer::{self, Accepted, Unreadable},
    bodies::{self, Request},
    client_state::ClientState,
    engine::{Failure, HookRequest, HookResponse, LEAST_TIME},
    schedule::Schedule,
    settings::Kind,
    verdict::Verdict,
};

/// Headers of an answer that a refusal passes on.
const PASSED_ON: [&str; 3] = ["content-type", "retry-after", "www-authenticate"];

/// The longest random `Retry-After` of a handshake whose webhook does not answer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The longest reason of a close frame, in bytes.
const LONGEST_REASON: usize = 123;

/// The outcome of `gw.connect`.
enum Outcome {
    Accepted(Box<Accepted>),
    Refused(HookResponse),
    /// There is no answer. Whether the receiver may have accepted the client all the same, and
    /// after which time it may be back.
    Unavailable {
        may_be_accepted: bool,
        wait: Option<Duration>,
    },
}

impl Webhook {
    /// Announces a client: one with a WebSocket with its handshake, another with its first message.
    /// Returns whether it is accepted.
    pub(super) async fn connect(
        &self,
        client: &Client,
        handshake: Option<&Handshake>,
    ) -> anyhow::Result<bool> {
        let plan = self.plan();
        let Some(planned) = plan.first(Kind::Connect, client.listener_port()) else {
            return Ok(true);
        };
        let mut state = ClientState::of(&client.encoded_session());
        // Of a token; a handshake that awaits an answer has none yet.
        let uid = match client.awaits_answer() {
            true => None,
            false => client.uid().await?.map(|uid| uid.to_string()),
        };
        state = ClientState::connected(uid, state.session);
        let body = bodies::Connect {
            client: client.id().to_string(),
            remote: client.remote_addr(),
            port: client.listener_port(),
            uid: state.uid().map(str::to_owned),
            session: state.session.clone(),
            request: handshake.map(|handshake| Request::of(handshake, &planned.headers)),
        };
        let body = serde_json::to_vec(&body)?;
        let id = match handshake {
            Some(_) => client.delivery().to_string(),
            // The event of the message has an id of its own.
            None => format!("{}-connect", client.delivery()),
        };
        let request = request_as(id, (planned, client, &state), ("gw.connect", JSON), body);
        match self.ask(planned, &request).await {
            Outcome::Accepted(accepted) => match accept(client, state, *accepted).await {
                // Something that the client does not offer.
                Err(Error::Answer(error)) => {
                    self.unreadable(planned, error);
                    self.unavailable(client, true, None).await?;
                    Ok(false)
                }
                accepted => Ok(accepted.map(|()| true)?),
            },
            Outcome::Refused(response) => {
                refuse(client, &response).await?;
                Ok(false)
            }
            Outcome::Unavailable { may_be_accepted, wait } => {
                self.unavailable(client, may_be_accepted, wait).await?;
                Ok(false)
            }
        }
    }

    /// Sends the request until there is an answer, or the time is over.
    async fn ask(&self, planned: &Planned, request: &HookRequest) -> Outcome {
        let limit = planned.hook.connect_timeout();
        let mut schedule = Schedule::new(clock::now(), limit);
        let deadline = schedule.deadline();
        let endpoint = planned.endpoint(planned.hook.delivery());
        let (mut number, mut may_be_accepted) = (0, false);
        loop {
            number += 1;
            let retry_after = match endpoint.call(request, number, deadline).await {
                Ok(response) => match Verdict::of(response.status) {
                    Verdict::Accepted => return self.accepted(planned, &response),
                    Verdict::Refused => return Outcome::Refused(response),
                    Verdict::Gone => return Outcome::Unavailable { may_be_accepted, wait: None },
                    Verdict::Again if response.status.as_u16() == 429 => {
                        return Outcome::Refused(response);
                    }
                    Verdict::Again => response.retry_after(),
                },
                Err(Failure::Open(wait)) => {
                    return Outcome::Unavailable { may_be_accepted, wait: Some(wait) };
                }
                Err(Failure::Off) => return Outcome::Unavailable { may_be_accepted, wait: None },
                // The receiver has accepted the client: it is not asked again.
                Err(Failure::TooLong(status)) if status.is_success() => {
                    self.unreadable(planned, Unreadable::TooLong);
                    return Outcome::Unavailable { may_be_accepted: true, wait: None };
                }
                Err(Failure::Busy | Failure::Connect(_) | Failure::Origin) => None,
                Err(_) => {
                    may_be_accepted = true;
                    None
                }
            };
            let left = deadline.saturating_duration_since(clock::now());
            match schedule.next(clock::now(), random::random(), retry_after) {
                Some(wait) if wait + LEAST_TIME <= left => sleep(wait).await,
                _ => return Outcome::Unavailable { may_be_accepted, wait: retry_after },
            }
        }
    }

    fn accepted(&self, planned: &Planned, response: &HookResponse) -> Outcome {
        match answer::connect(content_type(response), &response.body) {
            Ok(accepted) => Outcome::Accepted(Box::new(accepted)),
            Err(error) => {
                self.unreadable(planned, error);
                Outcome::Unavailable { may_be_accepted: true, wait: None }
            }
        }
    }

    /// Refuses a client whose webhook does not answer: with 503, or by a close.
    async fn unavailable(
        &self,
        client: &Client,
        may_be_accepted: bool,
        wait: Option<Duration>,
    ) -> Result<(), Error> {
        self.metrics.closed();
        // A receiver that may have accepted the client gets its close.
        let state = match may_be_accepted {
            true => ClientState::connected(None, Map::new()),
            false => ClientState::refused(),
        };
        client.set_session(&state.object()).await?;
        if !client.awaits_answer() {
            return client.close((UNAVAILABLE, "webhook unavailable")).await;
        }
        let random = || random::random_range(Duration::from_secs(1)..=LONGEST_WAIT);
        let seconds = wait.map_or_else(random, |wait| wait.max(Duration::from_secs(1))).as_secs();
        let refusal = Refusal::new(503, "")
            .and_then(|refusal| refusal.with_header("Retry-After", seconds.to_string()));
        client.refuse(refusal?).await
    }
}

async fn accept(client: &Client, state: ClientState, accepted: Accepted) -> Result<(), Error> {
    let uid = accepted.uid.as_ref().map(ToString::to_string);
    let uid = uid.or_else(|| state.uid().map(str::to_owned));
    let session = match accepted.session.is_empty() {
        true => state.session,
        false => accepted.session.clone(),
    };
    let state = ClientState::connected(uid, session);
    if accepted.expires_at.is_some() {
        client.set_expiry(accepted.expires_at).await?;
    }
    if client.awaits_answer() {
        client.accept(accepted.grant()?.with_session(&state.object())?).await?;
    } else {
        if let Some(uid) = accepted.uid {
            client.bind_uid(uid).await?;
        }
        for group in accepted.groups {
            client.join_group(group).await?;
        }
        client.set_session(&state.object()).await?;
    }
    for message in accepted.send {
        client.send(message).await?;
    }
    Ok(())
}

/// Passes a refusal on to the client.
async fn refuse(client: &Client, response: &HookResponse) -> Result<(), Error> {
    client.set_session(&ClientState::refused().object()).await?;
    if client.awaits_answer() {
        return client.refuse(refusal(response)?).await;
    }
    let reason = answer::refusal(content_type(response), &response.body);
    client.close(Close::new(REFUSED, shortened(&reason))?).await
}

fn refusal(response: &HookResponse) -> Result<Refusal, InvalidAnswer> {
    let status = response.status.as_u16();
    let mut refusal = Refusal::new(status, response.body.clone()).or_else(|error| match error {
        InvalidAnswer::Body(_) => Refusal::new(status, ""),
        error => Err(error),
    })?;
    for name in PASSED_ON {
        if let Some(value) = response.header(name) {
            refusal = refusal.with_header(name, value)?;
        }
    }
    Ok(refusal)
}

/// The start of a text, as long as a reason may be.
pub(super) fn shortened(text: &str) -> &str {
    let end = (0..=LONGEST_REASON).rev().find(|end| text.is_char_boundary(*end));
    if text.len() <= LONGEST_REASON { text } else { &text[..end.unwrap_or_default()] }
}

pub(super) fn content_type(response: &HookResponse) -> &str {
    response.header("content-type").unwrap_or_default()
}
