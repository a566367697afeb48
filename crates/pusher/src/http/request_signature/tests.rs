//! Signatures of real SDKs, and what is refused.

use super::*;

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";
const NOW: u64 = 1_353_088_179;
const BODY: &[u8] = br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
const DOCUMENTED: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179\
     &auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f\
     &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

fn keys() -> [Key; 2] {
    [Key::new(KEY, SECRET), Key::new("k1", "s1")]
}

fn check_at(
    now: u64,
    method: &str,
    path: &str,
    query: &str,
    body: &[u8],
) -> Result<(), Unauthenticated> {
    let query = Query::parse(query).unwrap();
    SignedRequest { method, path, query: &query }.check(now, &keys())?.check_body(body)
}

fn check_documented(query: &str, body: &[u8]) -> Result<(), Unauthenticated> {
    check_at(NOW, "POST", "/apps/3/events", query, body)
}

/// A query with its signature of `text`, which is given without the method and path.
fn signed(method: &str, path: &str, sent: &str, text: &str) -> String {
    let signature = keys()[1].sign(&[format!("{method}\n{path}\n{text}").as_bytes()]);
    format!("{sent}&auth_signature={signature}")
}

const AUTH: &str = "auth_key=k1&auth_timestamp=1353088179&auth_version=1.0";

#[test]
fn documented_signature_is_valid() {
    assert_eq!(check_documented(DOCUMENTED, BODY), Ok(()));
}

#[test]
fn signature_of_an_sdk_is_valid_escaped_or_not() {
    let auth = "auth_key=k1&auth_timestamp=1700000000&auth_version=1.0";
    let signature = "a382e0b05a541bb16907b96e9a6e3f6b81e922fd7a39a543f4478b06d906790c";
    for info in ["user_count,subscription_count", "user_count%2Csubscription_count"] {
        let query =
            format!("{auth}&filter_by_prefix=presence-&info={info}&auth_signature={signature}");
        assert_eq!(check_at(1_700_000_000, "GET", "/apps/1/channels", &query, b""), Ok(()));
    }
}

#[test]
fn any_part_of_the_request_that_differs_is_refused() {
    let refused = |result| matches!(result, Err(Unauthenticated::OtherSignature(_)));
    assert!(refused(check_at(NOW, "GET", "/apps/3/events", DOCUMENTED, BODY)));
    assert!(refused(check_at(NOW, "POST", "/apps/4/events", DOCUMENTED, BODY)));
    assert!(refused(check_documented(&format!("{DOCUMENTED}&info=user_count"), BODY)));
    assert!(refused(check_documented(&DOCUMENTED.replace("6c", "6d"), BODY)));
    assert!(refused(check_documented(&DOCUMENTED.replace("e6c", "e6"), BODY)));
    assert!(refused(check_documented(&DOCUMENTED.replace("da45", "zz45"), BODY)));
    let other = check_documented(DOCUMENTED, &BODY[1..]);
    assert_eq!(other, Err(Unauthenticated::OtherBody));
    let unstated = signed("POST", "/apps/3/events", AUTH, AUTH);
    assert_eq!(check_documented(&unstated, BODY), Err(Unauthenticated::Missing("body_md5")));
    let missing = check_documented("auth_key=k1&auth_version=1.0", BODY);
    assert_eq!(missing, Err(Unauthenticated::Missing("auth_timestamp")));
    let unknown = check_documented(&DOCUMENTED.replace(KEY, "other"), BODY);
    assert_eq!(unknown, Err(Unauthenticated::UnknownKey));
    let version = check_documented(&DOCUMENTED.replace("=1.0", "=1.1"), BODY);
    assert_eq!(version, Err(Unauthenticated::Version));
    let twice = check_documented(&format!("{DOCUMENTED}&auth_timestamp=1"), BODY);
    assert_eq!(twice, Err(Unauthenticated::NoTime));
}

#[test]
fn signature_expires_ten_minutes_before_and_after() {
    for (now, expected) in [
        (NOW + 600, Ok(())),
        (NOW - 600, Ok(())),
        (NOW + 601, Err(Unauthenticated::Expired { stated: NOW, now: NOW + 601 })),
        (NOW - 601, Err(Unauthenticated::Expired { stated: NOW, now: NOW - 601 })),
        (u64::MAX, Err(Unauthenticated::Expired { stated: NOW, now: u64::MAX })),
    ] {
        assert_eq!(check_at(now, "POST", "/apps/3/events", DOCUMENTED, BODY), expected);
    }
}

#[test]
fn path_is_signed_with_or_without_its_prefix_and_escaped_or_not() {
    let path = "/apps/1/channels/a@b";
    for received in [path, "/push/apps/1/channels/a@b", "/push/apps/1/channels/a%40b"] {
        let query = signed("GET", path, AUTH, AUTH);
        assert_eq!(check_at(NOW, "GET", received, &query, b""), Ok(()), "{received}");
    }
    let received = "/push/apps/1/channels/a@b";
    let query = signed("GET", received, AUTH, AUTH);
    assert_eq!(check_at(NOW, "GET", received, &query, b""), Ok(()));
    let other = check_at(NOW, "GET", "/apps/1/channels/a@c", &query, b"");
    assert!(matches!(other, Err(Unauthenticated::OtherSignature(_))));
}

#[test]
fn lists_and_spaces_are_signed_as_each_sdk_does() {
    let path = "/apps/1/channels";
    for (sent, text) in [
        ("info[0]=a&info[1]=b", "info=a,b"),
        ("info%5B%5D=a&info%5B%5D=b", "info[]=a&info[]=b"),
        ("q=a+b", "q=a b"),
        ("q=a+b", "q=a+b"),
        ("q=a%20b", "q=a b"),
    ] {
        let query = signed("GET", path, &format!("{AUTH}&{sent}"), &format!("{AUTH}&{text}"));
        assert_eq!(check_at(NOW, "GET", path, &query, b""), Ok(()), "{sent}");
    }
}

#[test]
fn stated_md5_of_an_empty_body_is_checked() {
    let empty = "body_md5=d41d8cd98f00b204e9800998ecf8427e";
    let other = "body_md5=d41d8cd98f00b204e9800998ecf8427f";
    let query = |md5: &str| {
        signed("GET", "/apps/1/channels", &format!("{AUTH}&{md5}"), &format!("{AUTH}&{md5}"))
    };
    let check = |md5| check_at(NOW, "GET", "/apps/1/channels", &query(md5), b"");
    assert_eq!(check(empty), Ok(()));
    assert_eq!(check(other), Err(Unauthenticated::OtherBody));
}

#[test]
fn error_shows_the_signed_text_on_one_bounded_line() {
    let shown =
        check_documented(&DOCUMENTED.replace("da45", "da46"), BODY).unwrap_err().to_string();
    assert!(shown.contains(r"POST\n/apps/3/events\nauth_key=278d"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains('\n'), "{shown}");
    let long = format!("{AUTH}&auth_signature=00&q={}", "%0a".repeat(5000));
    let shown = check_at(NOW, "GET", "/apps/1/channels", &long, b"").unwrap_err().to_string();
    assert!(shown.len() < SHOWN + 200 && !shown.contains('\n'));
}
