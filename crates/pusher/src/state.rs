//! The state of a connection: its session, which its gateway keeps, so that any worker continues it.

use std::{collections::BTreeMap, ops::Not};

use protocol::{ClientId, Session};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{Channel, SocketId, SocketIds, UserId, client_message::short};

/// The keys of channels begin with this.
const CHANNEL: &str = "c:";

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Facts since it was opened.
    pub opened: Opened,
    /// The user that it is signed in as.
    pub user: Option<SignedIn>,
    /// Whether it is signed in, or was subscribed to a channel that needs a signature.
    pub is_authorized: bool,
    /// Its channels, on presence channels with the user that it is a member as.
    pub channels: BTreeMap<String, Option<UserId>>,
}

/// The facts of a connection that stand since it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    /// The id of its app.
    pub app: String,
    /// The random part of its socket id.
    pub random: u64,
    /// When it has to be authorized, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// Whether the client expects the code of a close as an event before it as well.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub error_events: bool,
}

/// The user that a connection is signed in as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    /// The id.
    pub id: UserId,
    /// Information on the user as JSON, for presence channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
}

impl State {
    /// Reads a session; `None` if it is not one of this protocol.
    pub(crate) fn read(session: &Session) -> Option<Self> {
        let mut fields = session.decode().ok().filter(|fields| !fields.is_empty())?;
        let user = fields.remove("user").map(serde_json::from_value).transpose().ok()?;
        let is_authorized = fields.remove("authorized").is_some();
        let (channels, opened): (Map<_, _>, Map<_, _>) =
            fields.into_iter().partition(|(key, _)| key.starts_with(CHANNEL));
        let opened = serde_json::from_value(Value::Object(opened)).ok()?;
        let channel = |(key, member): (String, Value)| {
            let member = member.as_str().and_then(|id| UserId::parse(id).ok());
            Some((key.strip_prefix(CHANNEL)?.to_owned(), member))
        };
        let channels = channels.into_iter().filter_map(channel).collect();
        Some(Self { opened, user, is_authorized, channels })
    }

    /// The socket id.
    pub(crate) fn socket_id(&self, ids: &SocketIds, client: ClientId) -> SocketId {
        ids.encode(client, self.opened.random)
    }

    /// Whether it should have been authorized by now, in seconds since 1970, and is not.
    pub(crate) fn is_overdue(&self, now: u64) -> bool {
        !self.is_authorized && self.opened.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether it is subscribed to a channel.
    pub(crate) fn has(&self, channel: &str) -> bool {
        self.channels.contains_key(channel)
    }
}

/// The key of a channel in a session.
pub(crate) fn channel_key(channel: &Channel) -> String {
    format!("{CHANNEL}{channel}")
}

/// The changes of a session with a new channel.
pub(crate) fn with_channel(channel: &Channel, member: Option<&UserId>) -> Map<String, Value> {
    let member = member.map_or(Value::from(1), |id| id.as_str().into());
    let mut changes = Map::from_iter([(channel_key(channel), member)]);
    if channel.needs_signature() {
        changes.insert("authorized".to_owned(), 1.into());
    }
    changes
}

/// The changes of a session that is signed in.
///
/// # Errors
/// If the user cannot be written as JSON.
pub(crate) fn with_user(user: &SignedIn) -> Result<Map<String, Value>, serde_json::Error> {
    let user = serde_json::to_value(user)?;
    Ok(Map::from_iter([("user".to_owned(), user), ("authorized".to_owned(), 1.into())]))
}

/// The member that a subscription to a presence channel names.
#[derive(Debug)]
pub(crate) struct NamedMember {
    /// The user.
    pub id: UserId,
    /// Information on it, as JSON.
    pub info: String,
}

impl NamedMember {
    /// The user that a connection is signed in as.
    pub(crate) fn of(user: &SignedIn) -> Self {
        let info = user.info.clone().unwrap_or_else(|| "null".to_owned());
        Self { id: user.id.clone(), info }
    }

    /// Reads `channel_data`: `user_id`, a text or a number, and `user_info`, anything or nothing.
    ///
    /// # Errors
    /// Names the fault.
    pub(crate) fn parse(channel_data: &str, max_info: usize) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Data<'a> {
            user_id: Value,
            #[serde(borrow)]
            user_info: Option<&'a RawValue>,
        }
        let data: Data<'_> = serde_json::from_str(channel_data)
            .map_err(|fault| format!("channel_data is invalid: {}", short(&fault)))?;
        let id = match &data.user_id {
            Value::String(id) => id.clone(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            _ => return Err("user_id is neither a text nor an integer".to_owned()),
        };
        let id = UserId::parse(&id).map_err(|fault| fault.to_string())?;
        let info = info(data.user_info.map(RawValue::get), max_info)?;
        Ok(Self { id, info: info.unwrap_or_else(|| "null".to_owned()) })
    }
}

/// The user that a sign-in names, and its watchlist.
#[derive(Debug)]
pub(crate) struct NamedUser {
    /// The user.
    pub user: SignedIn,
    /// The users whose presence the client follows, without duplicates.
    pub watchlist: Vec<UserId>,
    /// Whether the watchlist was longer than it may be.
    pub is_cut: bool,
}

/// The longest watchlist.
pub(crate) const MAX_WATCHLIST: usize = 100;

impl NamedUser {
    /// Reads `user_data`: `id`, a text; `user_info`, anything or nothing; `watchlist`, a list of ids
    /// or nothing.
    ///
    /// # Errors
    /// Names the fault.
    pub(crate) fn parse(user_data: &str, max_info: usize) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Data<'a> {
            id: UserId,
            #[serde(borrow)]
            user_info: Option<&'a RawValue>,
            watchlist: Option<Vec<UserId>>,
        }
        let data: Data<'_> = serde_json::from_str(user_data)
            .map_err(|fault| format!("user_data is invalid: {}", short(&fault)))?;
        let info = info(data.user_info.map(RawValue::get), max_info)?;
        let given = data.watchlist.unwrap_or_default();
        let is_cut = MAX_WATCHLIST < given.len();
        let mut watchlist: Vec<UserId> = given.into_iter().take(MAX_WATCHLIST).collect();
        watchlist.sort_unstable();
        watchlist.dedup();
        Ok(Self { user: SignedIn { id: data.id, info }, watchlist, is_cut })
    }
}

fn info(given: Option<&str>, max: usize) -> Result<Option<String>, String> {
    match given {
        Some(long) if max < long.len() => {
            Err(format!("user_info has {} bytes, the maximum is {max}", long.len()))
        }
        other => Ok(other.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    #[test]
    fn state_is_read_as_it_was_written() {
        let start = Opened {
            app: "1".into(),
            random: (1 << 53) - 1,
            deadline: Some(7),
            error_events: true,
        };
        let mut session = Session::encode(&start).unwrap();
        let state = State::read(&session).unwrap();
        assert_eq!((&state.opened, state.is_authorized, &state.user), (&start, false, &None));
        let public = Channel::parse("user").unwrap();
        let presence = Channel::parse("presence-a").unwrap();
        let merge = |session: &mut Session, changes: Map<String, Value>| {
            session.merge(&Session::encode(&changes).unwrap()).unwrap();
        };
        merge(&mut session, with_channel(&public, None));
        let state = State::read(&session).unwrap();
        assert!(state.has("user") && !state.has("presence-a") && !state.is_authorized);
        merge(&mut session, with_channel(&presence, Some(&user("10"))));
        let signed_in = SignedIn { id: user("5"), info: Some("[1.0]".into()) };
        merge(&mut session, with_user(&signed_in).unwrap());
        let state = State::read(&session).unwrap();
        assert_eq!((state.user, state.is_authorized), (Some(signed_in), true));
        let expected = [("presence-a".to_owned(), Some(user("10"))), ("user".to_owned(), None)];
        assert_eq!(state.channels, BTreeMap::from(expected));
        session.remove(&[channel_key(&public)]).unwrap();
        assert!(!State::read(&session).unwrap().has("user"));
    }

    #[test]
    fn foreign_session_is_no_state() {
        for session in [json(r#"{"name":"ann"}"#), Session::default(), json("[]"), json("{")] {
            assert_eq!(State::read(&session), None);
        }
    }

    fn json(text: &str) -> Session {
        Session::from_encoded(text.as_bytes().to_vec().into()).unwrap()
    }

    #[test]
    fn largest_state_is_a_session() {
        let mut fields = Map::new();
        for number in 0..1000 {
            let channel = Channel::parse(&format!("presence-{number:0155}")).unwrap();
            fields.extend(with_channel(&channel, None));
        }
        let info = Some("\"".repeat(8 << 10));
        fields.extend(with_user(&SignedIn { id: user("5"), info }).unwrap());
        assert!(Session::encode(&fields).is_ok());
    }

    #[test]
    fn number_as_user_id_becomes_its_digits() {
        let member = |data| NamedMember::parse(data, 20).map(|it| (it.id.to_string(), it.info));
        let expected = |id: &str, info: &str| Ok((id.to_owned(), info.to_owned()));
        assert_eq!(member(r#"{"user_id":10}"#), expected("10", "null"));
        assert_eq!(
            member(r#"{"user_id":"10","user_info":{ "n":1.0 }}"#),
            expected("10", "{ \"n\":1.0 }")
        );
        let huge = r#"{"user_id":18446744073709551615}"#;
        assert_eq!(member(huge), expected("18446744073709551615", "null"));
        for (data, fault) in [
            ("", "channel_data is invalid"),
            ("[]", "channel_data is invalid"),
            ("{}", "missing field `user_id`"),
            (r#"{"user_id":""}"#, "empty"),
            (r#"{"user_id":null}"#, "neither"),
            (r#"{"user_id":1.5}"#, "neither"),
            (r#"{"user_id":{"a":1}}"#, "neither"),
            (
                r#"{"user_id":"1","user_info":"12345678901234567890"}"#,
                "22 bytes, the maximum is 20",
            ),
        ] {
            assert!(member(data).unwrap_err().contains(fault), "{data}");
        }
    }

    #[test]
    fn error_repeats_a_bounded_part_of_the_data() {
        let long = format!("\"{}\"", "é".repeat(100_000));
        assert!(NamedMember::parse(&long, 20).unwrap_err().len() < 300);
        assert!(NamedUser::parse(&long, 20).unwrap_err().len() < 300);
        let id = format!(r#"{{"id":"{}"}}"#, "x".repeat(100_000));
        assert!(NamedUser::parse(&id, 20).unwrap_err().len() < 300);
    }

    #[test]
    fn watchlist_is_cut_and_without_duplicates() {
        let parsed = NamedUser::parse(r#"{"id":"1","watchlist":["b","a","b"]}"#, 20).unwrap();
        assert_eq!((parsed.watchlist, parsed.is_cut), (vec![user("a"), user("b")], false));
        let ids: Vec<_> = (0..101).map(|id| id.to_string()).collect();
        let data = serde_json::json!({"id": "1", "watchlist": ids}).to_string();
        let parsed = NamedUser::parse(&data, 20).unwrap();
        assert_eq!((parsed.watchlist.len(), parsed.is_cut), (100, true));
        for data in ["{}", r#"{"id":1}"#, r#"{"id":""}"#, r#"{"id":"1","watchlist":[1]}"#] {
            assert!(NamedUser::parse(data, 20).unwrap_err().contains("user_data"), "{data}");
        }
    }
}
