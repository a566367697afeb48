//! The parameters of a query, each read once; unknown ones are errors.

use crate::{bytes_text::from_query, failure::Failure};

/// The parameters that were not read yet.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// 400 for a query that is not percent-encoded UTF-8.
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let pairs = from_query(query.unwrap_or_default());
        let malformed = || Failure::bad_request("the query is not percent-encoded UTF-8");
        pairs.map(Self).ok_or_else(malformed)
    }

    /// Takes the first parameter of a name.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Takes all parameters of a name.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        std::iter::from_fn(|| self.take(name)).collect()
    }

    /// Takes a switch: `true` or `false`.
    ///
    /// # Errors
    /// 400 for another value.
    pub(crate) fn take_switch(&mut self, name: &str) -> Result<bool, Failure> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Failure::bad_request(format!("`{name}` must be true or false"))),
        }
    }

    /// # Errors
    /// 400 if a parameter is left, which is unknown or repeated.
    pub(crate) fn end(self) -> Result<(), Failure> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                let message = format!("unknown or repeated parameter {name:?} in the query");
                Err(Failure::bad_request(message))
            }
        }
    }
}
