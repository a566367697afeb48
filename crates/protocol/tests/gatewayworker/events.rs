//! Events sent to workers, in cases beyond the recorded frames.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use push_suite_protocol::{
    Event, Handshake, Message, Session,
    codec::gateway_worker::{
        Frame, HEADER, MAX_FRAME, decode,
        to_peer::{self, Origin},
    },
    event::Header,
    session::MAX_PHP_SESSION,
};

use crate::{id, php};

fn event_frame(remote: &str, session: &Session, event: &Event) -> Frame {
    let origin = Origin {
        gateway: "10.0.0.1:2900".parse().unwrap(),
        remote: remote.parse().unwrap(),
        connection: id(7),
        listener_port: 8282,
    };
    let mut out = BytesMut::new();
    to_peer::event(&origin, session, event, &mut out).unwrap();
    decode(&mut out, MAX_FRAME).unwrap().unwrap()
}

fn handshake_body(target: &str, headers: &[(&str, &str)]) -> String {
    let header = |(name, value): &(&str, &str)| Header {
        name: (*name).to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let handshake =
        Handshake { target: target.to_owned(), headers: headers.iter().map(header).collect() };
    let event = Event::WebSocketConnect(handshake);
    let frame = event_frame("1.2.3.4:50000", &Session::default(), &event);
    assert_eq!((frame.cmd, frame.flag), (205, 0));
    String::from_utf8(frame.body.to_vec()).unwrap()
}

#[test]
fn header_is_complete_and_has_no_address_for_ipv6_clients() {
    let frame = event_frame("1.2.3.4:50000", &php("a:0:{}"), &Event::Connect);
    assert_eq!((frame.local_ip, frame.local_port), (0x0a00_0001, 2900));
    assert_eq!((frame.client_ip, frame.client_port), (0x0102_0304, 50_000));
    assert_eq!((frame.connection_id, frame.gateway_port, frame.flag), (7, 8282, 1));
    assert_eq!(frame.ext_data, "a:0:{}");
    let frame = event_frame("[2001:db8::1]:50000", &Session::default(), &Event::Connect);
    assert_eq!((frame.client_ip, frame.client_port), (0, 50_000));
    let frame = event_frame("[::ffff:1.2.3.4]:50000", &Session::default(), &Event::Connect);
    assert_eq!(frame.client_ip, 0x0102_0304);
}

#[test]
fn json_session_is_sent_in_php_form() {
    let session = Session::from_encoded(r#"{"k":1}"#.into()).unwrap();
    let frame = event_frame("1.2.3.4:5", &session, &Event::Message(Message::text("hi")));
    assert_eq!(frame.ext_data, r#"a:1:{s:1:"k";i:1;}"#);
    assert_eq!(frame.body, "hi");
}

#[test]
fn websocket_handshake_is_encoded_as_php_superglobals() {
    let body = handshake_body(
        "/chat?a[b]=1&x.y=%20&10=t",
        &[
            ("Host", "example.org:8282"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("Content-Type", "text/plain"),
            ("Cookie", " sid = a b ;novalue; 7=x=y;sid=%20"),
        ],
    );
    let expected = concat!(
        r#"a:3:{s:3:"get";a:3:{s:1:"a";a:1:{s:1:"b";s:1:"1";}s:3:"x_y";s:1:" ";i:10;s:1:"t";}"#,
        r#"s:6:"server";a:13:{s:12:"QUERY_STRING";s:19:"a[b]=1&x.y=%20&10=t";"#,
        r#"s:14:"REQUEST_METHOD";s:3:"GET";s:11:"REQUEST_URI";s:25:"/chat?a[b]=1&x.y=%20&10=t";"#,
        r#"s:15:"SERVER_PROTOCOL";s:8:"HTTP/1.1";s:11:"SERVER_NAME";s:16:"example.org:8282";"#,
        r#"s:12:"CONTENT_TYPE";s:10:"text/plain";s:11:"REMOTE_ADDR";s:7:"1.2.3.4";"#,
        r#"s:11:"REMOTE_PORT";i:50000;s:11:"SERVER_PORT";i:8282;"#,
        r#"s:9:"HTTP_HOST";s:16:"example.org:8282";s:20:"HTTP_X_FORWARDED_FOR";s:15:"1.1.1.1,2.2.2.2";"#,
        r#"s:17:"HTTP_CONTENT_TYPE";s:10:"text/plain";"#,
        r#"s:11:"HTTP_COOKIE";s:34:" sid = a b ;novalue; 7=x=y;sid=%20";}"#,
        r#"s:6:"cookie";a:2:{s:3:"sid";s:3:"%20";i:7;s:3:"x=y";}}"#,
    );
    let at = body.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count();
    assert_eq!(body, expected, "from {at}: {}", &body[at..]);
}

#[test]
fn missing_parts_of_a_handshake_are_null_or_empty() {
    let body = handshake_body("/", &[]);
    assert!(
        body.starts_with(r#"a:3:{s:3:"get";a:0:{}s:6:"server";a:9:{s:12:"QUERY_STRING";s:0:"";"#)
    );
    assert!(body.contains(r#"s:11:"SERVER_NAME";N;s:12:"CONTENT_TYPE";N;"#));
    assert!(body.ends_with(r#"s:6:"cookie";a:0:{}}"#));
}

#[test]
fn ipv6_address_is_in_brackets() {
    let handshake = Handshake { target: "/".into(), headers: vec![] };
    let event = Event::WebSocketConnect(handshake);
    let frame = event_frame("[2001:db8::1]:5", &Session::default(), &event);
    let body = String::from_utf8(frame.body.to_vec()).unwrap();
    assert!(body.contains(r#"s:11:"REMOTE_ADDR";s:13:"[2001:db8::1]";"#), "{body}");
}

#[test]
fn event_over_the_frame_limit_is_not_written() {
    let session = php(&"x".repeat(MAX_PHP_SESSION));
    let room = to_peer::room(&session);
    assert_eq!(room, MAX_FRAME - HEADER - MAX_PHP_SESSION);
    let any: SocketAddr = "1.2.3.4:5".parse().unwrap();
    let origin = Origin { gateway: any, remote: any, connection: id(7), listener_port: 1 };
    let message = |size| Event::Message(Message::binary(Bytes::from(vec![0; size])));
    let mut out = BytesMut::from(&b"before"[..]);
    let error = to_peer::event(&origin, &session, &message(room + 1), &mut out).unwrap_err();
    assert_eq!((error.size, &out[..]), (MAX_FRAME + 1, &b"before"[..]));
    to_peer::event(&origin, &session, &message(room), &mut out).unwrap();
    assert_eq!(out.len(), 6 + MAX_FRAME);
}
