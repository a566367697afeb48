//! Bodies that are PHP values, as a WebSocket client receives them.

use bytes::Bytes;
use push_suite_protocol::{
    Command,
    codec::gateway_worker::{
        Frame, InvalidRequest, Opcode,
        from_peer::{PeerMessage, read},
    },
};

use crate::frame;

fn sent(body: &'static [u8]) -> Result<String, InvalidRequest> {
    let frame = Frame { flag: 0, body: body.into(), ..frame(Opcode::SendToOne, 7, "") };
    match read(&frame)? {
        PeerMessage::Command(Command::SendToClient { message, .. }) => {
            Ok(String::from_utf8(message.body.to_vec()).unwrap())
        }
        other => panic!("not a message: {other:?}"),
    }
}

#[test]
fn serialized_php_value_reaches_clients_as_json() {
    for (body, json) in [
        ("a:2:{s:1:\"a\";i:1;s:1:\"b\";s:3:\"中\";}", r#"{"a":1,"b":"中"}"#),
        ("N;", "null"),
        ("a:0:{}", "[]"),
        ("a:2:{i:0;d:5;i:1;d:0.1;}", "[5,0.1]"),
        ("a:1:{i:1;s:5:\"a/\"\n\x08\";}", r#"{"1":"a\/\"\n\b"}"#),
        ("a:2:{i:0;b:1;i:1;a:1:{s:1:\"x\";N;}}", r#"[true,{"x":null}]"#),
        ("a:1:{i:0;s:3:\"\u{2028}\";}", "[\"\\u2028\"]"),
        (
            "O:8:\"stdClass\":1:{s:1:\"a\";i:1;}",
            r#"{"__PHP_Incomplete_Class_Name":"stdClass","a":1}"#,
        ),
        (
            "O:1:\"A\":2:{s:4:\"\0A\0x\";i:1;s:1:\"y\";i:2;}",
            r#"{"__PHP_Incomplete_Class_Name":"A","y":2}"#,
        ),
        ("a:1:{i:0;C:1:\"A\":3:{abc}}", r#"[{"__PHP_Incomplete_Class_Name":"A"}]"#),
        ("a:2:{i:0;a:1:{i:0;i:1;}i:1;R:2;}", "[[1],[1]]"),
    ] {
        assert_eq!(sent(body.as_bytes()).unwrap(), json, "{body}");
    }
}

#[test]
fn serialized_scalar_reaches_clients_as_text() {
    for (body, text) in [
        ("s:2:\"hi\";", "hi"),
        ("i:-5;", "-5"),
        ("d:0.5;", "0.5"),
        ("d:0.30000000000000004;", "0.3"),
        ("b:1;", "1"),
        ("b:0;", ""),
    ] {
        assert_eq!(sent(body.as_bytes()).unwrap(), text, "{body}");
    }
}

#[test]
fn value_that_php_cannot_read_or_write_is_an_empty_message() {
    let bodies: [&'static [u8]; 9] = [
        b"",
        b"garbage",
        b"a:1:{",
        b"s:9223372036854775807:\"a\";",
        b"a:1000000000:{}",
        b"a:1:{i:0;s:1:\"\xff\";}",
        b"a:1:{i:0;d:INF;}",
        b"a:1:{i:0;E:11:\"Suit:Hearts\";}",
        b"a:1:{i:0;R:1;}",
    ];
    for body in bodies {
        assert_eq!(sent(body).unwrap(), "", "{body:?}");
    }
    let deep = "a:1:{i:0;".repeat(100_000).leak();
    assert_eq!(sent(deep.as_bytes()).unwrap(), "");
}

#[test]
fn exponentially_expanding_references_close_the_link() {
    // Each level refers to the one below twice.
    let mut value = r#"s:8:"laughing";"#.to_owned();
    for level in (0..40).rev() {
        value = format!("a:2:{{i:0;{value}i:1;R:{};}}", level + 2);
    }
    let body: &'static [u8] = value.leak().as_bytes();
    assert!(matches!(sent(body), Err(InvalidRequest::Body { .. })));
    let kick = Frame { flag: 0, body: Bytes::from_static(body), ..frame(Opcode::Kick, 7, "") };
    assert!(read(&kick).is_err());
}
