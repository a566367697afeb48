//! Ranges of addresses, and headers that proxies and clients send.

use proptest::prelude::*;

use super::{super::parse, *};

fn request(fields: &[&str]) -> Request {
    let mut head = "GET / HTTP/1.1\r\nHost: chat\r\n".to_owned();
    for field in fields {
        head.push_str(&format!("{field}\r\n"));
    }
    parse(format!("{head}\r\n").as_bytes()).unwrap().unwrap().0
}

fn ranges(texts: &[&str]) -> Vec<AddressRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn peer() -> SocketAddr {
    "10.0.0.1:4711".parse().unwrap()
}

/// The client according to a header, with proxies in 10.0.0.0/8 and 2001:db8:1::/48.
fn client(header: ForwardedHeader, fields: &[&str]) -> String {
    let trusted = ranges(&["10.0.0.0/8", "2001:db8:1::/48"]);
    header.client(&request(fields), peer(), &trusted).to_string()
}

fn x_forwarded_for(fields: &[&str]) -> String {
    client(ForwardedHeader::XForwardedFor, fields)
}

#[test]
fn range_of_mapped_ipv4_addresses_is_the_ipv4_range() {
    let range: AddressRange = "::ffff:10.0.0.0/104".parse().unwrap();
    assert_eq!(range, "10.0.0.0/8".parse().unwrap());
    assert_eq!(range.to_string(), "10.0.0.0/8");
    for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
        assert!(range.contains(address.parse().unwrap()), "{address}");
    }
    let all: [AddressRange; 2] = ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap());
    assert!(all.iter().all(|range| range.is_all()) && !range.is_all());
    assert!(!all[1].contains("::ffff:10.1.2.3".parse().unwrap()), "IPv4 is a range of its own");
}

#[test]
fn header_of_an_untrusted_peer_is_ignored() {
    let request = request(&["X-Forwarded-For: 192.0.2.7"]);
    for trusted in [ranges(&[]), ranges(&["10.0.0.2", "192.168.0.0/16"])] {
        assert_eq!(ForwardedHeader::XForwardedFor.client(&request, peer(), &trusted), peer());
    }
}

#[test]
fn last_address_that_is_no_trusted_proxy_is_the_client() {
    assert_eq!(x_forwarded_for(&["X-Forwarded-For: 192.0.2.7"]), "192.0.2.7:0");
    assert_eq!(x_forwarded_for(&["x-forwarded-for: 192.0.2.7, 10.9.9.9"]), "192.0.2.7:0");
    let forged = "X-Forwarded-For: 127.0.0.1, 10.0.0.5, 192.0.2.7, 10.9.9.9,";
    assert_eq!(x_forwarded_for(&[forged]), "192.0.2.7:0", "what the client sent is in front");
    let lines = ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.7", "Via: x"];
    assert_eq!(x_forwarded_for(&lines), "192.0.2.7:0", "several lines are one list");
    assert_eq!(x_forwarded_for(&["X-Forwarded-For: 10.1.1.1, 10.2.2.2"]), "10.1.1.1:0");
}

#[test]
fn entry_that_is_no_address_ends_the_chain() {
    for entry in
        ["unknown", "_hidden", "1.2.3", "1.2.3.4:x", "[::1", "::1]:5", "1.2.3.4:99999", "\""]
    {
        let field = format!("X-Forwarded-For: 192.0.2.7, {entry}, 10.2.2.2");
        assert_eq!(x_forwarded_for(&[&field]), "10.2.2.2:0", "{entry}");
    }
    assert_eq!(x_forwarded_for(&["X-Forwarded-For: "]), peer().to_string());
    assert_eq!(x_forwarded_for(&[]), peer().to_string());
}

#[test]
fn ports_and_ipv6_are_read() {
    for (entry, expected) in [
        ("192.0.2.7:99", "192.0.2.7:99"),
        ("2001:db8::7", "[2001:db8::7]:0"),
        ("[2001:db8::7]", "[2001:db8::7]:0"),
        ("[2001:db8::7]:99", "[2001:db8::7]:99"),
        ("::ffff:192.0.2.7", "192.0.2.7:0"),
    ] {
        assert_eq!(x_forwarded_for(&[&format!("X-Forwarded-For: {entry}")]), expected);
    }
    let through_ipv6 = "X-Forwarded-For: 2001:db8::7, 2001:db8:1::9";
    assert_eq!(x_forwarded_for(&[through_ipv6]), "[2001:db8::7]:0");
}

#[test]
fn only_the_selected_header_counts() {
    let fields = ["X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.2", "Forwarded: for=192.0.2.3"];
    assert_eq!(client(ForwardedHeader::XForwardedFor, &fields), "192.0.2.1:0");
    assert_eq!(client(ForwardedHeader::XRealIp, &fields), "192.0.2.2:0");
    assert_eq!(client(ForwardedHeader::Forwarded, &fields), "192.0.2.3:0");
}

#[test]
fn elements_of_forwarded_are_read() {
    for (value, expected) in [
        ("for=192.0.2.7;proto=https;by=10.0.0.1", "192.0.2.7:0"),
        ("proto=https; For=\"192.0.2.7:99\"", "192.0.2.7:99"),
        ("for=\"[2001:db8::7]:99\"", "[2001:db8::7]:99"),
        ("for=1.1.1.1, for=192.0.2.7, for=10.2.2.2", "192.0.2.7:0"),
        ("for=\"1.1.1.1, for=192.0.2.7", "192.0.2.7:0"),
        ("for=192.0.2.7, for=unknown, for=10.2.2.2", "10.2.2.2:0"),
        ("for=192.0.2.7, by=10.2.2.2", "10.0.0.1:4711"),
    ] {
        let field = format!("Forwarded: {value}");
        assert_eq!(client(ForwardedHeader::Forwarded, &[&field]), expected, "{value}");
    }
}

#[test]
fn chain_of_proxies_has_a_limit() {
    let field = format!("X-Forwarded-For: 192.0.2.7{}", ", 10.1.1.1".repeat(MAX_HOPS));
    assert_eq!(x_forwarded_for(&[&field]), "10.1.1.1:0");
}

#[test]
fn range_contains_its_addresses_only() {
    for (range, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "a::"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::1", "::1", "::2"),
    ] {
        let range: AddressRange = range.parse().unwrap();
        assert!(range.contains(inside.parse().unwrap()), "{range}");
        assert!(!range.contains(outside.parse().unwrap()), "{range}");
    }
    let all: AddressRange = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains(peer().ip()) && !all.contains("::1".parse().unwrap()));
    let every: AddressRange = "::/0".parse().unwrap();
    assert!(every.contains("ffff::".parse().unwrap()));
}

#[test]
fn invalid_range_is_refused() {
    for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "nginx"] {
        assert_eq!(text.parse::<AddressRange>(), Err(InvalidRange::Malformed), "{text}");
    }
    for text in ["10.0.0.1/8", "2001:db8::1/32", "1.1.1.1/0"] {
        assert_eq!(text.parse::<AddressRange>(), Err(InvalidRange::HostBits), "{text}");
    }
}

proptest! {
    /// Whatever the client sends in front, the address that the trusted proxy appended is used.
    #[test]
    fn client_cannot_choose_its_address(sent in "[ -~]{0,80}") {
        let appended = format!("X-Forwarded-For: {sent}, 192.0.2.7");
        prop_assert_eq!(x_forwarded_for(&[&appended]), "192.0.2.7:0");
        let appended = format!("Forwarded: {sent}, for=192.0.2.7");
        prop_assert_eq!(client(ForwardedHeader::Forwarded, &[&appended]), "192.0.2.7:0");
    }
}
