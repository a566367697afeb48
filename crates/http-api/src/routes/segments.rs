//! The parts of a path and the query, as bytes: ids and names may have any.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use push_suite_cluster::ClientId;

use crate::{bytes_text::from_percent, failure::Failure, name::Name, query::Query};

/// The path and query of a request.
#[derive(Debug)]
pub(crate) struct Segments {
    path: Vec<String>,
    query: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Segments {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // `/v1/clients/ID` begins with an empty segment.
        let path = parts.uri.path().split('/').skip(3).map(str::to_owned).collect();
        Ok(Self { path, query: parts.uri.query().map(str::to_owned) })
    }
}

impl Segments {
    /// The segment behind `/v1/SUBJECT/`, counted from 0, as a name.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn name(&self, at: usize) -> Result<Name, Failure> {
        let text = self.path.get(at).map_or("", String::as_str);
        let malformed = || Failure::bad_request("the path is not percent-encoded");
        from_percent(text).map(Name).ok_or_else(malformed)
    }

    /// The same as the id of a client.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn client(&self, at: usize) -> Result<ClientId, Failure> {
        let text = String::from_utf8_lossy(&self.name(at)?.0).into_owned();
        text.parse()
            .map_err(|_| Failure::bad_request("the id of a client has 20 or 44 hexadecimal digits"))
    }

    /// The query.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn query(&self) -> Result<Query, Failure> {
        Query::parse(self.query.as_deref())
    }

    /// For a path without parameters in its query.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn no_query(&self) -> Result<(), Failure> {
        self.query()?.end()
    }
}
