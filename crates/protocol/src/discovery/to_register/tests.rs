//! What a register hears in a line, whoever wrote it.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<ToRegister, Unusable> {
    ToRegister::parse(text.as_bytes())
}

fn gateway(text: &str) -> GatewayConnect {
    match parse(text) {
        Ok(ToRegister::GatewayConnect(gateway)) => gateway,
        other => panic!("{text}: {other:?}"),
    }
}

fn asks(secret_key: Option<Secret>) -> WorkerConnect {
    WorkerConnect {
        secret_key,
        known: vec![],
        instance: None,
        settled: vec![],
        takeovers: vec![],
        complete: false,
    }
}

fn worker(text: &str) -> WorkerConnect {
    match parse(text) {
        Ok(ToRegister::WorkerConnect(worker)) => worker,
        other => panic!("{text}: {other:?}"),
    }
}

fn line(said: &ToRegister) -> String {
    let mut out = BytesMut::new();
    said.encode(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn what_php_peers_say_is_understood() {
    let said = gateway(
        r#"{"event":"gateway_connect", "address":"127.0.0.1:2900", "secret_key":"s3cret"}"#,
    );
    assert_eq!(said.gateway, Gateway::plain("127.0.0.1:2900".to_owned()));
    assert!(said.secret_key.unwrap().matches(b"s3cret"));
    let said = worker(r#"{"event":"worker_connect","secret_key":""}"#);
    assert!(said.secret_key.unwrap().is_empty());
    assert!(said.known.is_empty());
    assert!(matches!(parse(r#"{"event":"ping"}"#), Ok(ToRegister::Ping { answer: false })));
}

#[test]
fn order_other_fields_and_blanks_make_no_difference() {
    let said = worker(
        " {\"x\":[{\"y\":1e999}], \"secret_key\" :\"k\",\t\"event\":\"ping\",\
         \"event\":\"worker_connect\", \"known\":[\"a\",3,null,[\"b\"]]} ",
    );
    assert!(said.secret_key.unwrap().matches(b"k"));
    assert_eq!(said.known, ["a"]);
}

#[test]
fn a_missing_secret_is_an_empty_one_and_a_number_is_none() {
    for text in ["", r#","secret_key":null"#] {
        let said = worker(&format!(r#"{{"event":"worker_connect"{text}}}"#));
        assert!(said.secret_key.unwrap().is_empty(), "{text}");
    }
    for text in ["0", "123", "true", "false", "[]", "{}", "1.5"] {
        let said = worker(&format!(r#"{{"event":"worker_connect","secret_key":{text}}}"#));
        assert!(said.secret_key.is_none(), "{text}");
    }
}

#[test]
fn what_php_takes_for_no_event_is_no_request() {
    for event in ["null", "false", "0", "0.0", "-0.0", r#""""#, r#""0""#, "[]", "{}"] {
        let text = format!(r#"{{"event":{event}}}"#);
        assert_eq!(parse(&text).unwrap_err(), Unusable::NotARequest, "{text}");
    }
    for text in ["", "hello", "{}", "123", "[]", "null", "true", "\"event\"", "[{}]", "{]"] {
        assert_eq!(parse(text).unwrap_err(), Unusable::NotARequest, "{text}");
    }
    let text = r#"{"event":"ping"} x"#;
    assert_eq!(parse(text).unwrap_err(), Unusable::NotARequest, "{text}");
    let not_utf8 = b"{\"event\":\"ping\",\"x\":\"\xff\"}";
    assert_eq!(ToRegister::parse(not_utf8).unwrap_err(), Unusable::NotARequest);
}

#[test]
fn any_other_event_is_unknown() {
    for event in ["\"x\"", "\"PING\"", "1", "true", "[0]", r#"{"a":0}"#, "\"0.0\""] {
        let text = format!(r#"{{"event":{event}}}"#);
        assert_eq!(parse(&text).unwrap_err(), Unusable::UnknownEvent, "{text}");
    }
}

#[test]
fn a_gateway_must_say_where_it_is() {
    let long = format!("\"{}\"", "a".repeat(MAX_NAME + 1));
    for address in ["null", "\"\"", "\"0\"", "0", "7", "[\"a\"]", "{}", "true", &long] {
        let text = format!(r#"{{"event":"gateway_connect","address":{address}}}"#);
        assert_eq!(parse(&text).unwrap_err(), Unusable::NoAddress, "{text}");
    }
}

#[test]
fn our_own_fields_are_understood() {
    let said =
        gateway(r#"{"event":"gateway_connect","address":"[::1]:1","native":true,"instance":"9f"}"#);
    assert!(said.gateway.native);
    assert_eq!(said.gateway.instance, Some(Instance::new("9f").unwrap()));
    let said =
        gateway(r#"{"event":"gateway_connect","address":"a:1","native":"yes","instance":7}"#);
    assert_eq!(said.gateway, Gateway::plain("a:1".to_owned()), "nonsense is not heard");
}

/// These lines are a promise to deployed peers. Add cases; never edit one.
#[test]
fn golden_lines() {
    let secret_key = Some(Secret::from("s\"3"));
    let gateway = Gateway {
        native: true,
        instance: Some(Instance::new("9f").unwrap()),
        ..Gateway::plain("a:1".into())
    };
    let said = GatewayConnect { gateway, secret_key: secret_key.clone() };
    assert_eq!(
        line(&ToRegister::GatewayConnect(said)),
        "{\"event\":\"gateway_connect\",\"address\":\"a:1\",\"secret_key\":\"s\\\"3\",\
         \"native\":true,\"instance\":\"9f\"}\n"
    );
    let said = WorkerConnect { known: vec![], ..asks(secret_key.clone()) };
    assert_eq!(
        line(&ToRegister::WorkerConnect(said)),
        "{\"event\":\"worker_connect\",\"secret_key\":\"s\\\"3\"}\n"
    );
    let said = WorkerConnect { known: vec!["a:1".into(), "b:2".into()], ..asks(secret_key) };
    assert_eq!(
        line(&ToRegister::WorkerConnect(said)),
        "{\"event\":\"worker_connect\",\"secret_key\":\"s\\\"3\",\"known\":[\"a:1\",\"b:2\"]}\n"
    );
    let name = |text: &str| Instance::new(text).unwrap();
    let (gateway, by, holders) = (name("8e"), name("4d"), vec![name("3c"), name("4d")]);
    let takeovers = vec![Takeover { gateway, by, digest: 0x1f, holders }];
    let said = WorkerConnect { takeovers, complete: true, ..asks(None) };
    assert_eq!(
        line(&ToRegister::WorkerConnect(said)),
        "{\"event\":\"worker_connect\",\"secret_key\":\"\",\
         \"takeovers\":[[\"8e\",\"4d\",\"000000000000001f\",\"3c\",\"4d\"]],\"complete\":true}\n"
    );
    assert_eq!(line(&ToRegister::Ping { answer: false }), "{\"event\":\"ping\"}\n");
    let asks = line(&ToRegister::Ping { answer: true });
    assert!(matches!(parse(asks.trim_end()), Ok(ToRegister::Ping { answer: true })));
}

#[test]
fn depth_costs_nothing() {
    for open in ["[", "{\"x\":", "{\"event\":", "{\"event\":["] {
        let text = open.repeat(100_000);
        assert_eq!(parse(&text).unwrap_err(), Unusable::NotARequest);
    }
    let deep = format!("{{\"x\":{}{},\"event\":\"ping\"}}", "[".repeat(9999), "]".repeat(9999));
    assert!(matches!(parse(&deep), Ok(ToRegister::Ping { answer: false })));
}

#[test]
fn the_secret_is_never_printed() {
    let said = parse(r#"{"event":"worker_connect","secret_key":"hunter2"}"#).unwrap();
    assert!(!format!("{said:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        host in "[!-~]{1,40}", port in 1_u16.., secret in ".{0,20}", native: bool,
        instance in prop::option::of("[0-9a-f]{1,32}"),
        known in prop::collection::vec(".{0,20}", 0..5),
        settled in prop::collection::vec(("[0-9a-f]{1,9}", "[0-9a-f]{1,9}"), 0..5),
        digest: u64, complete: bool,
        holders in prop::collection::vec("[0-9a-f]{1,9}", 2..5),
    ) {
        let address = format!("{host}:{port}");
        let secret_key = Some(Secret::from(secret.clone()));
        let instance = instance.map(|text| Instance::new(text).unwrap());
        let sent = Gateway { address, native, instance };
        let said = GatewayConnect { gateway: sent.clone(), secret_key: secret_key.clone() };
        let read = gateway(&line(&ToRegister::GatewayConnect(said)));
        prop_assert_eq!(read.gateway, sent);
        prop_assert!(read.secret_key.unwrap().matches(secret.as_bytes()));
        let name = |text: String| Instance::new(text).unwrap();
        let settled = settled.into_iter();
        let settled: Vec<_> = settled
            .map(|(gateway, owner): (String, String)| Settled {
                gateway: name(gateway),
                owner: name(owner),
            })
            .collect();
        let holders: Vec<_> = holders.into_iter().map(name).collect();
        let (gateway, by) = (name("8e".to_owned()), holders[1].clone());
        let takeovers = vec![Takeover { gateway, by, digest, holders }];
        let said = ToRegister::WorkerConnect(WorkerConnect {
            known: known.clone(),
            settled: settled.clone(),
            takeovers: takeovers.clone(),
            complete,
            ..asks(secret_key)
        });
        let read = worker(&line(&said));
        prop_assert_eq!((read.known, read.settled), (known, settled));
        prop_assert_eq!((read.takeovers, read.complete), (takeovers, complete));
    }

    #[test]
    fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = ToRegister::parse(&line);
    }
}
