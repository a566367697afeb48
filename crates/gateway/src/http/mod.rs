//! What of HTTP a WebSocket port needs: a request's head, and the chat page.

mod head;
mod site;

pub(crate) use head::{BadRequest, Request, parse};
pub(crate) use site::Site;
