//! Sessions as JSON, and how they are merged without leaving it.

use serde_json::{Map, Value};

/// Enters both values where both have keys, else replaces. The depth is bounded by the decoder's.
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

/// Whether putting `new` into `old` first and then both into any object comes to the same as one after the
/// other: not where a list or an object replaces what is neither.
pub(super) fn absorbs(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    new.iter().all(|(key, new)| old.get(key).is_none_or(|old| value_absorbs(old, new)))
}

fn value_absorbs(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => absorbs(old, new),
        (Value::Array(old), Value::Array(new)) => {
            old.iter().zip(new).all(|(old, new)| value_absorbs(old, new))
        }
        // A list that is entered by keys, or the other way round, depends on what it is put into.
        (_, Value::Object(_) | Value::Array(_)) => false,
        _ => true,
    }
}

fn keyed(list: Vec<Value>) -> Map<String, Value> {
    list.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
}
