//! Tests of the parser: what clients send, and what they must not.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<ClientMessage<'_>, Fault> {
    ClientMessage::parse(text.as_bytes())
}

#[test]
fn data_of_a_protocol_event_is_an_object_or_a_text_that_contains_one() {
    for text in [
        r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":""}}"#,
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"a\",\"auth\":\"\"}"}"#,
        r#"{"data":{"auth":"","channel":"a","more":1},"more":{},"event":"pusher:subscribe"}"#,
        r#"{"event":"pusher\u003asubscribe","data":{"channel":"\u0061","auth":""}}"#,
    ] {
        let Ok(ClientMessage::Subscribe(subscribe)) = parse(text) else { panic!("{text}") };
        assert_eq!((&*subscribe.channel, subscribe.auth.as_deref()), ("a", Some("")), "{text}");
        assert_eq!(subscribe.channel_data, None);
    }
    let text = r#"{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{}"}}"#;
    let Ok(ClientMessage::SignIn(SignIn { auth, user_data })) = parse(text) else { panic!() };
    assert_eq!((&*auth, &*user_data), ("k:s", "{}"));
    let text = r#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#;
    assert!(matches!(parse(text), Ok(ClientMessage::Unsubscribe(it)) if it.channel == "a"));
}

#[test]
fn ping_and_pong_have_any_data_or_none() {
    for data in ["", r#","data":{}"#, r#","data":"""#, r#","data":null"#, r#","data":"{}""#] {
        let ping = format!(r#"{{"event":"pusher:ping"{data}}}"#);
        assert!(matches!(parse(&ping), Ok(ClientMessage::Ping)), "{ping}");
        let pong = format!(r#"{{"event":"pusher:pong"{data}}}"#);
        assert!(matches!(parse(&pong), Ok(ClientMessage::Pong)), "{pong}");
    }
}

#[test]
fn data_of_a_client_event_stays_as_it_was_written() {
    for data in [r#"{ "b":1.0, "a":"\u00e9" }"#, r#""text""#, "[]", "1e2", "null"] {
        let text = format!(r#"{{"event":"client-e","channel":"private-a","data":{data}}}"#);
        let Ok(ClientMessage::ClientEvent(event)) = parse(&text) else { panic!("{text}") };
        assert_eq!((&*event.name, &*event.channel), ("client-e", "private-a"));
        assert_eq!(event.data, data);
    }
    let text = r#"{"event":"client-e","channel":"private-a"}"#;
    assert!(matches!(parse(text), Ok(ClientMessage::ClientEvent(it)) if it.data == "null"));
}

/// Twenty messages that are none of the protocol, each with a part of its fault.
const MALFORMED: [(&str, &str); 20] = [
    ("", "not a JSON object"),
    ("hello", "not a JSON object"),
    ("{", "not a JSON object"),
    ("[]", "not a JSON object"),
    ("null", "not a JSON object"),
    ("{}", "missing field `event`"),
    (r#"{"event":7}"#, "not a JSON object"),
    (r#"{"event":null}"#, "not a JSON object"),
    (r#"{"event":"pusher:ping"}x"#, "trailing characters"),
    (r#"{"event":"pusher:ping","event":"pusher:ping"}"#, "duplicate field"),
    (r#"{"event":"client-e","channel":7}"#, "not a JSON object"),
    (r#"{"event":"client-e","data":{}}"#, "\"channel\""),
    (r#"{"event":"client-e","channel":"a","data":{]}"#, "not a JSON object"),
    (r#"{"event":"pusher:subscribe"}"#, "pusher:subscribe is invalid"),
    (r#"{"event":"pusher:subscribe","data":{}}"#, "missing field `channel`"),
    (r#"{"event":"pusher:subscribe","data":"{"}"#, "pusher:subscribe is invalid"),
    (r#"{"event":"pusher:subscribe","data":{"channel":["a"]}}"#, "invalid type"),
    (r#"{"event":"pusher:signin","data":{"auth":"a"}}"#, "missing field `user_data`"),
    (r#"{"event":"pusher:unsubscribe","data":[]}"#, "pusher:unsubscribe is invalid"),
    (r#"{"event":"pusher:connection_established","data":"{}"}"#, "do not send"),
];

#[test]
fn malformed_message_is_a_fault_that_says_what_is_wrong() {
    for (text, part) in MALFORMED {
        let fault = parse(text).unwrap_err().to_string();
        assert!(fault.contains(part), "{text}: {fault}");
    }
    let long = format!(r#"{{"event":"client-{}","channel":"a"}}"#, "é".repeat(194));
    assert!(matches!(parse(&long), Err(Fault::LongName)));
    assert!(ClientMessage::parse(b"{\"event\":\"\xff\"}").is_err());
}

#[test]
fn fault_repeats_a_bounded_part_of_the_message() {
    for text in [
        format!(r#"{{"event":"{}"}}"#, "é".repeat(100_000)),
        format!(r#"{{"event":"pusher:subscribe","data":{}}}"#, "[".repeat(100_000)),
        format!(r#"{{"event":"pusher:subscribe","data":"{}"}}"#, "[".repeat(100_000)),
        format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":{{"{}":1}}}}}}"#,
            "x".repeat(9999)
        ),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        format!("\"{}\"", "é".repeat(100_000)),
        format!(r#"{{"event":"pusher:subscribe","data":"\"{}\""}}"#, "é".repeat(100_000)),
        format!(r#"{{"event":"{}","channel":7}}"#, "x".repeat(100_000)),
    ] {
        let fault = parse(&text).unwrap_err().to_string();
        assert!(fault.len() < 500, "{} bytes", fault.len());
    }
}

proptest! {
    #[test]
    fn random_bytes_are_no_panic(bytes: Vec<u8>) {
        let _ = ClientMessage::parse(&bytes);
    }

    #[test]
    fn random_event_is_no_panic(event: String, channel: String, data: String) {
        let value = serde_json::json!({"event": event, "channel": channel, "data": data});
        let _ = parse(&value.to_string());
    }
}
