//! The query with a syntax of its own: selected fields of selected clients.
//!
//! ```text
//! {"fields":["uid","groups"],"where":{"groups":["a",5],"uid":["ann"],"connection_id":{"7":7}}}
//! ```

use bytes::Bytes;

use super::{
    invalid_request::{InvalidRequest, parse_query},
    names::{connections, distinct, groups, keys, uids},
};
use crate::{
    Fields, Filter, Query,
    php::{Key, Value},
};

/// One requested field, and the key that it is requested by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) key: Key,
    pub(super) fact: Fact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Uid,
    Groups,
    Session,
    /// Not a field of clients: null in every row.
    Unknown,
}

/// Reads the query and the columns of the answer. `None` if the answer is empty regardless of the
/// connected clients.
///
/// # Errors
/// When the query exceeds our limits.
pub(super) fn read(text: &Bytes) -> Result<Option<(Query, Vec<Column>)>, InvalidRequest> {
    Ok(parse_query(text)?.as_ref().and_then(parse))
}

fn parse(value: &Value) -> Option<(Query, Vec<Column>)> {
    let query = value.as_array().filter(|query| !query.is_empty())?;
    let columns = query.get_str("fields").and_then(Value::as_array).map(keys);
    let columns: Vec<Column> =
        distinct(columns.unwrap_or_default()).into_iter().map(column).collect();
    let filter = match query.get_str("where") {
        // PHP drops rows without columns, unless the query names clients.
        None => all_clients(&columns)?,
        Some(all) if all.is_empty() => all_clients(&columns)?,
        Some(Value::Array(criteria)) => {
            let of = |key| criteria.get_str(key).and_then(Value::as_array).map(keys);
            Filter::Any {
                groups: groups(&of("groups").unwrap_or_default()),
                uids: uids(&of("uid").unwrap_or_default()),
                clients: connections(of("connection_id").unwrap_or_default()),
            }
        }
        Some(_) => return None,
    };
    let requested = |fact| columns.iter().any(|column| column.fact == fact);
    let fields = Fields {
        uid: requested(Fact::Uid),
        groups: requested(Fact::Groups),
        session: requested(Fact::Session),
    };
    Some((Query::Select { fields, filter }, columns))
}

fn all_clients(columns: &[Column]) -> Option<Filter> {
    (!columns.is_empty()).then_some(Filter::All)
}

fn column(key: Key) -> Column {
    let fact = match &*key.to_text() {
        b"uid" => Fact::Uid,
        b"groups" => Fact::Groups,
        b"session" => Fact::Session,
        _ => Fact::Unknown,
    };
    Column { key, fact }
}
