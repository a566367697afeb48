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

fn keyed(list: Vec<Value>) -> Map<String, Value> {
    list.into_iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
}
