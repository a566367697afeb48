//! Tests of revocations: what they apply to, how long, and how many are kept.

use super::*;

fn token(uid: &str, id: &str, issued_at: Option<u64>) -> Identity {
    Identity { uid: Uid::new(uid).ok(), id: TokenId::new(id).ok(), issued_at }
}

fn id(id: &str) -> Vec<TokenId> {
    vec![TokenId::new(id).unwrap()]
}

fn uid(uid: &str) -> Vec<Uid> {
    vec![Uid::new(uid).unwrap()]
}

#[test]
fn token_is_revoked_by_its_id_its_user_or_its_time() {
    let mut list = Revocations::default();
    list.add(&Revocation::ids(id("t1")), 1000).unwrap();
    list.add(&Revocation::uids(uid("ann")).issued_before(900), 1000).unwrap();
    list.add(&Revocation::uids(uid("bob")), 1000).unwrap();
    let revoked = |uid, id, issued_at| list.contains(&token(uid, id, issued_at), 1000);
    assert!(revoked("eve", "t1", Some(2000)));
    assert!(!revoked("eve", "t2", Some(0)) && !revoked("", "", None));
    assert!(revoked("ann", "", Some(899)) && revoked("ann", "", None), "no iat counts as earlier");
    assert!(!revoked("ann", "", Some(900)));
    assert!(revoked("bob", "", Some(5000)), "later tokens too");
    list.add(&Revocation::all(500), 1000).unwrap();
    assert!(list.contains(&token("eve", "", Some(499)), 1000));
    assert!(!list.contains(&token("eve", "", Some(500)), 1000));
}

#[test]
fn revocation_ends_after_its_ttl_and_the_longest_one_counts() {
    let mut list = Revocations::default();
    list.add(&Revocation::ids(id("t")).ttl(10), 1000).unwrap();
    let revoked = |list: &Revocations, now| list.contains(&token("", "t", None), now);
    assert!(revoked(&list, 1009) && !revoked(&list, 1010));
    list.add(&Revocation::ids(id("t")).ttl(100), 1000).unwrap();
    list.add(&Revocation::ids(id("t")).ttl(1), 1000).unwrap();
    assert!(revoked(&list, 1099) && !revoked(&list, 1100));
    assert_eq!(list.len(), 1);
    let ban = Revocation::uids(uid("ann")).ttl(10);
    for (revocation, entries) in [
        (ban.clone().issued_before(5), 2),
        (ban.clone().issued_before(4), 2),
        (ban.clone().issued_before(6), 2),
        (ban.clone().ttl(5), 3),
        (ban.clone().ttl(6), 3),
        (ban.ttl(20), 2),
    ] {
        list.add(&revocation, 1000).unwrap();
        assert_eq!(list.len(), entries, "{revocation:?}");
    }
}

#[test]
fn list_is_bounded_and_makes_room_by_what_has_ended() {
    let ids = |from: usize, count: usize| {
        let ids = (from..from + count).map(|number| TokenId::new(number.to_string()).unwrap());
        Revocation::ids(ids.collect::<Vec<_>>())
    };
    let mut list = Revocations::default();
    for from in (0..MAX_REVOCATIONS).step_by(10_000) {
        list.add(&ids(from, 10_000).ttl(10), 1000).unwrap();
    }
    assert_eq!(list.add(&ids(MAX_REVOCATIONS, 1), 1009), Err(Full));
    assert!(list.contains(&token("", "99999", None), 1009), "nothing is forgotten for it");
    assert_eq!(list.add(&ids(MAX_REVOCATIONS, 1), 1010), Ok(()));
    assert_eq!(list.len(), 1);
    assert!(list.contains(&token("", "100000", None), 1010));
}

#[test]
fn repetition_of_a_revocation_needs_no_room() {
    let mut list = Revocations::default();
    let ids = (0..MAX_REVOCATIONS - 2).map(|id| TokenId::new(id.to_string()).unwrap());
    let ids = Revocation::ids(ids.collect::<Vec<_>>());
    let others = [Revocation::uids(uid("ann")), Revocation::all(5)];
    for now in [1000, 1000, 1001] {
        list.add(&ids, now).unwrap();
        others.iter().for_each(|other| list.add(other, now).unwrap());
        assert_eq!(list.len(), MAX_REVOCATIONS);
    }
    assert_eq!(list.add(&Revocation::uids(uid("bob")), 1001), Err(Full));
    assert_eq!(list.add(&Revocation::ids(id("x")), 1001), Err(Full));
}

#[test]
fn file_of_revocations_is_read_or_refused_with_the_cause() {
    let text = r#"{"revocations":[{"jti":["t"],"until":2000},
        {"uids":["ann"],"issued_before":900,"until":2000},{"all":true,"issued_before":5,"until":9}]}"#;
    let list = Revocations::parse(text.as_bytes()).unwrap();
    assert_eq!((list.len(), list.is_empty()), (3, false));
    assert!(
        list.contains(&token("x", "t", Some(1)), 1999)
            && !list.contains(&token("x", "t", Some(1)), 2000)
    );
    assert!(list.contains(&token("ann", "", Some(1)), 1999));
    assert!(Revocations::parse(br#"{"revocations":[]}"#).unwrap().is_empty());
    for (text, cause) in [
        ("", "EOF"),
        ("[]", "line 1"),
        (r#"{"revocations":[{"jti":["t"]}]}"#, "until"),
        (r#"{"revocations":[{"until":1}]}"#, "neither jti nor uids nor all"),
        (r#"{"revocations":[{"all":true,"until":1}]}"#, "issued_before"),
        (r#"{"revocations":[{"jit":["t"],"until":1}]}"#, "jit"),
        (r#"{"revocations":[{"uids":[""],"until":1}]}"#, "never empty"),
    ] {
        let error = Revocations::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(cause), "{text}: {error}");
    }
}
