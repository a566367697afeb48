//! Names and lists of names, as peers encode them: text, JSON, and PHP's array keys.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    ConnectionId, Group, Uid,
    php::{Array, Key, Value, json_decode},
};

/// The values of a JSON list or object, as the keys that PHP looks up with them. Values that cannot
/// be a key are skipped. `None` if the text is neither a list nor an object.
pub(super) fn keys_in(text: &Bytes) -> Option<Vec<Key>> {
    let value = json_decode(text).ok()?;
    value.as_array().map(keys)
}

/// The same for an array.
pub(super) fn keys(array: &Array) -> Vec<Key> {
    array.values().filter_map(Value::as_key).collect()
}

/// Each key once, at its first position.
pub(super) fn distinct(keys: Vec<Key>) -> Vec<Key> {
    let mut seen = BTreeSet::new();
    keys.into_iter().filter(|key| seen.insert(key.clone())).collect()
}

/// The uids among keys, in order. No client has the others: they are empty or too long.
pub(super) fn uids(keys: &[Key]) -> Vec<Uid> {
    keys.iter().filter_map(uid).collect()
}

/// The groups among keys, in order.
pub(super) fn groups(keys: &[Key]) -> Vec<Group> {
    keys.iter().filter_map(group).collect()
}

pub(super) fn uid(key: &Key) -> Option<Uid> {
    Uid::new(key.to_text()).ok()
}

pub(super) fn group(key: &Key) -> Option<Group> {
    Group::new(key.to_text()).ok()
}

/// The connections whose ids are among the keys.
pub(super) fn connections(keys: impl IntoIterator<Item = Key>) -> Vec<ConnectionId> {
    keys.into_iter().filter_map(|key| connection(&key)).collect()
}

/// The connections whose ids are keys of an array with a value other than null: this is how PHP
/// reads the clients to exclude.
pub(super) fn excluded(value: Option<&Value>) -> Vec<ConnectionId> {
    let Some(array) = value.and_then(Value::as_array) else {
        return Vec::new();
    };
    let set = array.iter().filter(|(_, value)| *value != Value::Null);
    set.filter_map(|(key, _)| connection(key)).collect()
}

fn connection(key: &Key) -> Option<ConnectionId> {
    match key {
        Key::Int(id) => u32::try_from(*id).ok().filter(|id| *id != 0).map(ConnectionId),
        Key::Str(_) => None,
    }
}
