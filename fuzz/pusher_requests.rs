//! Requests to the HTTP API of the Pusher protocol.

/// A path, a query and a body: the input as each of them.
pub fn pusher_http(bytes: &[u8]) {
    pusher::http::fuzzed::read(bytes);
}
