//! The addresses of clients behind proxies: PROXY headers, and headers of requests.

use std::net::SocketAddr;

use framing::{
    http::{self, AddressRange, ForwardedHeader, Request},
    proxy_protocol::{MAX_HEADER, Source, parse},
};
use protocol::Header;

/// The start of a connection that must begin with a PROXY header.
pub fn proxy_header(bytes: &[u8]) {
    // More bytes change no result but that of an incomplete header. The tested position is derived
    // from the input.
    let cut = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % (bytes.len() + 1);
    let part = parse(&bytes[..cut]);
    match parse(bytes) {
        Ok(Some((source, length))) => {
            assert!(length <= bytes.len().min(MAX_HEADER));
            assert_eq!(part.is_ok_and(|part| part.is_some()), length <= cut, "at {cut}");
            assert_eq!(parse(&bytes[..length]), Ok(Some((source, length))));
            if let Source::Client(client) = source {
                assert_eq!(client.ip(), client.ip().to_canonical());
            }
        }
        Ok(None) => {
            assert!(bytes.len() < MAX_HEADER);
            assert_eq!(part, Ok(None));
        }
        Err(error) => assert!(part == Ok(None) || part == Err(error)),
    }
}

/// A range of addresses in the first line, and in each further one a value of the header in which
/// proxies state the client, as a client sends it.
pub fn forwarded(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let range = std::str::from_utf8(lines.next().unwrap_or_default());
    let range: Option<AddressRange> = range.ok().and_then(|range| range.parse().ok());
    if let Some(range) = range {
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    let values: Vec<&[u8]> = lines.collect();
    let peer: SocketAddr = ([10, 0, 0, 1], 4711).into();
    let proxy: AddressRange = "10.0.0.0/8".parse().expect("a range");
    let trusted: Vec<_> = range.into_iter().chain([proxy]).collect();
    let ours: SocketAddr = ([192, 0, 2, 7], 0).into();
    for (header, name, appended) in [
        (ForwardedHeader::XForwardedFor, "X-Forwarded-For", &b"192.0.2.7"[..]),
        (ForwardedHeader::XRealIp, "X-Real-IP", b"192.0.2.7"),
        (ForwardedHeader::Forwarded, "Forwarded", b"for=192.0.2.7"),
    ] {
        let client = header.client(&request(name, &values), peer, &trusted);
        assert_eq!(client.ip(), client.ip().to_canonical());
        assert_eq!(header.client(&request(name, &values), ours, &[proxy]), ours, "untrusted");
        if trusted.iter().any(|range| range.contains(ours.ip())) {
            continue;
        }
        // Whatever a client sends, what the proxy appends counts: as a line, or to the last one.
        let line = [&values[..], &[appended]].concat();
        assert_eq!(header.client(&request(name, &line), peer, &trusted), ours, "{name}");
        if let Some((last, rest)) = values.split_last() {
            let joined = [last, &b", "[..], appended].concat();
            let line = [rest, &[&joined[..]]].concat();
            assert_eq!(header.client(&request(name, &line), peer, &trusted), ours, "{name}");
        }
    }
}

fn request(name: &str, values: &[&[u8]]) -> Request {
    let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut request, _) = http::parse(head).expect("a request").expect("a complete one");
    let header = |value: &&[u8]| Header { name: name.to_owned(), value: value.to_vec() };
    request.handshake.headers.extend(values.iter().map(header));
    request
}
