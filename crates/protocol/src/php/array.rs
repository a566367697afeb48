//! PHP's array: an ordered map with int and string keys.

use std::collections::{BTreeMap, BTreeSet};

use super::value::{Key, Value};

/// Up to this many entries are searched linearly.
const SMALL: usize = 8;

/// Maximum capacity reserved for announced entries: a text may announce many more than it has.
const ANNOUNCED: usize = 16;

/// An ordered map. Replacing a value keeps its position; a new key is appended.
///
/// Boxed, since the size of a value is that of its largest variant.
#[derive(Clone, Debug, Default)]
pub struct Array(Option<Box<Table>>);

/// Invariant: keys are unique; `unlisted` is set unless the keys are 0, 1, 2 … in order; `index`
/// holds the position of each key if there are more than `SMALL` entries that are not a list.
#[derive(Clone, Debug, Default)]
struct Table {
    entries: Vec<(Key, Value)>,
    index: BTreeMap<Key, usize>,
    unlisted: bool,
    /// The key that [`push`](Self::push) uses next; `None` before the first int key.
    next: Option<i64>,
}

impl Array {
    /// An empty array.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty array with capacity for these entries, up to `ANNOUNCED`.
    pub(super) fn with_capacity(entries: usize) -> Self {
        let entries = Vec::with_capacity(entries.min(ANNOUNCED));
        match entries.capacity() {
            0 => Self::default(),
            _ => Self(Some(Box::new(Table { entries, ..Table::default() }))),
        }
    }

    fn entries(&self) -> &[(Key, Value)] {
        self.0.as_ref().map_or(&[], |table| &table.entries)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Whether the keys are 0, 1, 2 … in this order; an empty array is a list.
    pub fn is_list(&self) -> bool {
        self.0.as_ref().is_none_or(|table| !table.unlisted)
    }

    /// The entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Key, Value)> {
        self.entries().iter()
    }

    /// The values in order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries().iter().map(|(_, value)| value)
    }

    /// The values in order, mutable.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let entries = self.0.iter_mut().flat_map(|table| &mut table.entries);
        entries.map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        let table = self.0.as_ref()?;
        table.position(key).map(|at| &table.entries[at].1)
    }

    /// The value of a string key.
    pub fn get_str(&self, key: &'static str) -> Option<&Value> {
        self.get(&Key::from(key))
    }

    /// The value of a key, mutable.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Value> {
        let table = self.0.as_mut()?;
        table.position(key).map(|at| &mut table.entries[at].1)
    }

    /// Sets the value of a key: in place if the key exists, else appended.
    pub fn set(&mut self, key: Key, value: Value) {
        self.0.get_or_insert_default().set(key, value);
    }

    /// Appends a value under the next free int key, as `$array[] = …` does. `false` if the largest
    /// key is in use: PHP refuses then.
    pub fn push(&mut self, value: Value) -> bool {
        self.push_keyed(value).is_some()
    }

    /// Appends as [`push`](Self::push) does, and returns the key.
    pub(super) fn push_keyed(&mut self, value: Value) -> Option<Key> {
        let table = self.0.get_or_insert_default();
        let key = Key::Int(table.next.unwrap_or(0));
        if table.position(&key).is_some() {
            return None;
        }
        table.set(key.clone(), value);
        Some(key)
    }

    /// Removes the entries with these keys, in time linear in the number of entries. Returns whether
    /// there were any.
    pub(crate) fn remove_all(&mut self, keys: &BTreeSet<Key>) -> bool {
        let Some(table) = &mut self.0 else { return false };
        if !table.entries.iter().any(|(key, _)| keys.contains(key)) {
            return false;
        }
        let Table { entries, next, .. } = std::mem::take(&mut **table);
        let kept = entries.into_iter().filter(|(key, _)| !keys.contains(key));
        kept.for_each(|(key, value)| table.set(key, value));
        table.next = next;
        true
    }

    /// Removes an entry, in time linear in the number of entries.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(table) = &mut self.0
            && let Some(at) = table.position(key)
        {
            let Table { mut entries, next, .. } = std::mem::take(&mut **table);
            entries.remove(at);
            entries.into_iter().for_each(|(key, value)| table.set(key, value));
            table.next = next;
        }
    }
}

impl Table {
    fn set(&mut self, key: Key, value: Value) {
        if let Some(at) = self.position(&key) {
            self.entries[at].1 = value;
            return;
        }
        let at = self.entries.len();
        if let Key::Int(int) = key {
            self.next = self.next.max(Some(int.saturating_add(1)));
        }
        let was_list = !self.unlisted;
        self.unlisted |= usize_key(&key) != Some(at);
        if self.unlisted && SMALL <= at {
            if was_list || at == SMALL {
                let known = self.entries.iter().enumerate();
                self.index = known.map(|(at, (key, _))| (key.clone(), at)).collect();
            }
            self.index.insert(key.clone(), at);
        }
        self.entries.push((key, value));
    }

    fn position(&self, key: &Key) -> Option<usize> {
        if !self.unlisted {
            return usize_key(key).filter(|at| *at < self.entries.len());
        }
        if self.entries.len() <= SMALL {
            return self.entries.iter().position(|(known, _)| known == key);
        }
        self.index.get(key).copied()
    }
}

fn usize_key(key: &Key) -> Option<usize> {
    match key {
        Key::Int(int) => usize::try_from(*int).ok(),
        Key::Str(_) => None,
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl FromIterator<(Key, Value)> for Array {
    fn from_iter<T: IntoIterator<Item = (Key, Value)>>(entries: T) -> Self {
        let mut array = Self::new();
        entries.into_iter().for_each(|(key, value)| array.set(key, value));
        array
    }
}

impl FromIterator<Value> for Array {
    fn from_iter<T: IntoIterator<Item = Value>>(values: T) -> Self {
        let mut array = Self::new();
        for value in values {
            array.push(value);
        }
        array
    }
}

impl IntoIterator for Array {
    type Item = (Key, Value);
    type IntoIter = std::vec::IntoIter<(Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|table| table.entries).unwrap_or_default().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn next_free_key_is_one_past_the_largest() {
        let mut array = Array::new();
        array.set(Key::Int(-5), Value::Null);
        assert!(array.push(Value::Null));
        assert!(array.get(&Key::Int(-4)).is_some());
        array.set(Key::Int(i64::MAX), Value::Null);
        assert!(!array.push(Value::Null));
    }

    proptest! {
        #[test]
        fn key_keeps_its_first_position(keys in prop::collection::vec(-3_i64..30, 0..40)) {
            let (mut array, mut plain) = (Array::new(), Vec::<(Key, Value)>::new());
            for (at, key) in keys.into_iter().enumerate() {
                let (key, value) = (Key::Int(key), Value::Int(at as i64));
                match plain.iter_mut().find(|(known, _)| *known == key) {
                    Some(known) => known.1 = value.clone(),
                    None => plain.push((key.clone(), value.clone())),
                }
                array.set(key, value);
                let list = (0..).zip(&plain).all(|(at, (key, _))| *key == Key::Int(at));
                prop_assert_eq!(array.is_list(), list);
                for (key, value) in &plain {
                    prop_assert_eq!(array.get(key), Some(value));
                }
                prop_assert!(array.get(&Key::Int(99)).is_none());
            }
            prop_assert_eq!(array.entries(), plain);
        }
    }
}
