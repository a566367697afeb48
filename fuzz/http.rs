//! The gateway's reader of requests, and the header fields that answers may have, taken in as they
//! stand: nobody else is to see them.

#[path = "../crates/gateway/src/http/field.rs"]
mod field;
#[path = "../crates/gateway/src/http/head.rs"]
mod head;
#[path = "../crates/gateway/src/http/workerman.rs"]
pub(crate) mod workerman;

pub(crate) use field::{Field, Subprotocol};
pub(crate) use head::{BadRequest, Request, parse};
