//! What of HTTP a WebSocket port needs: a request's head, header fields, and the chat page.

mod field;
mod head;
mod site;

pub(crate) use field::{Field, Subprotocol};
pub(crate) use head::{BadRequest, Request, parse};
pub(crate) use site::Site;
