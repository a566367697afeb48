//! Lists that a peer sends, limited before memory is allocated for them.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// Maximum number of names (uids, groups) or client ids in one list of a command or a query. A
/// frame of 32 MiB could hold 16 million, each of which takes many times its encoded size once it
/// is decoded.
pub const MAX_TARGETS: usize = 10_000;

/// Maximum number of items in one list of an answer.
pub const MAX_ITEMS: usize = 1 << 20;

/// Maximum number of effects in one message.
pub const MAX_EFFECTS: usize = 4096;

/// For `#[serde(deserialize_with)]`: a list of up to `MOST` items.
pub(crate) fn list<'de, const MOST: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Bounded { most: MOST, items: PhantomData })
}

/// The same of up to [`MAX_TARGETS`].
pub(crate) fn targets<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list::<MAX_TARGETS, D, T>(deserializer)
}

/// A list of up to [`MAX_TARGETS`], if there is one.
pub(crate) fn optional_targets<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(bound = "T: Deserialize<'de>")]
    struct List<T>(#[serde(deserialize_with = "targets")] Vec<T>);

    Ok(Option::deserialize(deserializer)?.map(|List(list)| list))
}

/// The same of up to [`MAX_ITEMS`].
pub(crate) fn items<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list::<MAX_ITEMS, D, T>(deserializer)
}

struct Bounded<T> {
    most: usize,
    items: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} items", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let too_many = || A::Error::custom(format_args!("a list of more than {}", self.most));
        let announced = seq.size_hint().unwrap_or(0);
        if self.most < announced {
            return Err(too_many());
        }
        // An announced length within the limit is not trusted either: memory grows with the items.
        let mut list = Vec::with_capacity(announced.min(1024));
        while let Some(item) = seq.next_element()? {
            if list.len() == self.most {
                return Err(too_many());
            }
            list.push(item);
        }
        Ok(list)
    }
}
