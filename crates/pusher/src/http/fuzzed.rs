//! The parts of requests that are read before anything else happens, for the fuzz target.

use super::{
    attributes::Attributes, endpoint::Target, publication, query::Query, refused::one_line,
    request_signature::SignedRequest,
};
use crate::signature::Key;

/// Bytes of data that an event may have.
const LIMIT: usize = 10_240;

/// Reads the input as a path, a query, a list of attributes, and a body.
///
/// # Panics
/// When a limit does not hold.
pub fn read(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for method in ["GET", "POST"] {
        let _ = Target::parse(method, &text);
    }
    if let Ok(query) = Query::parse(&text) {
        assert!((1..=4).contains(&query.signed().len()));
        let request = SignedRequest { method: "POST", path: &text, query: &query };
        let refused = request.check(1, &[Key::new("k", "s")]).map_err(|error| error.to_string());
        assert!(refused.is_err(), "a signature by chance");
    }
    let _ = Attributes::parse(&text);
    for event in [publication::event(bytes, LIMIT)].into_iter().flatten() {
        assert!(event.data.len() <= LIMIT && (1..=100).contains(&event.channels.len()));
    }
    match publication::batch(bytes, LIMIT) {
        Ok(events) => assert!(events.len() <= publication::MAX_BATCH),
        Err(error) => assert!(!one_line(&error.to_string()).contains('\n')),
    }
}
