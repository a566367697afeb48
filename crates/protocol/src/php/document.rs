//! A complete serialized value: its root, and the values that several places share.

use super::{
    array::Array,
    value::{MAX_DEPTH, Value},
};

/// The result of [`unserialize`](super::unserialize).
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The root value.
    pub root: Value,
    /// The values that [`Value::Shared`] refers to.
    pub shared: Vec<Value>,
    /// Whether values may be moved: not if an object with an opaque format may refer to other
    /// values by number.
    pub movable: bool,
}

impl Document {
    /// Dereferences a shared value. `None` if the chain of references is cyclic.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        resolve(value, &self.shared)
    }

    /// The root value, if it is an array.
    pub fn as_array(&self) -> Option<&Array> {
        self.resolve(&self.root)?.as_array()
    }
}

impl From<Value> for Document {
    fn from(root: Value) -> Self {
        Self { root, shared: Vec::new(), movable: true }
    }
}

/// Dereferences a value in `shared`.
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
