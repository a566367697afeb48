//! Messages to clients, as bytes of JSON.
//!
//! `data` is a string that contains JSON, except in [`error`], where it is an object.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

/// Escapes a text as a JSON string, with its quotes.
pub(crate) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// A message without a channel.
fn message(event: &str, data: &str) -> String {
    format!(r#"{{"event":{},"data":{}}}"#, string(event), string(data))
}

/// An event of a channel that a back end has published: `data` as it is.
#[must_use]
pub fn event(name: &str, channel: &str, data: &str) -> String {
    format!(r#"{{"event":{},"channel":{},"data":{}}}"#, string(name), string(channel), string(data))
}

/// An event of a channel that a client has sent: `data` is JSON as the client has written it.
/// `user` is the id of the sender, on presence channels.
#[must_use]
pub fn client_event(name: &str, channel: &str, data: &str, user: Option<&str>) -> String {
    let mut message =
        format!(r#"{{"event":{},"channel":{},"data":{data}"#, string(name), string(channel));
    if let Some(user) = user {
        // Writing to a string does not fail.
        let _ = write!(message, r#","user_id":{}"#, string(user));
    }
    message.push('}');
    message
}

/// The first message of every connection.
#[must_use]
pub fn connection_established(socket_id: &str, activity_timeout: u32) -> String {
    let data =
        format!(r#"{{"socket_id":{},"activity_timeout":{activity_timeout}}}"#, string(socket_id));
    message("pusher:connection_established", &data)
}

/// The answer to a ping.
#[must_use]
pub fn pong() -> String {
    message("pusher:pong", "{}")
}

/// An error. Without a code it states the fault of one message, and nothing ends.
#[must_use]
pub fn error(code: Option<u16>, text: &str) -> String {
    let code = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{}}}}}"#, string(text))
}

/// A subscription that is accepted, except on a presence channel, where it contains the members.
#[must_use]
pub fn subscription_succeeded(channel: &str) -> String {
    event("pusher_internal:subscription_succeeded", channel, "{}")
}

/// A subscription that is refused.
#[must_use]
pub fn subscription_error(channel: &str, kind: &str, error: &str, status: u16) -> String {
    let data =
        format!(r#"{{"type":{},"error":{},"status":{status}}}"#, string(kind), string(error));
    event("pusher:subscription_error", channel, &data)
}

/// No event is cached for the channel.
#[must_use]
pub fn cache_miss(channel: &str) -> String {
    event("pusher:cache_miss", channel, "{}")
}

/// The number of subscribers of a channel.
#[must_use]
pub fn subscription_count(channel: &str, count: u64) -> String {
    let data = format!(r#"{{"subscription_count":{count}}}"#);
    event("pusher_internal:subscription_count", channel, &data)
}

/// The client is signed in; `user_data` is the string that it has sent.
#[must_use]
pub fn signin_success(user_data: &str) -> String {
    let data = format!(r#"{{"user_data":{}}}"#, string(user_data));
    message("pusher:signin_success", &data)
}

/// Users of the client's watchlist that are online or offline.
#[must_use]
pub fn watchlist_events(online: &[impl Serialize], offline: &[impl Serialize]) -> String {
    let mut events = Vec::new();
    if !online.is_empty() {
        events.push(json!({"name": "online", "user_ids": online}));
    }
    if !offline.is_empty() {
        events.push(json!({"name": "offline", "user_ids": offline}));
    }
    message("pusher_internal:watchlist_events", &json!({"events": events}).to_string())
}

/// A user has become a member of a presence channel. `user_info` is JSON.
#[must_use]
pub fn member_added(channel: &str, user: &str, user_info: &str) -> String {
    let data = format!(r#"{{"user_id":{},"user_info":{user_info}}}"#, string(user));
    event("pusher_internal:member_added", channel, &data)
}

/// A user is no longer a member of a presence channel.
#[must_use]
pub fn member_removed(channel: &str, user: &str) -> String {
    let data = format!(r#"{{"user_id":{}}}"#, string(user));
    event("pusher_internal:member_removed", channel, &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_exact_bytes() {
        for (message, expected) in [
            (
                connection_established("12.34", 120),
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":120}"}"#,
            ),
            (pong(), r#"{"event":"pusher:pong","data":"{}"}"#),
            (
                error(None, "a \"quote\""),
                r#"{"event":"pusher:error","data":{"code":null,"message":"a \"quote\""}}"#,
            ),
            (
                error(Some(4301), "too fast"),
                r#"{"event":"pusher:error","data":{"code":4301,"message":"too fast"}}"#,
            ),
            (
                subscription_succeeded("a"),
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{}"}"#,
            ),
            (
                subscription_error("private-a", "AuthError", "no", 401),
                r#"{"event":"pusher:subscription_error","channel":"private-a","data":"{\"type\":\"AuthError\",\"error\":\"no\",\"status\":401}"}"#,
            ),
            (
                cache_miss("cache-a"),
                r#"{"event":"pusher:cache_miss","channel":"cache-a","data":"{}"}"#,
            ),
            (
                subscription_count("a", 3),
                r#"{"event":"pusher_internal:subscription_count","channel":"a","data":"{\"subscription_count\":3}"}"#,
            ),
            (
                signin_success(r#"{"id":"1"}"#),
                r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"1\\\"}\"}"}"#,
            ),
            (
                watchlist_events(&["1"], &["2", "3"]),
                r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"1\"]},{\"name\":\"offline\",\"user_ids\":[\"2\",\"3\"]}]}"}"#,
            ),
            (
                member_added("presence-a", "7", r#"{"n":1}"#),
                r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"7\",\"user_info\":{\"n\":1}}"}"#,
            ),
            (
                member_removed("presence-a", "7"),
                r#"{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"7\"}"}"#,
            ),
        ] {
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn data_of_an_event_is_passed_on_unchanged() {
        assert_eq!(event("e", "a", "not JSON"), r#"{"event":"e","channel":"a","data":"not JSON"}"#);
        let relayed = client_event("client-e", "private-a", r#"{ "x" : 1.0 }"#, None);
        assert_eq!(relayed, r#"{"event":"client-e","channel":"private-a","data":{ "x" : 1.0 }}"#);
        let relayed = client_event("client-e", "presence-a", r#""s""#, Some("7"));
        let expected = r#"{"event":"client-e","channel":"presence-a","data":"s","user_id":"7"}"#;
        assert_eq!(relayed, expected);
    }
}
