//! Sessions of both forms: decoding, conversion, merging.

use serde_json::{Value as Json, json};

use super::*;

fn session(value: &Value) -> Session {
    Session::encode(value.as_object().unwrap()).unwrap()
}

fn merged(old: Value, new: Value) -> String {
    let mut merged = session(&old);
    merged.merge(&session(&new)).unwrap();
    String::from_utf8(merged.as_encoded().to_vec()).unwrap()
}

#[test]
fn merge_recurses_into_objects_and_lists_and_keeps_the_order() {
    assert_eq!(
        merged(json!({"k": 1, "n": {"a": 1, "b": 2}}), json!({"n": {"b": 3}, "z": 0})),
        r#"{"k":1,"n":{"a":1,"b":3},"z":0}"#
    );
    assert_eq!(merged(json!({"l": [1, 2, 3]}), json!({"l": [9]})), r#"{"l":[9,2,3]}"#);
    assert_eq!(merged(json!({"l": [1]}), json!({"l": []})), r#"{"l":[1]}"#);
    assert_eq!(merged(json!({"l": [1]}), json!({"l": {"x": 2}})), r#"{"l":{"0":1,"x":2}}"#);
    assert_eq!(merged(json!({"l": [1]}), json!({"l": {}})), r#"{"l":[1]}"#);
    assert_eq!(merged(json!({"l": {"x": 1}}), json!({"l": [2]})), r#"{"l":{"x":1,"0":2}}"#);
    assert_eq!(merged(json!({"l": [1]}), json!({"l": 5})), r#"{"l":5}"#);
}

#[test]
fn merge_of_invalid_json_changes_nothing() {
    let mut kept = session(&json!({"k": 1}));
    let garbage = Session::from_encoded(Bytes::from_static(b"[1")).unwrap();
    assert!(kept.merge(&garbage).is_err());
    assert_eq!(kept, session(&json!({"k": 1})));
}

fn php(text: &str) -> Session {
    Session::from_php(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

#[test]
fn php_session_passes_through_without_validation() {
    let garbage = Bytes::from_static(b"\xff not serialized");
    let session = Session::from_php(garbage.clone()).unwrap();
    assert_eq!((session.form(), session.to_php()), (Form::Php, garbage));
    assert!(session.decode().is_err());
    assert_eq!(Session::from_php(Bytes::new()).unwrap(), Session::default());
}

#[test]
fn json_session_is_converted_to_php() {
    let object = json!({
        "n": 1, "5": "five", "05": null, "t": true, "f": 5.0, "d": 0.1, "e": 1e25,
        "l": ["a", []], "o": {"x": "中/"}, "big": 18_446_744_073_709_551_615_u64,
    });
    let text = concat!(
        r#"a:10:{s:1:"n";i:1;i:5;s:4:"five";s:2:"05";N;s:1:"t";b:1;s:1:"f";d:5;s:1:"d";d:0.1;"#,
        r#"s:1:"e";d:1.0E+25;s:1:"l";a:2:{i:0;s:1:"a";i:1;a:0:{}}"#,
        r#"s:1:"o";a:1:{s:1:"x";s:4:"中/";}s:3:"big";d:1.8446744073709552E+19;}"#,
    );
    assert_eq!(session(&object).to_php(), text);
    assert_eq!(Session::default().to_php(), "");
    assert_eq!(Session::from_encoded("[1]".into()).unwrap().to_php(), "", "not a JSON object");
    assert_eq!(Session::from_encoded("{}".into()).unwrap().to_php(), "a:0:{}");
}

#[test]
fn php_session_is_read_as_json_with_null_for_values_that_json_lacks() {
    let text = concat!(
        r#"a:9:{s:1:"n";i:1;i:7;s:5:"seven";s:1:"l";a:2:{i:0;i:1;i:1;a:0:{}}"#,
        r#"s:1:"m";a:1:{i:1;b:0;}s:1:"f";d:5;s:1:"i";d:INF;s:1:"o";O:1:"A":1:{s:1:"p";i:1;}"#,
        r#"s:1:"r";R:2;s:1:"z";N;}"#,
    );
    let read = Json::Object(php(text).decode().unwrap());
    assert_eq!(
        read,
        json!({
            "n": 1, "7": "seven", "l": [1, []], "m": {"1": false}, "f": 5.0, "i": null, "o": null,
            "r": 1, "z": null,
        })
    );
    let binary = Bytes::from_static(b"a:2:{s:1:\"b\";s:1:\"\xff\";s:1:\"\xff\";i:1;}");
    let read = Session::from_php(binary).unwrap().decode().unwrap();
    assert_eq!(Json::Object(read), json!({"b": null}));
    assert!(php("a:0:{}").decode().unwrap().is_empty());
    assert!(php("0").decode().unwrap().is_empty(), "PHP treats it as no session");
    assert!(php("i:5;").decode().is_err());
    assert!(php(r#"a:1:{i:0;R:1;}"#).decode().is_err(), "it contains itself");
}

#[test]
fn php_session_keeps_its_objects_when_either_side_updates_it() {
    let old = r#"a:3:{s:1:"o";O:1:"A":1:{s:4:" A x";i:1;}s:1:"k";i:1;s:1:"r";R:3;}"#;
    let old = old.replace(" A x", "\0A\0x");
    let mut by_php = php(&old);
    by_php
        .merge(&php(r#"a:2:{s:1:"k";d:0.10000000000000001;s:1:"n";a:1:{i:0;s:1:"x";}}"#))
        .unwrap();
    let new = concat!(
        r#"a:4:{s:1:"o";O:1:"A":1:{s:4:" A x";i:1;}s:1:"k";d:0.1;s:1:"r";R:3;"#,
        r#"s:1:"n";a:1:{i:0;s:1:"x";}}"#,
    );
    let new = new.replace(" A x", "\0A\0x");
    assert_eq!(by_php, php(&new));
    let mut by_rust = php(&old);
    by_rust.merge(&session(&json!({"k": 0.1, "n": ["x"]}))).unwrap();
    assert_eq!(by_rust, php(&new));
}

#[test]
fn json_session_is_converted_when_php_updates_it() {
    let mut session = session(&json!({"k": 1, "l": [1, 2]}));
    session.merge(&php(r#"a:1:{s:1:"l";a:1:{i:0;i:9;}}"#)).unwrap();
    assert_eq!(session, php(r#"a:2:{s:1:"k";i:1;s:1:"l";a:2:{i:0;i:9;i:1;i:2;}}"#));
}

#[test]
fn changes_become_the_session_if_there_was_none() {
    for none in ["", "0"] {
        let mut stored = php(none);
        stored.merge(&php("garbage, as PHP stores it too")).unwrap();
        assert_eq!(stored.to_php(), "garbage, as PHP stores it too");
        let mut stored = php(none);
        stored.merge(&session(&json!({"a": 1}))).unwrap();
        assert_eq!(stored, session(&json!({"a": 1})));
    }
}

#[test]
fn failed_merge_leaves_the_session_unchanged() {
    let stored = r#"a:1:{s:1:"k";i:1;}"#;
    for changes in ["garbage", "i:5;", "b:0;", "a:1:{", r#"s:1:"a";"#, r#"a:1:{i:0;R:7;}"#] {
        let mut kept = php(stored);
        assert!(kept.merge(&php(changes)).is_err(), "{changes}");
        assert_eq!(kept, php(stored));
        let mut kept = php(changes);
        assert!(kept.merge(&php(stored)).is_err(), "{changes}");
        assert_eq!(kept, php(changes));
    }
    let mut kept = php(stored);
    kept.merge(&Session::default()).unwrap();
    assert_eq!(kept, php(stored));
}

#[test]
fn update_beyond_the_size_limit_is_refused() {
    let half = format!(r#"s:{}:"{}";"#, MAX_PHP_SESSION / 2, "x".repeat(MAX_PHP_SESSION / 2));
    let mut stored = php(&format!(r#"a:1:{{s:1:"a";{half}}}"#));
    let kept = stored.clone();
    assert!(stored.merge(&php(&format!(r#"a:1:{{s:1:"b";{half}}}"#))).is_err());
    assert_eq!(stored, kept);
    stored.merge(&php(&format!(r#"a:1:{{s:1:"a";{half}}}"#))).unwrap();
}

/// A chain of arrays, each with a reference to the one before it, and an update that keeps the
/// last.
#[test]
fn merge_that_results_in_a_long_chain_of_references_is_refused() {
    const LENGTH: usize = 100_000;
    let mut old = format!(r#"a:{LENGTH}:{{i:0;a:1:{{i:0;i:0;}}"#);
    let mut new = format!("a:{}:{{i:0;N;", LENGTH - 1);
    for at in 1..LENGTH {
        // The first array has number 2, and each array has one numbered value.
        old += &format!("i:{at};a:2:{{i:0;R:{};i:1;N;}}", 2 * at);
        if at < LENGTH - 1 {
            new += &format!("i:{at};N;");
        }
    }
    let mut kept = php(&(old.clone() + "}"));
    let error = kept.merge(&php(&(new + "}"))).unwrap_err();
    assert!(matches!(error, SessionError::Write(SerializeError::TooDeep)), "{error:?}");
    assert_eq!(kept, php(&(old + "}")));
}

fn json(text: &'static str) -> Session {
    Session::from_encoded(Bytes::from_static(text.as_bytes())).unwrap()
}

#[test]
fn removed_keys_leave_everything_else_in_either_form() {
    let mut kept = json(r#"{"b":1,"a":{"x":2},"5":3}"#);
    kept.remove(&["a", "none", "5"]).unwrap();
    assert_eq!(kept, json(r#"{"b":1}"#));
    kept.remove(&["b"]).unwrap();
    assert_eq!(kept, Session::default());
    kept.remove(&["b"]).unwrap();
    let object = r#"O:1:"C":1:{s:1:"p";d:INF;}"#;
    let text = format!(r#"a:4:{{s:1:"a";i:1;i:5;s:1:"x";s:1:"o";{object}s:1:"z";N;}}"#);
    let mut kept = php(&text);
    kept.remove(&["none", ""]).unwrap();
    assert_eq!(kept, php(&text));
    kept.remove(&["5", "a", "z"]).unwrap();
    assert_eq!(kept, php(&format!(r#"a:1:{{s:1:"o";{object}}}"#)));
    // A reference whose first place is removed becomes the value.
    let mut kept = php(r#"a:3:{s:1:"a";a:1:{i:0;i:7;}s:1:"b";R:2;s:1:"c";i:1;}"#);
    kept.remove(&["a"]).unwrap();
    assert_eq!(kept, php(r#"a:2:{s:1:"b";a:1:{i:0;i:7;}s:1:"c";i:1;}"#));
}

#[test]
fn keys_of_no_session_are_not_removed() {
    for (mut session, name) in [
        (json("[1]"), "0"),
        (json("{"), "a"),
        (php("garbage"), "a"),
        (php("i:1;"), "a"),
        (php(r#"a:3:{s:1:"a";i:1;s:1:"r";R:2;s:1:"b";C:1:"X":2:{xx}}"#), "a"),
    ] {
        let before = session.clone();
        let removed = session.remove(&[name]);
        assert!(removed.is_err(), "{before:?}");
        assert_eq!(session, before);
    }
}

#[test]
fn many_keys_are_removed_in_one_pass() {
    let text = |keys: std::ops::Range<u32>| {
        let entries: String = keys.clone().map(|key| format!("i:{};N;", key * 2 + 1)).collect();
        format!("a:{}:{{{entries}}}", keys.len())
    };
    let keys: Vec<String> = (0..10_000).map(|key| (key * 2 + 1).to_string()).collect();
    let mut session = php(&text(0..200_000));
    // A pass for each key would take minutes.
    session.remove(&keys).unwrap();
    assert_eq!(session, php(&text(10_000..200_000)));
}

#[test]
fn sessions_are_compared_by_value() {
    let equal = |one: &Session, other: &Session| one.equals(other) && other.equals(one);
    assert!(equal(&json(r#"{"a":1,"b":[2]}"#), &json(r#"{ "b": [2], "a": 1 }"#)));
    assert!(!equal(&json(r#"{"a":1}"#), &json(r#"{"a":1.5}"#)));
    assert!(!equal(&json(r#"{"a":[1,2]}"#), &json(r#"{"a":[2,1]}"#)));
    let a = php(r#"a:1:{s:1:"a";i:1;}"#);
    assert!(equal(&a, &a.clone()) && equal(&a, &json(r#"{"a":1}"#)));
    assert!(!equal(&a, &json(r#"{"a":"1"}"#)) && !equal(&a, &php(r#"a:1:{s:1:"a";i:2;}"#)));
    // Neither is null, as which JSON reads it.
    let object = php(r#"a:1:{s:1:"a";O:1:"C":0:{}}"#);
    assert!(!equal(&object, &json(r#"{"a":null}"#)));
    let none = Session::default();
    assert!(equal(&none, &json("{}")) && equal(&none, &php("a:0:{}")) && equal(&none, &none));
    assert!(!equal(&none, &a) && !equal(&none, &json(r#"{"a":1}"#)));
    assert!(!equal(&json("{"), &none) && !equal(&json("[1]"), &php("a:0:{}")));
    assert!(!equal(&json("{"), &json("[")) && equal(&json("{"), &json("{")));
}
