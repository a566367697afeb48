//! PHP's `array_replace_recursive()`.
//!
//! Values that are arrays on both sides, lists included, are merged key by key; any other value of
//! the new array replaces the old value, or is appended. Objects are never merged.
//!
//! References and repeated objects follow their values: values that the merge does not change stay
//! shared, and are renumbered when they are written. An array that is merged through a reference is
//! separated (copied) first: the other places keep the old array, as in PHP.

use thiserror::Error;

use super::{
    array::Array,
    document::{Document, resolve},
    value::{MAX_DEPTH, MAX_VALUES, Value},
};

/// Why two documents cannot be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplaceError {
    /// One of the two is not an array.
    #[error("not an array")]
    NotAnArray,
    /// An object with an opaque format may refer to other values by number, which the merge would
    /// invalidate.
    #[error("an object of a class with its own format occurs together with references")]
    Unmovable,
    /// Nested too deep, or recursive.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// References would cause far more copies than there are values, or more than a text may hold.
    #[error("more than {limit} values to copy")]
    TooMany { limit: usize },
}

/// Limit of copied values: this multiple of the values in both documents, plus a constant. Only the
/// separation of an array from many references comes near it.
const COPIES: usize = 4;
const EXTRA_COPIES: usize = 4096;

/// Merges `new` into `old`. Copies at most four times the number of values in both, plus 4,096,
/// regardless of references.
///
/// # Errors
/// When the two are not arrays, or cannot be merged within bounds.
pub fn array_replace_recursive(old: Document, new: Document) -> Result<Document, ReplaceError> {
    if !(old.movable && new.movable) {
        return Err(ReplaceError::Unmovable);
    }
    let (mut shared, mut fresh) = (old.shared, new);
    let values = count(&old.root) + count(&fresh.root);
    let values = shared.iter().chain(&fresh.shared).map(count).sum::<usize>() + values;
    let limit = values.saturating_mul(COPIES).saturating_add(EXTRA_COPIES).min(MAX_VALUES);
    let offset = shared.len();
    std::iter::once(&mut fresh.root).chain(&mut fresh.shared).for_each(|it| shift(it, offset));
    shared.append(&mut fresh.shared);
    let mut merge = Merge { shared: &shared, limit, copied: 0 };
    let Some(Value::Array(new)) = resolve(&fresh.root, &shared) else {
        return Err(ReplaceError::NotAnArray);
    };
    let mut root = old.root;
    let merged = merge.separate(&mut root)?.ok_or(ReplaceError::NotAnArray)?;
    merge.replace(merged, new, 1)?;
    Ok(Document { root, shared, movable: true })
}

struct Merge<'a> {
    /// The shared values of both. The merge does not change them.
    shared: &'a [Value],
    /// Maximum number of copied values, and the number so far.
    limit: usize,
    copied: usize,
}

impl<'a> Merge<'a> {
    fn replace(
        &mut self,
        old: &mut Array,
        new: &'a Array,
        depth: usize,
    ) -> Result<(), ReplaceError> {
        if MAX_DEPTH < depth {
            return Err(ReplaceError::TooDeep);
        }
        for (key, value) in new.iter() {
            let entered = match (old.get_mut(key), resolve(value, self.shared)) {
                (Some(known), Some(Value::Array(inner))) => {
                    self.separate(known)?.map(|known| (known, inner))
                }
                _ => None,
            };
            match entered {
                Some((known, inner)) => self.replace(known, inner, depth + 1)?,
                None => {
                    let copy = self.copy(value)?;
                    old.set(key.clone(), copy);
                }
            }
        }
        Ok(())
    }

    /// The array to change, separated from other places that share it; `None` for another value.
    fn separate<'b>(
        &mut self,
        value: &'b mut Value,
    ) -> Result<Option<&'b mut Array>, ReplaceError> {
        if let Value::Shared(_) = value
            && let Some(array @ Value::Array(_)) = resolve(value, self.shared)
        {
            *value = self.copy(array)?;
        }
        Ok(match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    fn copy(&mut self, value: &Value) -> Result<Value, ReplaceError> {
        self.copied += count(value);
        match self.limit < self.copied {
            true => Err(ReplaceError::TooMany { limit: self.limit }),
            false => Ok(value.clone()),
        }
    }
}

fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Array(array) => array.values().map(count).sum(),
        Value::Object(object) => object.properties.values().map(count).sum(),
        _ => 0,
    };
    1 + inner
}

fn shift(value: &mut Value, offset: usize) {
    match value {
        Value::Shared(place) => place.at += offset,
        Value::Array(array) => array.values_mut().for_each(|value| shift(value, offset)),
        Value::Object(object) => {
            object.properties.values_mut().for_each(|value| shift(value, offset));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::php::{serialize, unserialize};

    /// `merged` is the result of PHP 8.2.
    #[track_caller]
    fn check(old: &'static str, new: &'static str, merged: &str) {
        let read = |text: &'static str| unserialize(&Bytes::from(text)).unwrap();
        let document = array_replace_recursive(read(old), read(new)).unwrap();
        let mut text = Vec::new();
        serialize(&document, usize::MAX, &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), merged);
    }

    #[test]
    fn lists_merge_by_position_and_an_empty_array_changes_nothing() {
        check(
            r#"a:1:{s:1:"l";a:3:{i:0;i:1;i:1;i:2;i:2;i:3;}}"#,
            r#"a:1:{s:1:"l";a:1:{i:0;i:9;}}"#,
            r#"a:1:{s:1:"l";a:3:{i:0;i:9;i:1;i:2;i:2;i:3;}}"#,
        );
        check(
            r#"a:1:{s:1:"x";a:1:{i:0;i:1;}}"#,
            r#"a:1:{s:1:"x";a:0:{}}"#,
            r#"a:1:{s:1:"x";a:1:{i:0;i:1;}}"#,
        );
        check(r#"a:1:{s:1:"x";i:1;}"#, r#"a:1:{s:1:"x";a:0:{}}"#, r#"a:1:{s:1:"x";a:0:{}}"#);
    }

    #[test]
    fn merged_array_is_separated_from_its_references() {
        check(
            r#"a:2:{s:1:"a";a:1:{i:0;i:1;}s:1:"b";R:2;}"#,
            r#"a:1:{s:1:"a";a:1:{i:0;i:9;}}"#,
            r#"a:2:{s:1:"a";a:1:{i:0;i:9;}s:1:"b";a:1:{i:0;i:1;}}"#,
        );
        check(
            r#"a:2:{s:1:"a";a:1:{i:0;i:1;}s:1:"b";R:2;}"#,
            r#"a:1:{s:1:"b";a:1:{i:0;i:9;}}"#,
            r#"a:2:{s:1:"a";a:1:{i:0;i:1;}s:1:"b";a:1:{i:0;i:9;}}"#,
        );
        check(
            r#"a:2:{s:1:"a";a:1:{i:0;O:1:"A":0:{}}s:1:"b";R:2;}"#,
            r#"a:1:{s:1:"b";a:1:{i:1;i:1;}}"#,
            r#"a:2:{s:1:"a";a:1:{i:0;O:1:"A":0:{}}s:1:"b";a:2:{i:0;r:3;i:1;i:1;}}"#,
        );
    }

    #[test]
    fn shared_value_is_written_at_its_first_place_and_renumbered() {
        check(
            r#"a:3:{s:1:"a";i:1;s:1:"b";R:2;s:1:"c";R:2;}"#,
            r#"a:1:{s:1:"a";i:7;}"#,
            r#"a:3:{s:1:"a";i:7;s:1:"b";i:1;s:1:"c";R:3;}"#,
        );
        check(
            r#"a:3:{s:1:"a";O:1:"A":0:{}s:1:"b";r:2;s:1:"c";r:2;}"#,
            r#"a:1:{s:1:"a";i:7;}"#,
            r#"a:3:{s:1:"a";i:7;s:1:"b";O:1:"A":0:{}s:1:"c";r:3;}"#,
        );
        check(
            r#"a:2:{s:1:"a";i:0;s:1:"z";i:0;}"#,
            r#"a:3:{s:1:"z";O:1:"A":0:{}s:1:"a";r:2;s:1:"c";i:2;}"#,
            r#"a:3:{s:1:"a";O:1:"A":0:{}s:1:"z";r:2;s:1:"c";i:2;}"#,
        );
        check(
            r#"a:2:{s:1:"a";i:0;s:1:"z";i:0;}"#,
            r#"a:3:{s:1:"z";a:1:{i:0;i:1;}s:1:"a";R:2;s:1:"c";i:2;}"#,
            r#"a:3:{s:1:"a";a:1:{i:0;i:1;}s:1:"z";R:2;s:1:"c";i:2;}"#,
        );
        check(
            r#"a:1:{s:1:"x";i:1;}"#,
            r#"a:2:{s:1:"a";O:1:"A":1:{s:1:"p";i:1;}s:1:"b";r:2;}"#,
            r#"a:3:{s:1:"x";i:1;s:1:"a";O:1:"A":1:{s:1:"p";i:1;}s:1:"b";r:3;}"#,
        );
    }

    #[test]
    fn opaque_object_that_may_hold_numbers_is_not_moved() {
        let read = |text: &'static str| unserialize(&Bytes::from(text)).unwrap();
        let plain = r#"a:1:{s:1:"x";i:1;}"#;
        for unmovable in
            [r#"a:1:{i:0;C:1:"A":6:{a;r:1;}}"#, r#"a:3:{i:0;i:1;i:1;R:2;i:2;C:1:"A":1:{a}}"#]
        {
            let merged = array_replace_recursive(read(unmovable), read(plain));
            assert_eq!(merged.unwrap_err(), ReplaceError::Unmovable);
        }
        check(r#"a:1:{i:0;C:1:"A":2:{ab}}"#, plain, r#"a:2:{i:0;C:1:"A":2:{ab}s:1:"x";i:1;}"#);
    }

    #[test]
    fn recursive_arrays_are_refused_or_replaced() {
        let read = |text: &'static str| unserialize(&Bytes::from(text)).unwrap();
        let endless = r#"a:1:{s:1:"a";a:1:{s:1:"a";R:2;}}"#;
        let merged = array_replace_recursive(read(endless), read(endless));
        assert_eq!(merged.unwrap_err(), ReplaceError::TooDeep);
        check(
            endless,
            r#"a:1:{s:1:"a";a:1:{s:1:"a";i:5;}}"#,
            r#"a:1:{s:1:"a";a:1:{s:1:"a";i:5;}}"#,
        );
    }
}
