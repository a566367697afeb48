//! Response heads.

use bytes::Bytes;

/// The head of a response with `length` bytes of body. `status` is the code and its reason;
/// `fields` are further header lines, each with its line end.
pub fn response_head(status: &str, fields: &str, length: usize, keep_alive: bool) -> Bytes {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    Bytes::from(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n{fields}\r\n"
    ))
}
