//! Replies to queries: PHP's serialized form, prefixed with its length.
//!
//! The encoding of an answer depends on the query, so each query that
//! [`from_peer`](super::from_peer) reads is paired with its [`Reply`]. A peer reads one reply for
//! each query without further checks: it would take an empty one, sent in place of an answer, to
//! mean that no client is connected. So none is sent, and the link is to be closed, which the peer
//! reports.

use bytes::Bytes;
use thiserror::Error;

use super::{
    names::{group, uid},
    select::{Column, Fact},
};
use crate::{
    Answer, ConnectionId, Row, Session,
    php::{self, Key},
};

/// The longest reply, in bytes. PHP's own limit is the memory that a script may allocate, 128 MiB
/// by default, for the text and the decoded value together.
pub const MAX_REPLY: usize = 128 * 1024 * 1024;

/// How the answer to one query is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    shape: Shape,
    /// Whether rows are sorted, see [`unordered`](Self::unordered).
    ordered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `i:1;` or `i:0;`
    Online,
    /// The session's own bytes, `N;` if the client is not connected.
    Session,
    /// Connection → session.
    Sessions,
    /// The connections of the one uid.
    Clients,
    /// Uid → connections, for each of these.
    ClientsOf(Vec<Key>),
    /// `i:3;`
    Count,
    /// Group → count, for each of these.
    Counts(Vec<Key>),
    /// The groups.
    Groups,
    /// Connection → column → value.
    Rows(Vec<Column>),
}

/// Why there is no reply to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoReply {
    /// It would be longer than [`MAX_REPLY`].
    #[error("a reply of more than {MAX_REPLY} bytes")]
    TooLong,
    /// The gateway has no answer, or the answer is to another query.
    #[error("no answer to this query")]
    Unavailable,
}

/// The reply to a query whose answer is an empty list, regardless of the gateway's clients.
pub(super) fn empty_list() -> Bytes {
    framed(|out| out.extend_from_slice(b"a:0:{}"))
}

/// The reply to a query whose count is always zero.
pub(super) fn zero() -> Bytes {
    framed(|out| php::int(0, out))
}

impl Reply {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, ordered: true }
    }

    /// The same with rows in the order of the answer. By default, rows that have a uid and groups
    /// come first: deployed versions of `getAllGroupUidList` and similar functions stop at the
    /// first row that lacks one of them, so only this order gives complete results.
    #[must_use]
    pub fn unordered(self) -> Self {
        Self { ordered: false, ..self }
    }

    /// The kind of the query, for logs.
    pub fn asks_for(&self) -> &'static str {
        match &self.shape {
            Shape::Online => "online",
            Shape::Session => "session",
            Shape::Sessions => "sessions",
            Shape::Clients | Shape::ClientsOf(_) => "clients of uids",
            Shape::Count => "count",
            Shape::Counts(_) => "counts",
            Shape::Groups => "groups",
            Shape::Rows(_) => "rows",
        }
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// When the answer is [`Answer::Unavailable`] or of another query, or the reply would be longer
    /// than [`MAX_REPLY`]. Nothing may be sent in its place: the peer would read it as the answer.
    pub fn encode(&self, answer: &Answer) -> Result<Bytes, NoReply> {
        let mut written = Ok(());
        let reply = framed(|out| written = self.write(answer, out));
        written.map(|()| reply)
    }

    fn write(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<(), NoReply> {
        match (&self.shape, answer) {
            (Shape::Online, Answer::Online(online)) => php::int((*online).into(), out),
            (Shape::Session, Answer::Session(None)) => out.extend_from_slice(b"N;"),
            (Shape::Session, Answer::Session(Some(session))) => {
                let session = session.to_php();
                let none = php::is_empty(&session);
                out.extend_from_slice(if none { b"a:0:{}" } else { &session });
            }
            (Shape::Sessions, Answer::Sessions(sessions)) => {
                let size = |(_, session): &(_, Session)| 40 + session.as_encoded().len();
                fits(sessions.iter().map(size))?;
                bounded(sessions, out, |(client, session), out| {
                    connection(*client, out);
                    php::string(&session.to_php(), out);
                })?;
            }
            (Shape::Clients, Answer::Clients(uids)) => {
                clients(uids.first().map_or(&[], |(_, clients)| clients), out);
            }
            (Shape::ClientsOf(requested), Answer::Clients(uids)) => {
                let mut uids = uids.iter().peekable();
                array(requested, out, |key, out| {
                    let found = uids.next_if(|(found, _)| uid(key).as_ref() == Some(found));
                    php::key(key, out);
                    clients(found.map_or(&[], |(_, clients)| clients), out);
                });
            }
            (Shape::Count, Answer::Count(count)) => php::int(int(*count), out),
            (Shape::Counts(requested), Answer::Counts(groups)) => {
                let mut groups = groups.iter().peekable();
                array(requested, out, |key, out| {
                    let found = groups.next_if(|(found, _)| group(key).as_ref() == Some(found));
                    php::key(key, out);
                    php::int(found.map_or(0, |(_, count)| int(*count)), out);
                });
            }
            (Shape::Groups, Answer::Groups(groups)) => {
                let groups: Vec<_> = (0..).zip(groups).collect();
                array(&groups, out, |(at, group), out| {
                    php::int(*at, out);
                    php::key(&key(group.as_bytes()), out);
                });
            }
            (Shape::Rows(columns), Answer::Rows(rows)) => {
                fits(rows.iter().map(size))?;
                let rows = match self.ordered {
                    true => in_order(columns, rows),
                    false => rows.iter().collect(),
                };
                bounded(&rows, out, |row, out| {
                    connection(row.client, out);
                    array(columns, out, |column, out| {
                        php::key(&column.key, out);
                        fact(column.fact, row, out);
                    });
                })?;
            }
            _ => return Err(NoReply::Unavailable),
        }
        if MAX_REPLY < out.len() { Err(NoReply::TooLong) } else { Ok(()) }
    }
}

/// Checks the size before anything is written. Only sessions and groups can be large.
fn fits(sizes: impl Iterator<Item = usize>) -> Result<(), NoReply> {
    if MAX_REPLY < sizes.sum() { Err(NoReply::TooLong) } else { Ok(()) }
}

/// Approximate size of a row, in bytes.
fn size(row: &Row) -> usize {
    let session = row.session.as_ref().map_or(0, |session| session.as_encoded().len());
    let groups = row.groups.iter().map(|group| 40 + 2 * group.as_bytes().len());
    100 + session + groups.sum::<usize>()
}

/// Rows that have the requested values first.
fn in_order<'a>(columns: &[Column], rows: &'a [Row]) -> Vec<&'a Row> {
    let requested = |fact| columns.iter().any(|column| column.fact == fact);
    let mut rows: Vec<&Row> = rows.iter().collect();
    if requested(Fact::Groups) {
        let needs_uid = requested(Fact::Uid);
        rows.sort_by_key(|row| {
            let uid = row.uid.as_ref().is_some_and(|uid| !php::is_empty(uid.as_bytes()));
            row.groups.is_empty() || (needs_uid && !uid)
        });
    }
    rows
}

fn fact(fact: Fact, row: &Row, out: &mut Vec<u8>) {
    match (fact, &row.uid, &row.session) {
        (Fact::Uid, Some(uid), _) => php::string(uid.as_bytes(), out),
        (Fact::Session, _, Some(session)) => php::string(&session.to_php(), out),
        (Fact::Groups, ..) if row.joined || !row.groups.is_empty() => {
            array(&row.groups, out, |group, out| {
                php::key(&key(group.as_bytes()), out);
                php::string(group.as_bytes(), out);
            })
        }
        _ => out.extend_from_slice(b"N;"),
    }
}

fn clients(clients: &[ConnectionId], out: &mut Vec<u8>) {
    let clients: Vec<_> = (0..).zip(clients).collect();
    array(&clients, out, |(at, client), out| {
        php::int(*at, out);
        connection(**client, out);
    });
}

fn connection(client: ConnectionId, out: &mut Vec<u8>) {
    php::int(client.0.into(), out);
}

fn key(name: &[u8]) -> Key {
    Key::from_text(Bytes::copy_from_slice(name))
}

fn int(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// `a:n:{…}`; `entry` writes key and value of one entry.
fn array<T>(entries: &[T], out: &mut Vec<u8>, mut entry: impl FnMut(&T, &mut Vec<u8>)) {
    out.extend_from_slice(format!("a:{}:{{", entries.len()).as_bytes());
    entries.iter().for_each(|it| entry(it, out));
    out.push(b'}');
}

/// The same with a limit on the reply's length: JSON sessions grow when converted to PHP's form.
fn bounded<T>(
    entries: &[T],
    out: &mut Vec<u8>,
    mut entry: impl FnMut(&T, &mut Vec<u8>),
) -> Result<(), NoReply> {
    out.extend_from_slice(format!("a:{}:{{", entries.len()).as_bytes());
    for it in entries {
        if MAX_REPLY < out.len() {
            return Err(NoReply::TooLong);
        }
        entry(it, out);
    }
    out.push(b'}');
    Ok(())
}

fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = vec![0; 4];
    write(&mut out);
    let length = out.len() - 4;
    // Only a reply that was abandoned exceeds u32, and it is never sent.
    out[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.into()
}
