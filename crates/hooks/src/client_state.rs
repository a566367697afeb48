//! The session of a client, in which the app keeps what it has to know about the client: so any
//! worker continues with it.

use protocol::Session;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key of the app in a session.
const KEY: &str = "_webhook";

/// A client, as its session has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClientState {
    /// Whether `gw.connect` was sent, and with which outcome.
    pub(crate) connected: Option<Connected>,
    /// The session of the receiver, without that key.
    pub(crate) session: Map<String, Value>,
}

/// The outcome of `gw.connect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connected {
    /// Whether the client was refused: then it has no further events.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) refused: bool,
    /// The uid of the client at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl ClientState {
    /// Reads a session. One that is no JSON object, which another peer may have stored, is empty.
    pub(crate) fn of(session: &Session) -> Self {
        let mut session = session.decode().unwrap_or_default();
        let connected = session.remove(KEY).and_then(|value| serde_json::from_value(value).ok());
        Self { connected, session }
    }

    /// A client after `gw.connect`.
    pub(crate) const fn connected(uid: Option<String>, session: Map<String, Value>) -> Self {
        Self { connected: Some(Connected { refused: false, uid }), session }
    }

    /// A client that was refused.
    pub(crate) fn refused() -> Self {
        let connected = Some(Connected { refused: true, uid: None });
        Self { connected, session: Map::new() }
    }

    /// The uid of the client when it connected.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.connected.as_ref().and_then(|connected| connected.uid.as_deref())
    }

    /// The session to store, as an object.
    pub(crate) fn object(&self) -> Map<String, Value> {
        let mut object = self.session.clone();
        if let Some(connected) = &self.connected
            && let Ok(value) = serde_json::to_value(connected)
        {
            object.insert(KEY.to_owned(), value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(state: &ClientState) -> Session {
        Session::encode(&state.object()).unwrap()
    }

    #[test]
    fn state_is_read_as_it_was_stored_beside_the_session() {
        let Value::Object(session) = json!({"room": 1}) else { panic!() };
        for state in [
            ClientState::default(),
            ClientState::refused(),
            ClientState::connected(None, Map::new()),
            ClientState::connected(Some("u".to_owned()), session),
        ] {
            assert_eq!(ClientState::of(&encoded(&state)), state);
        }
        let empty = encoded(&ClientState::connected(None, Map::new()));
        assert!(!empty.is_empty(), "told apart from a client that is not connected yet");
        assert_eq!(empty.as_encoded(), &br#"{"_webhook":{}}"#.as_slice());
    }

    #[test]
    fn sessions_of_other_peers_are_read() {
        let session = Session::encode(&json!({"a": 1, "_webhook": 7})).unwrap();
        let state = ClientState::of(&session);
        assert_eq!((state.connected, state.session.len()), (None, 1));
        assert_eq!(ClientState::of(&Session::from_encoded("[]".into()).unwrap()).session.len(), 0);
    }
}
