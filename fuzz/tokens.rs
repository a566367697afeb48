//! Tokens of clients: handshakes that carry them, the tokens, and the files of a gateway.

use auth::{Claims, Keys, Rejection, Revocations, Rules, take};
use framing::http;
use protocol::AccessToken;

/// The name of the cookie that carries a token.
const COOKIE: &str = "sid";

/// A set with one key, whose secret is 32 zeros.
const SET: &[u8] = br#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;

/// Some time.
const NOW: u64 = 1_800_000_000;

/// The head of a request, a token, the payload of a token, a file of keys and a file of
/// revocations: the input as each of them.
pub fn token(bytes: &[u8]) {
    if let Ok(Some((mut request, _))) = http::parse(bytes) {
        let found = take(&mut request.handshake, Some(COOKIE));
        let remains = request.handshake.clone();
        let again = take(&mut request.handshake, Some(COOKIE));
        if let Ok(Some(found)) = &found {
            verify(&found.token);
        }
        // Whatever was found is replaced by a word, and nothing else is found then.
        let is_word = |token: &AccessToken| token.expose() == "redacted";
        match (found, again) {
            (Ok(None), again) => assert_eq!(again, Ok(None)),
            (_, Ok(Some(again))) => assert!(is_word(&again.token)),
            (_, Ok(None) | Err(Rejection::Origin)) => {}
            (found, Err(error)) => panic!("{found:?}, then {error}"),
        }
        assert_eq!(request.handshake, remains);
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = AccessToken::new(&text) {
        verify(&token);
    }
    if let Ok(keys) = Keys::parse(bytes) {
        assert!(!keys.is_empty());
    }
    let _ = Revocations::parse(bytes).map(|list| assert!(list.len() <= auth::MAX_REVOCATIONS));
    if let Ok(claims) = Claims::parse(bytes, &rules(), NOW) {
        assert!(claims.groups.len() <= auth::MAX_GROUPS);
        assert!(claims.session.as_encoded().len() <= auth::MAX_SESSION);
        assert!(claims.expires_at.is_none_or(|at| NOW < at.saturating_add(auth::LEEWAY)));
    }
}

fn verify(token: &AccessToken) {
    let keys = Keys::parse(SET).expect("a set of keys");
    let _ = rules().verify(&keys, token, NOW);
}

fn rules() -> Rules {
    Rules {
        audiences: Vec::new(),
        issuers: Vec::new(),
        max_lifetime: u64::MAX,
        allow_anonymous: true,
    }
}
