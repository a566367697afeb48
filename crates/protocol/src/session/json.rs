//! Sessions as JSON, merged without conversion.

use serde_json::{Map, Value};

/// Merges the two values if both have keys, else replaces. The decoder bounds the depth.
fn replace(old: &mut Value, new: Value) {
    match (&mut *old, new) {
        (Value::Object(old), Value::Object(new)) => replace_in_object(old, new),
        (Value::Object(old), Value::Array(new)) => replace_in_object(old, keyed(new)),
        (Value::Array(old), Value::Array(new)) => {
            for (at, value) in new.into_iter().enumerate() {
                match old.get_mut(at) {
                    Some(old) => replace(old, value),
                    None => old.push(value),
                }
            }
        }
        (Value::Array(list), Value::Object(new)) if !new.is_empty() => {
            let mut object = keyed(std::mem::take(list));
            replace_in_object(&mut object, new);
            *old = Value::Object(object);
        }
        (Value::Array(_), Value::Object(_)) => {}
        (_, new) => *old = new,
    }
}

pub(super) fn replace_in_object(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (key, value) in new {
        match old.get_mut(&key) {
            Some(old) => replace(old, value),
            None => {
                old.insert(key, value);
            }
        }
    }
}

/// Whether merging `new` into `old` first, and then both into any object, is equivalent to merging
/// them one after the other: not if a list or an object replaces a value that is neither.
pub(super) fn absorbs(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    new.iter().all(|(key, new)| old.get(key).is_none_or(|old| value_absorbs(old, new)))
}

fn value_absorbs(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => absorbs(old, new),
        (Value::Array(old), Value::Array(new)) => {
            old.iter().zip(new).all(|(old, new)| value_absorbs(old, new))
        }
        // A list merged with an object depends on the value that both are merged into.
        (_, Value::Object(_) | Value::Array(_)) => false,
        _ => true,
    }
}

fn keyed(list: Vec<Value>) -> Map<String, Value> {
    list.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
}
