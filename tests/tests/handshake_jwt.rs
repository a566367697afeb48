//! Tokens of clients (`--handshake-auth jwt`): where they travel, which are accepted, what they
//! grant; rotation of keys.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{net::SocketAddr, process::Command};

use protocol::{Session, codec::gateway_worker::Opcode};
use serde_json::{Value, json};
use suite_tests::{
    Browser, Issuer, Php, Raw, Suite, TestWorker, binaries, eventually, on_one_and_three_threads,
    ports,
    process::Signal,
    raw::{Answer, handshake, masked},
    suite::Builder,
    tokens::now,
    worker::Call,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

on_one_and_three_threads!(
    token_of_each_algorithm_opens_a_websocket_and_any_other_does_not,
    token_is_accepted_in_each_location_and_handed_to_no_worker,
    php_worker_receives_no_token,
    handshake_without_a_valid_token_is_refused_with_the_cause,
    connection_without_a_valid_token_reaches_no_worker,
    client_has_what_its_token_grants_before_its_first_event,
    keys_are_replaced_as_a_whole_or_not_at_all,
    token_is_in_no_log_at_any_level,
);

/// A suite of one gateway that accepts the tokens of these issuers.
fn accepting(threads: usize, issuers: &[&Issuer]) -> Builder {
    let builder = Suite::builder().gateways(1).threads(threads);
    let builder = builder.gateway_flag("--handshake-auth", "jwt");
    issuers.iter().fold(builder, |builder, issuer| {
        builder.gateway_flag("--jwt-keys", issuer.file().to_str().unwrap())
    })
}

/// The response to a handshake with this target and these headers.
async fn shake(gateway: SocketAddr, target: &str, headers: &str) -> (Answer, Raw) {
    let mut raw = Raw::connect(gateway).await;
    let request = handshake(headers).replacen("GET / ", &format!("GET {target} "), 1);
    raw.send(request.as_bytes()).await;
    let head = raw.head().await;
    let answer = Answer::parse(head.as_bytes()).unwrap();
    if answer.status == 101 {
        return (answer, raw);
    }
    let whole = [head.into_bytes(), raw.read_to_end().await].concat();
    (Answer::parse(&whole).unwrap(), raw)
}

async fn status(gateway: SocketAddr, token: &str) -> u16 {
    shake(gateway, "/", &bearer(token)).await.0.status
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A WebSocket opened with a token.
async fn browser(gateway: SocketAddr, token: &str) -> Browser {
    let mut request = format!("ws://{gateway}/").into_client_request().unwrap();
    let value = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("Authorization", value);
    Browser::open_with(gateway, request).await.unwrap()
}

async fn token_of_each_algorithm_opens_a_websocket_and_any_other_does_not(threads: usize) {
    let [rs256, es256, eddsa] = Issuer::with_public_keys();
    let hs256 = Issuer::hs256("a", 1);
    let issuers = [&hs256, &rs256, &es256, &eddsa];
    let suite = accepting(threads, &issuers).workers(1).start().await;
    let gateway = suite.gateways[0].clients;
    let others = Issuer::with_public_keys();
    let others: Vec<_> = [Issuer::hs256("a", 2)].into_iter().chain(others).collect();
    for (issuer, other) in issuers.iter().zip(&others) {
        browser(gateway, &issuer.token_of("ann")).await.echo("hello").await;
        let (answer, _) = shake(gateway, "/", &bearer(&other.token_of("ann"))).await;
        assert_eq!(answer.status, 401, "{issuer:?}");
        assert!(answer.body.contains("token_invalid"), "{}", answer.body);
        assert!(answer.body.contains("signature"), "{}", answer.body);
    }
    let name = "pushsuite_gateway_handshakes_refused_total{reason=\"unauthorized\"}";
    suite.gateways[0].wait_for_metric(name, 4.0).await;
    let name = "pushsuite_gateway_tokens_refused_total{reason=\"token_invalid\"}";
    suite.gateways[0].wait_for_metric(name, 4.0).await;
}

async fn token_is_accepted_in_each_location_and_handed_to_no_worker(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let builder = accepting(threads, &[&issuer]).gateway_flag("--jwt-cookie", "sid");
    let builder = builder.gateway_flag("--allowed-origin", "https://ours.example");
    let suite = builder.gateway_flag("--subprotocol", "*").start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = TestWorker::start(&suite, "1").await;
    let token = issuer.token_of("ann");
    let origin = "Origin: https://ours.example\r\n";
    for (target, headers, selected) in [
        ("/".to_owned(), bearer(&token), ""),
        ("/".into(), format!("Sec-WebSocket-Protocol: gw.auth.{token}, chat\r\n"), "chat"),
        ("/".into(), format!("Sec-WebSocket-Protocol: gw.auth.{token}\r\n"), ""),
        (format!("/?room=1&token={token}"), String::new(), ""),
        (format!("/?access_token={token}"), String::new(), ""),
        ("/".into(), format!("Cookie: a=b; sid={token}\r\n{origin}"), ""),
        (format!("/?token={token}"), bearer(&token), ""),
    ] {
        let (answer, _raw) = shake(gateway, &target, &headers).await;
        assert_eq!(answer.status, 101, "{target} {headers}");
        assert_eq!(answer.header("sec-websocket-protocol"), selected, "{target} {headers}");
        assert!(!format!("{answer:?}").contains(&token));
        let handshake = loop {
            if let Call::WebSocketConnect(handshake) = worker.next_report().await.call {
                break handshake;
            }
        };
        let values = handshake.headers.iter().map(|it| String::from_utf8_lossy(&it.value));
        let values = values.collect::<Vec<_>>().join("\n");
        assert!(!handshake.target.contains(&token) && !values.contains(&token), "{handshake:?}");
        if target.contains("room") {
            assert_eq!(handshake.target, "/?room=1&token=redacted");
        }
    }
}

async fn php_worker_receives_no_token(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let suite = accepting(threads, &[&issuer]).start().await;
    let mut php = Php::worker(suite.gateways[0].inner, &suite.secret(), "worker:1").await;
    let token = issuer.token(json!({ "sub": "ann", "gw": { "session": { "name": "Ann" } } }));
    let target = format!("/?room=1&token={token}");
    let (answer, _raw) = shake(suite.gateways[0].clients, &target, &bearer(&token)).await;
    assert_eq!(answer.status, 101);
    let (opcode, connect) = php.event().await;
    assert_eq!(opcode, Opcode::OnConnect);
    assert!(connect.ext_data.windows(3).any(|word| word == b"Ann"), "{connect:?}");
    let (opcode, frame) = php.event().await;
    assert_eq!(opcode, Opcode::OnWebsocketConnect);
    let body = String::from_utf8_lossy(&frame.body);
    assert!(body.contains("room=1&token=redacted") && body.contains("Bearer redacted"), "{body}");
    assert!(!format!("{frame:?}").contains(&token));
}

async fn connection_without_a_valid_token_reaches_no_worker(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let builder = accepting(threads, &[&issuer]).gateway_switch("--no-web");
    let suite = builder.gateway_flag("--handshake-timeout", "1").start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = TestWorker::start(&suite, "1").await;
    let mut silent = Raw::connect(gateway).await;
    for headers in [String::new(), bearer("a.b.c"), bearer(&Issuer::hs256("a", 2).token_of("eve"))]
    {
        assert_eq!(shake(gateway, "/", &headers).await.0.status, 401);
    }
    let mut page = Raw::connect(gateway).await;
    page.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(page.read_to_end().await.starts_with(b"HTTP/1.1 400 "));
    assert!(silent.read_to_end().await.is_empty(), "closed after the timeout");
    let session = json!({ "sub": "ann", "gw": { "session": { "name": "Ann" } } });
    let _ann = browser(gateway, &issuer.token(session)).await;
    let first = worker.next_report().await;
    assert_eq!((first.call, first.session.as_str()), (Call::Connect, r#"{"name":"Ann"}"#));
}

async fn handshake_without_a_valid_token_is_refused_with_the_cause(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let builder = accepting(threads, &[&issuer]).gateway_flag("--jwt-cookie", "sid");
    let builder = builder.gateway_flag("--jwt-audience", "ours").gateway_flag("--jwt-issuer", "us");
    let builder = builder.gateway_flag("--allowed-origin", "https://ours.example");
    let suite = builder.gateway_flag("--jwt-max-lifetime", "3600").start().await;
    let gateway = suite.gateways[0].clients;
    let of = |more: Value| {
        let mut claims = json!({ "sub": "ann", "aud": "ours", "iss": "us" });
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        issuer.token(claims)
    };
    let valid = of(json!({}));
    assert_eq!(status(gateway, &valid).await, 101);
    let cookie = format!("Cookie: sid={valid}\r\n");
    let none = of(json!({})).replacen(valid.split('.').next().unwrap(), "eyJhbGciOiJub25lIn0", 1);
    for (status, code, headers) in [
        (401, "token_missing", String::new()),
        (401, "token_missing", "Authorization: Basic YTpi\r\n".into()),
        (401, "token_invalid", bearer("garbage")),
        (401, "token_invalid", bearer("a.b.c")),
        (401, "token_invalid", bearer(&"x".repeat(9000))),
        (401, "token_invalid", bearer(&none)),
        (401, "token_invalid", bearer(&format!("{}.", valid.rsplit_once('.').unwrap().0))),
        (401, "token_invalid", bearer(&issuer.token(json!({ "aud": "ours", "iss": "us" })))),
        (401, "token_invalid", bearer(&of(json!({ "aud": "theirs" })))),
        (401, "token_invalid", bearer(&of(json!({ "iss": "them" })))),
        (401, "token_invalid", bearer(&of(json!({ "nbf": now() + 600 })))),
        (401, "token_invalid", bearer(&of(json!({ "exp": now() + 7200 })))),
        (401, "token_invalid", bearer(&of(json!({ "gw": { "groups": vec!["g"; 101] } })))),
        (401, "token_expired", bearer(&of(json!({ "exp": now() - 31 })))),
        (400, "token_ambiguous", format!("{}Cookie: sid=other\r\n", bearer(&valid))),
        (403, "origin_missing", cookie.clone()),
        (403, "", format!("{cookie}Origin: https://theirs.example\r\n")),
    ] {
        let (answer, _) = shake(gateway, "/", &headers).await;
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        if status == 401 {
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with("Bearer"), "{headers}: {answer:?}");
        }
        if code.is_empty() {
            continue;
        }
        assert_eq!(answer.header("content-type"), "application/json");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], code, "{headers}: {body}");
        assert!(body["error"]["message"].is_string(), "{body}");
        assert!(!answer.body.contains(&valid));
    }
    assert_eq!(status(gateway, &valid).await, 101, "others are not affected");
}

async fn client_has_what_its_token_grants_before_its_first_event(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let builder = accepting(threads, &[&issuer]).gateway_switch("--jwt-allow-anonymous");
    let suite = builder.start().await;
    let gateway = suite.gateways[0].clients;
    let mut worker = TestWorker::start(&suite, "1").await;
    let session = json!({ "name": "Ann" });
    let gw = json!({ "groups": ["a", "b"], "session": session, "send": true });
    let mut ann = browser(gateway, &issuer.token(json!({ "sub": "ann", "gw": gw }))).await;
    let report = worker.next_report().await;
    assert_eq!((&report.call, report.session.as_str()), (&Call::Connect, r#"{"name":"Ann"}"#));
    let cluster = suite.cluster().await;
    let client = report.client;
    assert_eq!(cluster.uid_of_client(client).await.unwrap().unwrap().as_str(), Some("ann"));
    let groups = cluster.groups_of_client(client).await.unwrap();
    assert_eq!(groups.iter().map(|it| it.as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    let stored = cluster.session(client).await.unwrap().unwrap();
    assert_eq!(stored, Session::encode(&session).unwrap());
    cluster.send_to_group("b", "to the group").await.unwrap();
    assert_eq!(ann.receive_text().await, "to the group");
    cluster.send_to_uid("ann", "to the user").await.unwrap();
    assert_eq!(ann.receive_text().await, "to the user");
    // Bytes behind the request are messages; this client is anonymous.
    let mut raw = Raw::connect(gateway).await;
    let request = handshake(&bearer(&issuer.token(json!({}))));
    raw.send(&[request.as_bytes(), &masked(0x81, b"echo hi")].concat()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.frame().await.unwrap().payload, b"hi");
    assert_eq!(cluster.count().await.unwrap(), 2);
    assert_eq!(cluster.all_uids().await.unwrap().len(), 1);
}

async fn keys_are_replaced_as_a_whole_or_not_at_all(threads: usize) {
    let (old, new) = (Issuer::hs256("old", 1), Issuer::hs256("new", 2));
    let builder = accepting(threads, &[&old]).workers(1).app("echo").logs("info");
    let mut suite = builder.start().await;
    let gateway = suite.gateways[0].clients;
    let mut ann = browser(gateway, &old.token_of("ann")).await;
    assert_eq!(status(gateway, &new.token_of("ann")).await, 401);
    // A file of which one key is invalid changes nothing.
    old.write(
        &json!({ "keys": [new.jwk(), { "kty": "oct", "kid": "x", "k": "AAAA" }] }).to_string(),
    );
    suite.gateways[0].signal(Signal::Hup);
    let file = old.file().display().to_string();
    let line = suite.gateways[0].wait_for_log(&["ERROR", "reload failed", &file]).await;
    assert!(line.contains("--jwt-keys") && line.contains("key 2"), "{line}");
    assert!(!line.contains("AAAA"), "{line}");
    assert_eq!(status(gateway, &old.token_of("ann")).await, 101);
    assert_eq!(status(gateway, &new.token_of("ann")).await, 401);
    // Both, then the new one alone.
    for (keys, of_old) in [(json!([old.jwk(), new.jwk()]), 101), (json!([new.jwk()]), 401)] {
        old.write(&json!({ "keys": keys }).to_string());
        suite.gateways[0].signal(Signal::Hup);
        eventually("the keys to be in use", async || {
            let statuses = [&old, &new].map(|issuer| issuer.token_of("ann"));
            let (first, second) =
                (status(gateway, &statuses[0]).await, status(gateway, &statuses[1]).await);
            ((first, second) == (of_old, 101)).then_some(())
        })
        .await;
    }
    ann.exchange("still here", "still here").await;
}

async fn token_is_in_no_log_at_any_level(threads: usize) {
    let issuer = Issuer::hs256("a", 1);
    let builder = accepting(threads, &[&issuer]).gateway_flag("--jwt-cookie", "sid");
    let builder = builder.gateway_flag("--allowed-origin", "https://ours.example");
    let suite = builder.workers(1).app("echo").logs("trace").start().await;
    let gateway = suite.gateways[0].clients;
    let (valid, expired) =
        (issuer.token_of("ann"), issuer.token(json!({ "sub": "ann", "exp": now() - 600 })));
    let garbage = "gArbAge-tokenTEXT";
    for token in [&valid, &expired, garbage] {
        for (target, headers) in [
            ("/".to_owned(), bearer(token)),
            ("/".into(), format!("Sec-WebSocket-Protocol: gw.auth.{token}, chat\r\n")),
            (format!("/?token={token}"), String::new()),
            (format!("/?access_token={token}"), String::new()),
            ("/".into(), format!("Cookie: sid={token}\r\nOrigin: https://ours.example\r\n")),
            (format!("/?token={token}"), bearer("another")),
        ] {
            shake(gateway, &target, &headers).await;
        }
    }
    let mut ann = browser(gateway, &valid).await;
    ann.exchange("hello", "hello").await;
    let cluster = suite.cluster().await;
    let client = cluster.all_clients().await.unwrap().pop().unwrap();
    cluster.renew_token(client, &valid).await.unwrap();
    cluster.renew_token(client, garbage).await.unwrap();
    suite.gateways[0].wait_for_log(&["token not accepted"]).await;
    for process in [&*suite.gateways[0], &suite.workers[0]] {
        for token in [&valid, &expired] {
            let signature = token.rsplit('.').next().unwrap();
            assert_eq!(process.log_lines(signature), Vec::<String>::new());
        }
        assert_eq!(process.log_lines(garbage), Vec::<String>::new());
    }
}

#[tokio::test]
async fn wrong_file_ends_the_gateway_before_it_binds_a_port() {
    let issuer = Issuer::hs256("a", 1);
    let file = issuer.file().display().to_string();
    let listen = ports::free().to_string();
    let run = |flags: &[&str]| {
        let mut command = Command::new(binaries::path("gateway"));
        let flags = [&["--handshake-auth", "jwt", "--listen", &listen], flags].concat();
        let output = command.args(flags).env_clear().output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    // The port is in use: a gateway that binds it first fails with 1.
    let _bound = std::net::TcpListener::bind(&listen).unwrap();
    for content in ["", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#] {
        issuer.write(content);
        for more in [&["--jwt-keys", &file][..], &["--jwt-keys", &file, "--check"]] {
            let (code, text) = run(more);
            assert_eq!(code, Some(2), "{content}: {text}");
            assert!(text.contains("--jwt-keys") && text.contains(&file), "{text}");
            assert!(!text.contains("c2hvcnQ"), "{text}");
        }
    }
    let (code, text) = run(&["--jwt-keys", "/does/not/exist"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--jwt-keys /does/not/exist"), "{text}");
    let good = Issuer::hs256("a", 1);
    let good_file = good.file().display().to_string();
    issuer.write(r#"{"revocations":[{"jti":["x"]}]}"#);
    let (code, text) = run(&["--jwt-keys", &good_file, "--jwt-revocations", &file]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--jwt-revocations") && text.contains(&file), "{text}");
    let (code, text) = run(&["--jwt-keys", &good_file, "--check"]);
    assert_eq!(code, Some(0), "{text}");
    let secret = good.jwk()["k"].as_str().unwrap().to_owned();
    assert!(text.contains(&good_file) && !text.contains(&secret), "{text}");
}
