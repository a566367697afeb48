//! The HTTP of a WebSocket port: request heads, header fields, health checks and static files.

mod content_type;
mod field;
mod folder;
mod head;
mod pages;
mod path;
pub(crate) mod probe;
mod static_files;
pub(crate) mod workerman;

pub(crate) use field::{Field, Subprotocol};
pub(crate) use head::{BadRequest, Request, parse};
pub(crate) use pages::Pages;
use static_files::StaticFiles;
