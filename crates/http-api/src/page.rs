//! Pages of lists: ordered by id or name, so that an item that exists all the time is on exactly one
//! page, whatever else comes and goes.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    bytes_text::{from_hex, to_hex},
    failure::Failure,
    limits::{DEFAULT_PAGE, MAX_PAGE},
    query::Query,
};

/// The place and length of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    limit: usize,
    after: Option<Vec<u8>>,
}

/// The parameters of [`Paging`], as the document describes them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct PagingParams {
    /// Items of the page
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next` of the page before
    #[param(pattern = "^([0-9a-f]{2})*$")]
    after: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, ordered by id or name.
    pub(crate) items: Vec<T>,
    /// `after` of the next page; null on the last.
    pub(crate) next: Option<String>,
}

impl Paging {
    /// Reads `limit` and `after`.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn of(query: &mut Query) -> Result<Self, Failure> {
        let limit = match query.take("limit") {
            None => DEFAULT_PAGE,
            Some(limit) => {
                let limit = limit.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                limit.ok_or_else(|| {
                    let message = format!("`limit` must be 1 to {MAX_PAGE}");
                    Failure::bad_request(message).with("limit", MAX_PAGE)
                })?
            }
        };
        let after = match query.take("after") {
            None => None,
            Some(after) => Some(from_hex(&after).ok_or_else(|| {
                Failure::bad_request("`after` must be `next` of the page before")
            })?),
        };
        Ok(Self { limit, after })
    }

    /// The page of these keys.
    pub(crate) fn page<K: AsRef<[u8]>>(&self, mut keys: Vec<K>) -> Page<K> {
        keys.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        if let Some(after) = &self.after {
            let start = keys.partition_point(|key| key.as_ref() <= after.as_slice());
            keys.drain(..start);
        }
        let has_more = self.limit < keys.len();
        keys.truncate(self.limit);
        let last = keys.last().filter(|_| has_more);
        let next = last.map(|last| to_hex(last.as_ref()));
        Page { items: keys, next }
    }
}

impl<T> Page<T> {
    /// The same page with other items.
    pub(crate) fn with<U>(self, items: Vec<U>) -> Page<U> {
        Page { items, next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn paging(query: &str) -> Result<Paging, Failure> {
        Paging::of(&mut Query::parse(Some(query))?)
    }

    #[test]
    fn limit_and_cursor_are_checked() {
        assert_eq!(paging("").unwrap(), Paging { limit: 100, after: None });
        let page = Paging { limit: 1_000, after: Some(vec![0xff]) };
        assert_eq!(paging("limit=1000&after=ff").unwrap(), page);
        for wrong in ["limit=0", "limit=1001", "limit=x", "limit=-1", "after=x", "after=abc"] {
            assert_eq!(paging(wrong).unwrap_err().status.as_u16(), 400, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn item_that_stays_is_on_exactly_one_page(
            stays in prop::collection::btree_set("[a-d]{1,3}", 0..20),
            others in prop::collection::vec(prop::collection::vec("[a-d]{1,3}", 0..8), 1..30),
            limit in 1..6_usize,
        ) {
            let mut seen = Vec::new();
            let mut after = None;
            for round in 0.. {
                let fleeting = others[round % others.len()].iter();
                let keys: BTreeSet<_> = stays.iter().chain(fleeting).cloned().collect();
                let page = Paging { limit, after }.page(keys.into_iter().rev().collect());
                prop_assert!(page.items.len() <= limit);
                seen.extend(page.items.into_iter().filter(|item| stays.contains(item)));
                match page.next {
                    Some(next) => after = from_hex(&next),
                    None => break,
                }
            }
            prop_assert_eq!(seen, stays.into_iter().collect::<Vec<_>>());
        }
    }
}
