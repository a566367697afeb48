//! HTTP responses of a WebSocket port: health checks and static files.

mod built_in;
mod content_type;
mod folder;
mod pages;
mod path;
pub(crate) mod probe;
mod static_files;

pub(crate) use pages::Pages;
use static_files::StaticFiles;
