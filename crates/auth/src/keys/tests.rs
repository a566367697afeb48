//! Tests of key files: forms, identifiers, and what is refused.

use super::*;

/// The P-256 key of RFC 7515, A.3.
const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const SECRET: &str = "YSBzZWNyZXQgb2YgYXQgbGVhc3QgMzIgYnl0ZXMsIG9r";

fn problem(keys: &str) -> String {
    match Keys::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes()) {
        Ok(keys) => panic!("{keys:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn key_that_cannot_be_used_is_named_with_the_cause() {
    let ec =
        |x: &str, more: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{Y}"{more}}}"#);
    let short = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ";
    for (keys, cause) in [
        ("", "no key"),
        ("5", "line 1"),
        (r#"{"kid":"a"}"#, "line 1"),
        (r#"{"kty":"oct","kid":"a"}"#, "key 1: its member k"),
        (r#"{"kty":"oct","k":"!!"}"#, "key 1: its member k"),
        (&format!(r#"{{"kty":"oct","k":"{short}"}}"#), "at least 32 bytes"),
        (&format!(r#"{{"kty":"oct","k":"{SECRET}","alg":"HS512"}}"#), "its alg"),
        (&format!(r#"{{"kty":"oct","k":"{SECRET}","alg":"none"}}"#), "its alg"),
        (&format!(r#"{{"kty":"oct","k":"{SECRET}"}},{{"kty":"new"}}"#), "key 2: its kty"),
        (&ec(X, r#","use":"enc""#), "its use"),
        (&ec(X, r#","d":"AA""#), "private key"),
        (&ec(X, r#","alg":"ES384""#), "its alg"),
        (&ec(Y, ""), "not a public key"),
        (&ec("AAAA", ""), "not a public key"),
        (&ec("!", ""), "member x or y"),
        (r#"{"kty":"EC","crv":"P-384"}"#, "its crv"),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, "its crv"),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#, "not a public key"),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "not a public key"),
        (r#"{"kty":"RSA","e":"AQAB"}"#, "its member n"),
        (
            &format!(r#"{{"kty":"oct","k":"{SECRET}","kid":"a"}},{}"#, ec(X, r#","kid":"a""#)),
            "the same kid",
        ),
        (
            &format!(r#"{{"kty":"oct","k":"{SECRET}","kid":"a"}},{{"kty":"oct","k":"{SECRET}"}}"#),
            "without a kid",
        ),
    ] {
        let problem = problem(keys);
        assert!(problem.contains(cause), "{keys}: {problem}");
        assert!(!problem.contains(SECRET) && !problem.contains(short), "{problem}");
    }
    let many = vec![r#"{"kty":"oct"}"#; MAX_KEYS + 1].join(",");
    assert!(problem(&many).contains("more than 100 keys"));
}

#[test]
fn pem_of_anything_but_a_public_key_is_refused() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let (private, public) = (pair.serialize_pem(), pair.public_key_pem());
    assert_eq!(Keys::parse(public.as_bytes()).unwrap().len(), 1);
    for (pem, cause) in [
        (private.as_str(), "private key"),
        (&format!("{public}{public}"), "has one public key"),
        (&format!("{public}{private}"), "has one public key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA", "private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "not a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a public key"),
        ("-----BEGIN PUBLIC KEY-----", "not a public key"),
        ("secret", "neither"),
        ("", "neither"),
        ("\u{0}", "neither"),
    ] {
        let error = Keys::parse(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(cause), "{pem:?}: {error}");
    }
}

#[test]
fn keys_are_never_printed() {
    let set = format!(r#"{{"keys":[{{"kty":"oct","kid":"ours","k":"{SECRET}"}}]}}"#);
    let keys = Keys::parse(set.as_bytes()).unwrap();
    let shown = format!("{keys:?} {keys:#?}");
    assert!(shown.contains("ours") && shown.contains("HS256"), "{shown}");
    assert!(
        !shown.contains(SECRET) && !shown.contains("a secret") && !shown.contains("97"),
        "{shown}"
    );
}

#[test]
fn key_is_chosen_by_its_id_and_used_for_its_algorithm_only() {
    let set = |kid: &str, more: &str| {
        let set = format!(r#"{{"keys":[{{"kty":"oct","kid":"{kid}","k":"{SECRET}"}}{more}]}}"#);
        Keys::parse(set.as_bytes()).unwrap()
    };
    let chosen = |keys: &Keys, algorithm, id| keys.select(algorithm, id).map(|key| key.id.clone());
    let one = set("a", "");
    assert_eq!(chosen(&one, Algorithm::HS256, Some("a")), Ok(Some("a".into())));
    assert_eq!(chosen(&one, Algorithm::HS256, None), Ok(Some("a".into())));
    assert_eq!(chosen(&one, Algorithm::HS256, Some("b")), Err(Rejection::UnknownKey));
    assert_eq!(chosen(&one, Algorithm::RS256, Some("a")), Err(Rejection::Algorithm));
    assert_eq!(chosen(&one, Algorithm::RS256, None), Err(Rejection::Algorithm));
    assert_eq!(chosen(&one, Algorithm::HS512, Some("a")), Err(Rejection::Algorithm));
    let two = one.and(set("b", "")).unwrap();
    assert_eq!(chosen(&two, Algorithm::HS256, None), Err(Rejection::NoKey));
    assert_eq!(chosen(&two, Algorithm::HS256, Some("b")), Ok(Some("b".into())));
    assert_eq!(chosen(&two, Algorithm::HS256, Some("c")), Err(Rejection::UnknownKey));
    let ec = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"}}]}}"#);
    let with_pem = two.and(Keys::parse(ec.as_bytes()).unwrap()).unwrap();
    assert_eq!(chosen(&with_pem, Algorithm::ES256, Some("c")), Ok(None), "it has no id");
    assert_eq!(chosen(&with_pem, Algorithm::HS256, Some("c")), Err(Rejection::UnknownKey));
    assert_eq!((with_pem.len(), with_pem.is_empty()), (3, false));
}
