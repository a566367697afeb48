//! Combined updates compared with updates applied one after the other.

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;

/// An update in either form, of few keys, so that updates collide.
fn update() -> impl Strategy<Value = Session> {
    let scalar =
        prop_oneof![Just(json!(null)), (0..3).prop_map(|int| json!(int)), Just(json!("x"))];
    let value = scalar.prop_recursive(3, 16, 3, |inner| {
        let object = vec(("[a-b0-1]", inner.clone()), 0..3)
            .prop_map(|entries| Json::Object(entries.into_iter().collect()));
        prop_oneof![object, vec(inner, 0..3).prop_map(Json::Array)]
    });
    let object = vec(("[a-c0-1]", value), 0..3);
    (object, any::<bool>()).prop_map(|(entries, php)| {
        let session = Session::encode(&entries.into_iter().collect::<Map<_, _>>()).unwrap();
        if php { session.in_php_form() } else { session }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn combined_changes_are_equivalent_to_sequential_updates(
        session in update(),
        updates in vec(update(), 1..6),
    ) {
        let (mut one_by_one, mut together) = (session.clone(), session);
        let mut pending: Option<Changes> = None;
        for update in updates.iter().filter(|update| !update.is_empty()) {
            one_by_one.merge(update).unwrap();
            let changes = Changes::of(update).unwrap();
            pending = Some(match pending.take() {
                None => changes,
                Some(mut before) => match before.absorb(changes) {
                    Ok(()) => before,
                    Err(changes) => {
                        together.apply(before).unwrap();
                        changes
                    }
                },
            });
        }
        if let Some(changes) = pending {
            together.apply(changes).unwrap();
        }
        prop_assert_eq!(together, one_by_one);
    }
}

fn changes(value: Json) -> Changes {
    Changes::of(&Session::encode(value.as_object().unwrap()).unwrap()).unwrap()
}

#[test]
fn array_in_place_of_a_scalar_is_not_absorbed() {
    let mut first = changes(json!({"k": 1}));
    let later = changes(json!({"k": {"x": 1}}));
    assert_eq!(first.absorb(later.clone()), Err(later));
    assert_eq!(first.absorb(changes(json!({"k": 2, "l": {"x": 1}}))), Ok(()));
    let mut session = Session::default();
    session.apply(first).unwrap();
    assert_eq!(session.decode().unwrap(), *json!({"k": 2, "l": {"x": 1}}).as_object().unwrap());
}

#[test]
fn json_changes_replace_a_php_session_that_is_none() {
    let mut session = Session::from_php("0".into()).unwrap();
    session.apply(changes(json!({"k": 1}))).unwrap();
    let mut merged = Session::from_php("0".into()).unwrap();
    merged.merge(&Session::encode(json!({"k": 1}).as_object().unwrap()).unwrap()).unwrap();
    assert_eq!(session, merged);
}

#[test]
fn changes_beyond_the_size_limit_change_nothing() {
    let mut session = Session::encode(json!({"a": 1}).as_object().unwrap()).unwrap();
    let before = session.clone();
    let half = "x".repeat(super::super::MAX_SESSION / 2);
    let mut both = changes(json!({"b": half}));
    both.absorb(changes(json!({"c": half}))).unwrap();
    assert!(matches!(session.apply(both), Err(SessionError::TooLong { .. })));
    assert_eq!(session, before);
}
