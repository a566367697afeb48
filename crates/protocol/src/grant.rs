//! The answer to a handshake request that awaits one: what a client is granted, or why it is
//! refused.
//!
//! Everything in an answer is validated when it is made and when it is decoded, so that it can be
//! written into an HTTP response as it is.

use std::{convert::Infallible, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Group, InvalidName, Session, SessionError, Uid, bounded};

/// The most groups that a handshake can join its client to.
pub const MAX_GRANTED_GROUPS: usize = 1000;

/// The most headers of one answer.
pub const MAX_HEADERS: usize = 32;

/// The longest headers of one answer, names and values together, in bytes.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The longest body of a refusal, in bytes.
pub const MAX_REFUSAL_BODY: usize = 16 * 1024;

/// Headers that the response sets itself, or that would change its framing.
const RESERVED: [&str; 4] = ["Upgrade", "Connection", "Content-Length", "Transfer-Encoding"];

/// Prefix of all other reserved headers.
const RESERVED_PREFIX: &str = "Sec-WebSocket-";

/// Not an answer to a handshake request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// The status of a refusal is one of 400 to 599.
    #[error("status {0} is not one of 400 to 599")]
    Status(u16),
    /// Not a token (RFC 9110, 5.6.2).
    #[error("{0:?} is not a valid header name")]
    HeaderName(String),
    /// The value of this header would end its line, or is not printable.
    #[error("the value of {0} contains control characters")]
    HeaderValue(String),
    /// The response sets this header itself.
    #[error("{0} is reserved for the handshake")]
    Reserved(String),
    /// More than [`MAX_HEADERS`].
    #[error("{0} headers are more than {MAX_HEADERS}")]
    TooManyHeaders(usize),
    /// More than [`MAX_HEADER_BYTES`].
    #[error("headers of {0} bytes are longer than {MAX_HEADER_BYTES}")]
    HeadersTooLong(usize),
    /// Not a token.
    #[error("{0:?} is not a valid subprotocol name")]
    Subprotocol(String),
    /// The client does not offer this subprotocol: it would fail the connection.
    #[error("the client does not offer the subprotocol {0:?}")]
    NotOffered(String),
    /// More than [`MAX_GRANTED_GROUPS`].
    #[error("{0} groups are more than {MAX_GRANTED_GROUPS}")]
    TooManyGroups(usize),
    /// The body of a refusal is longer than [`MAX_REFUSAL_BODY`].
    #[error("a body of {0} bytes is longer than {MAX_REFUSAL_BODY}")]
    Body(usize),
    /// Invalid uid or group.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Invalid session.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// One header of a response: a token, and a value in one line. Not one that the response sets
/// itself, such as `Connection`, `Content-Length` or `Sec-WebSocket-Accept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct ResponseHeader {
    name: String,
    value: String,
}

/// The headers of one response, within [`MAX_HEADERS`] and [`MAX_HEADER_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireHeaders")]
pub struct ResponseHeaders(Vec<ResponseHeader>);

#[derive(Deserialize)]
struct WireHeaders(#[serde(deserialize_with = "bounded::targets")] Vec<ResponseHeader>);

/// The answer that accepts a handshake. Everything is optional: the default accepts it as
/// `--handshake-auth none` does.
///
/// It is applied as one step, before the client receives the response and before any later command
/// is applied: nothing that is sent to the uid or to one of the groups afterwards misses the
/// client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireGrant")]
pub struct Grant {
    uid: Option<Uid>,
    groups: Vec<Group>,
    session: Option<Session>,
    subprotocol: Option<String>,
    headers: ResponseHeaders,
}

#[derive(Deserialize)]
struct WireGrant {
    uid: Option<Uid>,
    #[serde(deserialize_with = "bounded::targets")]
    groups: Vec<Group>,
    session: Option<Session>,
    subprotocol: Option<String>,
    headers: ResponseHeaders,
}

/// The HTTP response to a handshake that is refused: a status of 400 to 599, headers, and a body of
/// at most [`MAX_REFUSAL_BODY`] bytes. The connection is closed behind it.
///
/// A script in a browser sees neither of them: to it, every refusal is a close with 1006.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireRefusal")]
pub struct Refusal {
    status: u16,
    headers: ResponseHeaders,
    #[serde(serialize_with = "as_bytes")]
    body: Bytes,
}

#[derive(Deserialize)]
struct WireRefusal<'a> {
    status: u16,
    headers: ResponseHeaders,
    #[serde(borrow)]
    body: &'a serde_bytes::Bytes,
}

impl ResponseHeader {
    /// Validates a header. Whitespace around the value is removed.
    ///
    /// # Errors
    /// When the name is no token or is reserved, or the value contains control characters.
    pub fn new(name: impl Into<String>, value: impl AsRef<str>) -> Result<Self, InvalidAnswer> {
        let name = name.into();
        let value = value.as_ref().trim_matches([' ', '\t']);
        if !is_token(name.as_bytes()) {
            return Err(InvalidAnswer::HeaderName(name));
        }
        if value.chars().any(|char| char.is_control() && char != '\t') {
            return Err(InvalidAnswer::HeaderValue(name));
        }
        let start = name.get(..RESERVED_PREFIX.len());
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(&name))
            || start.is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
        {
            return Err(InvalidAnswer::Reserved(name));
        }
        Ok(Self { name, value: value.to_owned() })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, without surrounding whitespace.
    pub fn value(&self) -> &str {
        &self.value
    }

    fn len(&self) -> usize {
        self.name.len() + self.value.len()
    }
}

impl ResponseHeaders {
    fn push(&mut self, header: ResponseHeader) -> Result<(), InvalidAnswer> {
        self.0.push(header);
        self.check()
    }

    fn check(&self) -> Result<(), InvalidAnswer> {
        match (self.0.len(), self.len()) {
            (..=MAX_HEADERS, ..=MAX_HEADER_BYTES) => Ok(()),
            (..=MAX_HEADERS, long) => Err(InvalidAnswer::HeadersTooLong(long)),
            (many, _) => Err(InvalidAnswer::TooManyHeaders(many)),
        }
    }

    /// The headers, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &ResponseHeader> {
        self.0.iter()
    }

    /// Whether one of them has this name, compared without case.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|header| header.name.eq_ignore_ascii_case(name))
    }

    /// Bytes of the names and values.
    fn len(&self) -> usize {
        self.iter().map(ResponseHeader::len).sum()
    }
}

impl Grant {
    /// Accepts the handshake, and grants nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds the client to a uid.
    ///
    /// # Errors
    /// When the uid is empty or too long.
    pub fn with_uid(
        self,
        uid: impl TryInto<Uid, Error: Into<InvalidAnswer>>,
    ) -> Result<Self, InvalidAnswer> {
        Ok(Self { uid: Some(uid.try_into().map_err(Into::into)?), ..self })
    }

    /// Adds the client to a group. Not applied beyond `--max-groups-per-client`.
    ///
    /// # Errors
    /// When the name is empty or too long, or there are [`MAX_GRANTED_GROUPS`] already.
    pub fn with_group(
        mut self,
        group: impl TryInto<Group, Error: Into<InvalidAnswer>>,
    ) -> Result<Self, InvalidAnswer> {
        self.groups.push(group.try_into().map_err(Into::into)?);
        self.check()
    }

    /// Sets the client's session to a value that serializes as a JSON object: a struct or a map.
    ///
    /// # Errors
    /// Those of [`Session::encode`].
    pub fn with_session(self, session: &(impl Serialize + ?Sized)) -> Result<Self, InvalidAnswer> {
        Ok(self.with_encoded_session(Session::encode(session)?))
    }

    /// The same, with an encoded session.
    #[must_use]
    pub fn with_encoded_session(self, session: Session) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Selects a subprotocol, in place of the one that `--subprotocol` selects. The client has to
    /// offer it.
    ///
    /// # Errors
    /// When it is not a token.
    pub fn with_subprotocol(self, name: impl Into<String>) -> Result<Self, InvalidAnswer> {
        Self { subprotocol: Some(name.into()), ..self }.check()
    }

    /// Adds a header to the response, for example `Set-Cookie`.
    ///
    /// # Errors
    /// Those of [`ResponseHeader::new`], and when the headers exceed [`MAX_HEADERS`] or
    /// [`MAX_HEADER_BYTES`].
    pub fn with_header(
        mut self,
        name: impl Into<String>,
        value: impl AsRef<str>,
    ) -> Result<Self, InvalidAnswer> {
        self.headers.push(ResponseHeader::new(name, value)?)?;
        Ok(self)
    }

    fn check(self) -> Result<Self, InvalidAnswer> {
        match &self {
            Self { groups, .. } if MAX_GRANTED_GROUPS < groups.len() => {
                Err(InvalidAnswer::TooManyGroups(groups.len()))
            }
            Self { subprotocol: Some(name), .. } if !is_token(name.as_bytes()) => {
                Err(InvalidAnswer::Subprotocol(name.clone()))
            }
            _ => Ok(self),
        }
    }

    /// The uid, if one is granted.
    pub fn uid(&self) -> Option<&Uid> {
        self.uid.as_ref()
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The session, if one is granted.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The selected subprotocol.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The additional headers of the response.
    pub fn headers(&self) -> &ResponseHeaders {
        &self.headers
    }

    /// Approximate heap size in bytes, without the session.
    pub fn weight(&self) -> usize {
        let names = self.uid.as_ref().map_or(0, Uid::weight)
            + self.groups.iter().map(Group::weight).sum::<usize>();
        let headers = self.headers.len() + size_of_val(&*self.headers.0);
        size_of::<Self>() + names + headers + self.subprotocol.as_ref().map_or(0, String::len)
    }
}

impl Refusal {
    /// Refuses with a status and a body, which may be empty. A body without a `Content-Type` header
    /// is sent as plain text.
    ///
    /// # Errors
    /// When the status is not one of 400 to 599, or the body is longer than [`MAX_REFUSAL_BODY`].
    pub fn new(status: u16, body: impl Into<Bytes>) -> Result<Self, InvalidAnswer> {
        let body = body.into();
        match (status, body.len()) {
            (400..=599, ..=MAX_REFUSAL_BODY) => {
                Ok(Self { status, headers: ResponseHeaders::default(), body })
            }
            (400..=599, long) => Err(InvalidAnswer::Body(long)),
            _ => Err(InvalidAnswer::Status(status)),
        }
    }

    /// Adds a header to the response, for example `WWW-Authenticate`.
    ///
    /// # Errors
    /// Those of [`ResponseHeader::new`], and when the headers exceed [`MAX_HEADERS`] or
    /// [`MAX_HEADER_BYTES`].
    pub fn with_header(
        mut self,
        name: impl Into<String>,
        value: impl AsRef<str>,
    ) -> Result<Self, InvalidAnswer> {
        self.headers.push(ResponseHeader::new(name, value)?)?;
        Ok(self)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The additional headers.
    pub fn headers(&self) -> &ResponseHeaders {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Approximate heap size in bytes.
    pub fn weight(&self) -> usize {
        let headers = self.headers.len() + size_of_val(&*self.headers.0);
        size_of::<Self>() + headers + self.body.len()
    }
}

/// Whether `text` is a token (RFC 9110, 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(token)
}

fn as_bytes<S: serde::Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(body)
}

impl fmt::Display for ResponseHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

impl TryFrom<(String, String)> for ResponseHeader {
    type Error = InvalidAnswer;

    fn try_from((name, value): (String, String)) -> Result<Self, InvalidAnswer> {
        Self::new(name, value)
    }
}

impl From<ResponseHeader> for (String, String) {
    fn from(header: ResponseHeader) -> Self {
        (header.name, header.value)
    }
}

impl TryFrom<WireHeaders> for ResponseHeaders {
    type Error = InvalidAnswer;

    fn try_from(WireHeaders(headers): WireHeaders) -> Result<Self, InvalidAnswer> {
        let headers = Self(headers);
        headers.check().map(|()| headers)
    }
}

impl TryFrom<WireGrant> for Grant {
    type Error = InvalidAnswer;

    fn try_from(wire: WireGrant) -> Result<Self, InvalidAnswer> {
        let WireGrant { uid, groups, session, subprotocol, headers } = wire;
        Self { uid, groups, session, subprotocol, headers }.check()
    }
}

impl TryFrom<WireRefusal<'_>> for Refusal {
    type Error = InvalidAnswer;

    fn try_from(wire: WireRefusal<'_>) -> Result<Self, InvalidAnswer> {
        let refusal = Self::new(wire.status, Bytes::copy_from_slice(wire.body))?;
        Ok(Self { headers: wire.headers, ..refusal })
    }
}

impl<B: Into<Bytes>> TryFrom<(u16, B)> for Refusal {
    type Error = InvalidAnswer;

    fn try_from((status, body): (u16, B)) -> Result<Self, InvalidAnswer> {
        Self::new(status, body)
    }
}

impl From<Infallible> for InvalidAnswer {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests;
