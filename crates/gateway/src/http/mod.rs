//! What of HTTP a WebSocket port needs: a request's head, header fields, and the chat page.

mod content_type;
mod field;
mod folder;
mod head;
mod pages;
mod path;
pub(crate) mod probe;
mod site;
pub(crate) mod workerman;

pub(crate) use field::{Field, Subprotocol};
pub(crate) use head::{BadRequest, Request, parse};
pub(crate) use pages::Pages;
use site::Site;
