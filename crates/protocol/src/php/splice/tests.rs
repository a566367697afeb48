//! Equivalence of merging on the text and merging on decoded values.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::php::{array_replace_recursive, unserialize};

fn written(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    serialize(&Document::from(value.clone()), usize::MAX, &mut text).unwrap();
    text
}

fn key() -> impl Strategy<Value = Key> {
    // Few keys, so that changes collide with existing entries.
    prop_oneof![
        (0..4i64).prop_map(Key::Int),
        "[a-c]{0,2}".prop_map(|text| Key::from_text(text.into()))
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i32>().prop_map(|int| Value::Float(f64::from(int) / 8.0)),
        vec(any::<u8>(), 0..12).prop_map(|text| Value::Str(text.into())),
    ]
}

fn array(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec((key(), value), 0..6).prop_map(|entries| {
        let mut array = Array::new();
        entries.into_iter().for_each(|(key, value)| array.set(key, value));
        Value::Array(array)
    })
}

fn session() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(4, 64, 6, |inner| array(inner).boxed());
    array(value)
}

fn spliced(old: &[u8], changes: &Value) -> Option<Vec<u8>> {
    splice(&Bytes::copy_from_slice(old), changes.as_array().unwrap(), usize::MAX)
}

proptest! {
    #[test]
    fn result_is_that_of_array_replace_recursive(old in session(), changes in session()) {
        let old = written(&old);
        let document = unserialize(&Bytes::from(old.clone())).unwrap();
        let merged = array_replace_recursive(document, changes.clone().into()).unwrap();
        prop_assert_eq!(spliced(&old, &changes).unwrap(), written(&merged.root));
    }

    #[test]
    fn truncated_or_corrupted_text_is_rejected_or_stays_readable(
        old in session(),
        changes in session(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut old = written(&old);
        let at = at.index(old.len());
        prop_assert_eq!(spliced(&old[..at], &changes), None);
        old[at] = byte;
        if let Some(text) = spliced(&old, &changes) {
            prop_assert!(unserialize(&text.into()).is_ok());
        }
    }
}

#[test]
fn text_with_references_or_opaque_objects_is_rejected() {
    let changes = unserialize(&Bytes::from_static(b"a:1:{s:1:\"x\";i:1;}")).unwrap().root;
    for text in [
        &b"a:2:{i:0;i:1;i:1;R:2;}"[..],
        b"a:2:{i:0;O:1:\"A\":0:{}i:1;r:2;}",
        b"a:1:{i:0;C:1:\"A\":3:{r:1}}",
        b"a:1:{i:0;S:1:\"a\";}",
        b"a:2:{i:0;i:1;i:0;i:2;}x",
        b"i:1;",
        b"",
    ] {
        let same_key_twice = text.ends_with(b"x");
        assert_eq!(spliced(text, &changes).is_none(), !same_key_twice, "{text:?}");
    }
    // An object of a class without its own format is skipped like an array.
    let text = b"a:1:{i:0;O:1:\"A\":1:{s:1:\"p\";a:1:{i:0;b:1;}}}";
    let expected = b"a:2:{i:0;O:1:\"A\":1:{s:1:\"p\";a:1:{i:0;b:1;}}s:1:\"x\";i:1;}";
    assert_eq!(spliced(text, &changes).unwrap(), expected);
}

#[test]
fn result_over_the_limit_is_none() {
    let changes = unserialize(&Bytes::from_static(b"a:1:{i:7;i:1;}")).unwrap().root;
    let (old, changes) = (Bytes::from_static(b"a:0:{}"), changes.as_array().unwrap().clone());
    assert_eq!(splice(&old, &changes, 14), Some(b"a:1:{i:7;i:1;}".to_vec()));
    assert_eq!(splice(&old, &changes, 13), None);
}

#[test]
fn text_nested_too_deep_is_rejected() {
    let nested = |depth: usize| {
        let mut text = "a:1:{i:0;".repeat(depth);
        text.push_str("N;");
        text.push_str(&"}".repeat(depth));
        text.into_bytes()
    };
    let changes = unserialize(&Bytes::from_static(b"a:1:{i:7;i:1;}")).unwrap().root;
    assert!(spliced(&nested(MAX_DEPTH), &changes).is_some());
    assert!(spliced(&nested(MAX_DEPTH + 1), &changes).is_none());
    let deep = unserialize(&Bytes::from(nested(MAX_DEPTH))).unwrap().root;
    assert!(spliced(b"a:0:{}", &deep).is_some());
    assert!(spliced(b"a:1:{i:0;a:0:{}}", &deep).is_some());
    let mut deeper = Array::new();
    deeper.set(Key::Int(0), deep);
    assert!(spliced(b"a:0:{}", &Value::Array(deeper)).is_none());
}
