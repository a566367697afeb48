//! The WebSocket handshake as a worker receives it: `$_GET`, `$_SERVER` and `$_COOKIE`, as PHP
//! would have built them from the request.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::{
    Handshake,
    php::{Array, Key, Value, parse_str, query_of, serialize},
};

/// The serialized body of the event.
pub(super) fn body(handshake: &Handshake, remote: SocketAddr, listener_port: u16) -> Vec<u8> {
    let query = query_of(&handshake.target);
    let headers = headers(handshake);
    let get = parse_str(&query);
    let cookies = cookies(header(&headers, "cookie"));
    let mut server = Array::new();
    let mut put = |name: &'static str, value| server.set(Key::from(name), value);
    put("QUERY_STRING", Value::text(query));
    put("REQUEST_METHOD", Value::text("GET"));
    put("REQUEST_URI", Value::text(handshake.target.clone()));
    put("SERVER_PROTOCOL", Value::text("HTTP/1.1"));
    put("SERVER_NAME", header(&headers, "host").clone());
    put("CONTENT_TYPE", header(&headers, "content-type").clone());
    put("REMOTE_ADDR", Value::text(address(remote.ip())));
    put("REMOTE_PORT", Value::Int(remote.port().into()));
    put("SERVER_PORT", Value::Int(listener_port.into()));
    for (name, value) in headers {
        let name = name.to_text().to_ascii_uppercase();
        let name = name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte });
        server.set(Key::Str(b"HTTP_".iter().copied().chain(name).collect()), value);
    }
    let parts = [("get", get), ("server", server), ("cookie", cookies)];
    let parts = parts.map(|(name, part)| (Key::from(name), Value::Array(part)));
    let mut body = Vec::new();
    serialize(&Value::Array(parts.into_iter().collect()).into(), usize::MAX, &mut body)
        .expect("it is nested no deeper than a query may be");
    body
}

/// The headers by name in lower case, repeated ones joined by commas.
fn headers(handshake: &Handshake) -> Array {
    let mut headers = Array::new();
    for header in &handshake.headers {
        let name = Key::from_text(header.name.to_ascii_lowercase().into());
        let value = match headers.get(&name) {
            Some(Value::Str(first)) => [first, &b","[..], &header.value].concat(),
            _ => header.value.clone(),
        };
        headers.set(name, Value::Str(value.into()));
    }
    headers
}

fn header<'a>(headers: &'a Array, name: &'static str) -> &'a Value {
    headers.get_str(name).unwrap_or(&Value::Null)
}

/// The cookies of a `Cookie` header. Names are trimmed; values are unchanged.
fn cookies(header: &Value) -> Array {
    let Value::Str(header) = header else {
        return Array::new();
    };
    let pairs = header.split(|byte| *byte == b';').filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (trimmed(&pair[..equals]), &pair[equals + 1..]);
        Some((Key::from_text(name), Value::Str(Bytes::copy_from_slice(value))))
    });
    pairs.collect()
}

/// Without the characters that PHP's `trim()` removes.
fn trimmed(text: &[u8]) -> Bytes {
    let kept = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0 | 0x0b);
    let start = text.iter().position(kept).unwrap_or(text.len());
    let end = text.iter().rposition(kept).map_or(start, |last| last + 1);
    Bytes::copy_from_slice(&text[start..end])
}

/// An address in PHP's notation of `REMOTE_ADDR`.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
