//! Limits of what a handshake is answered with.

use super::*;

fn is_reserved(name: &str) -> bool {
    matches!(ResponseHeader::new(name, "x"), Err(InvalidAnswer::Reserved(_)))
}

#[test]
fn header_is_a_token_and_a_value_in_one_line() {
    let header = ResponseHeader::new("Set-Cookie", " s=1; Secure\t").unwrap();
    assert_eq!((header.name(), header.value()), ("Set-Cookie", "s=1; Secure"));
    for name in ["", "X Space", "X:", "X\r\nY", "X-\u{e4}"] {
        assert!(matches!(ResponseHeader::new(name, "x"), Err(InvalidAnswer::HeaderName(_))));
    }
    for value in ["a\r\nX: b", "a\nb", "a\rb", "\0", "\u{7f}", "\u{85}"] {
        assert!(matches!(ResponseHeader::new("X", value), Err(InvalidAnswer::HeaderValue(_))));
    }
}

#[test]
fn header_of_the_handshake_is_reserved() {
    for name in ["upgrade", "CONNECTION", "Content-Length", "transfer-encoding"] {
        assert!(is_reserved(name), "{name}");
    }
    for name in ["Accept", "Protocol", "Extensions", "Anything"] {
        assert!(is_reserved(&format!("sec-websocket-{name}")), "{name}");
    }
    assert!(!is_reserved("Sec-WebSocket") && !is_reserved("WWW-Authenticate"));
}

#[test]
fn headers_of_an_answer_are_limited_in_number_and_length() {
    let mut grant = Grant::new();
    for _ in 0..MAX_HEADERS {
        grant = grant.with_header("X", "x").unwrap();
    }
    let error = grant.with_header("X", "x").unwrap_err();
    assert!(matches!(error, InvalidAnswer::TooManyHeaders(33)), "{error}");
    let refusal = Refusal::new(401, "").unwrap();
    let refusal = refusal.with_header("X", "x".repeat(MAX_HEADER_BYTES - 1)).unwrap();
    let error = refusal.with_header("X", "").unwrap_err();
    assert!(matches!(error, InvalidAnswer::HeadersTooLong(_)), "{error}");
}

#[test]
fn refusal_has_a_status_of_an_error_and_a_short_body() {
    for status in [400, 401, 403, 429, 503, 599] {
        assert_eq!(Refusal::new(status, "").unwrap().status(), status);
    }
    for status in [0, 100, 101, 200, 302, 399, 600, u16::MAX] {
        let error = Refusal::new(status, "").unwrap_err();
        assert!(matches!(error, InvalidAnswer::Status(it) if it == status), "{error}");
    }
    assert!(Refusal::new(401, "x".repeat(MAX_REFUSAL_BODY)).is_ok());
    let error = Refusal::new(401, "x".repeat(MAX_REFUSAL_BODY + 1)).unwrap_err();
    assert!(matches!(error, InvalidAnswer::Body(_)), "{error}");
}

#[test]
fn grant_is_limited_when_it_is_made() {
    let grant = Grant::new().with_uid(42).unwrap().with_group("lobby").unwrap();
    assert_eq!((grant.uid().unwrap().as_str(), grant.groups().len()), (Some("42"), 1));
    assert!(matches!(Grant::new().with_uid(""), Err(InvalidAnswer::Name(_))));
    assert!(matches!(Grant::new().with_session(&[1]), Err(InvalidAnswer::Session(_))));
    for name in ["", "a b", "a,b", "a\r\nX: y"] {
        let error = Grant::new().with_subprotocol(name).unwrap_err();
        assert!(matches!(error, InvalidAnswer::Subprotocol(_)), "{error}");
    }
    let groups = vec![Group::from(1); MAX_GRANTED_GROUPS];
    let full = Grant { groups, ..Grant::new() };
    let error = full.with_group("one-more").unwrap_err();
    assert!(matches!(error, InvalidAnswer::TooManyGroups(1001)), "{error}");
}

#[test]
fn invalid_answer_is_refused_when_it_is_decoded() {
    use serde_json::{from_value, json};
    let grant = |changes: serde_json::Value| {
        let mut all = json!({
            "uid": null, "groups": [], "session": null, "subprotocol": null, "headers": [],
        });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        from_value::<Grant>(all)
    };
    assert_eq!(grant(json!({})).unwrap(), Grant::new());
    assert!(grant(json!({ "headers": [["X-A", "b"]] })).is_ok());
    for wrong in [
        json!({ "headers": [["X-A", "b\r\nX-B: c"]] }),
        json!({ "headers": [["X A", "b"]] }),
        json!({ "headers": [["Connection", "b"]] }),
        json!({ "headers": vec![("X", "y"); MAX_HEADERS + 1] }),
        json!({ "subprotocol": "a, b" }),
        json!({ "groups": vec!["g"; MAX_GRANTED_GROUPS + 1] }),
        json!({ "groups": [""] }),
    ] {
        assert!(grant(wrong.clone()).is_err(), "{wrong}");
    }
}
