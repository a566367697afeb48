//! Names and lists of them, as peers write them: text, JSON, and PHP's ideas of keys.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    ConnectionId, Group, Uid,
    php::{Array, Key, Value, json_decode},
};

/// The values of a JSON list or object, as the keys that PHP looks up with them. What cannot be a
/// key is left out. `None` if the text is no list and no object.
pub(super) fn keys_in(text: &Bytes) -> Option<Vec<Key>> {
    let value = json_decode(text).ok()?;
    value.as_array().map(keys)
}

/// The same of an array.
pub(super) fn keys(array: &Array) -> Vec<Key> {
    array.values().filter_map(Value::as_key).collect()
}

/// Each key once, where it stands first.
pub(super) fn distinct(keys: Vec<Key>) -> Vec<Key> {
    let mut seen = BTreeSet::new();
    keys.into_iter().filter(|key| seen.insert(key.clone())).collect()
}

/// The uids among keys, in order. Nobody has the others: they are empty or too long.
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

/// The connections that keys name.
pub(super) fn connections(keys: impl IntoIterator<Item = Key>) -> Vec<ConnectionId> {
    keys.into_iter().filter_map(|key| connection(&key)).collect()
}

/// The connections that an array's keys name, where there is something behind them: that is how
/// PHP reads whom to exclude.
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
