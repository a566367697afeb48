//! The one query with a language of its own: which facts, of which clients.
//!
//! ```text
//! {"fields":["uid","groups"],"where":{"groups":["a",5],"uid":["ann"],"connection_id":{"7":7}}}
//! ```

use bytes::Bytes;

use super::{
    from_peer::{Refused, question},
    names::{connections, distinct, groups, keys, uids},
};
use crate::{
    Fields, Filter, Query,
    php::{Key, Value},
};

/// One asked fact, under the key that it is asked by.
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
    /// Nothing that is known of clients: null in every row.
    Unknown,
}

/// Reads the question, and the columns of the answer. `None` where the answer is empty whoever is
/// connected.
///
/// # Errors
/// When the question is beyond our limits.
pub(super) fn read(text: &Bytes) -> Result<Option<(Query, Vec<Column>)>, Refused> {
    Ok(question(text)?.as_ref().and_then(asked))
}

fn asked(value: &Value) -> Option<(Query, Vec<Column>)> {
    let question = value.as_array().filter(|question| !question.is_empty())?;
    let columns = question.get_str("fields").and_then(Value::as_array).map(keys);
    let columns: Vec<Column> =
        distinct(columns.unwrap_or_default()).into_iter().map(column).collect();
    let filter = match question.get_str("where") {
        // Rows without columns are not rows to PHP, unless somebody was asked for.
        None => everyone(&columns)?,
        Some(all) if all.is_empty() => everyone(&columns)?,
        Some(Value::Array(chosen)) => {
            let of = |key| chosen.get_str(key).and_then(Value::as_array).map(keys);
            Filter::Any {
                groups: groups(&of("groups").unwrap_or_default()),
                uids: uids(&of("uid").unwrap_or_default()),
                clients: connections(of("connection_id").unwrap_or_default()),
            }
        }
        Some(_) => return None,
    };
    let asked = |fact| columns.iter().any(|column| column.fact == fact);
    let fields = Fields {
        uid: asked(Fact::Uid),
        groups: asked(Fact::Groups),
        session: asked(Fact::Session),
    };
    Some((Query::Select { fields, filter }, columns))
}

fn everyone(columns: &[Column]) -> Option<Filter> {
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
