//! HTTP requests of clients: request heads and header fields. No I/O.

mod field;
mod forwarded;
pub mod gzip;
mod head;
mod response;
pub mod workerman;

pub use field::{Field, Subprotocol};
pub use forwarded::{AddressRange, ForwardedHeader, InvalidRange};
pub use head::{BadRequest, Request, parse};
pub use response::response_head;
