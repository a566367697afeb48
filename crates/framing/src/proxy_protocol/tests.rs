//! PROXY headers: valid, incomplete and hostile ones.

use proptest::{collection::vec, prelude::*};

use super::*;

fn client_of(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(Some((Source::Client(addr), length))) => {
            assert!(length <= bytes.len());
            addr.to_string()
        }
        other => panic!("{other:?}"),
    }
}

/// A version 2 header.
fn binary_header(version_and_command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([version_and_command, family]);
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x00, 0x50];

#[test]
fn line_names_the_client() {
    let ipv4 = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\nGET / HTTP/1.1\r\n";
    assert_eq!(client_of(ipv4), "192.0.2.7:12345");
    assert_eq!(parse(ipv4).unwrap().unwrap().1, 40, "the request follows");
    assert_eq!(client_of(b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n"), "[2001:db8::7]:12345");
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 80\r\n";
    assert_eq!(client_of(mapped), "192.0.2.7:12345");
}

#[test]
fn health_check_and_unknown_source_have_the_address_of_the_connection() {
    for line in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"] {
        assert_eq!(parse(line), Ok(Some((Source::Connection, line.len()))));
    }
    for header in [
        binary_header(0x20, 0x00, &[]),
        binary_header(0x20, 0x11, &IPV4),
        binary_header(0x21, 0x00, &[]),
        binary_header(0x21, 0x31, &[0; 216]),
    ] {
        assert_eq!(parse(&header), Ok(Some((Source::Connection, header.len()))));
    }
}

#[test]
fn binary_header_names_the_client_and_extensions_are_skipped() {
    assert_eq!(client_of(&binary_header(0x21, 0x11, &IPV4)), "192.0.2.7:12345");
    let mut ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets().to_vec();
    ipv6.extend([0; 16]);
    ipv6.extend([0x30, 0x39, 0x00, 0x50]);
    assert_eq!(client_of(&binary_header(0x21, 0x21, &ipv6)), "[2001:db8::7]:12345");
    let with_extension = [&IPV4[..], &[0x04, 0x00, 0x02, 0xab, 0xcd]].concat();
    let header = binary_header(0x21, 0x11, &with_extension);
    assert_eq!(client_of(&header), "192.0.2.7:12345");
    assert_eq!(parse(&header).unwrap().unwrap().1, header.len());
}

#[test]
fn incomplete_header_is_awaited() {
    let headers =
        [b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), binary_header(0x21, 0x11, &IPV4)];
    for header in headers {
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), Ok(None), "{length}");
        }
        assert!(matches!(parse(&header), Ok(Some(_))));
    }
}

#[test]
fn malformed_line_is_refused() {
    for line in [
        &b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n"[..],
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80 1\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 12345 80\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 12345 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 012345 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 +1234 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 80\r\n",
        b"PROXY TCP4  192.0.2.7 10.0.0.1 1 80\r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.1 1 80\r\n",
        b"PROXY \r\n",
        b"PROXY \xff\xff\r\n",
    ] {
        assert_eq!(parse(line), Err(InvalidHeader::Line), "{}", line.escape_ascii());
    }
    let endless = [PREFIX, &[b'x'; 200]].concat();
    assert_eq!(parse(&endless[..MAX_LINE - 1]), Ok(None));
    assert_eq!(parse(&endless), Err(InvalidHeader::Line));
}

#[test]
fn malformed_binary_header_is_refused() {
    for header in [
        binary_header(0x11, 0x11, &IPV4),
        binary_header(0x22, 0x11, &IPV4),
        binary_header(0x21, 0x13, &IPV4),
        binary_header(0x21, 0x11, &IPV4[..11]),
        binary_header(0x21, 0x21, &[0; 35]),
    ] {
        assert_eq!(parse(&header), Err(InvalidHeader::Binary));
    }
    let long = binary_header(0x21, 0x11, &[0; MAX_HEADER]);
    assert_eq!(parse(&long[..FIXED]), Err(InvalidHeader::TooLong(FIXED + MAX_HEADER)));
}

#[test]
fn connection_without_a_header_is_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROXX", b"\r\n\r\nX", b"\x16\x03\x01"] {
        assert_eq!(parse(bytes), Err(InvalidHeader::Missing));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_the_limit(
        start in prop_oneof![Just(PREFIX.to_vec()), Just(SIGNATURE.to_vec()), Just(vec![])],
        rest in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, rest].concat();
        if let Ok(Some((_, length))) = parse(&bytes) {
            prop_assert!(length <= bytes.len() && length <= MAX_HEADER);
            prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
        }
    }
}
