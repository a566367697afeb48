//! The gateway's reader of requests, taken in as it stands: nobody else is to see it.

#[path = "../crates/gateway/src/http/head.rs"]
mod head;

pub(crate) use head::{Request, parse};
