//! Tests of the places of a token in a request.

use proptest::prelude::*;
use protocol::token::MAX_TOKEN;

use super::*;

fn handshake(target: &str, headers: &[(&str, &str)]) -> Handshake {
    let header =
        |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
    Handshake { target: target.into(), headers: headers.iter().map(header).collect() }
}

/// The token and its location, and the target and headers that remain.
fn taken(target: &str, headers: &[(&str, &str)]) -> (Option<(String, Location)>, String) {
    let mut request = handshake(target, headers);
    let found = take(&mut request, Some("sid")).unwrap();
    let found = found.map(|found| (found.token.expose().to_owned(), found.location));
    let headers = request
        .headers
        .iter()
        .map(|header| format!("|{}: {}", header.name, String::from_utf8_lossy(&header.value)));
    (found, request.target.clone() + &headers.collect::<String>())
}

#[test]
fn token_is_found_in_each_location_and_removed_from_it() {
    use Location::*;
    let origin = ("Origin", "https://a.example");
    for (location, target, headers, rest) in [
        (
            Authorization,
            "/",
            &[("authorization", "bearer  a.b.c")][..],
            "/|authorization: Bearer redacted",
        ),
        (
            Subprotocol,
            "/",
            &[("Sec-WebSocket-Protocol", "chat, gw.auth.a.b.c ,mqtt")],
            "/|Sec-WebSocket-Protocol: chat, mqtt",
        ),
        (Subprotocol, "/", &[("sec-websocket-protocol", "gw.auth.a.b.c")], "/"),
        (Query, "/x?y=1&token=a.b.c&z", &[], "/x?y=1&token=redacted&z"),
        (Query, "/?access_token=a%2Eb%2ec", &[], "/?access_token=redacted"),
        (Query, "/?%74oken=a.b.c", &[], "/?%74oken=redacted"),
        (
            Cookie,
            "/",
            &[("Cookie", "a=b; sid=a.b.c;c"), origin],
            "/|Cookie: a=b; sid=redacted;c|Origin: https://a.example",
        ),
        (
            Cookie,
            "/",
            &[("Cookie", "sid=\"a.b.c\""), origin],
            "/|Cookie: sid=redacted|Origin: https://a.example",
        ),
    ] {
        let (found, remains) = taken(target, headers);
        assert_eq!(found, Some(("a.b.c".into(), location)), "{target} {headers:?}");
        assert_eq!(remains, rest);
    }
}

#[test]
fn request_without_a_token_stays_as_it_is() {
    for (target, headers) in [
        ("/", &[][..]),
        ("/?token", &[("Authorization", "Basic YTpi"), ("Cookie", "other=1; sid=")]),
        ("/?token=", &[("Authorization", "Bearer "), ("Sec-WebSocket-Protocol", "gw.auth.")]),
        ("/?tokens=x&xtoken=y", &[("Sec-WebSocket-Protocol", "gw.authx"), ("Cookie", "sidx=1")]),
        ("/token=x", &[("X-Authorization", "Bearer x")]),
    ] {
        let mut request = handshake(target, headers);
        assert_eq!(take(&mut request, Some("sid")), Ok(None), "{target} {headers:?}");
        assert_eq!(request, handshake(target, headers));
    }
    let headers = [("Cookie", "sid=a.b.c")];
    let mut request = handshake("/", &headers);
    assert_eq!(take(&mut request, None), Ok(None), "without a cookie in the settings");
    assert_eq!(request, handshake("/", &headers));
}

#[test]
fn same_token_in_several_locations_counts_as_in_the_first() {
    let headers = [("Cookie", "sid=a.b.c"), ("Authorization", "Bearer a.b.c")];
    let (found, _) = taken("/?token=a.b.c", &headers);
    assert_eq!(found, Some(("a.b.c".into(), Location::Authorization)), "no Origin is needed");
}

#[test]
fn different_tokens_are_ambiguous_wherever_they_are() {
    for (target, headers) in [
        ("/?token=XX", &[("Authorization", "Bearer YY")][..]),
        ("/?token=XX&token=YY", &[]),
        ("/?token=XX&access_token=YY", &[]),
        ("/", &[("Authorization", "Bearer XX"), ("Authorization", "Bearer YY")]),
        ("/", &[("Sec-WebSocket-Protocol", "gw.auth.XX, gw.auth.YY")]),
        ("/?token=XX", &[("Cookie", "sid=YY")]),
        ("/", &[("Cookie", "sid=XX; sid=YY")]),
    ] {
        let mut request = handshake(target, headers);
        assert_eq!(
            take(&mut request, Some("sid")),
            Err(Rejection::Ambiguous),
            "{target} {headers:?}"
        );
        let text = request.target.clone()
            + &request
                .headers
                .iter()
                .map(|it| String::from_utf8_lossy(&it.value))
                .collect::<String>();
        assert!(!text.contains("XX") && !text.contains("YY"), "{text}");
    }
}

#[test]
fn cookie_without_an_origin_is_refused() {
    let mut request = handshake("/", &[("Cookie", "sid=a.b.c")]);
    assert_eq!(take(&mut request, Some("sid")), Err(Rejection::Origin));
    assert_eq!(request.header("Cookie"), Some("sid=redacted"));
}

#[test]
fn token_that_is_too_long_or_not_text_is_malformed() {
    let long = format!("/?token={}", "x".repeat(MAX_TOKEN + 1));
    for target in [long.as_str(), "/?token=%ff"] {
        let mut request = handshake(target, &[]);
        assert_eq!(take(&mut request, None), Err(Rejection::Malformed));
        assert_eq!(request.target, "/?token=redacted");
    }
}

proptest! {
    #[test]
    fn token_never_remains_in_the_request(
        before in "[ -~]{0,20}", after in "[ -~]{0,20}", which in 0..4,
    ) {
        const SECRET: &str = "S3.S3.S3";
        let place = |separator: &str, text: String| format!("{before}{separator}{text}{separator}{after}");
        let mut request = match which {
            0 => handshake("/", &[("Authorization", &format!("Bearer {SECRET}"))]),
            1 => handshake("/", &[("Sec-WebSocket-Protocol", &place(",", format!("gw.auth.{SECRET}")))]),
            2 => handshake(&place("&", format!("token={SECRET}")).replacen(&before, &format!("/?{before}"), 1), &[]),
            _ => handshake("/", &[("Cookie", &place(";", format!("sid={SECRET}")))]),
        };
        let _ = take(&mut request, Some("sid"));
        let text = request.target.clone()
            + &request.headers.iter().map(|it| String::from_utf8_lossy(&it.value)).collect::<String>();
        prop_assert!(!text.contains(SECRET), "{}", text);
    }
}
