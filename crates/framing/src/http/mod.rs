//! HTTP requests of clients: request heads and header fields. No I/O.

mod field;
mod head;
mod response;
pub mod workerman;

pub use field::{Field, Subprotocol};
pub use head::{BadRequest, Request, parse};
pub use response::response_head;
