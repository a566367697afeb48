//! Answers to handshakes, for the golden bytes.

use push_suite_protocol::{Grant, Refusal, Session};

pub(crate) fn grant() -> Box<Grant> {
    let grant = Grant::new().with_uid("ann").unwrap().with_group("r").unwrap();
    let session = Session::from_encoded(r#"{"a":1}"#.into()).unwrap();
    let grant = grant.with_encoded_session(session).with_subprotocol("v1").unwrap();
    grant.with_header("Set-Cookie", "s=1").unwrap().into()
}

pub(crate) fn refusal() -> Box<Refusal> {
    let refusal = Refusal::new(401, "sign in first").unwrap();
    refusal.with_header("WWW-Authenticate", "Bearer").unwrap().into()
}
