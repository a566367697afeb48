//! Request parsing and header fields of the gateway, included by path because they are not public.

#[path = "../crates/gateway/src/http/field.rs"]
mod field;
#[path = "../crates/gateway/src/http/head.rs"]
mod head;
#[path = "../crates/gateway/src/http/workerman.rs"]
pub(crate) mod workerman;

pub(crate) use field::{Field, Subprotocol};
pub(crate) use head::{BadRequest, Request, parse};
