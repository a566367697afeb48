//! Tests of the keys, revocations and expiries of a gateway.

use protocol::{TokenId, Uid};

use super::*;

const SET: &str = r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;

fn read(keys: &[&Path], revocations: Option<&Path>) -> anyhow::Result<Tokens> {
    let (audiences, issuers) = (Vec::new(), Vec::new());
    let rules = Rules { audiences, issuers, max_lifetime: 60, allow_anonymous: false };
    let keys = keys.iter().map(|path| path.to_path_buf()).collect();
    Tokens::read(rules, None, keys, revocations.map(Path::to_owned))
}

#[test]
fn error_of_a_file_names_the_flag_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    std::fs::write(&good, SET).unwrap();
    std::fs::write(&bad, "{}").unwrap();
    let missing = folder.path().join("missing");
    for (keys, revocations, flag, file) in [
        (&[&*good, &bad][..], None, "--jwt-keys", &bad),
        (&[&*missing], None, "--jwt-keys", &missing),
        // Two keys without an id.
        (&[&*good, &good], None, "--jwt-keys", &good),
        (&[&*good], Some(&*bad), "--jwt-revocations", &bad),
        (&[&*good], Some(&*missing), "--jwt-revocations", &missing),
    ] {
        let error = format!("{:#}", read(keys, revocations).unwrap_err());
        let named = format!("{flag} {}: ", file.display());
        assert!(error.starts_with(&named) && named.len() < error.len(), "{error}");
    }
    assert!(read(&[&*good], None).is_ok());
}

#[test]
fn revocations_of_the_file_and_of_back_ends_hold_together() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, list) = (folder.path().join("keys"), folder.path().join("list"));
    std::fs::write(&keys, SET).unwrap();
    std::fs::write(&list, r#"{"revocations":[{"jti":["a"],"until":100}]}"#).unwrap();
    let tokens = Arc::new(read(&[&*keys], Some(&*list)).unwrap());
    let token = |id: &str| Identity { id: TokenId::new(id).ok(), ..Identity::default() };
    tokens.revoke(&Revocation::ids([TokenId::new("b").unwrap()]), 10).unwrap();
    let revoked = || ["a", "b", "c"].map(|id| tokens.is_revoked(&token(id), 20));
    assert_eq!(revoked(), [true, true, false]);
    std::fs::write(&list, r#"{"revocations":[{"jti":["c"],"until":100}]}"#).unwrap();
    for files in tokens.files() {
        files.reread().unwrap();
    }
    assert_eq!(revoked(), [false, true, true]);
}

#[test]
fn grant_has_the_uid_groups_and_session_of_the_claims() {
    let uid = Uid::new("ann").unwrap();
    let groups = vec![protocol::Group::new("a").unwrap()];
    let session = protocol::Session::from_encoded(r#"{"k":1}"#.into()).unwrap();
    let identity = Identity { uid: Some(uid.clone()), ..Identity::default() };
    let claims = Claims { identity, groups, session, expires_at: None };
    let granted = grant(&claims).unwrap();
    assert_eq!(granted.uid(), Some(&uid));
    assert_eq!(granted.groups(), claims.groups);
    assert_eq!(granted.session(), Some(&claims.session));
    let nothing = Claims { identity: Identity::default(), groups: vec![], ..claims };
    let nothing = Claims { session: protocol::Session::default(), ..nothing };
    assert_eq!(grant(&nothing).unwrap(), Grant::new());
}

#[test]
fn refusal_has_the_status_and_the_cause_as_json() {
    for (rejection, status, challenge) in [
        (Rejection::Missing, 401, Some("Bearer")),
        (Rejection::Expired, 401, Some("Bearer error=\"invalid_token\"")),
        (Rejection::Claim("gw.groups"), 401, Some("Bearer error=\"invalid_token\"")),
        (Rejection::Ambiguous, 400, None),
        (Rejection::Origin, 403, None),
    ] {
        let refusal = refusal(rejection).unwrap();
        assert_eq!(refusal.status(), status);
        let header = |name: &str| {
            let found = refusal.headers().iter().find(|header| header.name() == name);
            found.map(|header| header.value().to_owned())
        };
        assert_eq!(header("WWW-Authenticate").as_deref(), challenge, "{rejection}");
        assert_eq!(header("Content-Type").as_deref(), Some("application/json"));
        let body = String::from_utf8(refusal.body().to_vec()).unwrap();
        let expected =
            format!(r#"{{"error":{{"code":"{}","message":"{rejection}"}}}}"#, rejection.code());
        assert_eq!(body, expected);
        assert!(!rejection.to_string().contains(['"', '\\']));
    }
}
