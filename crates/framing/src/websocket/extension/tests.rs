//! Tests of the negotiation, with the examples of RFC 7692 and with malformed headers.

use crate::{
    http,
    websocket::{HandshakePolicy, Reply, evaluate},
};

const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The response header to a request with these values.
fn negotiated_with(deflate: bool, offered: &[&[u8]]) -> Option<String> {
    let mut head =
        b"GET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n".to_vec();
    for offered in offered {
        head.extend([b"Sec-WebSocket-Extensions: ", *offered, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let (request, _) = http::parse(&head).unwrap().unwrap();
    let policy = HandshakePolicy { deflate, ..HandshakePolicy::default() };
    let Reply::Accept(upgrade) = evaluate(&request, &policy) else {
        panic!("the handshake fails with {offered:?}");
    };
    let agreed = upgrade.deflate();
    let response = String::from_utf8(upgrade.response().to_vec()).unwrap();
    let mut lines =
        response.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let line = lines.next().map(str::to_owned);
    assert_eq!(lines.next(), None);
    assert_eq!(line, agreed.map(|agreed| agreed.to_string()));
    line
}

fn negotiated(offered: &str) -> Option<String> {
    negotiated_with(true, &[offered.as_bytes()])
}

#[test]
fn offer_is_accepted_without_context_takeover() {
    for offered in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10",
        "permessage-deflate;client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "  permessage-deflate\t;  client_max_window_bits = \"15\"  ",
    ] {
        assert_eq!(negotiated(offered).as_deref(), Some(BOTH), "{offered}");
    }
}

#[test]
fn window_that_the_client_limits_is_confirmed() {
    for (offered, bits) in [
        ("permessage-deflate; server_max_window_bits=15", 15),
        ("permessage-deflate; server_max_window_bits=8; client_max_window_bits", 8),
        ("permessage-deflate; server_max_window_bits=\"10\"", 10),
        ("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", 9),
    ] {
        let expected = format!("{BOTH}; server_max_window_bits={bits}");
        assert_eq!(negotiated(offered), Some(expected), "{offered}");
    }
}

#[test]
fn first_acceptable_offer_is_accepted() {
    let nine = Some(format!("{BOTH}; server_max_window_bits=9"));
    let nine_first = "permessage-deflate; server_max_window_bits=9, permessage-deflate";
    assert_eq!(negotiated(nine_first), nine);
    for first in [
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-bzip2",
        "x; y=\"permessage-deflate, \\\", z\"",
        "",
        ";",
        "=",
    ] {
        let offered = format!("{first}, {nine_first}");
        assert_eq!(negotiated(&offered), nine, "{offered}");
    }
    let headers: [&[u8]; 3] = [b"x-webkit-deflate-frame", b"", b"permessage-deflate"];
    assert_eq!(negotiated_with(true, &headers).as_deref(), Some(BOTH), "headers are one list");
}

#[test]
fn offer_with_an_invalid_parameter_is_declined() {
    for parameters in [
        "",
        " ",
        "=",
        "=1",
        "unknown",
        "server_no_context_takeover=",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
        "Server_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits=9.0",
        "server_max_window_bits=9 9",
        "server_max_window_bits=\"9",
        "server_max_window_bits=9\"",
        "server_max_window_bits=\"\\9\"",
        "server_max_window_bits=4294967305",
        "server_max_window_bits=9; server_max_window_bits=9",
        "server_max_window_bits=9; server_max_window_bits=10",
        "client_max_window_bits=",
        "client_max_window_bits=16",
        "client_max_window_bits; client_max_window_bits",
    ] {
        let offered = format!("permessage-deflate; {parameters}");
        assert_eq!(negotiated(&offered), None, "{offered}");
    }
    for offered in [
        "",
        ",",
        "permessage-deflate server_no_context_takeover",
        "permessage-deflate;",
        "permessage-deflate-frame",
        "Permessage-Deflate",
        "\"permessage-deflate\"",
        "permessage",
        "\"x, permessage-deflate",
        "x; y=\"\\\", permessage-deflate",
    ] {
        assert_eq!(negotiated(offered), None, "{offered}");
    }
    let bytes: [&[u8]; 3] =
        [b"permessage-deflate; \xff", b"permessage-deflate\xa0", b"permessage\xff"];
    for offered in bytes {
        assert_eq!(negotiated_with(true, &[offered]), None, "{offered:?}");
    }
}

#[test]
fn nothing_is_accepted_while_it_is_off() {
    assert_eq!(negotiated_with(false, &[b"permessage-deflate"]), None);
    assert_eq!(negotiated_with(true, &[]), None);
}

#[test]
fn message_over_the_window_of_a_client_is_not_for_it() {
    let admits = |offer: &[u8], size| super::accept(offer).unwrap().admits(size);
    assert!(admits(b"permessage-deflate", usize::MAX));
    let nine = b"permessage-deflate; server_max_window_bits=9";
    assert!(admits(nine, 512) && !admits(nine, 513));
    assert!(admits(b"permessage-deflate; server_max_window_bits=15", usize::MAX));
}
