//! A serialized value as a whole: the value, and the parts of it that several places share.

use super::{
    array::Array,
    value::{MAX_DEPTH, Value},
};

/// What [`unserialize`](super::unserialize) found.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The value itself.
    pub root: Value,
    /// The values that [`Value::Shared`] stands for.
    pub shared: Vec<Value>,
    /// Whether it may be taken apart: not where an object that only its class can read may name
    /// other values by their number.
    pub movable: bool,
}

impl Document {
    /// What a value is once it is looked up where it is shared. `None` if it never ends.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        resolve(value, &self.shared)
    }

    /// The value itself, if it is an array.
    pub fn as_array(&self) -> Option<&Array> {
        self.resolve(&self.root)?.as_array()
    }
}

impl From<Value> for Document {
    fn from(root: Value) -> Self {
        Self { root, shared: Vec::new(), movable: true }
    }
}

/// What a value is once it is looked up among `shared`.
pub(super) fn resolve<'a>(value: &'a Value, shared: &'a [Value]) -> Option<&'a Value> {
    let mut value = value;
    for _ in 0..MAX_DEPTH {
        match value {
            Value::Shared(place) => value = shared.get(place.at)?,
            value => return Some(value),
        }
    }
    None
}
