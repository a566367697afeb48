//! The answer of a handler to a handshake that awaits one.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use protocol::{Command, Event, Grant, Handshake, InvalidAnswer, Refusal};
use push_suite_cluster::Error;
use runtime::random;

use crate::Client;

/// The longest random `Retry-After` of a handshake that is refused because its handler has failed.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A handshake that awaits an answer.
#[derive(Debug)]
pub(crate) struct PendingHandshake {
    /// The subprotocols that the client offers.
    offered: Vec<String>,
    answered: AtomicBool,
}

impl PendingHandshake {
    /// The handshake of an event, if it awaits an answer.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::WebSocketRequest(handshake) => {
                Some(Self { offered: offered(handshake), answered: AtomicBool::new(false) })
            }
            Event::Connect
            | Event::WebSocketConnect(_)
            | Event::Message(_)
            | Event::Close(_)
            | Event::Closed(_)
            | Event::Expiring { .. }
            | Event::Reassigned => None,
        }
    }
}

fn offered(handshake: &Handshake) -> Vec<String> {
    let headers = handshake.headers.iter();
    let lists = headers.filter(|it| it.name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"));
    let names = lists.filter_map(|header| std::str::from_utf8(&header.value).ok());
    names.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect()
}

impl Client {
    /// Accepts this client's handshake, in [`on_websocket_connect`], at a gateway with
    /// `--handshake-auth worker`. The client has its uid, groups and session before it receives the
    /// response, and before anything that is sent to them later is delivered; messages that are
    /// sent to it meanwhile follow the response.
    ///
    /// The first answer counts: after another one, this does nothing. So a handler that runs again
    /// can answer again.
    ///
    /// # Errors
    /// [`Error::NoHandshake`] if the event is no handshake, or its gateway does not wait for an
    /// answer. [`Error::Answer`] for a subprotocol that the client does not offer. Also those of
    /// [commands](Error#commands).
    ///
    /// [`on_websocket_connect`]: crate::Worker::on_websocket_connect
    pub async fn accept(&self, grant: Grant) -> Result<(), Error> {
        let handshake = self.handshake().ok_or(Error::NoHandshake)?;
        if let Some(name) = grant.subprotocol()
            && !handshake.offered.iter().any(|offered| offered == name)
        {
            return Err(InvalidAnswer::NotOffered(name.to_owned()).into());
        }
        if handshake.answered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let edit = match grant.session() {
            Some(session) => self.state().session_cache().set(session.clone()),
            None => 0,
        };
        let (client, grant) = (self.id().connection, Box::new(grant));
        self.answer(handshake, Command::AcceptHandshake { client, edit, grant }).await
    }

    /// Refuses this client's handshake, in [`on_websocket_connect`], at a gateway with
    /// `--handshake-auth worker`: `(401, "sign in first")` is a status and a body, a [`Refusal`] has
    /// headers as well. The connection is closed behind the response, and the next handler called
    /// for the client is [`on_close`](crate::Worker::on_close), with the reason `Handshake`.
    ///
    /// The first answer counts: after another one, this does nothing.
    ///
    /// # Errors
    /// [`Error::NoHandshake`] if the event is no handshake, or its gateway does not wait for an
    /// answer: the client is connected then, and can be [closed](Self::close).
    /// [`Error::Answer`] for a status that is not one of 400 to 599, or a body that is too long.
    /// Also those of [commands](Error#commands).
    ///
    /// [`on_websocket_connect`]: crate::Worker::on_websocket_connect
    pub async fn refuse(
        &self,
        refusal: impl TryInto<Refusal, Error: Into<Error>>,
    ) -> Result<(), Error> {
        let handshake = self.handshake().ok_or(Error::NoHandshake)?;
        let refusal = Box::new(refusal.try_into().map_err(Into::into)?);
        if handshake.answered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let client = self.id().connection;
        self.answer(handshake, Command::RefuseHandshake { client, refusal }).await
    }

    async fn answer(&self, handshake: &PendingHandshake, answer: Command) -> Result<(), Error> {
        self.send_command(answer).await?;
        // A handler that answers twice at once sends both; the gateway ignores the second.
        handshake.answered.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether this client's handshake awaits an answer: [`accept`](Self::accept) or
    /// [`refuse`](Self::refuse). Always `false` with `--handshake-auth none`.
    pub fn awaits_answer(&self) -> bool {
        self.handshake().is_some_and(|handshake| !handshake.answered.load(Ordering::Relaxed))
    }

    /// Answers a handshake that the handler has left unanswered: accepted, or refused with 503 if
    /// the handler has failed.
    pub(crate) async fn answer_for_handler(&self, has_failed: bool) {
        let answered = match has_failed {
            false => self.accept(Grant::new()).await,
            true => match unavailable() {
                Ok(refusal) => self.refuse(refusal).await,
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = answered {
            // Its link is lost: the event is redelivered. Or the deadline of the gateway decides.
            tracing::debug!(client = %self.id(), %error, "handshake not answered");
        }
    }
}

fn unavailable() -> Result<Refusal, InvalidAnswer> {
    let seconds = random::random_range(Duration::from_secs(1)..=LONGEST_WAIT).as_secs();
    Refusal::new(503, "")?.with_header("Retry-After", seconds.to_string())
}

#[cfg(test)]
mod tests {
    use protocol::event::Header;

    use super::*;
    use crate::testing::TestCluster;

    fn handshake() -> Handshake {
        let header = |name: &str, value: &[u8]| Header { name: name.into(), value: value.into() };
        let headers = vec![
            header("Sec-WebSocket-Protocol", b"v1, v2"),
            header("sec-websocket-protocol", b"v3"),
        ];
        Handshake { target: "/".to_owned(), headers }
    }

    #[tokio::test]
    async fn grant_takes_effect_and_the_first_answer_counts() {
        let cluster = TestCluster::start();
        let client = cluster.client_with_handshake(&handshake());
        assert!(client.awaits_answer());
        let grant = Grant::new().with_uid(7).unwrap().with_group("lobby").unwrap();
        let grant = grant.with_session(&serde_json::json!({"a": 1})).unwrap();
        client.accept(grant.with_subprotocol("v3").unwrap()).await.unwrap();
        assert!(!client.awaits_answer());
        client.refuse((401, "no")).await.unwrap();
        client.accept(Grant::new().with_uid(8).unwrap()).await.unwrap();
        assert_eq!(cluster.uid(client.id()), Some(7.into()));
        assert_eq!(cluster.groups(client.id()), ["lobby".try_into().unwrap()]);
        assert_eq!(cluster.grant(client.id()).unwrap().subprotocol(), Some("v3"));
        assert_eq!((cluster.refusal(client.id()), cluster.is_closed(client.id())), (None, false));
        let session: serde_json::Map<_, _> = client.session().unwrap().unwrap();
        assert_eq!(session["a"], 1, "of the same event as well");
    }

    #[tokio::test]
    async fn refusal_closes_the_client() {
        let cluster = TestCluster::start();
        let client = cluster.client_with_handshake(&handshake());
        client.refuse((403, "not you")).await.unwrap();
        assert!(cluster.is_closed(client.id()) && !client.awaits_answer());
        let refusal = cluster.refusal(client.id()).unwrap();
        assert_eq!((refusal.status(), &refusal.body()[..]), (403, &b"not you"[..]));
    }

    #[tokio::test]
    async fn invalid_answer_is_a_typed_error_and_no_answer() {
        let cluster = TestCluster::start();
        let client = cluster.client_with_handshake(&handshake());
        let grant = Grant::new().with_subprotocol("V1").unwrap();
        let error = client.accept(grant).await.unwrap_err();
        assert!(matches!(error, Error::Answer(InvalidAnswer::NotOffered(_))), "{error}");
        let error = client.refuse((200, "")).await.unwrap_err();
        assert!(matches!(error, Error::Answer(InvalidAnswer::Status(200))), "{error}");
        assert!(client.awaits_answer());
    }

    #[tokio::test]
    async fn event_that_awaits_no_answer_is_a_typed_error() {
        let cluster = TestCluster::start();
        let client = cluster.client();
        assert!(!client.awaits_answer());
        let error = client.accept(Grant::new()).await.unwrap_err();
        assert!(matches!(error, Error::NoHandshake) && !error.is_retryable(), "{error}");
        let error = client.refuse((401, "")).await.unwrap_err();
        assert!(matches!(error, Error::NoHandshake), "{error}");
        assert!(!cluster.is_closed(client.id()));
    }
}
