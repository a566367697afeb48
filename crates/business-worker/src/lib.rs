//! The settings of the business-worker process, and its built-in apps.

mod apps;
mod tables;

pub use apps::{App, Args, Bench, Chat, Echo, Settings};
pub use tables::Tables;
