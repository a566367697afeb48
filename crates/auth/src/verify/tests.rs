//! Tests of verification: each algorithm, each claim, and tokens of other tools.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use protocol::{Group, Session, Uid};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use super::*;
use crate::{MAX_GROUPS, MAX_SESSION, Revocations};

const NOW: u64 = 1_800_000_000;

/// The secret of the tokens below, in base64url.
const SECRET: &str = "YSBzZWNyZXQgb2YgYXQgbGVhc3QgMzIgYnl0ZXMsIG9r";

/// Tokens of a tool other than ours, with {"sub":"ann","exp":4102444800}: the parts of
/// printf '%s.%s' HEADER PAYLOAD | openssl dgst -sha256 -hmac 'a secret of at least 32 bytes, ok'
/// and, with keys of openssl genpkey, openssl pkeyutl -sign -rawin and openssl dgst -sha256 -sign.
const OF_OPENSSL: [(&str, &str); 3] = [
    (
        "",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.YpvWgyFRQV3WbvugigEFsjYlMdnXIFMMirCcwqAMRgE",
    ),
    (
        "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAqL+sbP1x5TvElHB5D6g7Y4kV26n88BSfFCejRnRV8nY=
-----END PUBLIC KEY-----",
        "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.xBv3EhptIQJUq024rzo101_2Ng3x6tEQi4pTW75vhk8vsvoDeiCM0fBxxMBBzOlYHFTfvNVlzbOGvhOo0GV2Aw",
    ),
    (
        "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqEvJ6izpF17hE/meHCBg
w/hy9lKGuP1CTlu5/J42HXIqBJT4/qbU+gcnwfDvgMaIMCO5AvQWp4i6MeMrX/sl
h0Du1lJoaw4gtX9bFQlpfLxDRYqpLhs6JRweZnIctJGNtNQNKwEdAStf+GW0Wjxh
jC9Z+9Y9eSDSb/qvpd5dvciEzswGPAbn7Lfj25lMTV30Pw+WfWUaAIhqCL9LyYKw
8oesdnuofXHqu9lThBj6aCyX/UM3xLf9CxDGXlybmdqeI4xI6l/seS4grfsLkV+i
ssFaJkczw9KMWXQ9SX4+rTjuIcKIaoHsJKxHqvIvbXeCxEkl8nnSkLVRb0GQTes1
rwIDAQAB
-----END PUBLIC KEY-----",
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.PlsOrRqW3uk5-f3JbEMUHWIh1gKVRtlPqR0adEPbX9eE_2L0xIvLBVDe3NixHP8luwLj_MBeo6cKvcyv5LcYydwjBE1_TWh7qbObxTUQgptJLIywPUexAtocn5VPDshGDEP26BvwAOmh5-0Chquqa7Z_M9gOVPHxHT1AFLKbb3u7fo0YXxyn3mv5BXKRM1NLzXHHbRAcrjZS4rGlQF1evsQyC7nnHhSMVJmNEW4cLfAKq13PpvflAHYIQYPmYR7L8JbmTMmLFNdKJFKSpO68miipsazuBcBIP-U5WmKr3xW2g0Oq5s-im8VVPjf0IRdFVQY5kDRAzXHHxpKimS_Ulw",
    ),
];

/// Texts that are close to a file or a token.
const TEXTS: &str = r#"(\{"(keys|revocations|exp|sub|gw)": ?(\[\{?|\{|-?[0-9]{1,20}(\.5)?|"[a-z]*"),?"?(kty|jti|until|groups|session|expire_at)?"?:?(\[?"oct"?\]?|[0-9]{1,20})\}?\]?\}?)|([a-zA-Z0-9_-]{1,40}\.){2}[a-zA-Z0-9_-]{1,40}|-----BEGIN PUBLIC KEY-----\n[A-Z]{0,40}\n-----END PUBLIC KEY-----"#;

/// RFC 7515, A.1 to A.3: the token's payload is {"iss":"joe", "exp":1300819380, …}.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const RFC_KEYS: &str = r#"{"keys":[
    {"kty":"oct","kid":"A.1","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
    {"kty":"RSA","kid":"A.2","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
    {"kty":"EC","kid":"A.3","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"OKP","kid":"8037","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

const RFC_7515: [(&str, &str); 3] = [
    ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    (
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

fn rules() -> Rules {
    let (audiences, issuers) = (Vec::new(), Vec::new());
    Rules { audiences, issuers, max_lifetime: 86_400, allow_anonymous: false }
}

fn lenient() -> Rules {
    Rules { max_lifetime: u64::MAX, allow_anonymous: true, ..rules() }
}

fn verified(rules: &Rules, keys: &Keys, token: &str, now: u64) -> Result<Claims, Rejection> {
    rules.verify(keys, &AccessToken::new(token).unwrap(), now)
}

/// A key of each algorithm, to sign with and to verify with.
fn pair(algorithm: Algorithm) -> (EncodingKey, Keys) {
    type FromPem = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
    let (kind, from_pem): (_, FromPem) = match algorithm {
        Algorithm::HS256 => {
            let signing = EncodingKey::from_base64_secret(SECRET).unwrap();
            let set = json!({ "keys": [{ "kty": "oct", "kid": "k", "k": SECRET }] }).to_string();
            return (signing, Keys::parse(set.as_bytes()).unwrap());
        }
        Algorithm::RS256 => (&PKCS_RSA_SHA256, EncodingKey::from_rsa_pem),
        Algorithm::ES256 => (&PKCS_ECDSA_P256_SHA256, EncodingKey::from_ec_pem),
        _ => (&PKCS_ED25519, EncodingKey::from_ed_pem),
    };
    let key = KeyPair::generate_for(kind).unwrap();
    let keys = Keys::parse(key.public_key_pem().as_bytes()).unwrap();
    (from_pem(key.serialize_pem().as_bytes()).unwrap(), keys)
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    let header = Header { kid: Some("k".into()), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

/// The result for a token with these claims and, unless they have one, an `exp`.
fn checked(rules: &Rules, mut claims: Value) -> Result<Claims, Rejection> {
    let (signing, keys) = pair(Algorithm::HS256);
    let object = claims.as_object_mut().unwrap();
    object.entry("exp").or_insert(json!(NOW + 60));
    object.entry("sub").or_insert(json!("ann"));
    object.retain(|_, value| !value.is_null());
    verified(rules, &keys, &signed(Algorithm::HS256, &signing, &claims), NOW)
}

#[test]
fn each_algorithm_accepts_its_signature_and_refuses_any_other() {
    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let (signing, keys) = pair(algorithm);
        let token = signed(algorithm, &signing, &json!({ "sub": "ann", "exp": NOW + 60 }));
        let claims = verified(&rules(), &keys, &token, NOW).unwrap();
        assert_eq!(claims.identity.uid, Some(Uid::new("ann").unwrap()), "{algorithm:?}");
        assert_eq!(claims.expires_at, Some(NOW + 60));
        // Another payload, another signature, and the key of another issuer.
        let other = signed(algorithm, &signing, &json!({ "sub": "eve", "exp": NOW + 60 }));
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (token, other) = (parts(&token), parts(&other));
        let mixed = [&*token[0], &*other[1], &*token[2]].join(".");
        assert_eq!(
            verified(&rules(), &keys, &mixed, NOW),
            Err(Rejection::Signature),
            "{algorithm:?}"
        );
        let short = [&*token[0], &*token[1], &token[2][..8]].join(".");
        assert_eq!(
            verified(&rules(), &keys, &short, NOW),
            Err(Rejection::Signature),
            "{algorithm:?}"
        );
        if algorithm != Algorithm::HS256 {
            let (_, others) = pair(algorithm);
            let refused = verified(&rules(), &others, &token.join("."), NOW);
            assert_eq!(refused, Err(Rejection::Signature), "{algorithm:?}");
        }
    }
}

#[test]
fn tokens_of_rfc_7515_are_verified() {
    let keys = Keys::parse(RFC_KEYS.as_bytes()).unwrap();
    for (header, signature) in RFC_7515 {
        let token = format!("{header}.{PAYLOAD}.{signature}");
        let claims = verified(&lenient(), &keys, &token, 1_300_819_000).unwrap();
        assert_eq!(claims.expires_at, Some(1_300_819_380));
        assert_eq!(verified(&lenient(), &keys, &token, NOW), Err(Rejection::Expired));
        let other = token.replace("Ly9leGFtcGxl", "Ly9leGFtcGxm");
        assert_eq!(verified(&lenient(), &keys, &other, 1_300_819_000), Err(Rejection::Signature));
    }
}

#[test]
fn signature_of_rfc_8037_is_verified() {
    const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let keys = Keys::parse(RFC_KEYS.as_bytes()).unwrap();
    let result = |token: &str| verified(&lenient(), &keys, token, NOW);
    assert_eq!(result(TOKEN), Err(Rejection::Malformed), "signed, but not claims");
    assert_eq!(result(&TOKEN.replace(".RXhh", ".RXhi")), Err(Rejection::Signature));
}

#[test]
fn tokens_made_by_openssl_are_verified() {
    for (pem, token) in OF_OPENSSL {
        let set = format!(r#"{{"keys":[{{"kty":"oct","k":"{SECRET}"}}]}}"#);
        let keys =
            Keys::parse(if pem.is_empty() { set.as_bytes() } else { pem.as_bytes() }).unwrap();
        let claims = verified(&lenient(), &keys, token, NOW).unwrap();
        assert_eq!(claims.identity.uid, Some(Uid::new("ann").unwrap()));
    }
}

#[test]
fn rsa_public_key_is_never_the_secret_of_an_hmac() {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let keys = Keys::parse(key.public_key_pem().as_bytes()).unwrap();
    let claims = json!({ "sub": "ann", "exp": NOW + 60 });
    for secret in [key.public_key_pem().into_bytes(), key.public_key_raw().to_vec()] {
        let signing = EncodingKey::from_secret(&secret).unwrap();
        for header in [
            Header::new(Algorithm::HS256),
            Header { kid: Some("k".into()), ..Header::new(Algorithm::HS256) },
        ] {
            let token = encode(&header, &claims, &signing).unwrap();
            let refused = verified(&rules(), &keys, &token, NOW).unwrap_err();
            assert!(matches!(refused, Rejection::Algorithm | Rejection::UnknownKey), "{refused:?}");
        }
    }
    let signing = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
    let token = encode(&Header::new(Algorithm::RS256), &claims, &signing).unwrap();
    assert!(verified(&rules(), &keys, &token, NOW).is_ok(), "the same key with its algorithm");
    let token = encode(&Header::new(Algorithm::RS512), &claims, &signing).unwrap();
    assert_eq!(verified(&rules(), &keys, &token, NOW), Err(Rejection::Algorithm));
}

#[test]
fn hostile_tokens_are_refused() {
    let (signing, keys) = pair(Algorithm::HS256);
    let valid = signed(Algorithm::HS256, &signing, &json!({ "sub": "ann", "exp": NOW + 60 }));
    let parts = valid.split('.').collect::<Vec<_>>();
    // {"alg":"none"}, {"alg":"HS256","crit":["x"],"x":1}, {"alg":"HS256","kid":5}, {"typ":"JWT"}, "5".
    let headers = [
        ("eyJhbGciOiJub25lIn0", Rejection::Algorithm),
        ("eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdLCJ4IjoxfQ", Rejection::Malformed),
        ("eyJhbGciOiJIUzI1NiIsImtpZCI6NX0", Rejection::Algorithm),
        ("eyJ0eXAiOiJKV1QifQ", Rejection::Algorithm),
        ("NQ", Rejection::Algorithm),
        ("AAAA", Rejection::Malformed),
        ("A", Rejection::Malformed),
    ];
    for (header, rejection) in headers {
        let token = format!("{header}.{}.{}", parts[1], parts[2]);
        assert_eq!(verified(&rules(), &keys, &token, NOW), Err(rejection), "{header}");
    }
    for token in [
        ".",
        "..",
        "a",
        "a.b",
        "a.b.c.d",
        "....",
        "eyJhbGciOiJub25lIn0.e30.",
        &format!("{valid}="),
        &format!(" {valid}"),
        &valid.replace('.', ".."),
        "a.b.\u{e4}",
        &format!("{}.{}.+/", parts[0], parts[1]),
        &"a.".repeat(4096),
        "a.b.c",
    ] {
        assert_eq!(verified(&rules(), &keys, token, NOW), Err(Rejection::Malformed), "{token}");
    }
    let cut = &valid[..valid.len() - 1];
    assert!(verified(&rules(), &keys, cut, NOW).is_err());
}

#[test]
fn times_are_checked_with_a_leeway() {
    let expired = |exp| checked(&rules(), json!({ "exp": exp }));
    assert_eq!(expired(json!(NOW - LEEWAY)), Err(Rejection::Expired));
    assert!(expired(json!(NOW - LEEWAY + 1)).is_ok());
    assert!(expired(json!(NOW as f64 + 0.5)).is_ok());
    assert!(expired(json!(NOW + 86_400 + LEEWAY)).is_ok());
    assert_eq!(expired(json!(NOW + 86_400 + LEEWAY + 1)), Err(Rejection::TooLongLived));
    for wrong in [json!("soon"), json!(-1), json!(1e300), json!([]), json!(true)] {
        assert_eq!(expired(wrong.clone()), Err(Rejection::Claim("exp")), "{wrong}");
    }
    assert_eq!(expired(json!(null)), Err(Rejection::Claim("exp")), "it is required");
    assert_eq!(expired(json!(u64::MAX)), Err(Rejection::TooLongLived));
    for claim in ["nbf", "iat"] {
        let at = |time| checked(&rules(), json!({ claim: time }));
        assert!(at(json!(NOW + LEEWAY)).is_ok());
        assert_eq!(at(json!(NOW + LEEWAY + 1)), Err(Rejection::NotYet), "{claim}");
        assert_eq!(at(json!("now")), Err(Rejection::Claim(claim)));
    }
    let claims = checked(&rules(), json!({ "iat": NOW - 5, "jti": "t" })).unwrap();
    assert_eq!(claims.identity.issued_at, Some(NOW - 5));
    assert_eq!(claims.identity.id.unwrap().as_str(), Some("t"));
}

#[test]
fn audience_issuer_and_subject_are_checked_as_the_rules_say() {
    let rules = Rules { audiences: vec!["ours".into()], issuers: vec!["login".into()], ..rules() };
    let of = |aud: Value, iss: Value| checked(&rules, json!({ "aud": aud, "iss": iss }));
    assert!(of(json!("ours"), json!("login")).is_ok());
    assert!(of(json!(["theirs", "ours"]), json!("login")).is_ok());
    for aud in [json!(null), json!("theirs"), json!([]), json!("our"), json!(["our", "s"])] {
        assert_eq!(of(aud.clone(), json!("login")), Err(Rejection::Audience), "{aud}");
    }
    assert_eq!(of(json!(5), json!("login")), Err(Rejection::Claim("aud")));
    assert_eq!(of(json!("ours"), json!("other")), Err(Rejection::Issuer));
    assert_eq!(of(json!("ours"), json!(null)), Err(Rejection::Issuer));
    assert_eq!(of(json!("ours"), json!(["login"])), Err(Rejection::Claim("iss")));
    let subject = |sub: Value| checked(&self::rules(), json!({ "sub": sub }));
    for none in [json!(""), json!(null)] {
        let anonymous = checked(&lenient(), json!({ "sub": none.clone() })).unwrap();
        assert_eq!(anonymous.identity.uid, None);
        if none == json!("") {
            assert_eq!(subject(none), Err(Rejection::Anonymous));
        }
    }
    assert_eq!(subject(json!(5)), Err(Rejection::Claim("sub")));
    assert_eq!(subject(json!("x".repeat(1025))), Err(Rejection::Claim("sub")));
}

#[test]
fn claims_of_the_gateway_are_bounded() {
    let of = |gw: Value| checked(&rules(), json!({ "gw": gw }));
    let claims = of(json!({
        "groups": ["a", "b"], "session": { "name": "Ann" }, "send": false, "history": 1, "new": [],
    }));
    let claims = claims.unwrap();
    assert_eq!(claims.groups, ["a", "b"].map(|name| Group::new(name).unwrap()));
    assert_eq!(claims.session, Session::encode(&json!({ "name": "Ann" })).unwrap());
    assert_eq!(of(json!({})).unwrap().session, Session::default());
    assert!(of(json!({ "groups": vec!["g"; MAX_GROUPS] })).is_ok());
    let groups = |names: Value| of(json!({ "groups": names }));
    assert_eq!(groups(json!(vec!["g"; MAX_GROUPS + 1])), Err(Rejection::Claim("gw.groups")));
    assert_eq!(groups(json!([""])), Err(Rejection::Claim("gw.groups")));
    assert_eq!(groups(json!(["x".repeat(1025)])), Err(Rejection::Claim("gw.groups")));
    assert_eq!(groups(json!("a")), Err(Rejection::Claim("gw")));
    let session = |length: usize| of(json!({ "session": { "k": "x".repeat(length) } }));
    let frame = json!({ "k": "" }).to_string().len();
    assert!(session(MAX_SESSION - frame).is_ok());
    assert_eq!(session(MAX_SESSION - frame + 1), Err(Rejection::Claim("gw.session")));
    assert_eq!(of(json!({ "session": [1] })), Err(Rejection::Claim("gw")));
    assert_eq!(of(json!(5)), Err(Rejection::Claim("gw")));
}

#[test]
fn connection_expires_with_the_token_unless_it_says_otherwise() {
    let expires = |at: Value| {
        checked(&rules(), json!({ "gw": { "expire_at": at } })).map(|claims| claims.expires_at)
    };
    assert_eq!(expires(json!(null)), Ok(Some(NOW + 60)));
    assert_eq!(expires(json!(0)), Ok(None));
    assert_eq!(expires(json!(NOW + 999_999)), Ok(Some(NOW + 999_999)));
    assert_eq!(expires(json!(NOW - LEEWAY)), Err(Rejection::Expired));
    assert_eq!(expires(json!(-5)), Err(Rejection::Claim("gw.expire_at")));
    assert_eq!(expires(json!("never")), Err(Rejection::Claim("gw")));
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_or_within_the_limits(bytes in any::<Vec<u8>>(), text in TEXTS) {
        for input in [&bytes[..], text.as_bytes()] {
            let _ = Keys::parse(input).map(|keys| assert!(!keys.is_empty()));
            let _ = Revocations::parse(input).map(|list| assert!(list.len() < 10));
            if let Ok(claims) = Claims::parse(input, &lenient(), NOW) {
                assert!(claims.groups.len() <= MAX_GROUPS);
                assert!(claims.session.as_encoded().len() <= MAX_SESSION);
            }
            let text = String::from_utf8_lossy(input);
            if let Ok(token) = AccessToken::new(&text) {
                let keys = Keys::parse(RFC_KEYS.as_bytes()).unwrap();
                assert!(lenient().verify(&keys, &token, NOW).is_err());
            }
        }
    }

    #[test]
    fn changed_token_is_never_accepted(at in 0_usize..200, byte in 0_u8..128) {
        let (signing, keys) = pair(Algorithm::HS256);
        let token = signed(Algorithm::HS256, &signing, &json!({ "sub": "ann", "exp": NOW + 60 }));
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(verified(&rules(), &keys, &changed, NOW).is_ok(), changed == token);
    }
}
