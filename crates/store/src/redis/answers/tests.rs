//! Answers that no script returns.

use super::*;
use crate::Reason;

const EPOCH: &str = "00c0ffee00c0ffee";

fn bulk(text: &str) -> Value {
    Value::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn list(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| bulk(text)).collect())
}

fn item(offset: &str) -> Value {
    list(&[offset, "1700000000000", "payload", ""])
}

fn read(top: &str, first: &str, items: Vec<Value>) -> Result<Reading, Unreadable> {
    let value = Value::Array(vec![bulk(EPOCH), bulk(top), bulk(first), Value::Array(items)]);
    reading(value, Range::Oldest, Limit::default())
}

#[test]
fn answers_of_scripts_are_read() {
    let at = |offset| Position::new(EPOCH.parse().unwrap(), offset);
    let again = appended(list(&[EPOCH, "7", "1"])).unwrap();
    assert_eq!(again, Appended { position: at(7), repeated: true });
    assert_eq!(top(list(&[EPOCH, "9007199254740991"])).unwrap(), at(MAX_OFFSET));
    let Reading::Page(page) = read("3", "2", vec![item("2"), item("3")]).unwrap() else { panic!() };
    assert_eq!((page.items.len(), page.items[0].appended_ms), (2, 1_700_000_000_000));
    let value = Value::Array(vec![bulk(EPOCH), bulk("3"), bulk("2"), Value::Array(vec![])]);
    match reading(value, Range::Missed(at(9)), Limit::default()).unwrap() {
        Reading::Refused(refused) => assert_eq!(refused.reason, Reason::Ahead),
        Reading::Page(page) => panic!("{page:?}"),
    }
}

#[test]
fn answers_of_another_shape_are_refused() {
    for value in [
        Value::Null,
        Value::Integer(7),
        bulk("OK"),
        Value::Array(vec![]),
        list(&[EPOCH]),
        list(&[EPOCH, "1", "0", "0"]),
        list(&["x7f3", "1", "0"]),
        list(&[EPOCH, "-1", "0"]),
        list(&[EPOCH, "+1", "0"]),
        list(&[EPOCH, "", "0"]),
        list(&[EPOCH, "1e3", "0"]),
        list(&[EPOCH, "9007199254740992", "0"]),
        Value::Array(vec![bulk(EPOCH), Value::Integer(1), bulk("0")]),
    ] {
        assert!(appended(value.clone()).is_err(), "{value:?}");
        assert!(reading(value, Range::Top, Limit::default()).is_err());
    }
    assert!(top(Value::Null).is_err());
}

#[test]
fn messages_that_are_missing_or_malformed_are_errors() {
    for (first, items) in [
        ("0", vec![]),
        ("5", vec![]),
        ("2", vec![]),
        ("2", vec![item("2")]),
        ("2", vec![item("3"), item("2")]),
        ("2", vec![item("1"), item("2"), item("3")]),
        ("2", vec![item("2"), list(&["3", "1"])]),
        ("2", vec![item("2"), list(&["3", "soon", "payload", ""])]),
        ("2", vec![item("2"), Value::Null]),
    ] {
        assert!(read("3", first, items.clone()).is_err(), "{first}: {items:?}");
    }
}
