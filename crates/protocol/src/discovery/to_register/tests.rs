//! Parsing and encoding of the lines that peers send to a register.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<ToRegister, RequestParseError> {
    ToRegister::parse(text.as_bytes())
}

fn gateway(text: &str) -> GatewayConnect {
    match parse(text) {
        Ok(ToRegister::GatewayConnect(gateway)) => gateway,
        other => panic!("{text}: {other:?}"),
    }
}

fn worker_connect(secret_key: Option<Secret>) -> WorkerConnect {
    WorkerConnect {
        secret_key,
        known: vec![],
        instance: None,
        settled: vec![],
        takeovers: vec![],
        complete: false,
        about: false,
    }
}

fn worker(text: &str) -> WorkerConnect {
    match parse(text) {
        Ok(ToRegister::WorkerConnect(worker)) => worker,
        other => panic!("{text}: {other:?}"),
    }
}

fn line(message: &ToRegister) -> String {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn lines_of_php_peers_are_parsed() {
    let message = gateway(
        r#"{"event":"gateway_connect", "address":"127.0.0.1:2900", "secret_key":"s3cret"}"#,
    );
    assert_eq!(message.gateway, Gateway::plain("127.0.0.1:2900".to_owned()));
    assert!(message.secret_key.unwrap().matches(b"s3cret"));
    let message = worker(r#"{"event":"worker_connect","secret_key":""}"#);
    assert!(message.secret_key.unwrap().is_empty());
    assert!(message.known.is_empty());
    assert!(matches!(parse(r#"{"event":"ping"}"#), Ok(ToRegister::Ping { answer: false })));
}

#[test]
fn field_order_unknown_fields_and_whitespace_are_ignored() {
    let message = worker(
        " {\"x\":[{\"y\":1e999}], \"secret_key\" :\"k\",\t\"event\":\"ping\",\
         \"event\":\"worker_connect\", \"known\":[\"a\",3,null,[\"b\"]]} ",
    );
    assert!(message.secret_key.unwrap().matches(b"k"));
    assert_eq!(message.known, ["a"]);
}

#[test]
fn missing_secret_is_empty_and_non_string_secret_is_invalid() {
    for text in ["", r#","secret_key":null"#] {
        let message = worker(&format!(r#"{{"event":"worker_connect"{text}}}"#));
        assert!(message.secret_key.unwrap().is_empty(), "{text}");
    }
    for text in ["0", "123", "true", "false", "[]", "{}", "1.5"] {
        let message = worker(&format!(r#"{{"event":"worker_connect","secret_key":{text}}}"#));
        assert!(message.secret_key.is_none(), "{text}");
    }
}

#[test]
fn event_that_is_empty_in_php_is_not_a_request() {
    for event in ["null", "false", "0", "0.0", "-0.0", r#""""#, r#""0""#, "[]", "{}"] {
        let text = format!(r#"{{"event":{event}}}"#);
        assert_eq!(parse(&text).unwrap_err(), RequestParseError::NotARequest, "{text}");
    }
    for text in ["", "hello", "{}", "123", "[]", "null", "true", "\"event\"", "[{}]", "{]"] {
        assert_eq!(parse(text).unwrap_err(), RequestParseError::NotARequest, "{text}");
    }
    let text = r#"{"event":"ping"} x"#;
    assert_eq!(parse(text).unwrap_err(), RequestParseError::NotARequest, "{text}");
    let not_utf8 = b"{\"event\":\"ping\",\"x\":\"\xff\"}";
    assert_eq!(ToRegister::parse(not_utf8).unwrap_err(), RequestParseError::NotARequest);
}

#[test]
fn unsupported_event_is_unknown() {
    for event in ["\"x\"", "\"PING\"", "1", "true", "[0]", r#"{"a":0}"#, "\"0.0\""] {
        let text = format!(r#"{{"event":{event}}}"#);
        assert_eq!(parse(&text).unwrap_err(), RequestParseError::UnknownEvent, "{text}");
    }
}

#[test]
fn gateway_without_a_valid_address_is_rejected() {
    let long = format!("\"{}\"", "a".repeat(MAX_NAME + 1));
    for address in ["null", "\"\"", "\"0\"", "0", "7", "[\"a\"]", "{}", "true", "\"a:+1\"", &long] {
        let text = format!(r#"{{"event":"gateway_connect","address":{address}}}"#);
        assert_eq!(parse(&text).unwrap_err(), RequestParseError::NoAddress, "{text}");
    }
}

#[test]
fn native_fields_are_parsed() {
    let message =
        gateway(r#"{"event":"gateway_connect","address":"[::1]:1","native":true,"instance":"9f"}"#);
    assert!(message.gateway.native);
    assert_eq!(message.gateway.instance, Some(InstanceId::new("9f").unwrap()));
    let message =
        gateway(r#"{"event":"gateway_connect","address":"a:1","native":"yes","instance":7}"#);
    assert_eq!(message.gateway, Gateway::plain("a:1".to_owned()), "invalid values are ignored");
}

/// These lines are a promise to deployed peers. Add cases; never edit one.
#[test]
fn golden_lines() {
    let secret_key = Some(Secret::from("s\"3"));
    let gateway = Gateway {
        native: true,
        instance: Some(InstanceId::new("9f").unwrap()),
        ..Gateway::plain("a:1".into())
    };
    let message = GatewayConnect { gateway, secret_key: secret_key.clone() };
    assert_eq!(
        line(&ToRegister::GatewayConnect(message)),
        "{\"event\":\"gateway_connect\",\"address\":\"a:1\",\"secret_key\":\"s\\\"3\",\
         \"native\":true,\"instance\":\"9f\"}\n"
    );
    let message = WorkerConnect { known: vec![], ..worker_connect(secret_key.clone()) };
    assert_eq!(
        line(&ToRegister::WorkerConnect(message)),
        "{\"event\":\"worker_connect\",\"secret_key\":\"s\\\"3\"}\n"
    );
    let message =
        WorkerConnect { known: vec!["a:1".into(), "b:2".into()], ..worker_connect(secret_key) };
    assert_eq!(
        line(&ToRegister::WorkerConnect(message)),
        "{\"event\":\"worker_connect\",\"secret_key\":\"s\\\"3\",\"known\":[\"a:1\",\"b:2\"]}\n"
    );
    let refused = ToRegister::RefusedPeers { secret_key: Some(Secret::from("s\"3")) };
    assert_eq!(line(&refused), "{\"event\":\"refused_peers\",\"secret_key\":\"s\\\"3\"}\n");
    let name = |text: &str| InstanceId::new(text).unwrap();
    let (gateway, by, holders) = (name("8e"), name("4d"), vec![name("3c"), name("4d")]);
    let takeovers = vec![Takeover { gateway, by, digest: 0x1f, holders }];
    let message = WorkerConnect { takeovers, complete: true, ..worker_connect(None) };
    assert_eq!(
        line(&ToRegister::WorkerConnect(message)),
        "{\"event\":\"worker_connect\",\"secret_key\":\"\",\
         \"takeovers\":[[\"8e\",\"4d\",\"000000000000001f\",\"3c\",\"4d\"]],\"complete\":true}\n"
    );
    assert_eq!(line(&ToRegister::Ping { answer: false }), "{\"event\":\"ping\"}\n");
    let ping = line(&ToRegister::Ping { answer: true });
    assert!(matches!(parse(ping.trim_end()), Ok(ToRegister::Ping { answer: true })));
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    for open in ["[", "{\"x\":", "{\"event\":", "{\"event\":["] {
        let text = open.repeat(100_000);
        assert_eq!(parse(&text).unwrap_err(), RequestParseError::NotARequest);
    }
    let deep = format!("{{\"x\":{}{},\"event\":\"ping\"}}", "[".repeat(9999), "]".repeat(9999));
    assert!(matches!(parse(&deep), Ok(ToRegister::Ping { answer: false })));
}

#[test]
fn secret_is_never_printed() {
    let message = parse(r#"{"event":"worker_connect","secret_key":"hunter2"}"#).unwrap();
    assert!(!format!("{message:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn encoded_line_round_trips(
        host in "[!-~]{1,40}", port in 1_u16.., secret in ".{0,20}", native: bool,
        instance in prop::option::of("[0-9a-f]{1,32}"),
        known in prop::collection::vec(".{0,20}", 0..5),
        settled in prop::collection::vec(("[0-9a-f]{1,9}", "[0-9a-f]{1,9}"), 0..5),
        digest: u64, complete: bool,
        holders in prop::collection::vec("[0-9a-f]{1,9}", 2..5),
    ) {
        let address = format!("{host}:{port}");
        let secret_key = Some(Secret::from(secret.clone()));
        let instance = instance.map(|text| InstanceId::new(text).unwrap());
        let sent = Gateway { address, native, instance };
        let message = GatewayConnect { gateway: sent.clone(), secret_key: secret_key.clone() };
        let read = gateway(&line(&ToRegister::GatewayConnect(message)));
        prop_assert_eq!(read.gateway, sent);
        prop_assert!(read.secret_key.unwrap().matches(secret.as_bytes()));
        let name = |text: String| InstanceId::new(text).unwrap();
        let settled = settled.into_iter();
        let settled: Vec<_> = settled
            .map(|(gateway, owner): (String, String)| CleanupRecord {
                gateway: name(gateway),
                owner: name(owner),
            })
            .collect();
        let holders: Vec<_> = holders.into_iter().map(name).collect();
        let (gateway, by) = (name("8e".to_owned()), holders[1].clone());
        let takeovers = vec![Takeover { gateway, by, digest, holders }];
        let message = ToRegister::WorkerConnect(WorkerConnect {
            known: known.clone(),
            settled: settled.clone(),
            takeovers: takeovers.clone(),
            complete,
            about: !complete,
            ..worker_connect(secret_key)
        });
        let read = worker(&line(&message));
        prop_assert_eq!((read.known, read.settled), (known, settled));
        prop_assert_eq!((read.takeovers, read.complete), (takeovers, complete));
        prop_assert_eq!(read.about, !complete);
    }

    #[test]
    fn arbitrary_line_does_not_panic(line in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = ToRegister::parse(&line);
    }
}
