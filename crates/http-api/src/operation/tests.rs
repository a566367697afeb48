//! Commands as JSON, and the rights that they require.

use serde_json::{from_value, json};

use super::*;
use crate::keys::{Caller, Scope};

fn command(value: Value) -> Result<Operation, String> {
    from_value(value).map_err(|error| error.to_string())
}

const CLIENT: &str = "7f0000010b5400000001";

#[test]
fn every_command_is_read_by_its_name_and_requires_its_scope() {
    let cases = [
        (json!({"op": "send", "to": {"all": true}, "data": null}), Scope::Push),
        (json!({"op": "close", "client": CLIENT, "code": 4001}), Scope::Manage),
        (json!({"op": "close_uid", "uid": 7, "message": {"text": "bye"}}), Scope::Manage),
        (json!({"op": "set_session", "client": CLIENT, "session": {}}), Scope::Manage),
        (json!({"op": "update_session", "client": CLIENT, "session": {"a": 1}}), Scope::Manage),
        (json!({"op": "remove_session_keys", "client": CLIENT, "keys": ["a"]}), Scope::Manage),
        (
            json!({"op": "swap_session", "client": CLIENT, "expected": {}, "session": {}}),
            Scope::Manage,
        ),
        (json!({"op": "bind_uid", "client": CLIENT, "uid": {"base64": "/w=="}}), Scope::Manage),
        (json!({"op": "unbind_uid", "client": CLIENT}), Scope::Manage),
        (json!({"op": "join", "client": CLIENT, "group": "a"}), Scope::Manage),
        (json!({"op": "leave", "client": CLIENT, "group": "a"}), Scope::Manage),
        (json!({"op": "join_uid", "uid": "u", "group": "a"}), Scope::Manage),
        (json!({"op": "leave_uid", "uid": "u", "group": "a"}), Scope::Manage),
        (json!({"op": "ungroup", "group": "a"}), Scope::Manage),
        (json!({"op": "revoke", "uids": ["u"]}), Scope::Admin),
    ];
    for (value, scope) in cases {
        let command = command(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(command.scope(), scope, "{value}");
        command.check(&Caller::unrestricted()).unwrap();
    }
}

#[test]
fn unknown_command_field_or_recipient_is_refused() {
    let cases = [
        (json!({"op": "fly"}), "unknown variant `fly`"),
        (json!({"to": {"all": true}}), "missing field `op`"),
        (json!({"op": "ungroup", "group": "a", "uid": 3}), "unknown field `uid`"),
        (json!({"op": "send", "to": {"all": false}, "text": ""}), "must be true"),
        (json!({"op": "send", "to": {"all": true, "uids": []}, "text": ""}), "a single key"),
        (json!({"op": "send", "to": {"everyone": true}, "text": ""}), "unknown variant"),
        (json!({"op": "send", "text": ""}), "missing field `to`"),
        (json!({"op": "close", "client": "xyz"}), "20 or 44 hex digits"),
    ];
    for (value, expected) in cases {
        let error = command(value.clone()).unwrap_err();
        assert!(error.contains(expected), "{value}: {error}");
    }
}

#[test]
fn content_is_one_of_three_and_keeps_its_kind() {
    let message = |value: Value| from_value::<Content>(value).unwrap().message();
    let body = |value| message(value).unwrap().unwrap();
    assert_eq!(body(json!({"data": null})).as_text(), Some("null"));
    assert_eq!(body(json!({"data": {"b": 1, "a": [2]}})).as_text(), Some("{\"b\":1,\"a\":[2]}"));
    assert_eq!(body(json!({"text": "hi", "uncompressed": true})), {
        push_suite_cluster::Message::text("hi").uncompressed()
    });
    assert_eq!(body(json!({"base64": "/wA="})), vec![0xff, 0].into());
    assert_eq!(body(json!({"base64": "aGk=", "binary": false})).as_text(), Some("hi"));
    assert_eq!(body(json!({"text": "hi", "binary": true})), b"hi".to_vec().into());
    assert_eq!(message(json!({})).unwrap(), None);
    for wrong in [
        json!({"text": "a", "data": 1}),
        json!({"base64": "!"}),
        json!({"base64": "/w==", "binary": false}),
    ] {
        assert_eq!(message(wrong.clone()).unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}
