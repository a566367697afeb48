//! The push API under hostile requests: each gets a clear answer, and the others are served.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;

use serde_json::{Value, json};
use suite_tests::{
    HttpAnswer, HttpRequest, PushApi, Scene, Suite, on_one_and_three_threads,
    push_api::{ADMIN, MANAGE, PUSH, READ},
    with_timeout,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

on_one_and_three_threads!(hostile_requests_get_a_clear_answer_and_change_nothing);

fn error(answer: &HttpAnswer) -> (u16, &str) {
    let error = &answer.body["error"];
    assert!(error["message"].is_string() && error["retryable"].is_boolean(), "{answer:?}");
    assert_eq!(answer.header("x-request-id"), error["request_id"].as_str(), "{answer:?}");
    (answer.status, answer.code())
}

async fn hostile_requests_get_a_clear_answer_and_change_nothing(threads: usize) {
    let mut scene = Scene::start(threads).await;
    let api = PushApi::start(&scene.suite).await;
    let a = scene.ids[0];
    let post = |body: &str| {
        let request = HttpRequest::new("POST", "/v1/send").key(ADMIN).body(body.as_bytes());
        request.header("Content-Type", "application/json; charset=utf-8")
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "\u{0}",
        r#"{"to":{"all":true}}"#,
        r#"{"to":{"all":false},"text":"x"}"#,
        r#"{"to":{"all":true},"text":1}"#,
        r#"{"to":{"all":true},"text":"x","data":1}"#,
        r#"{"to":{"all":true},"base64":"!"}"#,
        r#"{"to":{"all":true},"text":"x","extra":1}"#,
        r#"{"to":{"all":true,"uids":["x"]},"text":"x"}"#,
        r#"{"to":{"clients":["xyz"]},"text":"x"}"#,
        r#"{"to":{"uids":[""]},"text":"x"}"#,
        r#"{"to":{"groups":[1.5]},"text":"x"}"#,
        r#"{"to":{"clients":[]},"exclude":{"uids":["x"]},"text":"x"}"#,
        &format!(r#"{{"to":{{"all":true}},"data":{deep}}}"#),
        &format!(r#"{{"to":{{"uids":["{}"]}},"text":"x"}}"#, "x".repeat(1_025)),
    ] {
        let start: String = body.chars().take(80).collect();
        let answer = api.send(post(body)).await;
        assert_eq!(error(&answer), (400, "bad_request"), "{start}");
    }
    let invalid = api.send(post("").body(vec![b'"', 0xff, b'"'])).await;
    assert_eq!(error(&invalid), (400, "bad_request"));
    let form = HttpRequest::new("POST", "/v1/send").key(ADMIN).body("to=all");
    let form = api.send(form.header("Content-Type", "application/x-www-form-urlencoded")).await;
    assert_eq!(error(&form), (415, "unsupported_media_type"));

    // Limits are named.
    let many = |count: usize| json!({"to": {"uids": vec!["x"; count]}, "text": "x"});
    assert_eq!(api.push(&many(1_000)).await.status, 200);
    for (target, body) in [
        ("/v1/send", many(1_001)),
        ("/v1/send", json!({"to": {"clients": vec![a; 1_001]}, "text": "x"})),
        ("/v1/batch", json!({"commands": vec![json!({"op": "fly"}); 1_001]})),
        ("/v1/online", json!({"groups": vec!["x"; 1_001]})),
    ] {
        let answer = api.call_with(ADMIN, "POST", target, &body).await;
        assert_eq!(error(&answer), (413, "too_large"), "{target}");
        assert_eq!(answer.body["error"]["details"]["limit"], 1_000, "{target}");
    }
    let huge = api.send(post(&" ".repeat(1024 * 1024 + 1))).await;
    assert_eq!(error(&huge), (413, "too_large"));
    assert_eq!(huge.body["error"]["details"]["limit"], 1024 * 1024);
    let text = "x".repeat(1024 * 1024 - 100);
    assert_eq!(api.push(&json!({"to": {"uids": ["none"]}, "text": text})).await.status, 200);

    for (method, target, expected) in [
        ("GET", "/v1/clients/xyz", (400, "bad_request")),
        ("GET", "/v1/uids/%zz", (400, "bad_request")),
        ("GET", "/v1/uids/%f", (400, "bad_request")),
        ("GET", "/v1/clients?limit=1001", (400, "bad_request")),
        ("GET", "/v1/clients?after=xyz", (400, "bad_request")),
        ("GET", "/v1/clients?fields=secret", (400, "bad_request")),
        ("GET", "/v1/clients?limit=1&limit=2", (400, "bad_request")),
        ("GET", "/v1/counts?x=%ff", (400, "bad_request")),
        ("GET", "/v1/counts?verbose", (400, "bad_request")),
        ("GET", "/", (404, "not_found")),
        ("GET", "/v1", (404, "not_found")),
        ("GET", "/v1/groups//clients", (400, "bad_request")),
        ("GET", "/v1/../v1/counts", (404, "not_found")),
        ("GET", "/v1/send", (405, "method_not_allowed")),
        ("TRACE", "/v1/send", (405, "method_not_allowed")),
        ("BREW", "/v1/clients", (405, "method_not_allowed")),
    ] {
        let answer = api.call(ADMIN, method, target).await;
        assert_eq!(error(&answer), expected, "{method} {target}");
    }
    assert_eq!(api.call(ADMIN, "GET", "/v1/send").await.header("allow"), Some("POST"));
    let long = format!("/v1/uids/{}", "x".repeat(1_025));
    assert_eq!(api.call(READ, "GET", &long).await.status, 400);
    for code in ["1001", "2999", "5000", "x", "70000"] {
        let target = format!("/v1/clients/{a}?code={code}");
        assert_eq!(api.call(MANAGE, "DELETE", &target).await.status, 400, "{code}");
    }

    // Nothing of it has reached a client.
    assert_eq!(scene.received().await, [const { Vec::<String>::new() }; 4]);
}

#[tokio::test]
async fn request_without_a_key_or_scope_is_refused() {
    let suite = Suite::builder().start().await;
    let api = PushApi::start(&suite).await;
    let send = || HttpRequest::new("POST", "/v1/send").json(&json!({"to": {"all": true}}));
    let other = format!("bearer  {PUSH}");
    for header in [None, Some("Basic abc"), Some("Bearer"), Some("Bearer wrong"), Some(PUSH)] {
        let request = match header {
            Some(header) => send().header("Authorization", header),
            None => send(),
        };
        let answer = api.send(request).await;
        assert_eq!(error(&answer), (401, "unauthorized"), "{header:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    // The scheme is case-insensitive; then the body is read.
    assert_eq!(api.send(send().header("Authorization", &other)).await.status, 400);
    let client = "/v1/clients/7f0000010001000000ff";
    for (key, method, target, scope) in [
        (READ, "POST", "/v1/send", "push"),
        (MANAGE, "POST", "/v1/send", "push"),
        (PUSH, "GET", "/v1/clients", "read"),
        (MANAGE, "GET", "/v1/counts", "read"),
        (PUSH, "DELETE", client, "manage"),
        (READ, "DELETE", "/v1/groups/g", "manage"),
        (MANAGE, "POST", "/v1/revocations", "admin"),
    ] {
        let body = match target {
            "/v1/send" => json!({"to": {"all": true}, "text": "x"}),
            "/v1/revocations" => json!({"jti": ["x"]}),
            _ => Value::Null,
        };
        let answer = api.call_with(key, method, target, &body).await;
        assert_eq!(error(&answer), (403, "forbidden"), "{method} {target}");
        assert_eq!(answer.body["error"]["details"]["scope"], scope, "{method} {target}");
    }
    let id = api.send(HttpRequest::new("GET", "/v1/counts").header("X-Request-Id", "mine-7")).await;
    assert_eq!(id.header("x-request-id"), Some("mine-7"));
    let log = ["request", "mine-7", "status=401", "path=\"/v1/counts\""];
    api.process.wait_for_log(&log).await;
    api.check_log();
}

/// Sends bytes, and reads until the server closes; empty if it answers nothing.
async fn exchange(api: &PushApi, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(api.addr).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = with_timeout("the connection to end", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn garbage_on_the_port_ends_its_own_connection_only() {
    let suite = Suite::builder().start().await;
    let api = PushApi::start(&suite).await;
    let mut headers = String::new();
    (0..200).for_each(|at| write!(headers, "x-{at}: y\r\n").unwrap());
    let chunked = "POST /v1/send HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let key = format!("Authorization: Bearer {PUSH}\r\n\r\n");
    let endless =
        format!("{chunked}{key}{}", "10000\r\n".to_owned() + &"x".repeat(0x10000) + "\r\n");
    let more = ("10000\r\n".to_owned() + &"x".repeat(0x10000) + "\r\n").repeat(16);
    for (bytes, expected) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), ""),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), ""),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), ""),
        (b"GET /v1/health HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_vec(), "400"),
        (format!("GET /v1/health HTTP/1.1\r\n{headers}\r\n").into_bytes(), "431"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(40_000)).into_bytes(), "4"),
        (format!("{chunked}{key}zz\r\n").into_bytes(), "400"),
        (format!("{chunked}{key}5\r\n{{").into_bytes(), "400"),
        (format!("{endless}{more}").into_bytes(), "413"),
        (vec![0; 100_000], ""),
    ] {
        let start: String = String::from_utf8_lossy(&bytes).chars().take(60).collect();
        let answer = exchange(&api, &bytes).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(expected.is_empty() || status.starts_with(expected), "{start:?}: {answer}");
        assert_eq!(HttpRequest::new("GET", "/v1/health").send(api.addr).await.status, 200);
    }
}

#[tokio::test]
async fn connection_serves_many_requests_and_bodies_in_pieces() {
    let suite = Suite::builder().start().await;
    let api = PushApi::start(&suite).await;
    let mut stream = TcpStream::connect(api.addr).await.unwrap();
    let body = r#"{"to":{"all":true},"text":"x"}"#;
    let head = format!(
        "POST /v1/send HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {PUSH}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..3 {
        for byte in format!("{head}{body}").bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = with_timeout("an answer", stream.read_buf(&mut answer)).await.unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(HttpAnswer::parse(&answer).unwrap().status, 200);
    }
}
